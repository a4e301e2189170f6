//! What a run came to: how many kills its turns lived through, and at which moments the kills really hit.

use std::{collections::BTreeSet, fmt};

use agent_runtime::proto::session_event::Kind;

use crate::{
    case::Case,
    history::{Line, What},
    judge::{Span, input, micros, prompts, spans},
};

/// Kills that a turn must live through to count.
const COUNTS: usize = 3;

/// A server that has served for less is one that takes its agents over, in microseconds.
const FRESH: u64 = 50_000;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lived {
    /// Kills that hit at least one turn that counts.
    pub kills: usize,
    /// Turns that count.
    turns: usize,
    /// Most kills that one turn lived through.
    most: usize,
    /// Kills with a line that was printed in part.
    mid_line: usize,
    /// Kills with a message that was stored, and that the agent did not have.
    before_stdin: usize,
    /// Kills of a server that had just begun to serve, or did not yet.
    reattach: usize,
    /// Kills while an agent waited for permission.
    asked: usize,
    /// Kills with an answer that was stored, and that the agent did not have.
    before_answer: usize,
    /// Servers that were asked to stop, as for an upgrade.
    upgrades: usize,
}

/// One kill, and what lay in the sandboxes then.
#[derive(Default)]
struct Kill {
    unix_us: i64,
    /// How long the server had served.
    served_us: u64,
    mid_line: bool,
    prompts: BTreeSet<String>,
    answers: usize,
}

/// A request for permission, by the clock of the log.
struct Asked {
    from: i64,
    resolved: i64,
}

impl Lived {
    pub fn of(history: &[Line]) -> Self {
        let case = Case::new(history);
        let spans: Vec<Span<'_>> = case.sessions.values().flat_map(spans).collect();
        let asked: Vec<Asked> = case.sessions.values().flat_map(|session| asked(&session.log)).collect();
        let kills = kills(history);
        let hit = |span: &Span<'_>, kill: &Kill| span.from < kill.unix_us && kill.unix_us < span.to;
        let lives = |span: &Span<'_>| kills.iter().filter(|kill| hit(span, kill)).count();
        let (counting, _): (Vec<_>, Vec<_>) = spans.iter().partition(|span| lives(span) >= COUNTS);
        let when = |is_it: &dyn Fn(&Kill) -> bool| kills.iter().filter(|kill| is_it(kill)).count();
        let lacks = |kill: &Kill, span: &Span<'_>| hit(span, kill) && !kill.prompts.contains(&span.turn.block_id);
        Self {
            kills: when(&|kill| counting.iter().any(|span| hit(span, kill))),
            turns: counting.len(),
            most: spans.iter().map(lives).max().unwrap_or(0),
            mid_line: when(&|kill| kill.mid_line),
            before_stdin: when(&|kill| spans.iter().any(|span| lacks(kill, span))),
            reattach: when(&|kill| kill.served_us < FRESH),
            asked: when(&|kill| asked.iter().any(|ask| ask.from < kill.unix_us && kill.unix_us < ask.resolved)),
            before_answer: when(&|kill| asked.iter().filter(|ask| ask.resolved < kill.unix_us).count() > kill.answers),
            upgrades: case.fates.iter().filter(|fate| *fate == "detached").count(),
        }
    }

    pub fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.turns += other.turns;
        self.most = self.most.max(other.most);
        self.mid_line += other.mid_line;
        self.before_stdin += other.before_stdin;
        self.reattach += other.reattach;
        self.asked += other.asked;
        self.before_answer += other.before_answer;
        self.upgrades += other.upgrades;
    }
}

/// The kills, each with what the sandboxes held right after it.
fn kills(history: &[Line]) -> Vec<Kill> {
    let mut kills: Vec<Kill> = Vec::new();
    let mut started = None;
    let mut is_down = false;
    for line in history {
        match &line.what {
            What::Server { fate, unix_us, .. } => {
                is_down = fate == "killed";
                if fate == "started" {
                    started = Some(line.at_us);
                } else if is_down {
                    // One that did not come to serve has not started.
                    let served_us = started.take().map_or(0, |at| line.at_us - at);
                    kills.push(Kill { unix_us: *unix_us, served_us, ..Kill::default() });
                }
            }
            What::Spool { fd, data, .. } if is_down => {
                let Some(kill) = kills.last_mut() else { continue };
                if fd == "stdin" {
                    kill.prompts.extend(prompts(data));
                    kill.answers += answers(data);
                } else {
                    kill.mid_line |= !data.is_empty() && !data.ends_with('\n');
                }
            }
            _ => {}
        }
    }
    kills
}

/// How many requests the agent was given an answer to.
fn answers(data: &str) -> usize {
    input(data).filter(|value| value["type"] == "answer" || value["type"] == "control_response").count()
}

fn asked(log: &[agent_runtime::proto::SessionEvent]) -> Vec<Asked> {
    let mut asked = std::collections::BTreeMap::new();
    for event in log {
        match &event.kind {
            Some(Kind::PermissionRequested(e)) => {
                let id = e.permission.as_ref().map(|permission| permission.permission_id.as_str());
                asked.insert(id.unwrap_or_default(), Asked { from: micros(event), resolved: i64::MAX });
            }
            Some(Kind::PermissionResolved(e)) => {
                if let Some(ask) = asked.get_mut(e.permission_id.as_str()) {
                    ask.resolved = micros(event);
                }
            }
            _ => {}
        }
    }
    asked.into_values().collect()
}

impl fmt::Display for Lived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, turns, most, mid_line, before_stdin, reattach, asked, before_answer, upgrades } = self;
        write!(
            f,
            "lived_kills={kills} turns_of_3_kills={turns} most_kills_of_a_turn={most} mid_line={mid_line} \
             before_stdin={before_stdin} reattach={reattach} asked={asked} before_answer={before_answer} \
             upgrades={upgrades}"
        )
    }
}

//! The agent's ledger: what it printed is in the log, in order and once, up to where its turn ended; what it was given was in
//! the log before.

use std::collections::{BTreeMap, BTreeSet};

use agent_runtime::proto::{Block, SessionEvent, TurnStatus, block::Content, session_event::Kind};
use serde_json::Value;

use super::{Faults, acknowledged::of_turn, offsets::text};
use crate::case::{Case, Session};

pub fn agent(case: &Case, faults: &mut Faults) {
    for (id, session) in &case.sessions {
        numbers(id, session, faults);
    }
    for ((sandbox, exec, fd), data) in &case.spools {
        // That of a session that was lost tells nothing: nobody can say what was in its log.
        let Some((id, session)) = case.sessions.iter().find(|(_, s)| s.whole && has_sandbox(s, sandbox)) else {
            continue;
        };
        match fd.as_str() {
            "stdin" => given(&format!("{id}/{exec}"), session, data, faults),
            // What it printed last went with its sandbox.
            _ if case.destroyed.contains_key(sandbox) => {}
            _ => printed(&format!("{id}/{exec}"), session, data, faults),
        }
    }
}

fn has_sandbox(session: &Session, sandbox: &str) -> bool {
    session.log.iter().any(|event| {
        matches!(&event.kind, Some(Kind::SandboxChanged(e)) if e.sandbox.as_ref().is_some_and(|s| s.sandbox_id == sandbox))
    })
}

/// The numbered deltas of a turn run on from 1, whatever else came between.
fn numbers(id: &str, session: &Session, faults: &mut Faults) {
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    for block in finished(session) {
        for number in numbers_of(block) {
            let before = reached.entry(block.turn_id.clone()).or_default();
            if number != *before + 1 {
                faults.say(format!("{id}: in {} the agent's {number} comes after {before}", block.turn_id));
            }
            *before = number;
        }
    }
}

/// The running numbers in a block.
pub fn numbers_of(block: &Block) -> Vec<u64> {
    let Some(Content::AssistantText(said)) = &block.content else { return Vec::new() };
    let is_one = |word: &&str| word.len() >= 19 && word.bytes().all(|byte| byte.is_ascii_digit());
    said.text.split_whitespace().filter(is_one).map(|word| word.parse().unwrap_or(0)).collect()
}

pub fn finished(session: &Session) -> impl Iterator<Item = &Block> {
    // In order of their beginning: by the place of block_start, content by the last that is known.
    let mut last: BTreeMap<&str, &Block> = BTreeMap::new();
    let mut order = Vec::new();
    for event in &session.log {
        let block = match &event.kind {
            Some(Kind::BlockStart(e)) => {
                order.extend(e.block.as_ref().map(|block| block.block_id.as_str()));
                e.block.as_ref()
            }
            Some(Kind::BlockComplete(e)) => e.block.as_ref(),
            _ => None,
        };
        last.extend(block.map(|block| (block.block_id.as_str(), block)));
    }
    let mut seen = BTreeSet::new();
    order.into_iter().filter(move |id| seen.insert(*id)).filter_map(move |id| last.get(id).copied())
}

/// Each line of input is a message of the log.
fn given(place: &str, session: &Session, data: &str, faults: &mut Faults) {
    let known: BTreeSet<&str> = session.log.iter().filter_map(message_block).collect();
    for id in prompts(data) {
        if !known.contains(id.as_str()) {
            faults.say(format!("{place}: the agent was given {id}, which is not in the log"));
        }
    }
}

/// The ids of the messages in an agent's input; what is cut or was freed is left out.
pub fn prompts(data: &str) -> Vec<String> {
    let messages = input(data).filter(|value| value["type"] == "user");
    messages.filter_map(|value| value["id"].as_str().or_else(|| value["uuid"].as_str()).map(str::to_owned)).collect()
}

/// The whole lines of JSON that an agent was given, or printed.
pub fn input(data: &str) -> impl Iterator<Item = Value> {
    let lines = data.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.filter_map(|line| serde_json::from_str(line).ok())
}

/// The block that a message is, of the user or of the system that tells the agent to go on.
fn message_block(event: &SessionEvent) -> Option<&str> {
    let Some(Kind::BlockStart(start)) = &event.kind else { return None };
    let block = start.block.as_ref()?;
    matches!(block.content, Some(Content::UserMessage(_) | Content::System(_))).then_some(&block.block_id)
}

/// Text that was printed is the block's text; of a turn that was lost or stopped, as far as it goes.
fn printed(place: &str, session: &Session, data: &str, faults: &mut Faults) {
    if data.starts_with('\0') {
        return;
    }
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for line in data.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let delta =
            value.get("delta").and_then(|delta| Some((delta.get("id")?.as_str()?, delta.get("text")?.as_str()?)));
        if let Some((id, text)) = delta {
            texts.entry(id.to_owned()).or_default().push_str(text);
        }
    }
    let completed: BTreeSet<&str> = session
        .log
        .iter()
        .filter_map(of_turn)
        .filter(|turn| turn.status() == TurnStatus::Completed)
        .flat_map(|turn| [turn.block_id.as_str(), turn.turn_id.as_str()])
        .collect();
    let blocks: BTreeMap<&str, &Block> = finished(session).map(|block| (block.block_id.as_str(), block)).collect();
    for (id, said) in texts {
        // A block's id begins with that of its message, but where the script made it up.
        let is_over = id.rsplit_once('/').is_some_and(|(message, _)| completed.contains(message))
            || blocks.get(id.as_str()).is_some_and(|block| completed.contains(block.turn_id.as_str()));
        match blocks.get(id.as_str()).map(|block| (text(block).unwrap_or_default(), block.truncated_bytes)) {
            // Of a session that was deleted, what was seen of its output is what there was when a server was killed before:
            // the agent went on, and nobody knows how far.
            Some((logged, _)) if session.gone && logged.starts_with(&said) => {}
            None if is_over => faults.say(format!("{place}: the agent printed {id}, which is not in the log")),
            Some((logged, 0)) if is_over && logged != said => {
                faults.say(format!(
                    "{place}: of {id} the agent printed {} bytes, the log has {}",
                    said.len(),
                    logged.len()
                ));
            }
            Some((logged, _)) if !said.starts_with(logged) => {
                faults.say(format!("{place}: {id} is not in the log as the agent printed it"));
            }
            None | Some(_) => {}
        }
    }
}

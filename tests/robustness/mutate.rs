//! How a history is changed: the places where each sort of fault would show.

use std::collections::{BTreeMap, BTreeSet};

use agent_runtime::proto::{Block, SessionEvent, TurnStatus, block::Content, session_event::Kind};

use crate::{
    case::{Called, Case, first, is_frame},
    history::{Answer, Line, Open, What, Wire},
    judge::{interrupted, of_turn},
    made,
};

/// `None`: the history has no place for it.
pub type Change = fn(&mut History) -> Option<()>;

/// A history to be changed.
pub struct History {
    pub lines: Vec<Line>,
}

impl History {
    pub fn new(lines: Vec<Line>) -> Self {
        Self { lines }
    }

    /// Streams of sessions whose log was read back, without a filter.
    fn streams(&self) -> BTreeMap<u64, (u32, Open)> {
        let logged = |open: &Open| {
            self.lines.iter().any(|l| matches!(&l.what, What::Log { session, .. } if *session == open.session))
        };
        let opens = self.lines.iter().filter_map(|line| match &line.what {
            What::Open(open) if open.filter.is_none() && open.of_call.is_none() && logged(open) => {
                Some((open.stream, (line.client, open.clone())))
            }
            _ => None,
        });
        opens.collect()
    }

    /// The first frame where it can be done.
    pub fn in_frame(&mut self, mut change: impl FnMut(&mut Vec<Wire<SessionEvent>>) -> Option<()>) -> Option<()> {
        let streams = self.streams();
        self.lines.iter_mut().find_map(|line| match &mut line.what {
            What::Frame { stream, events, .. } if streams.contains_key(stream) => change(events),
            _ => None,
        })
    }

    /// Every frame, of all streams, but not the log.
    pub fn everywhere(&mut self, mut change: impl FnMut(&mut SessionEvent) -> Option<()>) -> Option<()> {
        let mut done = None;
        for line in &mut self.lines {
            if let What::Frame { events, .. } = &mut line.what {
                for event in events {
                    done = change(&mut event.0).or(done);
                }
            }
        }
        done
    }

    /// The first event of a log where it can be done.
    pub fn in_log(&mut self, mut change: impl FnMut(&mut SessionEvent) -> Option<()>) -> Option<()> {
        self.logs().into_iter().find_map(|events| events.iter_mut().find_map(|event| change(&mut event.0)))
    }

    pub fn logs(&mut self) -> Vec<&mut Vec<Wire<SessionEvent>>> {
        let logs = self.lines.iter_mut().filter_map(|line| match &mut line.what {
            What::Log { events, .. } => Some(events),
            _ => None,
        });
        logs.collect()
    }

    /// The head of a session that some stream has seen up to its end.
    pub fn log_head(&self) -> Option<i64> {
        let streams = self.streams();
        self.lines.iter().find_map(|line| {
            let What::Log { session, events, .. } = &line.what else { return None };
            let head = events.last()?.0.sequence;
            let seen = self.lines.iter().any(|line| match &line.what {
                What::Frame { stream, events, .. } => {
                    streams.get(stream).is_some_and(|(_, open)| open.session == *session)
                        && events.last().is_some_and(|last| last.0.sequence == head)
                }
                _ => false,
            });
            seen.then_some(head)
        })
    }

    /// Frames that follow right after a snapshot, of more than one event.
    pub fn after_snapshot(&mut self, change: impl Fn(&mut Vec<Wire<SessionEvent>>) -> Option<()>) -> Option<()> {
        let streams = self.streams();
        let mut snapshot = None;
        self.lines.iter_mut().find_map(|line| match &mut line.what {
            What::Frame { stream, events, .. } if streams.contains_key(stream) => {
                if snapshot == Some(*stream) && events.len() > 1 && !is_frame(&events[0].0) {
                    return change(events);
                }
                let complete = events.iter().any(|event| matches!(event.0.kind, Some(Kind::SnapshotComplete(_))));
                if complete {
                    snapshot = Some(*stream);
                }
                None
            }
            _ => None,
        })
    }

    /// The delta that comes first after a snapshot.
    pub fn next_delta_after_snapshot(&mut self) -> Option<(String, String)> {
        let found = std::cell::RefCell::new(None);
        self.after_snapshot(|events| {
            let Some(Kind::BlockDelta(delta)) = &events[0].0.kind else { return None };
            *found.borrow_mut() = Some((delta.block_id.clone(), delta.delta.clone()));
            Some(())
        })?;
        found.into_inner()
    }

    /// The first block of a snapshot where it can be done; of one that came whole, as no other says anything.
    pub fn in_snapshot(&mut self, mut change: impl FnMut(&mut Block) -> Option<()>) -> Option<()> {
        let streams = self.streams();
        let is_complete = |event: &Wire<SessionEvent>| matches!(event.0.kind, Some(Kind::SnapshotComplete(_)));
        let whole: Vec<u64> = self
            .lines
            .iter()
            .filter_map(|line| match &line.what {
                What::Frame { stream, events, .. } if events.iter().any(is_complete) => Some(*stream),
                _ => None,
            })
            .filter(|stream| streams.contains_key(stream))
            .collect();
        let frames = self.lines.iter_mut().filter_map(|line| match &mut line.what {
            What::Frame { stream, events, .. } if whole.contains(stream) => Some(events),
            _ => None,
        });
        frames.flatten().find_map(|event| match &mut event.0.kind {
            Some(Kind::SnapshotChunk(chunk)) => chunk.state.as_mut()?.blocks.iter_mut().find_map(&mut change),
            _ => None,
        })
    }

    /// The stream ends inside its snapshot, and the client comes back with the sequence that the snapshot would have had.
    pub fn cut_inside_snapshot(&mut self) -> Option<()> {
        let (at, stream, sequence) = self.lines.iter().enumerate().find_map(|(at, line)| match &line.what {
            What::Frame { stream, events, .. } => {
                let complete = events.iter().find(|event| matches!(event.0.kind, Some(Kind::SnapshotComplete(_))))?;
                Some((at, *stream, complete.0.sequence))
            }
            _ => None,
        })?;
        let (client, open) = self.streams().get(&stream)?.clone();
        let of_stream = |line: &Line| match &line.what {
            What::Frame { stream: other, .. } | What::Close { stream: other, .. } => *other == stream,
            _ => false,
        };
        let mut place = 0;
        self.lines.retain(|line| {
            place += 1;
            place <= at || !of_stream(line)
        });
        let mut place = 0;
        // What the client did later is another story.
        self.lines.retain(|line| {
            place += 1;
            place <= at || line.client != client
        });
        let resumed = Open { stream: stream + 1_000_000, after: Some(sequence), ..open };
        let event = Wire(made::bookmark(sequence, sequence, sequence));
        let frame = What::Frame { stream: resumed.stream, uid: String::new(), events: vec![event] };
        let at_us = self.lines[at - 1].at_us;
        self.lines.insert(at, Line { at_us, client, what: What::Open(resumed) });
        self.lines.insert(at + 1, Line { at_us, client, what: frame });
        Some(())
    }

    /// Takes an event out of a log, and lets the next one stand for it; what streams show stays.
    pub fn compact_one(&mut self, which: impl Fn(&SessionEvent) -> bool) -> Option<()> {
        self.logs().into_iter().find_map(|events| {
            let at = events.iter().position(|event| which(&event.0)).filter(|at| at + 1 < events.len())?;
            let gone = events.remove(at).0;
            events[at].0.first_sequence = first(&gone);
            Some(())
        })
    }

    /// A delta of the log that some stream has shown as it is.
    pub fn logged_delta(&self) -> Option<(i64, String)> {
        let streams = self.streams();
        self.lines.iter().find_map(|line| match &line.what {
            What::Frame { stream, events, .. } if streams.contains_key(stream) => {
                events.iter().find_map(|event| match &event.0.kind {
                    Some(Kind::BlockDelta(delta)) => Some((event.0.sequence, delta.block_id.clone())),
                    _ => None,
                })
            }
            _ => None,
        })
    }

    /// A block of text of a turn that was completed, of which a spool tells.
    pub fn completed_block(&mut self) -> Option<String> {
        let spooled: String = self
            .lines
            .iter()
            .filter_map(|line| match &line.what {
                What::Spool { fd, data, .. } if fd == "stdout" => Some(data.as_str()),
                _ => None,
            })
            .collect();
        let mut found = None;
        for events in self.logs() {
            let completed: Vec<String> = events
                .iter()
                .filter_map(|event| of_turn(&event.0))
                .filter(|turn| turn.status() == TurnStatus::Completed)
                .map(|turn| turn.turn_id.clone())
                .collect();
            found = found.or(events.iter().find_map(|event| match &event.0.kind {
                Some(Kind::BlockComplete(e)) => {
                    let block = e.block.as_ref()?;
                    let is_text = matches!(block.content, Some(Content::AssistantText(_)));
                    let told = spooled.contains(&format!("\"{}\"", block.block_id));
                    (is_text && told && completed.contains(&block.turn_id)).then(|| block.block_id.clone())
                }
                _ => None,
            }));
        }
        found
    }

    /// Adds a line to each spool that holds a text.
    pub fn spooled(&mut self, of: &str, holds: &str, line: &str) -> Option<()> {
        let mut done = None;
        for held in &mut self.lines {
            if let What::Spool { fd, data, .. } = &mut held.what
                && fd == of
                && data.contains(holds)
                && !data.is_empty()
            {
                // What was cut inside a line stays a line of its own.
                if !data.ends_with('\n') {
                    data.push('\n');
                }
                data.push_str(line);
                done = Some(());
            }
        }
        done
    }

    pub fn spool_twice(&mut self, of: &str) -> Option<()> {
        // What was seen last of a program counts: it may go on after its server was killed.
        self.lines.iter_mut().rev().find_map(|held| match &mut held.what {
            What::Spool { fd, data, .. } if fd == of && data.ends_with('\n') => {
                *data = data.repeat(2);
                Some(())
            }
            _ => None,
        })
    }

    pub fn another_uid(&mut self) -> Option<()> {
        let streams = self.streams();
        self.lines.iter_mut().find_map(|line| match &mut line.what {
            What::Frame { stream, uid, .. }
                if !uid.is_empty() && streams.get(stream).is_some_and(|(_, open)| !open.expected_uid.is_empty()) =>
            {
                uid.push_str("_of_another");
                Some(())
            }
            _ => None,
        })
    }

    /// A log that ends before the last turn that it accepted.
    pub fn lose_last_turn(&mut self) -> Option<()> {
        let acknowledged: Vec<String> = self
            .lines
            .iter()
            .filter_map(|line| match &line.what {
                What::Answer { answer: Answer::Ok { turn, .. }, .. } if !turn.is_empty() => Some(turn.clone()),
                _ => None,
            })
            .collect();
        self.logs().into_iter().find_map(|events| {
            let at = events
                .iter()
                .position(|event| of_turn(&event.0).is_some_and(|turn| acknowledged.contains(&turn.turn_id)))?;
            events.truncate(at);
            Some(())
        })
    }

    pub fn store_message_twice(&mut self) -> Option<()> {
        self.logs().into_iter().find_map(|events| {
            let mut again = events.iter().find(|event| crate::judge::message(&event.0).is_some())?.clone();
            again.0.sequence = events.last()?.0.sequence + 1;
            events.push(again);
            Some(())
        })
    }

    pub fn refuse_accepted(&mut self) -> Option<()> {
        let logged: Vec<String> = self
            .logs()
            .into_iter()
            .flatten()
            .filter_map(|event| of_turn(&event.0))
            .map(|turn| turn.turn_id.clone())
            .collect();
        let texts: BTreeMap<u64, String> = self
            .lines
            .iter()
            .filter_map(|line| match &line.what {
                What::Call(call) => Some((call.call, call.text.clone())),
                _ => None,
            })
            .collect();
        let text = self.lines.iter().find_map(|line| match &line.what {
            What::Answer { call, answer: Answer::Ok { turn, .. } } if logged.contains(turn) => texts.get(call),
            _ => None,
        })?;
        // Whoever asked for it, and asked again.
        for line in &mut self.lines {
            if let What::Answer { call, answer } = &mut line.what
                && texts.get(call) == Some(text)
            {
                let (code, reason) = ("FailedPrecondition".into(), "SESSION_BUSY".into());
                *answer = Answer::Err { code, reason, message: String::new() };
            }
        }
        Some(())
    }

    pub fn end_twice(&mut self) -> Option<()> {
        self.logs().into_iter().find_map(|events| {
            let is_end = |event: &&Wire<SessionEvent>| {
                of_turn(&event.0).is_some_and(|turn| turn.status() == TurnStatus::Completed)
            };
            let mut again = events.iter().rfind(is_end)?.clone();
            again.0.sequence = events.last()?.0.sequence + 1;
            events.push(again);
            Some(())
        })
    }

    /// A watch that begins with an older head than was known.
    pub fn back_in_time(&mut self) -> Option<()> {
        let streams = self.streams();
        let mut known: BTreeMap<String, i64> = BTreeMap::new();
        let mut at_open: BTreeMap<u64, i64> = BTreeMap::new();
        self.lines.iter_mut().find_map(|line| match &mut line.what {
            What::Open(open) => {
                at_open.insert(open.stream, known.get(&open.session).copied().unwrap_or(0));
                None
            }
            What::Frame { stream, events, .. } => {
                let (_, open) = streams.get(stream)?;
                let before = at_open.remove(stream).unwrap_or(0);
                if let Some(Kind::Bookmark(bookmark)) = events.first_mut().and_then(|event| event.0.kind.as_mut())
                    && open.after.is_some_and(|after| after < before)
                {
                    bookmark.head_sequence = open.after?;
                    return Some(());
                }
                let last = events.last().map_or(0, |event| event.0.sequence);
                let known = known.entry(open.session.clone()).or_default();
                *known = last.max(*known);
                None
            }
            _ => None,
        })
    }

    /// Somebody asked twice with one id.
    pub fn with_request_ids(&self) -> Option<()> {
        let ids: Vec<&String> = self
            .lines
            .iter()
            .filter_map(|line| match &line.what {
                What::Call(call) if call.interrupts && !call.request_id.is_empty() => Some(&call.request_id),
                _ => None,
            })
            .collect();
        ids.windows(2).any(|pair| pair[0] == pair[1]).then_some(())
    }

    /// In a session where every call that could interrupt a turn did.
    pub fn last_completed_turn(&self) -> Option<String> {
        let case = Case::new(&self.lines);
        let full = case.sessions.iter().filter(|(id, session)| {
            let (turns, calls) = interrupted(&case, id, session);
            turns == calls
        });
        let turns = full.flat_map(|(_, session)| &session.log).filter_map(of_turn);
        turns.filter(|turn| turn.status() == TurnStatus::Completed).map(|turn| turn.turn_id.clone()).last()
    }

    /// Two answers to one request_id.
    pub fn another_answer(&mut self) -> Option<()> {
        let case = Case::new(&self.lines);
        let good = |called: &&Called| {
            !called.call.request_id.is_empty() && matches!(called.answer, Some((_, Answer::Ok { .. })))
        };
        let mut seen = BTreeSet::new();
        let again = case.calls.iter().filter(good).find(|called| !seen.insert(&called.call.request_id))?;
        let wanted = again.call.call;
        self.lines.iter_mut().find_map(|line| match &mut line.what {
            What::Answer { call: of, answer: Answer::Ok { sequence, .. } } if *of == wanted => {
                *sequence += 1;
                Some(())
            }
            _ => None,
        })
    }
}

//! A history in the order in which judges ask for it.

use std::collections::BTreeMap;

use agent_runtime::proto::{Block, SessionEvent, SessionState, session_event::Kind};

use crate::history::{Answer, Call, Line, Open, What, Wire};

/// See the module. Places are indices of lines: what has a lower one was known before.
#[derive(Default)]
pub struct Case {
    pub streams: Vec<Stream>,
    pub calls: Vec<Called>,
    pub sessions: BTreeMap<String, Session>,
    /// Sandbox, program, "stdin" or "stdout", and the longest that was seen of it.
    pub spools: BTreeMap<(String, String, String), String>,
    /// What was done to the server.
    pub fates: Vec<String>,
    /// Sandboxes that the harness took away, and how often.
    pub destroyed: BTreeMap<String, usize>,
    /// Sessions and turns that did not end.
    pub stuck: Vec<(String, String)>,
    pub processes: Vec<Processes>,
    /// Session of the agent, how often the model had answered, and the prompt.
    pub asked: Vec<(String, usize, String)>,
    compacts: bool,
}

/// Processes that had to do with the data folder; of each sandbox how many.
pub struct Processes {
    pub over: bool,
    pub supervisors: BTreeMap<String, usize>,
    pub agents: BTreeMap<String, usize>,
    pub left: Vec<String>,
}

pub struct Stream {
    pub client: u32,
    pub place: usize,
    pub open: Open,
    pub frames: Vec<Frame>,
    pub close: Option<(usize, String, String)>,
}

pub struct Frame {
    pub place: usize,
    pub uid: String,
    pub events: Vec<SessionEvent>,
}

pub struct Called {
    pub client: u32,
    pub call: Call,
    pub answer: Option<(usize, Answer)>,
}

/// What is known of a session at the end.
#[derive(Default)]
pub struct Session {
    /// Of its log.
    pub uid: String,
    /// The log as it is stored in the end, also of a session that was deleted.
    pub log: Vec<SessionEvent>,
    /// What is up to here is not kept.
    pub trimmed: i64,
    /// The log is known, from its first event that is kept to its last.
    pub whole: bool,
    /// Deltas may have gone from the log.
    pub compacts: bool,
    /// Nobody can use it any more.
    pub gone: bool,
    pub snapshot: Option<(i64, SessionState)>,
    pub blocks: Vec<Block>,
}

impl Case {
    pub fn new(history: &[Line]) -> Self {
        let mut case = Self::default();
        for (place, line) in history.iter().enumerate() {
            case.take(place, line);
        }
        case
    }

    fn take(&mut self, place: usize, line: &Line) {
        match &line.what {
            What::Run { compacts, .. } => self.compacts = *compacts,
            What::Server { fate, .. } => self.fates.push(fate.clone()),
            What::Destroyed { sandbox } => *self.destroyed.entry(sandbox.clone()).or_default() += 1,
            What::Stuck { session, turn } => self.stuck.push((session.clone(), turn.clone())),
            What::Processes { over, supervisors, agents, left } => self.processes.push(Processes {
                over: *over,
                supervisors: supervisors.clone(),
                agents: agents.clone(),
                left: left.clone(),
            }),
            What::Asked { session, answers, prompt } => {
                self.asked.push((session.clone(), *answers, prompt.clone()));
            }
            What::Call(call) => {
                self.calls.push(Called { client: line.client, call: call.clone(), answer: None });
            }
            What::Answer { call, answer } => {
                if let Some(called) = self.calls.iter_mut().rev().find(|called| called.call.call == *call) {
                    called.answer = Some((place, answer.clone()));
                }
            }
            What::Open(open) => self.streams.push(Stream {
                client: line.client,
                place,
                open: open.clone(),
                frames: Vec::new(),
                close: None,
            }),
            What::Frame { stream, uid, events } => {
                let events = events.iter().map(|Wire(event)| event.clone()).collect();
                if let Some(stream) = self.streams.iter_mut().rev().find(|s| s.open.stream == *stream) {
                    stream.frames.push(Frame { place, uid: uid.clone(), events });
                }
            }
            What::Close { stream, code, reason } => {
                if let Some(stream) = self.streams.iter_mut().rev().find(|s| s.open.stream == *stream) {
                    stream.close = Some((place, code.clone(), reason.clone()));
                }
            }
            What::Log { session, uid, trimmed, events } => {
                let held = self.sessions.entry(session.clone()).or_default();
                held.uid.clone_from(uid);
                held.log = events.iter().map(|Wire(event)| event.clone()).collect();
                (held.whole, held.trimmed, held.compacts) = (true, *trimmed, self.compacts);
            }
            What::State { session, sequence, snapshot, blocks } => {
                let held = self.sessions.entry(session.clone()).or_default();
                held.snapshot = Some((*sequence, snapshot.0.clone()));
                held.blocks = blocks.iter().map(|Wire(block)| block.clone()).collect();
            }
            What::Gone { session } => self.sessions.entry(session.clone()).or_default().gone = true,
            What::Spool { sandbox, exec, fd, data } => {
                let key = (sandbox.clone(), exec.clone(), fd.clone());
                let held = self.spools.entry(key).or_default();
                if data.len() >= held.len() {
                    held.clone_from(data);
                }
            }
        }
    }

    /// Streams of sessions whose log is known, with it.
    pub fn known(&self) -> impl Iterator<Item = (&Stream, &Session)> {
        self.streams.iter().filter_map(|stream| Some((stream, self.sessions.get(&stream.open.session)?)))
    }
}

impl Session {
    pub fn head(&self) -> i64 {
        self.log.last().map_or(0, |event| event.sequence)
    }

    /// The events of the log whose own place, the last they stand for, lies here.
    pub fn placed(&self, from: i64, to: i64) -> &[SessionEvent] {
        let begin = self.log.partition_point(|event| event.sequence < from);
        let end = begin + self.log[begin..].partition_point(|event| event.sequence <= to);
        &self.log[begin..end]
    }

    /// Whether compaction took something that was here.
    pub fn is_compacted(&self, from: i64, to: i64) -> bool {
        let at = self.log.partition_point(|event| event.sequence <= from);
        self.compacts
            && self.log[at..].iter().take_while(|event| first(event) <= to).any(|event| first(event) < event.sequence)
    }
}

impl Stream {
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &SessionEvent> {
        self.frames.iter().flat_map(|frame| &frame.events)
    }

    pub fn uid(&self) -> Option<String> {
        self.frames.first().map(|frame| frame.uid.clone()).filter(|uid| !uid.is_empty())
    }

    /// How it is called in what judges say.
    pub fn name(&self) -> String {
        let Open { stream, session, after, .. } = &self.open;
        format!("stream {stream} of client {} ({session} after {after:?})", self.client)
    }
}

/// The first sequence that an event stands for.
pub fn first(event: &SessionEvent) -> i64 {
    if event.first_sequence == 0 { event.sequence } else { event.first_sequence }
}

/// A frame of the watch itself, which is not stored.
pub fn is_frame(event: &SessionEvent) -> bool {
    matches!(
        event.kind,
        Some(Kind::SnapshotStart(_) | Kind::SnapshotChunk(_) | Kind::SnapshotComplete(_) | Kind::Bookmark(_))
    )
}

/// A frame that has no sequence.
pub fn is_of_snapshot(event: &SessionEvent) -> bool {
    matches!(event.kind, Some(Kind::SnapshotStart(_) | Kind::SnapshotChunk(_)))
}

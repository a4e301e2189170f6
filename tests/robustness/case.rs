//! A history in the order in which judges ask for it.

use std::collections::{BTreeMap, BTreeSet};

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
    pub faults: usize,
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
    /// Of its log, as read back.
    pub uid: String,
    /// The log as read back; of a session that is gone, what all watchers saw of it.
    pub log: Vec<SessionEvent>,
    /// The log is as the server had it at the end, from its first event to its last.
    pub whole: bool,
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
        case.merge_gone();
        case
    }

    fn take(&mut self, place: usize, line: &Line) {
        match &line.what {
            What::Run { .. } => {}
            What::Server { .. } => self.faults += 1,
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
            What::Log { session, uid, events } => {
                let held = self.sessions.entry(session.clone()).or_default();
                held.uid.clone_from(uid);
                held.log = events.iter().map(|Wire(event)| event.clone()).collect();
                held.whole = true;
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

    /// Of a session that nobody can read any more the log is what its watchers saw, where they saw all of it.
    fn merge_gone(&mut self) {
        let gone: BTreeSet<String> = self.sessions.iter().filter(|(_, s)| s.gone).map(|(id, _)| id.clone()).collect();
        for id in gone {
            let mut seen: BTreeMap<i64, SessionEvent> = BTreeMap::new();
            let streams = self.streams.iter().filter(|s| s.open.session == id && s.open.filter.is_none());
            for event in streams.filter(|s| s.open.of_call.is_none()).flat_map(Stream::events) {
                // The one with the shorter range tells more.
                if event.sequence > 0
                    && !is_frame(event)
                    && seen.get(&event.sequence).is_none_or(|held| first(held) < first(event))
                {
                    seen.insert(event.sequence, event.clone());
                }
            }
            let mut log = Vec::new();
            let mut cursor = 0;
            for event in seen.into_values() {
                if first(&event) != cursor + 1 {
                    break;
                }
                cursor = event.sequence;
                log.push(event);
            }
            let session = self.sessions.get_mut(&id).expect("it is one of them");
            session.uid =
                self.streams.iter().find_map(|s| s.uid().filter(|_| s.open.session == id)).unwrap_or_default();
            session.log = log;
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

    /// The events of the log that lie in this range of sequences, at least in part.
    pub fn within(&self, first_sequence: i64, last: i64) -> &[SessionEvent] {
        let from = self.log.partition_point(|event| event.sequence < first_sequence);
        let to = from + self.log[from..].partition_point(|event| first(event) <= last);
        &self.log[from..to]
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

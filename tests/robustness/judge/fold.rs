//! The fold: whatever a client was given, and wherever it was cut, it holds what the log folds to at its cursor; and in the
//! end the log, the snapshot and the lists are the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agent_runtime::proto::{BlockState, SessionEvent, SessionState, block::Content, session_event::Kind, to_json};
use prost::Message as _;

use super::{
    Faults,
    offsets::{growing, text},
    shown::{is_shown, reduce},
};
use crate::{
    case::{Case, Session, Stream},
    history::Filter,
    wire_fold,
};

/// A state that grows by events.
#[derive(Clone, Debug, Default)]
pub struct Folded(pub SessionState);

impl Folded {
    pub fn apply(&mut self, event: &SessionEvent) {
        // Most events are deltas; the plain fold looks through everything for each of them.
        let Some(Kind::BlockDelta(delta)) = &event.kind else {
            // What does not begin with a session is no state; other judges say so.
            if self.0.session.is_some()
                || matches!(event.kind, Some(Kind::SnapshotStart(_) | Kind::SnapshotChunk(_) | Kind::SessionCreated(_)))
            {
                wire_fold::apply(&mut self.0, event);
            }
            return;
        };
        let Some(at) = self.0.blocks.iter().rposition(|block| block.block_id == delta.block_id) else { return };
        let block = self.0.blocks.swap_remove(at);
        let mut small = SessionState { session: self.0.session.take(), blocks: vec![block], ..SessionState::default() };
        if small.session.is_some() {
            let (active, queued) = small
                .session
                .as_mut()
                .map(|s| (s.active_turn.take(), std::mem::take(&mut s.queued_turns)))
                .unwrap_or_default();
            wire_fold::apply(&mut small, event);
            if let Some(session) = &mut small.session {
                (session.active_turn, session.queued_turns) = (active, queued);
            }
        }
        self.0.session = small.session;
        self.0.blocks.extend(small.blocks);
        let last = self.0.blocks.len() - 1;
        self.0.blocks.swap(at, last);
    }
}

/// What the log folds to at a sequence, as a client with this filter holds it. `None`: the log has no such place.
fn fold_to(session: &Session, filter: &Filter, sequence: i64) -> Option<SessionState> {
    states(session, filter, &BTreeSet::from([sequence])).remove(&sequence)
}

fn states(session: &Session, filter: &Filter, wanted: &BTreeSet<i64>) -> BTreeMap<i64, SessionState> {
    let mut states = BTreeMap::new();
    let mut folded = Folded::default();
    if wanted.contains(&0) {
        states.insert(0, SessionState::default());
    }
    for event in &session.log {
        if is_shown(filter, event) {
            folded.apply(event);
        } else if let Some(session) = &mut folded.0.session {
            session.sequence = event.sequence;
        }
        if wanted.contains(&event.sequence) {
            states.insert(event.sequence, reduce(filter, folded.0.clone()));
        }
    }
    states
}

pub fn fold(case: &Case, faults: &mut Faults) {
    for (id, session) in &case.sessions {
        let streams: Vec<&Stream> =
            case.streams.iter().filter(|s| s.open.session == *id && s.open.of_call.is_none()).collect();
        let mut filters: Vec<&Filter> = Vec::new();
        for stream in &streams {
            if !filters.contains(&&stream.open.filter) {
                filters.push(&stream.open.filter);
            }
        }
        for filter in filters {
            let streams: Vec<&&Stream> = streams.iter().filter(|s| s.open.filter == *filter).collect();
            let wanted = streams.iter().flat_map(|stream| places(stream)).collect();
            let states = states(session, filter, &wanted);
            let cut = Cut::of(session);
            for stream in streams {
                follow(stream, &states, &cut, faults);
            }
        }
        in_the_end(id, session, faults);
    }
}

/// Where the stream's state is compared: where it begins, where its snapshot is whole, and where it was cut.
fn places(stream: &Stream) -> impl Iterator<Item = i64> {
    let snapshots = stream.events().filter(|event| matches!(event.kind, Some(Kind::SnapshotComplete(_))));
    let last = stream.events().next_back();
    stream.open.after.into_iter().chain(snapshots.map(|event| event.sequence)).chain(last.map(|event| event.sequence))
}

fn follow(stream: &Stream, states: &BTreeMap<i64, SessionState>, cut: &Cut, faults: &mut Faults) {
    let filter = &stream.open.filter;
    // A client that comes back holds what the log says up to its cursor: the stream before was held to that.
    let begin = match stream.open.after {
        Some(after) => states.get(&after).cloned(),
        None => Some(SessionState::default()),
    };
    let is_snapshot = stream.events().next().is_some_and(|e| matches!(e.kind, Some(Kind::SnapshotStart(_))));
    let Some(begin) = begin.or_else(|| is_snapshot.then(SessionState::default)) else { return };
    let mut folded = Folded(begin);
    let mut last = None;
    for event in stream.events() {
        folded.apply(event);
        last = Some(event);
        if matches!(event.kind, Some(Kind::SnapshotComplete(_))) {
            let held = reduce(filter, folded.0.clone());
            compare(stream, event.sequence, states, cut, held, "the snapshot", faults);
        }
    }
    if let Some(last) = last.filter(|last| last.sequence > 0) {
        compare(stream, last.sequence, states, cut, reduce(filter, folded.0), "what the client holds", faults);
    }
}

fn compare(
    stream: &Stream,
    at: i64,
    states: &BTreeMap<i64, SessionState>,
    cut: &Cut,
    held: SessionState,
    what: &str,
    faults: &mut Faults,
) {
    let Some(folded) = states.get(&at) else { return };
    let (held, folded) = (cut.less(held), &cut.less(folded.clone()));
    // Maps of the contract are sorted, so equal states are equal bytes.
    if held.encode_to_vec() != folded.encode_to_vec() {
        faults.say(format!("{}: {what} at {at} is not the fold of the log: {}", stream.name(), differ(&held, folded)));
    }
}

fn in_the_end(id: &str, session: &Session, faults: &mut Faults) {
    let Some((sequence, snapshot)) = &session.snapshot else { return };
    let Some(folded) = fold_to(session, &Filter::default(), *sequence) else {
        faults.say(format!("the snapshot of {id} is of {sequence}, where its log has nothing"));
        return;
    };
    let (snapshot_json, folded_json) = (json(snapshot), json(&folded));
    if snapshot_json != folded_json {
        faults.say(format!("the snapshot of {id} at {sequence} is not the fold: {}", differ(snapshot, &folded)));
    }
    let main = folded.blocks.iter().filter(|block| block.conversation_id == "main");
    if !main.eq(session.blocks.iter()) {
        faults.say(format!("the blocks that {id} lists are not those of its log"));
    }
}

fn json(state: &SessionState) -> String {
    to_json("agentruntime.v1.SessionState", state)
}

/// Blocks of which compaction took deltas, each with its whole text: how far they had grown before is not known any more.
struct Cut(HashMap<String, String>);

impl Cut {
    fn of(session: &Session) -> Self {
        let mut grown: HashMap<&str, String> = HashMap::new();
        let mut cut = HashMap::new();
        for event in session.log.iter().filter(|_| session.compacts) {
            match &event.kind {
                Some(Kind::BlockDelta(delta)) => grown.entry(&delta.block_id).or_default().push_str(&delta.delta),
                Some(Kind::BlockStart(e)) => {
                    grown.extend(e.block.iter().filter_map(|b| Some((b.block_id.as_str(), text(b)?.to_owned()))));
                }
                Some(Kind::BlockComplete(e)) => {
                    let whole = e.block.iter().filter_map(|b| Some((b.block_id.clone(), text(b)?.to_owned())));
                    cut.extend(whole.filter(|(id, text)| grown.get(id.as_str()).is_none_or(|grown| grown != text)));
                }
                _ => {}
            }
        }
        Self(cut)
    }

    /// A state less what of these blocks is held before they are whole, where that is a part of the whole.
    fn less(&self, mut state: SessionState) -> SessionState {
        for block in state.blocks.iter_mut().filter(|block| block.state() == BlockState::Streaming) {
            let Some(whole) = self.0.get(&block.block_id) else { continue };
            // A tool's input may have been replaced since.
            let is_input = matches!(block.content, Some(Content::ToolUse(_)));
            if let Some(text) = growing(block).filter(|text| is_input || whole.contains(text.as_str())) {
                text.clear();
                if let Some(Content::ToolResult(result)) = &mut block.content {
                    result.output = None;
                }
            }
        }
        state
    }
}

/// Where two states begin to differ, in their canonical JSON.
fn differ(held: &SessionState, folded: &SessionState) -> String {
    let (held, folded) = (json(held), json(folded));
    let at = held.bytes().zip(folded.bytes()).position(|(a, b)| a != b).unwrap_or(held.len().min(folded.len()));
    let part = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(80).min(text.len())..(at + 80).min(text.len())])
            .into_owned()
    };
    format!("…{}… and not …{}…", part(&held), part(&folded))
}

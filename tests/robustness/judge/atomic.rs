//! Atomic: what one commit stores is never there in part. Nothing of the contract says what is stored together, so this
//! holds what could come apart only if a commit did, at every place where a log may end.

use std::collections::BTreeSet;

use agent_runtime::proto::{
    BlockState, SessionEvent, SessionState, SessionStatus, Turn, TurnOrigin, TurnStatus, session_event::Kind,
};

use super::{Faults, fold::Folded};
use crate::case::{Case, Stream};

pub fn atomic(case: &Case, faults: &mut Faults) {
    for (id, session) in &case.sessions {
        let mut folded = Folded::default();
        let mut over = false;
        for event in &session.log {
            if over {
                faults.say(format!("{id}: {} follows the end of the log", event.sequence));
            }
            folded.apply(event);
            if let Some(turn) = ended(event) {
                left_open(&format!("{id} at {}", event.sequence), &folded.0, turn, faults);
            }
            over |= matches!(&event.kind, Some(Kind::StatusChanged(e)) if e.status() == SessionStatus::Deleted);
        }
        if session.whole {
            at_the_end(id, &folded.0, faults);
        }
    }
    for stream in &case.streams {
        snapshots(stream, faults);
    }
}

/// The turn that ends with this event.
fn ended(event: &SessionEvent) -> Option<&Turn> {
    match &event.kind {
        Some(Kind::TurnUpdated(e)) => e.turn.as_ref().filter(|turn| is_final(turn.status())),
        _ => None,
    }
}

pub fn is_final(status: TurnStatus) -> bool {
    status as i32 >= TurnStatus::Completed as i32
}

/// A turn ends together with its blocks.
fn left_open(place: &str, state: &SessionState, turn: &Turn, faults: &mut Faults) {
    let open = state.blocks.iter().filter(|block| block.state() == BlockState::Streaming);
    for block in open.filter(|block| block.turn_id == turn.turn_id) {
        faults.say(format!("{place}: {} ended and left {} open", turn.turn_id, block.block_id));
    }
}

/// A turn that runs and its message, the end of a turn and what the session is then, are stored together.
fn at_the_end(id: &str, state: &SessionState, faults: &mut Faults) {
    consistent(id, state, faults);
    for turn in state.turns.iter().filter(|turn| !is_final(turn.status())) {
        faults.say(format!("{id}: {} has not ended", turn.turn_id));
    }
}

fn consistent(place: &str, state: &SessionState, faults: &mut Faults) {
    let Some(session) = &state.session else { return };
    let blocks: BTreeSet<&str> = state.blocks.iter().map(|block| block.block_id.as_str()).collect();
    let unasked = |turn: &&Turn| turn.origin() != TurnOrigin::User;
    let waited = |turn: &&Turn| matches!(turn.status(), TurnStatus::Queued | TurnStatus::Cancelled);
    for turn in state.turns.iter().filter(|turn| !unasked(turn) && !waited(turn)) {
        if !turn.block_id.is_empty() && !blocks.contains(turn.block_id.as_str()) {
            faults.say(format!("{place}: {} is there without its message", turn.turn_id));
        }
    }
    let runs = state.turns.iter().any(|turn| turn.status() == TurnStatus::Running);
    if !runs && session.status() == SessionStatus::Running {
        faults.say(format!("{place}: the session runs, and none of its turns does"));
    }
    for turn in state.turns.iter().filter(|turn| is_final(turn.status())) {
        left_open(place, state, turn, faults);
    }
}

/// A snapshot is the state after a commit, never inside one.
fn snapshots(stream: &Stream, faults: &mut Faults) {
    if stream.open.filter.is_none() {
        let mut folded = Folded::default();
        for event in stream.events() {
            folded.apply(event);
            if matches!(event.kind, Some(Kind::SnapshotComplete(_))) {
                consistent(&format!("{} in its snapshot", stream.name()), &folded.0, faults);
                return;
            }
            if !matches!(event.kind, Some(Kind::SnapshotStart(_) | Kind::SnapshotChunk(_))) {
                return;
            }
        }
    }
}

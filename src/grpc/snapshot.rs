//! Snapshots on the wire: the state in chunks of a size any client takes.

use std::iter;

use prost::Message as _;

use super::convert;
use crate::{
    domain::Block,
    log::Snapshot,
    proto::{self, SessionEvent, session_event},
};

/// Bytes of one snapshot chunk, about.
const CHUNK_BYTES: usize = 512 * 1024;

/// How a snapshot begins: with all but the blocks, the record first, then the lists in order.
pub(super) fn begin(snapshot: &Snapshot) -> impl Iterator<Item = SessionEvent> {
    let start = session_event::Kind::SnapshotStart(proto::SnapshotStart {});
    iter::once(frame(start)).chain(chunks(snapshot.state().clone().into()))
}

/// How it goes on with blocks.
pub(super) fn blocks(blocks: Vec<Block>) -> impl Iterator<Item = SessionEvent> {
    chunks(proto::SessionState { blocks: convert::list(blocks), ..Default::default() })
}

/// How it ends.
pub(super) fn complete(snapshot: &Snapshot) -> SessionEvent {
    SessionEvent {
        sequence: snapshot.sequence(),
        event_time: Some(convert::timestamp(snapshot.state().session.last_activity_time)),
        ..frame(session_event::Kind::SnapshotComplete(proto::SnapshotComplete {}))
    }
}

fn frame(kind: session_event::Kind) -> SessionEvent {
    SessionEvent { kind: Some(kind), ..SessionEvent::default() }
}

/// Parts of a state, each of a size any client takes.
fn chunks(state: proto::SessionState) -> impl Iterator<Item = SessionEvent> {
    let chunk = |state| session_event::Kind::SnapshotChunk(Box::new(proto::SnapshotChunk { state: Some(state) }));
    cut(state).into_iter().map(move |state| frame(chunk(state)))
}

fn cut(state: proto::SessionState) -> Vec<proto::SessionState> {
    let proto::SessionState { session, turns, conversations, permissions, questions, permission_rules, files, blocks } =
        state;
    let mut chunks = Chunks { done: Vec::new(), open: proto::SessionState { session, ..Default::default() }, bytes: 0 };
    for item in turns {
        chunks.room(item.encoded_len()).turns.push(item);
    }
    for item in conversations {
        chunks.room(item.encoded_len()).conversations.push(item);
    }
    for item in permissions {
        chunks.room(item.encoded_len()).permissions.push(item);
    }
    for item in questions {
        chunks.room(item.encoded_len()).questions.push(item);
    }
    for item in permission_rules {
        chunks.room(item.encoded_len()).permission_rules.push(item);
    }
    for item in files {
        chunks.room(item.encoded_len()).files.push(item);
    }
    for item in blocks {
        chunks.room(item.encoded_len()).blocks.push(item);
    }
    chunks.done.push(chunks.open);
    chunks.done
}

struct Chunks {
    done: Vec<proto::SessionState>,
    open: proto::SessionState,
    bytes: usize,
}

impl Chunks {
    /// A chunk with room for an item of this size.
    fn room(&mut self, size: usize) -> &mut proto::SessionState {
        if self.bytes > 0 && self.bytes + size > CHUNK_BYTES {
            self.done.push(std::mem::take(&mut self.open));
            self.bytes = 0;
        }
        self.bytes += size;
        &mut self.open
    }
}

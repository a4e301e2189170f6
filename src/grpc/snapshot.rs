//! Snapshots on the wire: the state in chunks of a size any client takes.

use std::collections::VecDeque;

use prost::Message as _;

use super::convert;
use crate::{
    domain::SessionState,
    proto::{self, SessionEvent, session_event},
};

/// Bytes of one snapshot chunk, about.
const CHUNK_BYTES: usize = 512 * 1024;

/// The state in chunks: the record first, then the lists in order, each chunk of a size any client takes.
pub(super) fn frames(state: SessionState) -> VecDeque<SessionEvent> {
    let frame = |kind| SessionEvent { kind: Some(kind), ..SessionEvent::default() };
    let sequence = state.session.sequence;
    let time = state.session.last_activity_time;
    let mut frames = VecDeque::from([frame(session_event::Kind::SnapshotStart(proto::SnapshotStart {}))]);
    for state in cut(state.into()) {
        frames.push_back(frame(session_event::Kind::SnapshotChunk(Box::new(proto::SnapshotChunk {
            state: Some(state),
        }))));
    }
    frames.push_back(SessionEvent {
        sequence,
        event_time: Some(convert::timestamp(time)),
        kind: Some(session_event::Kind::SnapshotComplete(proto::SnapshotComplete {})),
        ..SessionEvent::default()
    });
    frames
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

//! Watches on the wire: a snapshot or an empty bookmark first, then events as they are stored, and a bookmark where there
//! is silence. tonic polls the stream itself: a watch has no task.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{Stream, stream};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::convert;
use crate::{
    domain::{Failure, Kind, Reason, SessionState, Timestamp, TurnId},
    log::{Committed, Opened, Watch},
    proto::{self, SessionEvent, session_event},
};

/// Bytes of one snapshot chunk, about.
const CHUNK_BYTES: usize = 512 * 1024;

/// Until when events are delivered.
pub(super) enum Until {
    /// The session is deleted.
    Deleted,
    /// This turn ended.
    EndOf(TurnId),
}

struct Delivery {
    watch: Watch,
    ready: VecDeque<Vec<SessionEvent>>,
    bookmark_interval: Duration,
    until: Until,
    drain: CancellationToken,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Following,
    /// The last bookmark went out; the refusal follows.
    Draining,
    Over,
}

/// The events of a watch that was opened, as they go out.
pub(super) fn events(
    opened: Opened,
    bookmark_interval: Duration,
    until: Until,
    drain: CancellationToken,
) -> impl Stream<Item = Result<Vec<SessionEvent>, Status>> + Send + 'static {
    let Opened { uid: _, head, snapshot, watch } = opened;
    let ready = match snapshot {
        Some(state) => snapshot_frames(state),
        None => VecDeque::from([vec![bookmark(watch.cursor(), head)]]),
    };
    let delivery = Delivery { watch, ready, bookmark_interval, until, drain, stage: Stage::Following };
    stream::unfold(delivery, |mut delivery| async move {
        let next = delivery.next().await?;
        Some((next, delivery))
    })
}

impl Delivery {
    async fn next(&mut self) -> Option<Result<Vec<SessionEvent>, Status>> {
        match self.stage {
            Stage::Following => {}
            Stage::Draining => {
                self.stage = Stage::Over;
                let failure = Failure::new(Reason::ShuttingDown, "the server is stopping; resume at the next one");
                return Some(Err(failure.into()));
            }
            Stage::Over => return None,
        }
        if let Some(frames) = self.ready.pop_front() {
            return Some(Ok(frames));
        }
        let next = tokio::select! {
            biased;
            () = self.drain.cancelled() => {
                self.stage = Stage::Draining;
                return Some(Ok(vec![bookmark(self.watch.cursor(), self.watch.cursor())]));
            }
            next = tokio::time::timeout(self.bookmark_interval, self.watch.next()) => next,
        };
        match next {
            Err(_) => Some(Ok(vec![bookmark(self.watch.cursor(), self.watch.cursor())])),
            Ok(Ok(Some(events))) => Some(Ok(self.deliver(&events))),
            Ok(Ok(None)) => None,
            Ok(Err(failure)) => {
                self.stage = Stage::Over;
                Some(Err(failure.into()))
            }
        }
    }

    fn deliver(&mut self, events: &[Arc<Committed>]) -> Vec<SessionEvent> {
        let mut delivered = Vec::with_capacity(events.len());
        for event in events {
            delivered.push(SessionEvent::from(event.event().clone()));
            if self.is_last(&event.event().kind) {
                self.stage = Stage::Over;
                break;
            }
        }
        delivered
    }

    fn is_last(&self, kind: &Kind) -> bool {
        match (&self.until, kind) {
            (Until::EndOf(id), Kind::TurnUpdated { turn }) => turn.turn_id == *id && turn.status.is_final(),
            // The watch ends by itself after a deletion.
            (Until::EndOf(_) | Until::Deleted, _) => false,
        }
    }
}

/// Nothing new to show: all up to the cursor was sent.
fn bookmark(cursor: i64, head: i64) -> SessionEvent {
    SessionEvent {
        sequence: cursor,
        first_sequence: cursor + 1,
        event_time: Some(convert::timestamp(Timestamp::now())),
        kind: Some(session_event::Kind::Bookmark(proto::Bookmark { head_sequence: head.max(cursor) })),
        ..SessionEvent::default()
    }
}

/// The state in chunks: the record first, then the lists in order, each chunk of a size any client takes.
fn snapshot_frames(state: SessionState) -> VecDeque<Vec<SessionEvent>> {
    let frame = |kind| vec![SessionEvent { kind: Some(kind), ..SessionEvent::default() }];
    let sequence = state.session.sequence;
    let time = state.session.last_activity_time;
    let mut frames = VecDeque::from([frame(session_event::Kind::SnapshotStart(proto::SnapshotStart {}))]);
    for state in cut(state.into()) {
        frames.push_back(frame(session_event::Kind::SnapshotChunk(Box::new(proto::SnapshotChunk {
            state: Some(state),
        }))));
    }
    frames.push_back(vec![SessionEvent {
        sequence,
        event_time: Some(convert::timestamp(time)),
        kind: Some(session_event::Kind::SnapshotComplete(proto::SnapshotComplete {})),
        ..SessionEvent::default()
    }]);
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

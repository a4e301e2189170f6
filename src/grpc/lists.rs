//! Watches of the list of sessions, on the wire: changes in responses that any client takes, and a bookmark where there is
//! silence. tonic polls the stream itself: a watch has no task.

use std::collections::VecDeque;

use futures::{Stream, stream};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{page::MAX_BYTES, validate::LONGEST_SILENCE};
use crate::{
    domain::{Failure, Reason},
    log::{ListUpdate, ListWatch},
    proto::{SessionChange, WatchSessionsResponse},
};

struct Delivery {
    watch: ListWatch,
    ready: VecDeque<WatchSessionsResponse>,
    /// Of the last response.
    revision: i64,
    drain: CancellationToken,
    stage: Stage,
}

enum Stage {
    Following,
    /// The last bookmark went out; the refusal follows.
    Draining,
    Over,
}

/// The responses of a watch that was opened, as they go out.
pub(super) fn responses(
    watch: ListWatch,
    drain: CancellationToken,
) -> impl Stream<Item = Result<WatchSessionsResponse, Status>> + Send + 'static {
    let revision = watch.revision();
    let delivery = Delivery { watch, ready: VecDeque::new(), revision, drain, stage: Stage::Following };
    stream::unfold(delivery, |mut delivery| async move {
        let next = delivery.next().await?;
        Some((next, delivery))
    })
}

impl Delivery {
    async fn next(&mut self) -> Option<Result<WatchSessionsResponse, Status>> {
        match self.stage {
            Stage::Following => {}
            Stage::Draining => {
                self.stage = Stage::Over;
                let failure = Failure::new(Reason::ShuttingDown, "the server is stopping; resume at the next one");
                return Some(Err(failure.into()));
            }
            Stage::Over => return None,
        }
        if self.ready.is_empty() {
            let next = tokio::select! {
                biased;
                () = self.drain.cancelled() => {
                    self.stage = Stage::Draining;
                    return Some(Ok(self.bookmark()));
                }
                next = tokio::time::timeout(LONGEST_SILENCE, self.watch.next()) => next,
            };
            match next {
                Err(_) => {
                    // What no filter let through counts as seen.
                    self.revision = self.watch.revision();
                    return Some(Ok(self.bookmark()));
                }
                Ok(Ok(update)) => self.ready = cut(update),
                Ok(Err(failure)) => {
                    self.stage = Stage::Over;
                    return Some(Err(failure.into()));
                }
            }
        }
        let response = self.ready.pop_front()?;
        self.revision = response.revision;
        Some(Ok(response))
    }

    fn bookmark(&self) -> WatchSessionsResponse {
        WatchSessionsResponse { changes: Vec::new(), revision: self.revision, synced: false }
    }
}

/// Responses of a size that any client takes; all but the last say where their own last change stands.
fn cut(update: ListUpdate) -> VecDeque<WatchSessionsResponse> {
    let ListUpdate { changes, revision, synced } = update;
    let mut responses = VecDeque::new();
    let mut open = WatchSessionsResponse::default();
    let mut bytes = 0;
    for listed in changes {
        let revision = listed.revision;
        let change = SessionChange::from(listed);
        bytes += change.encoded_len();
        if bytes > MAX_BYTES && !open.changes.is_empty() {
            bytes = change.encoded_len();
            responses.push_back(std::mem::take(&mut open));
        }
        open.changes.push(change);
        open.revision = revision;
    }
    responses.push_back(WatchSessionsResponse { revision, synced, ..open });
    responses
}

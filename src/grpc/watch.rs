//! Watches on the wire: a snapshot or an empty bookmark first, then events as they are stored, and a bookmark where there
//! is silence. tonic polls the stream itself: a watch has no task.

use std::{collections::VecDeque, sync::LazyLock, time::Duration};

use futures::{Stream, stream};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{convert, frame::Frame, snapshot};
use crate::{
    domain::{Event, Failure, Kind, Reason, Timestamp, TurnId},
    log::{Blocks, Opened, Shown, Snapshot, Watch},
    proto::{self, Encoded, SessionEvent, session_event},
};

/// Watches that hold events back look up together, at multiples of their delay from here on, so that what goes to one
/// connection goes in one write.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How a watch is delivered.
pub(super) struct Terms {
    /// Longest silence before a bookmark.
    pub(super) bookmark_interval: Duration,
    /// Longest time that events wait for others.
    pub(super) batch_delay: Duration,
    /// Until when events are delivered.
    pub(super) until: Until,
    /// Ends it when the server stops.
    pub(super) drain: CancellationToken,
}

/// Until when events are delivered.
pub(super) enum Until {
    /// The session is deleted.
    Deleted,
    /// This turn ended.
    EndOf(TurnId),
}

struct Delivery<R> {
    watch: Watch,
    /// What goes out before anything else.
    ready: VecDeque<SessionEvent>,
    /// The snapshot whose blocks are to follow.
    snapshot: Option<Snapshot>,
    /// The other fields of the response.
    rest: R,
    terms: Terms,
    /// When events went out last.
    sent: Option<Instant>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Following,
    /// The last bookmark went out; the refusal follows.
    Draining,
    Over,
}

/// The responses of a watch that was opened, as they go out. `rest` makes the other fields of each.
pub(super) fn responses<M: prost::Message>(
    opened: Opened,
    terms: Terms,
    rest: impl FnMut() -> M + Send + 'static,
) -> impl Stream<Item = Result<Encoded, Status>> + Send + 'static {
    let Opened { uid: _, head, snapshot, watch } = opened;
    let ready = match &snapshot {
        Some(snapshot) => snapshot::begin(snapshot).collect(),
        None => VecDeque::from([bookmark(watch.cursor(), watch.cursor(), head)]),
    };
    let delivery = Delivery { watch, ready, snapshot, rest, terms, sent: None, stage: Stage::Following };
    stream::unfold(delivery, |mut delivery| async move {
        let next = delivery.next().await?;
        Some((next, delivery))
    })
}

impl<M: prost::Message, R: FnMut() -> M> Delivery<R> {
    async fn next(&mut self) -> Option<Result<Encoded, Status>> {
        match self.stage {
            Stage::Following => {}
            Stage::Draining => return Some(Err(self.refuse(going_away()))),
            Stage::Over => return None,
        }
        while self.ready.is_empty() && self.snapshot.is_some() {
            // A snapshot that is cut gives no cursor, so there is no bookmark either.
            if self.terms.drain.is_cancelled() {
                return Some(Err(self.refuse(going_away())));
            }
            if let Err(failure) = self.go_on().await {
                return Some(Err(self.refuse(failure)));
            }
        }
        if let Some(event) = self.ready.pop_front() {
            return Some(Ok(self.own(&event)));
        }
        let silence_ends = Instant::now() + self.terms.bookmark_interval;
        let look_up = self.sent.map(|sent| next_look(sent, self.terms.batch_delay));
        let events = async {
            if let Some(at) = look_up {
                sleep_until(at).await;
            }
            self.watch.next().await
        };
        let next = tokio::select! {
            biased;
            () = self.terms.drain.cancelled() => {
                self.stage = Stage::Draining;
                return Some(Ok(self.bookmark()));
            }
            next = tokio::time::timeout_at(silence_ends, events) => next,
        };
        match next {
            Err(_) => Some(Ok(self.bookmark())),
            Ok(Ok(Some(shown))) => Some(Ok(self.deliver(&shown))),
            Ok(Ok(None)) => None,
            Ok(Err(failure)) => Some(Err(self.refuse(failure))),
        }
    }

    /// Reads on in the snapshot.
    async fn go_on(&mut self) -> Result<(), Failure> {
        let Some(mut snapshot) = self.snapshot.take() else { return Ok(()) };
        match self.watch.blocks(&mut snapshot).await? {
            Blocks::Next(blocks) => {
                self.ready.extend(snapshot::blocks(blocks));
                self.snapshot = Some(snapshot);
            }
            Blocks::Complete => self.ready.push_back(snapshot::complete(&snapshot)),
            Blocks::Changed => {
                let snapshot = self.watch.snapshot().await?;
                self.ready.extend(snapshot::begin(&snapshot));
                self.snapshot = Some(snapshot);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, failure: Failure) -> Status {
        self.stage = Stage::Over;
        failure.into()
    }

    fn deliver(&mut self, shown: &[Shown]) -> Encoded {
        if !self.terms.batch_delay.is_zero() {
            self.sent = Some(Instant::now());
        }
        let mut frame = Frame::new(&(self.rest)());
        for shown in shown {
            let last = shown.events().iter().position(|event| self.is_last(event));
            frame.shown(shown, last.map_or(shown.range.len(), |at| at + 1));
            if last.is_some() {
                self.stage = Stage::Over;
                break;
            }
        }
        frame.finish()
    }

    fn is_last(&self, event: &Event) -> bool {
        match (&self.terms.until, &event.kind) {
            (Until::EndOf(id), Kind::TurnUpdated { turn }) => turn.turn_id == *id && turn.status.is_final(),
            // The watch ends by itself after a deletion.
            (Until::EndOf(_) | Until::Deleted, _) => false,
        }
    }

    /// All up to here was sent, or left out because of the filter.
    fn bookmark(&mut self) -> Encoded {
        let cursor = self.watch.cursor();
        let covered = self.watch.catch_up();
        self.own(&bookmark(cursor, covered, covered))
    }

    fn own(&mut self, event: &SessionEvent) -> Encoded {
        Frame::new(&(self.rest)()).own(event).finish()
    }
}

fn going_away() -> Failure {
    Failure::new(Reason::ShuttingDown, "the server is stopping; resume at the next one")
}

/// When a watch that sent something just now looks for more: at once without a delay.
fn next_look(sent: Instant, delay: Duration) -> Instant {
    if delay.is_zero() {
        return sent;
    }
    let since = sent.saturating_duration_since(*EPOCH).as_nanos();
    let looks = since / delay.as_nanos() + 1;
    *EPOCH + delay.saturating_mul(u32::try_from(looks).unwrap_or(u32::MAX))
}

/// Nothing to show between the cursor and what is covered.
fn bookmark(cursor: i64, covered: i64, head: i64) -> SessionEvent {
    SessionEvent {
        sequence: covered,
        first_sequence: cursor + 1,
        event_time: Some(convert::timestamp(Timestamp::now())),
        kind: Some(session_event::Kind::Bookmark(proto::Bookmark { head_sequence: head.max(covered) })),
        ..SessionEvent::default()
    }
}

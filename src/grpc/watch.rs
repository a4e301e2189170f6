//! Watches on the wire: a snapshot or an empty bookmark first, then events as they are stored, and a bookmark where there
//! is silence. tonic polls the stream itself: a watch has no task.

use std::{collections::VecDeque, pin::Pin, sync::LazyLock, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, Stream, stream};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
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

/// The fields of a response beside its events: encoded once, like them.
pub(super) struct Rest {
    first: Option<Bytes>,
    each: Bytes,
}

impl Rest {
    /// Those of the first response, and those of all that follow.
    pub(super) fn new(first: &impl prost::Message, each: &impl prost::Message) -> Self {
        Self { first: Some(first.encode_to_vec().into()), each: each.encode_to_vec().into() }
    }

    fn next(&mut self) -> Bytes {
        self.first.take().unwrap_or_else(|| self.each.clone())
    }
}

/// Until when events are delivered.
pub(super) enum Until {
    /// The session is deleted.
    Deleted,
    /// This turn ended.
    EndOf(TurnId),
}

struct Delivery {
    watch: Watch,
    /// What goes out before anything else.
    ready: VecDeque<SessionEvent>,
    /// The snapshot whose blocks are to follow.
    snapshot: Option<Snapshot>,
    /// The other fields of the response.
    rest: Rest,
    bookmark_interval: Duration,
    batch_delay: Duration,
    until: Until,
    /// When something went out last, and whether that were events.
    sent: (Instant, bool),
    /// Both live as long as the watch, so that an event costs no timer and no registration.
    silence: Pin<Box<Sleep>>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Following,
    /// The last bookmark went out; the refusal follows.
    Draining,
    Over,
}

/// The responses of a watch that was opened, as they go out, with the other fields of each.
pub(super) fn responses(
    opened: Opened,
    terms: Terms,
    rest: Rest,
) -> impl Stream<Item = Result<Encoded, Status>> + Send + 'static {
    let Opened { uid: _, head, snapshot, watch } = opened;
    let ready = match &snapshot {
        Some(snapshot) => snapshot::begin(snapshot).collect(),
        None => VecDeque::from([bookmark(watch.cursor(), watch.cursor(), head)]),
    };
    let Terms { bookmark_interval, batch_delay, until, drain } = terms;
    let now = Instant::now();
    let silence = Box::pin(sleep_until(now + bookmark_interval));
    let (sent, drain) = ((now, false), Box::pin(drain.cancelled_owned()));
    let stage = Stage::Following;
    let delivery =
        Delivery { watch, ready, snapshot, rest, bookmark_interval, batch_delay, until, sent, silence, drain, stage };
    stream::unfold(delivery, |mut delivery| async move {
        let next = delivery.next().await?;
        Some((next, delivery))
    })
}

impl Delivery {
    async fn next(&mut self) -> Option<Result<Encoded, Status>> {
        match self.stage {
            Stage::Following => {}
            Stage::Draining => return Some(Err(self.refuse(going_away()))),
            Stage::Over => return None,
        }
        while self.ready.is_empty() && self.snapshot.is_some() {
            // A snapshot that is cut gives no cursor, so there is no bookmark either.
            if (&mut self.drain).now_or_never().is_some() {
                return Some(Err(self.refuse(going_away())));
            }
            if let Err(failure) = self.go_on().await {
                return Some(Err(self.refuse(failure)));
            }
        }
        if let Some(event) = self.ready.pop_front() {
            return Some(Ok(self.own(&event)));
        }
        loop {
            let (sent, events_sent) = self.sent;
            let look_up = (events_sent && !self.batch_delay.is_zero()).then(|| next_look(sent, self.batch_delay));
            let events = async {
                if let Some(at) = look_up {
                    sleep_until(at).await;
                }
                self.watch.next().await
            };
            let next = tokio::select! {
                biased;
                () = &mut self.drain => {
                    self.stage = Stage::Draining;
                    return Some(Ok(self.bookmark()));
                }
                next = events => next,
                () = &mut self.silence => {
                    // It was set when something went out before the last.
                    let ends = sent + self.bookmark_interval;
                    let over = ends <= Instant::now();
                    self.silence.as_mut().reset(if over { Instant::now() + self.bookmark_interval } else { ends });
                    if over {
                        return Some(Ok(self.bookmark()));
                    }
                    continue;
                }
            };
            return match next {
                Ok(Some(shown)) => Some(Ok(self.deliver(&shown))),
                Ok(None) => None,
                Err(failure) => Some(Err(self.refuse(failure))),
            };
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
        self.sent = (Instant::now(), true);
        let mut frame = Frame::new(self.rest.next());
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
        match (&self.until, &event.kind) {
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
        self.sent.0 = Instant::now();
        Frame::new(self.rest.next()).own(event).finish()
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

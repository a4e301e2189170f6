//! Watching: replay from the store, then follow the hub, by one loop. A watcher registers before it reads, so nothing falls
//! between; what the ring no longer has is read from the store, so nothing is lost however slow the watcher is.

use std::{ops::Range, sync::Arc};

use super::{
    EventLog, failure,
    filter::{Filter, Sieve},
    hub::{Seat, Taken},
    pages::{self, Page},
    segment::{Segment, Shown},
    snapshot::{Blocks, Snapshot},
};
use crate::domain::{Failure, Kind, LogUid, Reason, SessionKey, SessionStatus};

/// Bytes that are handed out at once, about: what a watcher that does not read holds on to.
const HANDFUL: usize = 256 * 1024;

/// Where a watch begins, and what it leaves out.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// After this sequence; `None`: with a snapshot.
    pub after: Option<i64>,
    /// The log that the sequence belongs to; `None`: not checked.
    pub uid: Option<LogUid>,
    /// Begin with a snapshot where the sequence cannot be had.
    pub or_snapshot: bool,
    /// What is not shown.
    pub filter: Filter,
}

/// A watch that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Of the log.
    pub uid: LogUid,
    /// Sequence of the newest event when it was opened.
    pub head: i64,
    /// The state at [`Watch::cursor`], where the watch begins with one.
    pub snapshot: Option<Snapshot>,
    /// What follows.
    pub watch: Watch,
}

/// The events of a session from some sequence on, without end.
#[derive(Debug)]
pub struct Watch {
    log: EventLog,
    key: SessionKey,
    seat: Seat,
    sieve: Sieve,
    /// Newest sequence that what was handed out stands for.
    cursor: i64,
    /// Newest sequence that was looked at: what lies between was left out.
    seen: i64,
    ended: bool,
    page: Option<Arc<Page>>,
}

pub(super) async fn open(log: &EventLog, key: &SessionKey, start: Start) -> Result<Opened, Failure> {
    // First the seat, then the read: what is stored before the seat is read, what is stored after it is published to it.
    let mut seat = Seat::take(&log.inner.hubs, key);
    let store = log.store();
    let after = start.after.unwrap_or(0);
    // A snapshot needs no events, only to which log it belongs.
    let limit = start.after.map_or(0, pages::limit);
    let page = store.events(key, after, limit).await.map_err(|error| failure(error, key))?;
    if page.deleted {
        return Err(Failure::session_not_found(&key.session));
    }
    let (uid, mut head) = (page.uid.clone(), page.head);
    let refusal = refuse(&start, after, head, &uid).or_else(|| truncated(start.after?, page.trimmed));
    seat.set_behind(true);
    let mut watch = Watch {
        log: log.clone(),
        key: key.clone(),
        seat,
        sieve: Sieve::new(start.filter),
        cursor: after,
        seen: after,
        ended: false,
        page: None,
    };
    let snapshot = match (refusal, start.after) {
        (Some(refusal), _) if !start.or_snapshot => return Err(refusal),
        (None, Some(_)) => {
            watch.page = Some(Arc::new(Page::new(page)));
            None
        }
        (Some(_), _) | (None, None) => {
            let snapshot = watch.snapshot().await?;
            head = snapshot.sequence();
            Some(snapshot)
        }
    };
    Ok(Opened { uid, head, snapshot, watch })
}

fn refuse(start: &Start, after: i64, head: i64, uid: &LogUid) -> Option<Failure> {
    start.after?;
    if let Some(expected) = start.uid.as_ref().filter(|expected| *expected != uid) {
        let message = "the log was replaced, so the sequence means nothing in it; ask for a snapshot";
        return Some(Failure::new(Reason::SessionReplaced, message).with("expected_uid", expected).with("uid", uid));
    }
    if after > head {
        let message = format!("sequence {after} is above the head {head}: it is not of this log; ask for a snapshot");
        let failure = Failure::new(Reason::SequenceAhead, message);
        return Some(failure.with("after_sequence", after).with("head_sequence", head));
    }
    None
}

/// Retention removed what follows the sequence.
fn truncated(after: i64, trimmed: i64) -> Option<Failure> {
    let message = format!("the events after {after} are no longer kept; ask for a snapshot");
    let failure = || Failure::new(Reason::SequenceTruncated, message).with("after_sequence", after);
    (after < trimmed).then(|| failure().with("oldest_sequence", trimmed + 1))
}

impl Watch {
    /// The newest sequence that what was handed out stands for, or where the watch began.
    #[must_use]
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Takes what was left out since as seen; returns the newest sequence that the watcher then knows all of.
    pub fn catch_up(&mut self) -> i64 {
        self.cursor = self.seen;
        self.cursor
    }

    /// The state as of now; the watch goes on after it.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::StorageUnavailable`].
    pub async fn snapshot(&mut self) -> Result<Snapshot, Failure> {
        let snapshot = Snapshot::read(&self.log, &self.key, &self.sieve).await?;
        (self.cursor, self.seen) = (snapshot.sequence(), snapshot.sequence());
        Ok(snapshot)
    }

    /// The next blocks of a snapshot of this watch.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::StorageUnavailable`].
    pub async fn blocks(&self, snapshot: &mut Snapshot) -> Result<Blocks, Failure> {
        snapshot.blocks(&self.log, &self.key, &self.sieve).await
    }

    /// What comes next, at least one event; waits for it. `None` after the end of the session. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`]; the watch can be asked again. [`Reason::SequenceTruncated`] when it was so slow
    /// that retention passed it.
    pub async fn next(&mut self) -> Result<Option<Vec<Shown>>, Failure> {
        loop {
            let mut shown = Vec::new();
            if self.ended {
                return Ok(None);
            }
            if self.seat.is_behind() {
                let page = match self.page.take() {
                    Some(page) => page,
                    None => self.seat.pages().after(self.log.store(), &self.key, self.seen).await?,
                };
                if let Some(refusal) = truncated(self.seen, page.trimmed) {
                    return Err(refusal);
                }
                if let Some(segment) = &page.segment {
                    self.learn(std::slice::from_ref(segment)).await?;
                    self.look_at(segment, &mut shown);
                }
                // At the head the hub takes over: what it published since the seat was taken lies in its ring.
                self.seat.set_behind(self.seen < page.head);
            } else {
                match self.seat.after(self.seen, HANDFUL) {
                    Taken::Segments(segments) => {
                        self.learn(&segments).await?;
                        // What does not follow is not shown: the store has what lies between.
                        let follows = segments.iter().all(|segment| self.look_at(segment, &mut shown));
                        self.seat.set_behind(!follows);
                    }
                    Taken::Nothing => self.seat.changed().await,
                    Taken::Behind => self.seat.set_behind(true),
                }
            }
            if !shown.is_empty() {
                return Ok(Some(shown));
            }
        }
    }

    /// Asks whose those blocks are that were begun before the watch, where it matters. Before anything is taken over, so that
    /// nothing is lost when this is dropped.
    async fn learn(&mut self, segments: &[Arc<Segment>]) -> Result<(), Failure> {
        let events = segments.iter().flat_map(|segment| segment.events());
        let unknown = self.sieve.unknown(events.filter(|event| event.sequence > self.seen));
        for block in unknown {
            let turn = self.log.store().block_turn(&self.key, &block).await;
            let turn = turn.map_err(|error| failure(error, &self.key))?;
            self.sieve.learn(block, turn.as_ref());
        }
        Ok(())
    }

    /// Takes over what a segment has after the cursor, but for what is left out. `false`: it does not follow.
    fn look_at(&mut self, segment: &Arc<Segment>, shown: &mut Vec<Shown>) -> bool {
        let events = segment.events();
        let from = events.partition_point(|event| event.sequence <= self.seen);
        let (Some(first), Some(last)) = (events.get(from), events.last()) else { return true };
        if first.first_sequence > self.seen + 1 {
            return false;
        }
        if self.sieve.is_open() {
            self.show(segment, from..events.len(), shown);
        } else {
            let mut start = from;
            for (at, event) in events.iter().enumerate().skip(from) {
                if !self.sieve.passes(event) {
                    self.show(segment, start..at, shown);
                    start = at + 1;
                }
            }
            self.show(segment, start..events.len(), shown);
        }
        self.seen = last.sequence;
        // Nothing follows a deletion.
        self.ended = matches!(last.kind, Kind::StatusChanged { status: SessionStatus::Deleted, .. });
        true
    }

    fn show(&mut self, segment: &Arc<Segment>, range: Range<usize>, shown: &mut Vec<Shown>) {
        let [first, ..] = &segment.events()[range.clone()] else { return };
        let expected = self.cursor + 1;
        let first_sequence = (first.first_sequence != expected).then_some(expected);
        self.cursor = segment.events()[range.end - 1].sequence;
        shown.push(Shown { segment: Arc::clone(segment), range, first_sequence });
    }
}

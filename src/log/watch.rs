//! Watching: replay from the store, then follow the hub, by one loop. A watcher registers before it reads, so nothing falls
//! between; what the ring no longer has is read from the store, so nothing is lost however slow the watcher is.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Committed, EventLog, failure,
    hub::{Seat, Taken},
};
use crate::domain::{Event, Failure, Kind, LogUid, Reason, SessionKey, SessionState, SessionStatus};

/// Events of one page read from the store.
const PAGE: usize = 512;

/// Where a watch begins.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// After this sequence; `None`: with a snapshot.
    pub after: Option<i64>,
    /// The log that the sequence belongs to; `None`: not checked.
    pub uid: Option<LogUid>,
    /// Begin with a snapshot where the sequence cannot be had.
    pub or_snapshot: bool,
}

/// A watch that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Of the log.
    pub uid: LogUid,
    /// Sequence of the newest event when it was opened.
    pub head: i64,
    /// The state at [`Watch::cursor`], where the watch begins with one.
    pub snapshot: Option<SessionState>,
    /// What follows.
    pub watch: Watch,
}

/// The events of a session from some sequence on, without end.
#[derive(Debug)]
pub struct Watch {
    log: EventLog,
    key: SessionKey,
    seat: Seat,
    cursor: i64,
    /// Read the store before following the hub.
    behind: bool,
    ended: bool,
    ready: VecDeque<Event>,
}

pub(super) async fn open(log: &EventLog, key: &SessionKey, start: Start) -> Result<Opened, Failure> {
    // First the seat, then the read: what is stored before the seat is read, what is stored after it is published to it.
    let seat = Seat::take(&log.inner.hubs, key);
    let store = log.store();
    let after = start.after.unwrap_or(0);
    // A snapshot needs no events, only to which log it belongs.
    let limit = start.after.map_or(0, |_| PAGE);
    let page = store.events(key, after, limit).await.map_err(|error| failure(error, key))?;
    if page.deleted {
        return Err(Failure::session_not_found(&key.session));
    }
    let refusal = refuse(&start, after, page.head, &page.uid).or_else(|| truncated(start.after?, page.trimmed));
    let mut watch = Watch {
        log: log.clone(),
        key: key.clone(),
        seat,
        cursor: after,
        behind: true,
        ended: false,
        ready: VecDeque::new(),
    };
    let snapshot = match (refusal, start.after) {
        (Some(refusal), _) if !start.or_snapshot => return Err(refusal),
        (None, Some(_)) => {
            watch.ready = page.events.into();
            None
        }
        (Some(_), _) | (None, None) => {
            let state = store.snapshot(key).await.map_err(|error| failure(error, key))?;
            let state = state.ok_or_else(|| Failure::session_not_found(&key.session))?;
            watch.cursor = state.session.sequence;
            Some(state)
        }
    };
    let head = snapshot.as_ref().map_or(page.head, |state| state.session.sequence);
    Ok(Opened { uid: page.uid, head, snapshot, watch })
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
    /// The newest sequence that was handed out, or where the watch began.
    #[must_use]
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// The events that come next, at least one; waits for them. `None` after the end of the session. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`]; the watch can be asked again. [`Reason::SequenceTruncated`] when it was so slow
    /// that retention passed it.
    pub async fn next(&mut self) -> Result<Option<Vec<Arc<Committed>>>, Failure> {
        loop {
            if self.ended {
                return Ok(None);
            }
            if !self.ready.is_empty() {
                let events = self.ready.drain(..).map(|event| Arc::new(Committed(event))).collect();
                return Ok(Some(self.hand_out(events)));
            }
            if self.behind {
                self.read().await?;
                continue;
            }
            match self.seat.after(self.cursor) {
                Taken::Events(events) => return Ok(Some(self.hand_out(events))),
                Taken::Nothing => self.seat.changed().await,
                Taken::Behind => self.behind = true,
            }
        }
    }

    async fn read(&mut self) -> Result<(), Failure> {
        let page = self.log.store().events(&self.key, self.cursor, PAGE).await;
        let page = page.map_err(|error| failure(error, &self.key))?;
        if let Some(refusal) = truncated(self.cursor, page.trimmed) {
            return Err(refusal);
        }
        // At the head the hub takes over: what it published since the seat was taken lies in its ring.
        self.behind = !page.events.is_empty();
        self.ready = page.events.into();
        Ok(())
    }

    fn hand_out(&mut self, events: Vec<Arc<Committed>>) -> Vec<Arc<Committed>> {
        if let Some(last) = events.last() {
            self.cursor = last.0.sequence;
            // Nothing follows a deletion.
            self.ended = matches!(last.0.kind, Kind::StatusChanged { status: SessionStatus::Deleted, .. });
        }
        events
    }
}

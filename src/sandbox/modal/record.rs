//! One row of the ledger, kept true while its sandbox lives and ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tonic::Status;
use uuid::Uuid;

use super::{kept::Kept, remote::Remote, router::Router};
use crate::{
    domain::{LedgerEntry, LedgerSnapshot, LedgerState, Timestamp},
    sandbox::{Error, ledger::Ledger},
};

/// How long Modal keeps the files of a sandbox that was ended. It is not made longer by being used.
const KEEP: Duration = Duration::from_hours(30 * 24);

/// A row, and where it stands.
#[derive(Debug)]
pub(super) struct Record {
    ledger: Arc<dyn Ledger>,
    kept: Kept,
    entry: Mutex<LedgerEntry>,
}

impl Record {
    /// Of a row that is written already.
    pub(super) fn new(ledger: Arc<dyn Ledger>, kept: Kept, entry: LedgerEntry) -> Self {
        Self { ledger, kept, entry: Mutex::new(entry) }
    }

    /// When Modal ends the sandbox.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.entry().facts.expire_time
    }

    /// Makes an image of its files.
    pub(super) async fn snapshot(&self, router: &Router) -> Result<LedgerSnapshot, Status> {
        // From before it is made: Modal does not keep it for longer than it is thought to.
        let from = Timestamp::now();
        let image_id = router.snapshot(Uuid::new_v4().to_string(), KEEP).await?;
        Ok(kept_from(from, image_id))
    }

    /// Notes its end, and what was kept of it. Without that, it leaves its files itself, and they are found by its id.
    pub(super) async fn ended(&self, remote: &Remote, snapshot: Option<LedgerSnapshot>) -> Result<(), Error> {
        let mut entry = self.entry();
        entry.state = LedgerState::Ended;
        entry.facts.end_time = Some(Timestamp::now());
        let old = std::mem::replace(&mut entry.facts.snapshot, snapshot);
        self.ledger.put(&entry).await?;
        let kept = entry.facts.snapshot.clone();
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) = entry;
        // Whatever else there is of it is older than its end, or the same once more.
        if let Some(old) = old.filter(|old| kept.as_ref().is_none_or(|kept| kept.image_id != old.image_id)) {
            self.kept.drop_image_later(old.image_id);
        }
        if kept.is_some() {
            self.kept.drop_left_later(remote.clone());
        }
        Ok(())
    }

    fn entry(&self) -> LedgerEntry {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Until when Modal keeps anything of a sandbox that is over since then.
pub(super) fn kept_until(end: Timestamp) -> Timestamp {
    after(end, KEEP)
}

/// An image that Modal keeps from this time on.
pub(super) fn kept_from(time: Timestamp, image_id: String) -> LedgerSnapshot {
    LedgerSnapshot { image_id, expire_time: kept_until(time) }
}

/// So long after a time.
pub(super) fn after(time: Timestamp, later: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(i64::try_from(later.as_micros()).unwrap_or(i64::MAX)))
}

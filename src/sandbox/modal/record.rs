//! One row of the ledger, kept true while its sandbox lives and ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tonic::Status;
use uuid::Uuid;

use super::{control::Control, router::Router};
use crate::{
    domain::{LedgerEntry, LedgerSnapshot, LedgerState, Timestamp},
    modal_wire::client::ImageDeleteRequest,
    sandbox::{Error, ledger::Ledger},
};

/// How long Modal keeps the files of a sandbox that was ended. It is not made longer by being used.
const KEEP: Duration = Duration::from_hours(30 * 24);

/// A row, and where it stands.
#[derive(Debug)]
pub(super) struct Record {
    ledger: Arc<dyn Ledger>,
    control: Arc<Control>,
    entry: Mutex<LedgerEntry>,
}

impl Record {
    /// Of a row that is written already.
    pub(super) fn new(ledger: Arc<dyn Ledger>, control: Arc<Control>, entry: LedgerEntry) -> Self {
        Self { ledger, control, entry: Mutex::new(entry) }
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

    /// Notes its end, and what it left. A snapshot from before is dropped where there is a newer one.
    pub(super) async fn ended(&self, snapshot: Option<LedgerSnapshot>) -> Result<(), Error> {
        let mut entry = self.entry();
        entry.state = LedgerState::Ended;
        entry.facts.end_time = Some(Timestamp::now());
        // Without one, what was kept before is older than its end: it leaves a snapshot itself.
        let old = std::mem::replace(&mut entry.facts.snapshot, snapshot);
        self.ledger.put(&entry).await?;
        let kept = entry.facts.snapshot.clone();
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) = entry;
        if let (Some(old), Some(new)) = (old, kept)
            && old.image_id != new.image_id
        {
            drop_image(&self.control, old.image_id).await;
        }
        Ok(())
    }

    fn entry(&self) -> LedgerEntry {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Drops an image that nobody needs any more; Modal would keep it until its time is over.
pub(super) async fn drop_image(control: &Control, image_id: String) {
    let request = ImageDeleteRequest { image_id };
    let dropped = control.change(request, |mut control, request| async move { control.image_delete(request).await });
    if let Err(status) = dropped.await {
        tracing::debug!(%status, "a snapshot that is not needed any more is left to its time");
    }
}

/// An image that Modal keeps from this time on.
pub(super) fn kept_from(time: Timestamp, image_id: String) -> LedgerSnapshot {
    LedgerSnapshot { image_id, expire_time: after(time, KEEP) }
}

/// So long after a time.
pub(super) fn after(time: Timestamp, later: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(i64::try_from(later.as_micros()).unwrap_or(i64::MAX)))
}

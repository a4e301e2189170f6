//! Modal knows no owners: the highest epoch that a sandbox has seen is kept here, and whether this process may still change
//! anything is asked of its lease right before each call that does.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use crate::sandbox::{Epoch, Error, lease::Lease};

/// Of one sandbox, whichever of Modal's it is.
#[derive(Clone, Debug)]
pub(super) struct Epochs {
    seen: Arc<AtomicI64>,
    lease: Arc<dyn Lease>,
}

impl Epochs {
    pub(super) fn new(lease: Arc<dyn Lease>) -> Self {
        Self { seen: Arc::new(AtomicI64::new(0)), lease }
    }

    /// Notes the epoch of a command; refuses one that is stale.
    pub(super) fn see(&self, given: Epoch) -> Result<(), Error> {
        let seen = self.seen.fetch_max(given.0, Ordering::SeqCst);
        if seen > given.0 {
            return Err(Error::Stale { given: given.0, seen });
        }
        self.held(given)
    }

    /// Refuses when another process may have taken over.
    pub(super) fn held(&self, given: Epoch) -> Result<(), Error> {
        // Whoever holds it now commands with a higher one.
        if self.lease.held() { Ok(()) } else { Err(Error::Stale { given: given.0, seen: given.0.saturating_add(1) }) }
    }

    /// The highest there was.
    pub(super) fn newest(&self) -> Epoch {
        Epoch(self.seen.load(Ordering::SeqCst))
    }
}

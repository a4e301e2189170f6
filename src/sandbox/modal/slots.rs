//! Where each sandbox of ours is, one of Modal's after the other: one caller at a time makes, finds or removes it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::{epochs::Epochs, place::Place};
use crate::{
    domain::SandboxId,
    sandbox::{Epoch, Error, lease::Lease},
};

/// All of them.
#[derive(Debug)]
pub(super) struct Slots {
    lease: Arc<dyn Lease>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shut: bool,
    by_id: HashMap<SandboxId, Arc<Turn<Slot>>>,
}

/// One.
#[derive(Debug)]
pub(super) struct Slot {
    epochs: Epochs,
    place: Option<Place>,
}

impl Slots {
    pub(super) fn new(lease: Arc<dyn Lease>) -> Self {
        Self { lease, state: Mutex::default() }
    }

    /// Waits for one's turn with a sandbox.
    pub(super) async fn enter(&self, id: &SandboxId) -> Result<OwnedMutexGuard<Slot>, Error> {
        let slot = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.shut {
                return Err(Error::Unavailable("sandboxes at Modal are shut down".to_owned()));
            }
            let new = || Arc::new(Turn::new(Slot { epochs: Epochs::new(Arc::clone(&self.lease)), place: None }));
            Arc::clone(state.by_id.entry(id.clone()).or_insert_with(new))
        };
        Ok(slot.lock_owned().await)
    }

    /// Gives up the place of a sandbox that was removed, unless somebody waits for it.
    pub(super) fn leave(&self, id: &SandboxId, slot: OwnedMutexGuard<Slot>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // One is here, one in the map; who enters takes another, under the same lock.
        if Arc::strong_count(OwnedMutexGuard::mutex(&slot)) <= 2 {
            state.by_id.remove(id);
        }
    }

    /// Refuses when another process may have taken over.
    pub(super) fn held(&self) -> Result<(), Error> {
        Epochs::new(Arc::clone(&self.lease)).held(Epoch(0))
    }

    /// Lets nobody enter any more, waits for those who did, and returns what they left open.
    pub(super) async fn shut(&self) -> Vec<Place> {
        let slots: Vec<_> = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.shut = true;
            state.by_id.values().cloned().collect()
        };
        let mut open = Vec::new();
        for slot in slots {
            open.extend(slot.lock().await.place().cloned());
        }
        open
    }
}

impl Slot {
    pub(super) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The place, as long as programs can start in it.
    pub(super) fn place(&self) -> Option<&Place> {
        self.place.as_ref().filter(|place| place.is_open())
    }

    pub(super) fn fill(&mut self, place: Place) {
        self.place = Some(place);
    }

    pub(super) fn take(&mut self) -> Option<Place> {
        self.place.take()
    }
}

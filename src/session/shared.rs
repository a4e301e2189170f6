//! What the manager and all actors share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Command, Config, Ending,
    once::Flights,
    prebuilt::Prebuilt,
    redact::{self, Known, Values},
};
use crate::{
    domain::{ProfileSetup, SessionKey},
    log::EventLog,
};

/// See the module.
pub(super) struct Shared {
    pub(super) log: EventLog,
    pub(super) config: Config,
    pub(super) known: Known,
    pub(super) drain: CancellationToken,
    /// Set before `drain` is.
    pub(super) ending: OnceLock<Ending>,
    pub(super) tasks: TaskTracker,
    /// Rings when something elsewhere is to be ended that could not be reached.
    pub(super) reap: Notify,
    pub(super) flights: Arc<Flights>,
    pub(super) prebuilt: Prebuilt,
    pub(super) actors: Mutex<HashMap<SessionKey, mpsc::Sender<Command>>>,
}

impl Shared {
    /// What becomes of agents that run now.
    pub(super) fn ending(&self) -> Ending {
        self.ending.get().copied().unwrap_or(Ending::Stop)
    }

    /// The secrets that are replaced in what the session's agent prints: the server's, and those of the profile's revision.
    pub(super) fn values_of(&self, profile: &ProfileSetup) -> Arc<Values> {
        // One that the server does not have, no agent was given.
        let named = |name: &str| self.config.secrets.get(name).ok();
        self.known.with(redact::of_profile(profile, named))
    }

    /// Which sessions have an actor, and where its commands go.
    pub(super) fn slots(&self) -> MutexGuard<'_, HashMap<SessionKey, mpsc::Sender<Command>>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

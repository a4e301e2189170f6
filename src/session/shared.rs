//! What the manager and all actors share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Command, Config, Ending, once::Flights};
use crate::{domain::SessionKey, log::EventLog};

/// See the module.
pub(super) struct Shared {
    pub(super) log: EventLog,
    pub(super) config: Config,
    pub(super) drain: CancellationToken,
    /// Set before `drain` is.
    pub(super) ending: OnceLock<Ending>,
    pub(super) tasks: TaskTracker,
    pub(super) flights: Arc<Flights>,
    pub(super) actors: Mutex<HashMap<SessionKey, mpsc::Sender<Command>>>,
}

impl Shared {
    /// What becomes of agents that run now.
    pub(super) fn ending(&self) -> Ending {
        self.ending.get().copied().unwrap_or(Ending::Stop)
    }

    /// Which sessions have an actor, and where its commands go.
    pub(super) fn slots(&self) -> MutexGuard<'_, HashMap<SessionKey, mpsc::Sender<Command>>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What the manager and all actors share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Command, Config, once::Flights};
use crate::{domain::SessionKey, log::EventLog};

/// See the module.
pub(super) struct Shared {
    pub(super) log: EventLog,
    pub(super) config: Config,
    pub(super) drain: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) flights: Arc<Flights>,
    pub(super) actors: Mutex<HashMap<SessionKey, mpsc::Sender<Command>>>,
}

impl Shared {
    /// Which sessions have an actor, and where its commands go.
    pub(super) fn slots(&self) -> MutexGuard<'_, HashMap<SessionKey, mpsc::Sender<Command>>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

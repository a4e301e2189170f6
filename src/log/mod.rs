//! The event log: order and fan-out over a store.
//!
//! It is the one place that knows "commit, then publish, then acknowledge": an event reaches a watcher, and an append its
//! caller, only after the store has it. It knows nothing of agents, sandboxes or transport.

mod appender;
mod filter;
mod health;
mod hub;
mod lists;
mod pages;
mod segment;
mod snapshot;
mod timing;
mod watch;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::{Failure, Reason, Session, SessionKey, TenantId},
    store::{self, Acquired, Batch, SessionFilter, Store},
};

pub use filter::Filter;
pub use health::Health;
pub use lists::{ListUpdate, ListWatch};
pub use segment::{Encoded, Segment, Shown};
pub use snapshot::{Blocks, Snapshot};
pub use watch::{Opened, Start, Watch};

/// Batches that wait for the appender; more and appending waits too.
const QUEUE: usize = 1024;

/// The log of all sessions.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    queue: mpsc::Sender<appender::Submission>,
    hubs: hub::Hubs,
    health: health::Monitor,
    bells: lists::Bells,
    closing: CancellationToken,
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("store", &self.inner.store).finish_non_exhaustive()
    }
}

impl EventLog {
    /// A log over a store. Its appender runs on `tasks` until [`Self::close`].
    #[must_use]
    pub fn start(store: Arc<dyn Store>, tasks: &TaskTracker) -> Self {
        let (queue, submissions) = mpsc::channel(QUEUE);
        let hubs: hub::Hubs = Arc::new(Mutex::new(HashMap::new()));
        let closing = CancellationToken::new();
        let (health, bells) = (health::Monitor::new(), lists::Bells::default());
        let appender = appender::Appender {
            store: Arc::clone(&store),
            hubs: Arc::clone(&hubs),
            health: health.clone(),
            bells: bells.clone(),
        };
        tasks.spawn(appender.run(submissions, closing.clone()));
        tasks.spawn(health::run(Arc::clone(&store), health.clone(), closing.clone()));
        Self { inner: Arc::new(Inner { store, queue, hubs, health, bells, closing }) }
    }

    /// Takes no more batches, and finishes those that were submitted.
    pub fn close(&self) {
        self.inner.closing.cancel();
    }

    /// What is committed, to read.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.inner.store
    }

    /// Whether the store takes transactions, now and later.
    #[must_use]
    pub fn health(&self) -> tokio::sync::watch::Receiver<Health> {
        self.inner.health.watch()
    }

    /// Refuses what changes something while the store takes no transactions.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`], [`Reason::StorageFull`].
    pub fn ready(&self) -> Result<(), Failure> {
        self.inner.health.ready()
    }

    /// Waits until the store takes transactions.
    pub async fn serving(&self) {
        self.inner.health.serving().await;
    }

    /// Passes on what a write to the store came to; an error of the store is taken note of.
    ///
    /// # Errors
    /// The one given.
    pub fn noted<T>(&self, result: Result<T, store::Error>) -> Result<T, store::Error> {
        self.inner.health.noted(result)
    }

    /// Makes the caller the owner of a session, as [`Store::acquire`] does; does not wait for a store that takes no
    /// transactions.
    ///
    /// # Errors
    /// [`store::Error::Unavailable`], [`store::Error::Full`], [`store::Error::Corrupt`].
    pub async fn acquire(&self, key: &SessionKey) -> Result<Option<Acquired>, store::Error> {
        self.inner.health.unless_failing(self.inner.store.acquire(key)).await
    }

    /// Stores a new session with its first events.
    ///
    /// # Errors
    /// [`Reason::ExternalIdInUse`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`].
    pub async fn create(&self, session: &Session, batch: &Batch) -> Result<(), Failure> {
        let stored = self.noted(self.inner.store.create_session(session, batch).await);
        if stored.is_ok() {
            self.inner.bells.ring(&batch.key.tenant);
        }
        stored.map_err(|error| match failure(error, &batch.key) {
            taken if taken.reason == Reason::ExternalIdInUse => taken.with("external_id", &session.external_id),
            other => other,
        })
    }

    /// Appends a batch: resolves when it is stored and its watchers can see it.
    ///
    /// # Errors
    /// [`store::Error::Conflict`] when another owner has taken over; [`store::Error::Unavailable`] when the database did
    /// not answer for long: whether the batch is stored is settled by acquiring the session again.
    pub async fn append(&self, batch: Batch) -> Result<(), store::Error> {
        let (done, outcome) = oneshot::channel();
        let gone = || store::Error::Unavailable("the log is closed".into());
        self.inner.queue.send(appender::Submission { batch, done }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// Whether anybody watches the session now.
    #[must_use]
    pub fn is_watched(&self, key: &SessionKey) -> bool {
        hub::lock(&self.inner.hubs).contains_key(key)
    }

    /// Opens a watch.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::SequenceTruncated`], [`Reason::SequenceAhead`], [`Reason::SessionReplaced`],
    /// [`Reason::StorageUnavailable`].
    pub async fn watch(&self, key: &SessionKey, start: Start) -> Result<Opened, Failure> {
        watch::open(self, key, start).await
    }

    /// The newest revision of a tenant's list of sessions.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`].
    pub async fn revision(&self, tenant: &TenantId) -> Result<i64, Failure> {
        self.inner.store.revision(tenant).await.map_err(|error| unavailable(&error))
    }

    /// Opens a watch of a tenant's list; `after`: with what changed after that revision instead of the whole list.
    ///
    /// # Errors
    /// [`Reason::SequenceAhead`], [`Reason::SequenceTruncated`], [`Reason::StorageUnavailable`].
    pub async fn watch_list(
        &self,
        tenant: &TenantId,
        filter: SessionFilter,
        after: Option<i64>,
    ) -> Result<ListWatch, Failure> {
        lists::open(self, tenant, filter, after).await
    }
}

/// What a store's error means to a caller. The details go to the server's log, never to the caller.
#[must_use]
pub fn failure(error: store::Error, key: &SessionKey) -> Failure {
    match error {
        store::Error::NotFound => Failure::session_not_found(&key.session),
        store::Error::ExternalIdInUse(session) => {
            Failure::new(Reason::ExternalIdInUse, format!("session {session} has this external_id; use that session"))
                .with("session_id", session)
        }
        store::Error::ProfileDeleted(profile) => {
            let message = format!("there is no profile {profile} any more");
            Failure::new(Reason::ProfileNotFound, message).with("profile_id", profile).with("revision", 0)
        }
        store::Error::Conflict { .. }
        | store::Error::RequestIdInUse(_)
        | store::Error::Owned(_)
        | store::Error::Unavailable(_)
        | store::Error::Full(_)
        | store::Error::Corrupt(_) => tracing::error_span!("store", %key).in_scope(|| unavailable(&error)),
    }
}

/// A store that failed at whatever it was. The details go to the server's log, never to the caller.
#[must_use]
pub fn unavailable(error: &store::Error) -> Failure {
    tracing::error!(%error, "the store failed");
    refusal(error)
}

/// The same, where it was told before.
fn refusal(error: &store::Error) -> Failure {
    if let store::Error::Full(_) = error {
        return Failure::new(Reason::StorageFull, "the server's disk is full; try again when space was freed");
    }
    Failure::new(Reason::StorageUnavailable, "the database does not answer; try again")
}

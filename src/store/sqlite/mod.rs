//! SQLite: a file that one process owns, or memory. One connection writes, a few read.
//!
//! Each file below does one job of the trait. What they share: keys begin with the tenant, bodies go through `codec`, and
//! every read is one transaction, so that rows and head are of one moment.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{
    Acquired, Batch, BlockPage, BlockQuery, ChangesPage, ChangesQuery, Error, EventPage, SessionQuery, SessionView,
    Store,
};
use crate::domain::{Profile, ProfileId, SandboxId, Session, SessionKey, SessionState, TenantId, Timestamp};

mod acquire;
mod append;
mod blocks;
mod error;
mod events;
mod lock;
mod open;
mod probe;
mod profiles;
mod purge;
mod put;
mod revision;
mod rows;
mod sessions;
mod snapshot;
mod writer;

pub use lock::owner_address;

/// Sessions in a SQLite database.
pub struct SqliteStore {
    connections: open::Connections,
    /// `None` in memory.
    path: Option<PathBuf>,
    /// `None` in memory, and once closed.
    lock: Mutex<Option<lock::Lock>>,
}

impl SqliteStore {
    /// Opens a database file, makes it where there is none, and brings its schema up to date. The process owns the file
    /// until the store is closed or dropped.
    ///
    /// # Errors
    /// [`Error::Owned`] when another process has it open, [`Error::Corrupt`] when it is no database of this build or an
    /// earlier one, [`Error::Unavailable`].
    pub async fn open(path: &Path) -> Result<Self, Error> {
        // An absolute path cannot be taken for one of SQLite's special names.
        let path = std::path::absolute(path).map_err(|error| error::from_io("the path", path, &error))?;
        let lock = lock::Lock::take(&path).await?;
        let connections = open::Connections::file(&path).await?;
        Ok(Self { connections, path: Some(path), lock: Mutex::new(Some(lock)) })
    }

    /// A database in memory: gone when it is dropped.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn in_memory() -> Result<Self, Error> {
        let connections = open::Connections::memory().await?;
        Ok(Self { connections, path: None, lock: Mutex::new(None) })
    }

    /// Tells those who find the database owned where its owner serves; in memory there is nobody to tell.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it cannot be written.
    pub fn advertise(&self, address: &str) -> Result<(), Error> {
        match &*self.lock.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(lock) => lock.advertise(address).map_err(|error| {
                error::from_io(
                    "the address could not be written beside",
                    self.path.as_deref().unwrap_or(Path::new("")),
                    &error,
                )
            }),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_session(&self, session: &Session, batch: &Batch) -> Result<(), Error> {
        append::create(&self.connections, session, batch).await
    }

    async fn acquire(&self, key: &SessionKey) -> Result<Option<Acquired>, Error> {
        acquire::acquire(&self.connections, key).await
    }

    async fn append(&self, batches: &[Batch]) -> Result<Vec<Result<(), Error>>, Error> {
        append::append(&self.connections, batches).await
    }

    async fn events(&self, key: &SessionKey, after: i64, limit: usize) -> Result<EventPage, Error> {
        events::page(&self.connections, key, after, limit).await
    }

    async fn snapshot(&self, key: &SessionKey) -> Result<Option<SessionState>, Error> {
        snapshot::snapshot(&self.connections, key).await
    }

    async fn session(&self, key: &SessionKey) -> Result<Option<SessionView>, Error> {
        sessions::one(&self.connections, key).await
    }

    async fn sessions(&self, tenant: &TenantId, query: &SessionQuery) -> Result<Vec<SessionView>, Error> {
        sessions::page(&self.connections, tenant, query).await
    }

    async fn revision(&self, tenant: &TenantId) -> Result<i64, Error> {
        revision::newest(&self.connections, tenant).await
    }

    async fn changes(&self, tenant: &TenantId, query: ChangesQuery<'_>) -> Result<ChangesPage, Error> {
        revision::changes(&self.connections, tenant, query).await
    }

    async fn blocks(&self, key: &SessionKey, query: &BlockQuery) -> Result<Option<BlockPage>, Error> {
        blocks::page(&self.connections, key, query).await
    }

    async fn unfinished(&self) -> Result<Vec<SessionKey>, Error> {
        sessions::unfinished(&self.connections).await
    }

    async fn active_sessions(&self, tenant: &TenantId) -> Result<i64, Error> {
        sessions::active(&self.connections, tenant).await
    }

    async fn purge(&self, before: Timestamp) -> Result<Vec<SandboxId>, Error> {
        purge::purge(&self.connections, before).await
    }

    async fn put_profile(&self, tenant: &TenantId, profile: &Profile) -> Result<(), Error> {
        profiles::put(&self.connections, tenant, profile).await
    }

    async fn profile(&self, tenant: &TenantId, id: &ProfileId, revision: i64) -> Result<Option<Profile>, Error> {
        profiles::one(&self.connections, tenant, id, revision).await
    }

    async fn profiles(
        &self,
        tenant: &TenantId,
        after: Option<&(String, ProfileId)>,
        limit: usize,
    ) -> Result<Vec<Profile>, Error> {
        profiles::page(&self.connections, tenant, after, limit).await
    }

    async fn probe(&self) -> Result<(), Error> {
        probe::probe(&self.connections, self.path.as_deref()).await
    }

    async fn close(&self) {
        self.connections.close().await;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

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
    Acquired, Batch, BlobPiece, BlockPage, BlockQuery, ChangesPage, ChangesQuery, Error, EventPage, FilePage,
    FileQuery, Piece, PlacedBlock, SessionQuery, SessionView, SnapshotHead, Store, TurnPage, TurnQuery,
};
use crate::domain::{
    BlockId, Checkpoint, PermissionRequest, PermissionRule, Profile, ProfileId, Question, Remembered, RequestId,
    SandboxId, Session, SessionKey, SessionState, TenantId, Timestamp, Turn, TurnId, WorkspaceFile,
};

mod acquire;
mod ahead;
mod append;
mod blobs;
mod blocks;
mod checkpoints;
mod compact;
mod error;
mod events;
mod files;
mod ledger;
mod light;
mod lock;
mod open;
mod permissions;
mod probe;
mod profiles;
mod purge;
mod put;
mod requests;
mod restored;
mod revision;
mod rows;
mod sessions;
mod snapshot;
mod texts;
mod trim;
mod turns;
mod writer;

pub use lock::owner_address;
use writer::WriteTx;

/// Sessions in a SQLite database.
pub struct SqliteStore {
    connections: open::Connections,
    /// `None` in memory.
    path: Option<PathBuf>,
    /// `None` in memory, and once closed.
    lock: Mutex<Option<lock::Lock>>,
    changed: compact::Changed,
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
        Ok(Self { connections, path: Some(path), lock: Mutex::new(Some(lock)), changed: compact::Changed::default() })
    }

    /// A database in memory: gone when it is dropped.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn in_memory() -> Result<Self, Error> {
        let connections = open::Connections::memory().await?;
        Ok(Self { connections, path: None, lock: Mutex::new(None), changed: compact::Changed::default() })
    }

    /// To be called once after a backup was put back: gives every log another uid, so that sequences and revisions that
    /// somebody remembers from after the backup are refused. Tells how many sessions there are.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`]; then nothing is changed.
    pub async fn rename_logs(&self) -> Result<usize, Error> {
        restored::rename(&self.connections).await
    }

    /// Whether nobody else can own it: in memory nobody can, and a closed one is nobody's.
    fn holds_lock(&self) -> bool {
        match (&self.path, &*self.lock.lock().unwrap_or_else(PoisonError::into_inner)) {
            (Some(path), Some(lock)) => lock.is_of(path),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// Begins to write what only the owner may. It is asked once the transaction has begun: whoever has taken over by then
    /// cannot have written before, and whoever does later finds what is written here.
    async fn write_as_owner(&self) -> Result<WriteTx<'_>, Error> {
        let tx = self.connections.write().await?;
        if self.holds_lock() {
            return Ok(tx);
        }
        tx.undo().await?;
        Err(Error::Owned(self.path.as_deref().and_then(owner_address)))
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
        let outcome = append::create(self.write_as_owner().await?, session, batch).await;
        self.changed.note(std::slice::from_ref(batch));
        outcome
    }

    async fn acquire(&self, key: &SessionKey) -> Result<Option<Acquired>, Error> {
        acquire::acquire(self.write_as_owner().await?, key).await
    }

    async fn append(&self, batches: &[Batch]) -> Result<Vec<Result<(), Error>>, Error> {
        let outcomes = append::append(&self.connections, batches).await;
        // Also where it is not known whether they are stored: what is looked at for nothing costs little.
        self.changed.note(batches);
        outcomes
    }

    async fn events(&self, key: &SessionKey, after: i64, limit: usize) -> Result<EventPage, Error> {
        events::page(&self.connections, key, after, limit).await
    }

    async fn snapshot(&self, key: &SessionKey) -> Result<Option<SessionState>, Error> {
        snapshot::snapshot(&self.connections, key).await
    }

    async fn snapshot_head(&self, key: &SessionKey) -> Result<Option<SnapshotHead>, Error> {
        snapshot::head(&self.connections, key).await
    }

    async fn final_blocks(
        &self,
        key: &SessionKey,
        sequence: i64,
        after: i64,
        max_bytes: usize,
    ) -> Result<Option<Vec<PlacedBlock>>, Error> {
        snapshot::final_blocks(&self.connections, key, sequence, after, max_bytes).await
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

    async fn block_text(&self, key: &SessionKey, id: &BlockId, offset: u64) -> Result<Option<Piece>, Error> {
        texts::read(&self.connections, key, id, offset).await
    }

    async fn block_turn(&self, key: &SessionKey, id: &BlockId) -> Result<Option<TurnId>, Error> {
        blocks::turn(&self.connections, key, id).await
    }

    async fn blob(&self, key: &SessionKey, sha256: &str, offset: u64) -> Result<Option<Piece>, Error> {
        blobs::read(&self.connections, key, sha256, offset).await
    }

    async fn put_blobs(&self, tenant: &TenantId, by: &str, pieces: &[BlobPiece]) -> Result<(), Error> {
        ahead::put(&self.connections, tenant, by, pieces).await
    }

    async fn held_blobs(&self, tenant: &TenantId, sha256: &[String]) -> Result<Vec<bool>, Error> {
        ahead::held(&self.connections, tenant, sha256).await
    }

    async fn checkpoint(&self, key: &SessionKey) -> Result<Option<Checkpoint>, Error> {
        checkpoints::newest(&self.connections, key).await
    }

    async fn files(&self, key: &SessionKey, query: &FileQuery) -> Result<Option<FilePage>, Error> {
        files::page(&self.connections, key, query).await
    }

    async fn file(&self, key: &SessionKey, path: &str) -> Result<Option<WorkspaceFile>, Error> {
        files::one(&self.connections, key, path).await
    }

    async fn unfinished(&self) -> Result<Vec<SessionKey>, Error> {
        sessions::unfinished(&self.connections).await
    }

    async fn active_sessions(&self, tenant: &TenantId) -> Result<i64, Error> {
        sessions::active(&self.connections, tenant).await
    }

    async fn compact(&self, before: Timestamp) -> Result<(), Error> {
        compact::compact(&self.connections, &self.changed, before).await
    }

    async fn trim(&self, before: Timestamp) -> Result<(), Error> {
        trim::trim(&self.connections, before).await
    }

    async fn purge(&self, before: Timestamp) -> Result<Vec<SandboxId>, Error> {
        purge::purge(&self.connections, before).await
    }

    async fn collect_blobs(&self, before: Timestamp) -> Result<(), Error> {
        blobs::collect(&self.connections, before).await
    }

    async fn put_profile(&self, tenant: &TenantId, profile: &Profile, call: Option<&Remembered>) -> Result<(), Error> {
        profiles::put(&self.connections, tenant, profile, call).await
    }

    async fn delete_profile(
        &self,
        tenant: &TenantId,
        id: &ProfileId,
        revision: i64,
        call: Option<&Remembered>,
    ) -> Result<(), Error> {
        profiles::delete(&self.connections, tenant, id, revision, call).await
    }

    async fn remember(&self, tenant: &TenantId, call: &Remembered) -> Result<(), Error> {
        requests::remember(&self.connections, tenant, call).await
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

    async fn request(&self, tenant: &TenantId, id: &RequestId, now: Timestamp) -> Result<Option<Remembered>, Error> {
        requests::find(&self.connections, tenant, id, now).await
    }

    async fn forget_requests(&self, now: Timestamp) -> Result<u64, Error> {
        requests::forget(&self.connections, now).await
    }

    async fn turn_end(&self, key: &SessionKey, turn_id: &TurnId, after: i64) -> Result<Option<i64>, Error> {
        turns::end(&self.connections, key, turn_id, after).await
    }

    async fn turn(&self, key: &SessionKey, turn_id: &TurnId) -> Result<Option<Turn>, Error> {
        turns::one(&self.connections, key, turn_id).await
    }

    async fn turns(&self, key: &SessionKey, query: &TurnQuery) -> Result<Option<TurnPage>, Error> {
        turns::page(&self.connections, key, query).await
    }

    async fn permission(&self, key: &SessionKey, permission_id: &str) -> Result<Option<PermissionRequest>, Error> {
        permissions::one(&self.connections, key, permission_id).await
    }

    async fn question(&self, key: &SessionKey, question_id: &str) -> Result<Option<Question>, Error> {
        permissions::question(&self.connections, key, question_id).await
    }

    async fn permission_rules(&self, key: &SessionKey) -> Result<Option<Vec<PermissionRule>>, Error> {
        permissions::rules(&self.connections, key).await
    }

    async fn probe(&self) -> Result<(), Error> {
        probe::probe(&self.connections, self.path.as_deref()).await
    }

    async fn close(&self) {
        self.connections.close().await;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

//! The connections: one that writes, a few that read, and how each transaction begins and ends.
//!
//! A transaction that is dropped without an end, because its future was dropped or because an error left its fate unknown,
//! takes the writing connection with it; the next writer makes a new one. So no error can leave half a transaction
//! behind.
//!
//! After an error of the disk at a commit nothing is trusted that an old connection held. The writer is left alone until
//! [`Connections::renew`], so that those who read see what was committed before, and not what may be on the disk or not.

use std::{
    fs::OpenOptions,
    ops::{Deref, DerefMut},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard, RwLock};

use super::error::{from_io, is_io};
use crate::store::Error;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const READERS: u32 = 4;
/// How long a reader waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a database that another program holds is waited for; callers wait so long for a refusal.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);
/// Databases up to this size are checked as a whole before they are trusted again.
const CHECKED_BYTES: i64 = 16 << 20;

/// The connections to one database.
#[derive(Debug)]
pub(super) struct Connections {
    writer: Mutex<Writer>,
    /// `None` in memory: there the one connection is the database.
    readers: Option<Readers>,
}

/// The reading connections, all of which are closed and made anew at once.
#[derive(Debug)]
struct Readers {
    options: SqliteConnectOptions,
    pool: RwLock<SqlitePool>,
}

/// The writing connection.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    /// A new one sees what the old one did: not in memory.
    replaceable: bool,
    /// A transaction was begun and not ended.
    spoiled: bool,
    /// The disk failed at a commit: see the module.
    distrusted: bool,
    /// The last transaction that could not be begun: whoever waited in line behind it need not wait as long again.
    refused: Option<(Instant, Error)>,
    closed: bool,
}

/// A transaction that writes. Dropped without an end, it is undone.
pub(super) struct WriteTx<'a>(MutexGuard<'a, Writer>);

/// What one read sees is one moment of the database.
pub(super) enum ReadTx<'a> {
    Pooled(Transaction<'static, Sqlite>),
    /// While it is held, nobody writes.
    Only(MutexGuard<'a, Writer>),
}

impl Connections {
    /// Opens a file, and makes it where there is none.
    pub(super) async fn file(path: &Path) -> Result<Self, Error> {
        // Made here, not by SQLite, so that only this user can read it; SQLite gives its other files the same mode.
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        made.map_err(|error| from_io("the database", path, &error))?;
        let common = common_options().filename(path);
        let options = common
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_PATIENCE)
            .pragma("journal_size_limit", "67108864");
        Self::migrated(options, Some(Readers::new(common.pragma("query_only", "ON")))).await
    }

    /// A database that is gone when this is.
    pub(super) async fn memory() -> Result<Self, Error> {
        Self::migrated(common_options().in_memory(true), None).await
    }

    async fn migrated(options: SqliteConnectOptions, readers: Option<Readers>) -> Result<Self, Error> {
        let mut connection = options.connect().await?;
        MIGRATIONS.run(&mut connection).await?;
        let writer = Writer {
            options,
            connection: Some(connection),
            replaceable: readers.is_some(),
            spoiled: false,
            distrusted: false,
            refused: None,
            closed: false,
        };
        Ok(Self { writer: Mutex::new(writer), readers })
    }

    /// Begins to write, as soon as nobody else does.
    pub(super) async fn write(&self) -> Result<WriteTx<'_>, Error> {
        let since = Instant::now();
        let mut writer = self.writer.lock().await;
        if let Some((_, error)) = writer.refused.as_ref().filter(|(at, _)| *at >= since) {
            return Err(error.clone());
        }
        if let Err(error) = writer.ready().await {
            return Err(writer.refuse(error));
        }
        let mut tx = WriteTx(writer);
        tx.0.spoiled = true;
        match sqlx::query("BEGIN IMMEDIATE").execute(&mut *tx).await {
            Ok(_) => Ok(tx),
            Err(error) => Err(tx.0.refuse(error.into())),
        }
    }

    /// Begins to read.
    pub(super) async fn read(&self) -> Result<ReadTx<'_>, Error> {
        match &self.readers {
            Some(readers) => Ok(ReadTx::Pooled(readers.pool.read().await.begin().await?)),
            None => {
                let mut writer = self.writer.lock().await;
                writer.ready().await?;
                Ok(ReadTx::Only(writer))
            }
        }
    }

    /// After an error of the disk: closes every connection and opens the database anew. What is there then is what
    /// counts, and it is made to last before anybody reads it or writes after it.
    pub(super) async fn renew(&self) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        let Some(readers) = self.readers.as_ref().filter(|_| writer.distrusted && !writer.closed) else {
            return Ok(());
        };
        // The readers first: as long as one is open, SQLite keeps the files of the others open and uses them again.
        let mut pool = readers.pool.write().await;
        pool.close().await;
        if let Some(connection) = writer.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database did not close well");
        }
        let mut fresh = writer.options.connect().await?;
        let checked = check(&mut fresh).await;
        if let Err(error) = checked {
            fresh.close().await.ok();
            return Err(error);
        }
        *pool = readers.open();
        *writer = Writer {
            options: writer.options.clone(),
            connection: Some(fresh),
            replaceable: true,
            spoiled: false,
            distrusted: false,
            refused: None,
            closed: false,
        };
        Ok(())
    }

    /// Ends what is under way and closes all connections.
    pub(super) async fn close(&self) {
        // The writer last: the last one to leave empties the write-ahead log into the file.
        if let Some(readers) = &self.readers {
            readers.pool.read().await.close().await;
        }
        let mut writer = self.writer.lock().await;
        writer.closed = true;
        if let Some(connection) = writer.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database did not close well; what was committed is safe");
        }
    }
}

impl Readers {
    fn new(options: SqliteConnectOptions) -> Self {
        let pool = RwLock::new(pool(&options));
        Self { options, pool }
    }

    fn open(&self) -> SqlitePool {
        pool(&self.options)
    }
}

fn pool(options: &SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options.clone())
}

/// Copies all that the write-ahead log holds into the database's own file, and that to the disk: whatever was read back
/// from memory alone is written again. A database that is small is read as a whole.
async fn check(connection: &mut SqliteConnection) -> Result<(), Error> {
    let (busy, ..): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await?;
    if busy != 0 {
        return Err(Error::Unavailable("another program holds the database; close it".into()));
    }
    let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let size: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
    if size <= CHECKED_BYTES {
        let said: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await?;
        if said != "ok" {
            return Err(Error::Corrupt(said));
        }
    }
    Ok(())
}

impl Writer {
    /// Undoes what was left, and connects where there is no connection.
    async fn ready(&mut self) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Unavailable("the store is closed".into()));
        }
        if self.distrusted {
            return Err(Error::Unavailable("the disk failed; the database is opened anew when it works again".into()));
        }
        if self.spoiled {
            // That there is nothing to undo is no error.
            sqlx::query("ROLLBACK").execute(&mut **self).await.ok();
            self.spoiled = false;
        }
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        Ok(())
    }

    fn refuse(&mut self, error: Error) -> Error {
        self.refused = Some((Instant::now(), error.clone()));
        error
    }
}

impl WriteTx<'_> {
    /// Makes it last. After an error it is not known whether it does.
    pub(super) async fn commit(mut self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    /// Undoes it.
    pub(super) async fn undo(mut self) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }

    async fn end(&mut self, how: &'static str) -> Result<(), Error> {
        match sqlx::query(how).execute(&mut **self).await {
            Ok(_) => {
                self.0.spoiled = false;
                Ok(())
            }
            Err(error) => {
                self.0.distrusted = is_io(&error) && self.0.replaceable;
                Err(error.into())
            }
        }
    }
}

impl Drop for WriteTx<'_> {
    fn drop(&mut self) {
        // A connection that is not trusted stays: as the last one it would try to save what it has when it is closed.
        if self.0.spoiled && self.0.replaceable && !self.0.distrusted {
            // Its own thread ends what it is at, then undoes the transaction and lets go of the file.
            self.0.connection = None;
            self.0.spoiled = false;
        }
    }
}

impl Deref for Writer {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("a locked writer is connected")
    }
}

impl DerefMut for Writer {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("a locked writer is connected")
    }
}

impl Deref for WriteTx<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.0
    }
}

impl DerefMut for WriteTx<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }
}

impl Deref for ReadTx<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Pooled(tx) => tx,
            Self::Only(writer) => writer,
        }
    }
}

impl DerefMut for ReadTx<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Pooled(tx) => tx,
            Self::Only(writer) => writer,
        }
    }
}

/// Statements are not logged: they are ours, and what is bound to them is the users'.
fn common_options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pragma(connection: &mut SqliteConnection, name: &str) -> String {
        let sql = sqlx::AssertSqlSafe(format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"));
        sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
    }

    /// What durability rests on; also of the connection that replaces one that failed.
    #[tokio::test]
    async fn commits_reach_the_disk_and_readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let connections = Connections::file(&dir.path().join("a.db")).await.unwrap();
        for _ in 0..2 {
            let mut tx = connections.write().await.unwrap();
            for (name, value) in [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1")] {
                assert_eq!(pragma(&mut tx, name).await, value, "{name}");
            }
            drop(tx);
        }
        let mut tx = connections.read().await.unwrap();
        let refused = sqlx::query("DELETE FROM session").execute(&mut *tx).await;
        assert!(refused.unwrap_err().to_string().contains("readonly"));
    }

    /// What was begun and not ended is undone, and holds nobody up.
    #[tokio::test]
    async fn a_transaction_without_an_end_never_was() {
        let dir = tempfile::tempdir().unwrap();
        for connections in [Connections::memory().await, Connections::file(&dir.path().join("a.db")).await] {
            let connections = connections.unwrap();
            for _ in 0..3 {
                let mut tx = connections.write().await.unwrap();
                let sql = "INSERT INTO profile (tenant_id, profile_id, revision, name, newest, body)
                    VALUES ('t', 'p', 1, 'n', 1, x'')";
                sqlx::query(sql).execute(&mut *tx).await.unwrap();
            }
            let mut tx = connections.read().await.unwrap();
            let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM profile").fetch_one(&mut *tx).await.unwrap();
            assert_eq!(count, 0);
        }
    }
}

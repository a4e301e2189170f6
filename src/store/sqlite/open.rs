//! The connections: one that writes, a few that read, and how they are closed and opened.
//!
//! After an error of the disk at a commit nothing is trusted that an old connection held: see [`Connections::renew`].

use std::{
    fs::OpenOptions,
    ops::{Deref, DerefMut},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions as _, SqliteConnection, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard, RwLock};

use super::{
    error::from_io,
    writer::{WriteTx, Writer},
};
use crate::store::Error;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const READERS: u32 = 4;
/// How long a reader waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a database that another program holds is waited for; callers wait so long for a refusal.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);

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
            .pragma("journal_size_limit", "67108864")
            // Each checkpoint writes every page that changed since the last one: so many pages of log are 16 MiB.
            .pragma("wal_autocheckpoint", "4000");
        Self::migrated(options, Some(Readers::new(common.pragma("query_only", "ON")))).await
    }

    /// A database that is gone when this is.
    pub(super) async fn memory() -> Result<Self, Error> {
        Self::migrated(common_options().in_memory(true), None).await
    }

    async fn migrated(options: SqliteConnectOptions, readers: Option<Readers>) -> Result<Self, Error> {
        let mut connection = options.connect().await?;
        MIGRATIONS.run(&mut connection).await?;
        let writer = Writer::new(options, connection, readers.is_some());
        Ok(Self { writer: Mutex::new(writer), readers })
    }

    /// Takes the writing connection, as soon as nobody else has it; the first statement must begin the transaction.
    pub(super) async fn writer(&self) -> Result<WriteTx<'_>, Error> {
        let since = Instant::now();
        WriteTx::take(self.writer.lock().await, since).await
    }

    /// Begins to write, as soon as nobody else does.
    pub(super) async fn write(&self) -> Result<WriteTx<'_>, Error> {
        let since = Instant::now();
        WriteTx::begin(self.writer.lock().await, since).await
    }

    /// Begins to read.
    pub(super) async fn read(&self) -> Result<ReadTx<'_>, Error> {
        if let Some(readers) = &self.readers {
            return Ok(ReadTx::Pooled(readers.pool.read().await.begin().await?));
        }
        let mut writer = self.writer.lock().await;
        writer.ready().await?;
        Ok(ReadTx::Only(writer))
    }

    /// After an error of the disk: closes every connection and opens the database anew. What is there then is what
    /// counts, and it is made to last before anybody reads it or writes after it.
    pub(super) async fn renew(&self) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        let Some(readers) = self.readers.as_ref().filter(|_| writer.is_distrusted()) else { return Ok(()) };
        // The readers first: as long as one is open, SQLite keeps the files of the others open and uses them again.
        let mut pool = readers.pool.write().await;
        pool.close().await;
        writer.renew().await?;
        *pool = readers.open();
        Ok(())
    }

    /// Ends what is under way and closes all connections.
    pub(super) async fn close(&self) {
        // The writer last: the last one to leave empties the write-ahead log into the file.
        if let Some(readers) = &self.readers {
            readers.pool.read().await.close().await;
        }
        let mut writer = self.writer.lock().await;
        writer.close().await;
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
        // A page of events: else the two threads wait for each other every few rows.
        .row_buffer_size(1024)
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

//! The connections: one that writes, a few that read, and how each transaction begins and ends.
//!
//! A transaction that is dropped without an end, because its future was dropped or because an error left its fate unknown,
//! takes the writing connection with it; the next writer makes a new one. So no error can leave half a transaction
//! behind, and after a failed flush to disk nothing is trusted that the old connection held.

use std::{
    fs::OpenOptions,
    ops::{Deref, DerefMut},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard};

use crate::store::Error;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const READERS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(5);

/// The connections to one database.
#[derive(Debug)]
pub(super) struct Connections {
    options: SqliteConnectOptions,
    writer: Mutex<Writer>,
    /// `None` in memory: there the one connection is the database.
    readers: Option<SqlitePool>,
}

/// The writing connection.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Option<SqliteConnection>,
    /// A new one sees what the old one did: not in memory.
    replaceable: bool,
    /// A transaction was begun and not ended.
    spoiled: bool,
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
        made.map_err(|error| Error::Unavailable(format!("the database {}: {error}", path.display())))?;
        let common = common_options().filename(path);
        let options = common
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("journal_size_limit", "67108864")
            // Each checkpoint writes every page that changed since the last one: so many pages of log are 16 MiB.
            .pragma("wal_autocheckpoint", "4000");
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(common.pragma("query_only", "ON"));
        Self::migrated(options, Some(readers)).await
    }

    /// A database that is gone when this is.
    pub(super) async fn memory() -> Result<Self, Error> {
        Self::migrated(common_options().in_memory(true), None).await
    }

    async fn migrated(options: SqliteConnectOptions, readers: Option<SqlitePool>) -> Result<Self, Error> {
        let mut connection = options.connect().await?;
        MIGRATIONS.run(&mut connection).await?;
        let writer =
            Writer { connection: Some(connection), replaceable: readers.is_some(), spoiled: false, closed: false };
        Ok(Self { options, writer: Mutex::new(writer), readers })
    }

    /// Takes the writing connection, as soon as nobody else has it; the first statement must begin the transaction.
    pub(super) async fn writer(&self) -> Result<WriteTx<'_>, Error> {
        let mut tx = WriteTx(self.lock().await?);
        tx.0.spoiled = true;
        Ok(tx)
    }

    /// Begins to write, as soon as nobody else does.
    pub(super) async fn write(&self) -> Result<WriteTx<'_>, Error> {
        let mut tx = self.writer().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Begins to read.
    pub(super) async fn read(&self) -> Result<ReadTx<'_>, Error> {
        match &self.readers {
            Some(pool) => Ok(ReadTx::Pooled(pool.begin().await?)),
            None => Ok(ReadTx::Only(self.lock().await?)),
        }
    }

    /// Ends what is under way and closes all connections.
    pub(super) async fn close(&self) {
        // The writer last: the last one to leave empties the write-ahead log into the file.
        if let Some(pool) = &self.readers {
            pool.close().await;
        }
        let mut writer = self.writer.lock().await;
        writer.closed = true;
        if let Some(connection) = writer.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database did not close well; what was committed is safe");
        }
    }

    async fn lock(&self) -> Result<MutexGuard<'_, Writer>, Error> {
        let mut writer = self.writer.lock().await;
        if writer.closed {
            return Err(Error::Unavailable("the store is closed".into()));
        }
        if writer.spoiled {
            // That there is nothing to undo is no error.
            sqlx::query("ROLLBACK").execute(&mut **writer).await.ok();
            writer.spoiled = false;
        }
        if writer.connection.is_none() {
            writer.connection = Some(self.options.connect().await?);
        }
        Ok(writer)
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

    /// Says that the last statement ended it.
    pub(super) fn ended(mut self) {
        self.0.spoiled = false;
    }

    async fn end(&mut self, how: &'static str) -> Result<(), Error> {
        sqlx::query(how).execute(&mut **self).await?;
        self.0.spoiled = false;
        Ok(())
    }
}

impl Drop for WriteTx<'_> {
    fn drop(&mut self) {
        if self.0.spoiled && self.0.replaceable {
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

//! The writing connection and its transactions.
//!
//! A transaction that is dropped without an end, because its future was dropped or because an error left its fate unknown,
//! takes the connection with it; the next writer makes a new one. So no error can leave half a transaction behind.
//!
//! After an error of the disk at a commit the connection is left alone until the database is opened anew. So those who
//! read go on to see what was committed before, and not what may be on the disk or not.

use std::{
    ops::{Deref, DerefMut},
    time::Instant,
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::MutexGuard;

use super::error::is_io;
use crate::store::Error;

/// Databases up to this size are checked as a whole before they are trusted again.
const CHECKED_BYTES: i64 = 16 << 20;

/// The writing connection.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    /// A new one sees what the old one did: not in memory.
    replaceable: bool,
    state: State,
    /// The last transaction that could not be begun: whoever waited in line behind it need not wait as long again.
    refused: Option<(Instant, Error)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// A transaction was begun and not ended.
    Spoiled,
    /// The disk failed at a commit: see the module.
    Distrusted,
    Closed,
}

/// A transaction that writes. Dropped without an end, it is undone.
pub(super) struct WriteTx<'a>(MutexGuard<'a, Writer>);

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions, connection: SqliteConnection, replaceable: bool) -> Self {
        Self { options, connection: Some(connection), replaceable, state: State::Ready, refused: None }
    }

    pub(super) fn is_distrusted(&self) -> bool {
        self.state == State::Distrusted
    }

    /// Undoes what was left, and connects where there is no connection.
    pub(super) async fn ready(&mut self) -> Result<(), Error> {
        match self.state {
            State::Ready => {}
            State::Spoiled => {
                // That there is nothing to undo is no error.
                sqlx::query("ROLLBACK").execute(&mut **self).await.ok();
                self.state = State::Ready;
            }
            State::Distrusted => {
                let message = "the disk failed; the database is opened anew when it works again";
                return Err(Error::Unavailable(message.into()));
            }
            State::Closed => return Err(Error::Unavailable("the store is closed".into())),
        }
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        Ok(())
    }

    /// Closes the old connection and opens the database anew; nobody else may have it open. What is there then is what
    /// counts, and it is made to last before anybody reads it or writes after it.
    pub(super) async fn renew(&mut self) -> Result<(), Error> {
        self.disconnect().await;
        let mut fresh = self.options.connect().await?;
        match check(&mut fresh).await {
            Ok(()) => {
                self.connection = Some(fresh);
                self.state = State::Ready;
                Ok(())
            }
            Err(error) => {
                fresh.close().await.ok();
                Err(error)
            }
        }
    }

    /// Finishes; nothing is written any more.
    pub(super) async fn close(&mut self) {
        self.state = State::Closed;
        self.disconnect().await;
    }

    async fn disconnect(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database did not close well; what was committed is safe");
        }
    }

    fn refuse(&mut self, error: Error) -> Error {
        self.refused = Some((Instant::now(), error.clone()));
        error
    }
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

impl<'a> WriteTx<'a> {
    /// Takes the connection; the first statement must begin the transaction. The caller waits since then.
    pub(super) async fn take(mut writer: MutexGuard<'a, Writer>, since: Instant) -> Result<Self, Error> {
        if let Some((_, error)) = writer.refused.as_ref().filter(|(at, _)| *at >= since) {
            return Err(error.clone());
        }
        if let Err(error) = writer.ready().await {
            return Err(writer.refuse(error));
        }
        writer.state = State::Spoiled;
        Ok(Self(writer))
    }

    /// Begins one. The caller waits since then.
    pub(super) async fn begin(writer: MutexGuard<'a, Writer>, since: Instant) -> Result<Self, Error> {
        let mut tx = Self::take(writer, since).await?;
        if let Err(error) = sqlx::query("BEGIN IMMEDIATE").execute(&mut *tx).await {
            return Err(tx.0.refuse(error.into()));
        }
        Ok(tx)
    }

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
                self.0.state = State::Ready;
                Ok(())
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Says that the last statement ended it.
    pub(super) fn ended(mut self) {
        self.0.state = State::Ready;
    }

    /// Takes note of what statements came to, of which the last was to end it.
    pub(super) fn failed(&mut self, error: sqlx::Error) -> Error {
        if is_io(&error) && self.0.replaceable {
            self.0.state = State::Distrusted;
        }
        error.into()
    }
}

impl Drop for WriteTx<'_> {
    fn drop(&mut self) {
        // One that is not trusted stays: as the last one that is open it would save what it has when it is closed.
        if self.0.state == State::Spoiled && self.0.replaceable {
            // Its own thread ends what it is at, then undoes the transaction and lets go of the file.
            self.0.connection = None;
            self.0.state = State::Ready;
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

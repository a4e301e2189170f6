//! Compaction: the deltas of text that is told whole by now go, in steps, so that whoever writes gets in between.
//!
//! The first step moves the mark up to which deltas are not read any more, so a log reads the same however many of the
//! steps were done. Only logs that changed are looked at: the process owns the database, so it knows which.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{Row as _, SqliteConnection};

use super::open::Connections;
use crate::{
    domain::{BlockId, Kind, SessionId, SessionKey, TenantId, Timestamp},
    store::{
        Batch, Error, codec,
        horizon::{Horizon, Tells},
    },
};

/// Events that one read transaction looks at.
const READ: i64 = 10_000;
/// Sequences whose deltas one transaction removes.
const STEP: i64 = 2_000;

/// Logs that grew since they were looked at, and how far each was read.
#[derive(Debug, Default)]
pub(super) struct Changed(Mutex<Logs>);

#[derive(Debug, Default)]
struct Logs {
    /// What an earlier process left was looked up.
    known: bool,
    logs: HashMap<SessionKey, Log>,
}

#[derive(Debug, Default)]
struct Log {
    /// It grew, or got older.
    due: bool,
    /// Where reading it goes on; `None`: at its mark.
    read: Option<Read>,
}

/// A log as far as it was read. What was read never changes.
#[derive(Debug)]
struct Read {
    horizon: Horizon,
    last: i64,
}

impl Changed {
    /// These sessions get events.
    pub(super) fn note(&self, batches: &[Batch]) {
        let mut held = self.lock();
        for batch in batches.iter().filter(|batch| !batch.events.is_empty()) {
            match held.logs.get_mut(&batch.key) {
                Some(log) => log.due = true,
                None => drop(held.logs.insert(batch.key.clone(), Log { due: true, read: None })),
            }
        }
    }

    async fn due(&self, connections: &Connections) -> Result<Vec<SessionKey>, Error> {
        if !self.lock().known {
            let left = unfinished(connections).await?;
            let mut held = self.lock();
            held.known = true;
            for key in left {
                held.logs.entry(key).or_default().due = true;
            }
        }
        Ok(self.lock().logs.iter().filter(|(_, log)| log.due).map(|(key, _)| key.clone()).collect())
    }

    fn begin(&self, key: &SessionKey) -> Option<Read> {
        let mut held = self.lock();
        let log = held.logs.get_mut(key)?;
        log.due = false;
        log.read.take()
    }

    /// What is left to do of a log: nothing until it grows, or the rest when it is older.
    fn end(&self, key: &SessionKey, read: Option<Read>, again: bool) {
        let mut held = self.lock();
        if let Some(log) = held.logs.get_mut(key) {
            log.due |= again;
            log.read = read;
            if !log.due && log.read.is_none() {
                held.logs.remove(key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Logs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compacts the logs that changed, up to events that are older than `before`.
pub(super) async fn compact(connections: &Connections, changed: &Changed, before: Timestamp) -> Result<(), Error> {
    for key in changed.due(connections).await? {
        let read = changed.begin(&key);
        match one(connections, &key, read, before).await {
            Ok((read, Seen::All)) => changed.end(&key, read.filter(|read| read.horizon.is_open()), false),
            Ok((read, Seen::Part)) => changed.end(&key, read, true),
            // A log that cannot be read stays as it is; it says so to whoever reads it.
            Err(Error::Corrupt(cause)) => {
                tracing::error!(%key, cause, "a log could not be compacted");
                changed.end(&key, None, false);
            }
            Err(error) => {
                changed.end(&key, None, true);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// What there is to look at of a log.
enum Seen {
    /// All of it was: until it grows nothing more can go.
    All,
    /// Some of it is too young.
    Part,
}

/// Where a log stands.
struct Marks {
    compacted: i64,
    cleared: i64,
}

async fn one(
    connections: &Connections,
    key: &SessionKey,
    read: Option<Read>,
    before: Timestamp,
) -> Result<(Option<Read>, Seen), Error> {
    let Some(Marks { compacted, mut cleared }) = marks(connections, key).await? else { return Ok((None, Seen::All)) };
    let mut read = read.unwrap_or_else(|| Read { horizon: Horizon::after(compacted), last: compacted });
    let seen = scan(connections, key, &mut read, before).await?;
    let horizon = read.horizon.at();
    while cleared < horizon {
        let to = horizon.min(cleared + STEP);
        let mut tx = connections.write().await?;
        if !mark(&mut tx, key, horizon, to).await? {
            tx.undo().await?;
            return Ok((None, Seen::All));
        }
        let sql = "DELETE FROM event WHERE tenant_id = ? AND session_id = ? AND sequence > ? AND sequence <= ?
            AND block_id IS NOT NULL";
        sqlx::query(sql)
            .bind(key.tenant.as_str())
            .bind(key.session.as_str())
            .bind(cleared)
            .bind(to)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        cleared = to;
    }
    Ok((Some(read), seen))
}

async fn mark(conn: &mut SqliteConnection, key: &SessionKey, compacted: i64, cleared: i64) -> Result<bool, Error> {
    let sql = "UPDATE session SET compacted_to = ?, cleared_to = ?
        WHERE tenant_id = ? AND session_id = ? AND deleted_at IS NULL";
    let query = sqlx::query(sql).bind(compacted).bind(cleared).bind(key.tenant.as_str()).bind(key.session.as_str());
    Ok(query.execute(conn).await?.rows_affected() > 0)
}

async fn marks(connections: &Connections, key: &SessionKey) -> Result<Option<Marks>, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT compacted_to, cleared_to FROM session
        WHERE tenant_id = ? AND session_id = ? AND deleted_at IS NULL";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str());
    let row = query.fetch_optional(&mut *tx).await?;
    row.map(|row| Ok(Marks { compacted: row.try_get(0)?, cleared: row.try_get(1)? })).transpose()
}

/// Reads on in a log, up to what is too young, in pages: a log that was read is never rewritten.
async fn scan(connections: &Connections, key: &SessionKey, read: &mut Read, before: Timestamp) -> Result<Seen, Error> {
    let sql = "SELECT sequence, time, block_id, CASE WHEN kind IN ('block_start', 'block_complete') THEN payload END
        FROM event WHERE tenant_id = ? AND session_id = ? AND sequence > ? ORDER BY sequence LIMIT ?";
    let Read { horizon, last } = read;
    loop {
        let mut tx = connections.read().await?;
        let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(*last).bind(READ);
        let rows = query.fetch_all(&mut *tx).await?;
        drop(tx);
        for row in &rows {
            if row.try_get::<i64, _>(1)? >= before.0 {
                return Ok(Seen::Part);
            }
            *last = row.try_get(0)?;
            let grown: Option<&[u8]> = row.try_get(2)?;
            let whole: Option<&[u8]> = row.try_get(3)?;
            match (grown, whole) {
                (Some(id), _) => {
                    let id = std::str::from_utf8(id)
                        .map_err(|_| Error::Corrupt(format!("block of {key} at {last}: not UTF-8")))?;
                    horizon.pass(*last, Tells::Growth(&BlockId::new(id)));
                }
                (None, Some(whole)) => {
                    let kind = codec::decode(whole, format_args!("{key} at {last}"))?;
                    let (Kind::BlockStart { block } | Kind::BlockComplete { block }) = kind else {
                        return Err(Error::Corrupt(format!(
                            "event of {key} at {last}: stored as a block, but it is none"
                        )));
                    };
                    horizon.pass(*last, Tells::Whole(&block.block_id));
                }
                (None, None) => horizon.pass(*last, Tells::Other),
            }
        }
        if rows.len() < usize::try_from(READ).unwrap_or(usize::MAX) {
            return Ok(Seen::All);
        }
    }
}

/// What an earlier process did not come to.
async fn unfinished(connections: &Connections) -> Result<Vec<SessionKey>, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT tenant_id, session_id FROM session WHERE deleted_at IS NULL AND cleared_to < head";
    let rows = sqlx::query(sql).fetch_all(&mut *tx).await?;
    let key = |row: &sqlx::sqlite::SqliteRow| {
        let tenant = TenantId::new(row.try_get::<&str, _>(0)?);
        Ok(SessionKey { tenant, session: SessionId::new(row.try_get::<&str, _>(1)?) })
    };
    rows.iter().map(key).collect()
}

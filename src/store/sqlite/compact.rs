//! Compaction: the deltas of text that is told whole by now go, in steps, so that whoever writes gets in between.
//!
//! The first step moves the mark up to which deltas are not read any more, so a log reads the same however many of the
//! steps were done. Only logs that changed are looked at: the process owns the database, so it knows which.

use std::{
    collections::HashSet,
    mem,
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
const STEP: i64 = 4_000;

/// Sessions whose logs grew since they were looked at.
#[derive(Debug, Default)]
pub(super) struct Changed(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    /// What an earlier process left was looked up.
    known: bool,
    keys: HashSet<SessionKey>,
}

impl Changed {
    /// These sessions get events.
    pub(super) fn note(&self, batches: &[Batch]) {
        let mut held = self.lock();
        for batch in batches {
            if !batch.events.is_empty() && !held.keys.contains(&batch.key) {
                held.keys.insert(batch.key.clone());
            }
        }
    }

    async fn take(&self, connections: &Connections) -> Result<HashSet<SessionKey>, Error> {
        let known = self.lock().known;
        let left = if known { HashSet::new() } else { unfinished(connections).await? };
        let mut held = self.lock();
        held.known = true;
        held.keys.extend(left);
        Ok(mem::take(&mut held.keys))
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compacts the logs that changed, up to events that are older than `before`.
pub(super) async fn compact(connections: &Connections, changed: &Changed, before: Timestamp) -> Result<(), Error> {
    let mut keys = changed.take(connections).await?.into_iter();
    while let Some(key) = keys.next() {
        match one(connections, &key, before).await {
            Ok(Seen::All) => {}
            Ok(Seen::Part) => drop(changed.lock().keys.insert(key)),
            // A log that cannot be read stays as it is; it says so to whoever reads it.
            Err(Error::Corrupt(cause)) => tracing::error!(%key, cause, "a log could not be compacted"),
            Err(error) => {
                let mut held = changed.lock();
                held.keys.insert(key);
                held.keys.extend(keys);
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

async fn one(connections: &Connections, key: &SessionKey, before: Timestamp) -> Result<Seen, Error> {
    let Some(Marks { compacted, mut cleared }) = marks(connections, key).await? else { return Ok(Seen::All) };
    let (horizon, seen) = scan(connections, key, compacted, before).await?;
    while cleared < horizon {
        let to = horizon.min(cleared + STEP);
        let mut tx = connections.write().await?;
        if !mark(&mut tx, key, horizon, to).await? {
            tx.undo().await?;
            break;
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
    Ok(seen)
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

/// How far the deltas after `from` can go. A log that was read is never rewritten, so pages of it fit together.
async fn scan(connections: &Connections, key: &SessionKey, from: i64, before: Timestamp) -> Result<(i64, Seen), Error> {
    let sql = "SELECT sequence, time, block_id, CASE WHEN kind IN ('block_start', 'block_complete') THEN payload END
        FROM event WHERE tenant_id = ? AND session_id = ? AND sequence > ? ORDER BY sequence LIMIT ?";
    let mut horizon = Horizon::after(from);
    let mut last = from;
    loop {
        let mut tx = connections.read().await?;
        let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(last).bind(READ);
        let rows = query.fetch_all(&mut *tx).await?;
        drop(tx);
        for row in &rows {
            if row.try_get::<i64, _>(1)? >= before.0 {
                return Ok((horizon.at(), Seen::Part));
            }
            last = row.try_get(0)?;
            let grown: Option<&[u8]> = row.try_get(2)?;
            let whole: Option<&[u8]> = row.try_get(3)?;
            match (grown, whole) {
                (Some(id), _) => {
                    let id = std::str::from_utf8(id)
                        .map_err(|_| Error::Corrupt(format!("block of {key} at {last}: not UTF-8")))?;
                    horizon.pass(last, Tells::Growth(&BlockId::new(id)));
                }
                (None, Some(whole)) => {
                    let kind = codec::decode(whole, format_args!("{key} at {last}"))?;
                    let (Kind::BlockStart { block } | Kind::BlockComplete { block }) = kind else {
                        return Err(Error::Corrupt(format!(
                            "event of {key} at {last}: stored as a block, but it is none"
                        )));
                    };
                    horizon.pass(last, Tells::Whole(&block.block_id));
                }
                (None, None) => horizon.pass(last, Tells::Other),
            }
        }
        if rows.len() < usize::try_from(READ).unwrap_or(usize::MAX) {
            return Ok((horizon.at(), Seen::All));
        }
    }
}

/// What an earlier process did not come to.
async fn unfinished(connections: &Connections) -> Result<HashSet<SessionKey>, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT tenant_id, session_id FROM session WHERE deleted_at IS NULL AND cleared_to < head";
    let rows = sqlx::query(sql).fetch_all(&mut *tx).await?;
    let key = |row: &sqlx::sqlite::SqliteRow| {
        let tenant = TenantId::new(row.try_get::<&str, _>(0)?);
        Ok(SessionKey { tenant, session: SessionId::new(row.try_get::<&str, _>(1)?) })
    };
    rows.iter().map(key).collect()
}

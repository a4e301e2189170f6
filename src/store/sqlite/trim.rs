//! Retention: whole events that are old go, where the server is told to. What they made of the session stays, because its
//! parts have rows of their own; so only a reader that comes back after long misses them, and is told.

use sqlx::Row as _;

use super::open::Connections;
use crate::{
    domain::{SessionId, SessionKey, TenantId, Timestamp},
    store::Error,
};

/// Sequences that one transaction removes.
const STEP: i64 = 2_000;

/// Removes events that are older than `before`, as far as logs are compacted, but never the newest of a session.
pub(super) async fn trim(connections: &Connections, before: Timestamp) -> Result<(), Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT tenant_id, session_id, trimmed_to, MIN(cleared_to, head - 1) FROM session
        WHERE deleted_at IS NULL AND trimmed_to < MIN(cleared_to, head - 1)";
    let rows = sqlx::query(sql).fetch_all(&mut *tx).await?;
    drop(tx);
    for row in rows {
        let tenant = TenantId::new(row.try_get::<&str, _>(0)?);
        let key = SessionKey { tenant, session: SessionId::new(row.try_get::<&str, _>(1)?) };
        one(connections, &key, row.try_get(2)?, row.try_get(3)?, before).await?;
    }
    Ok(())
}

async fn one(
    connections: &Connections,
    key: &SessionKey,
    mut trimmed: i64,
    limit: i64,
    before: Timestamp,
) -> Result<(), Error> {
    let to = old(connections, key, trimmed, limit, before).await?;
    // Each step is whole in itself: the mark moves as far as events went.
    while trimmed < to {
        let next = to.min(trimmed + STEP);
        let mut tx = connections.write().await?;
        let sql = "UPDATE session SET trimmed_to = ? WHERE tenant_id = ? AND session_id = ? AND deleted_at IS NULL";
        let query = sqlx::query(sql).bind(next).bind(key.tenant.as_str()).bind(key.session.as_str());
        if query.execute(&mut *tx).await?.rows_affected() == 0 {
            return tx.undo().await;
        }
        let sql = "DELETE FROM event WHERE tenant_id = ? AND session_id = ? AND sequence <= ?";
        let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(next);
        query.execute(&mut *tx).await?;
        tx.commit().await?;
        trimmed = next;
    }
    Ok(())
}

/// The last event up to `limit` that is old. Times never go back within a log, so the first young one ends the search.
async fn old(
    connections: &Connections,
    key: &SessionKey,
    trimmed: i64,
    limit: i64,
    before: Timestamp,
) -> Result<i64, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT sequence FROM event WHERE tenant_id = ? AND session_id = ? AND sequence > ? AND sequence <= ?
        AND time >= ? ORDER BY sequence LIMIT 1";
    let young: Option<i64> = sqlx::query_scalar(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(trimmed)
        .bind(limit)
        .bind(before.0)
        .fetch_optional(&mut *tx)
        .await?;
    let limit = young.map_or(limit, |young| young - 1);
    let sql = "SELECT COALESCE(MAX(sequence), 0) FROM event WHERE tenant_id = ? AND session_id = ? AND sequence <= ?";
    let query = sqlx::query_scalar(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(limit);
    Ok(query.fetch_one(&mut *tx).await?)
}

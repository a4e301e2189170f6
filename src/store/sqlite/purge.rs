//! Removing what is left of deleted sessions, but for their tombstones.

use std::collections::BTreeSet;

use sqlx::{Row as _, SqliteConnection};

use super::{open::Connections, profiles, revision};
use crate::{
    domain::{SandboxId, SessionId, SessionKey, TenantId, Timestamp},
    store::Error,
};

/// What a session consists of, beside its row.
const TABLES: [&str; 15] = [
    "DELETE FROM label WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM event WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM turn WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM block WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM block_text WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM checkpoint WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM blob_ref WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM conversation WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM permission WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM question WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM permission_rules WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM file WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM exec_stdin WHERE tenant_id = ? AND session_id = ?",
    "DELETE FROM exec WHERE tenant_id = ? AND session_id = ?",
    "UPDATE session SET record = x'', sandbox_id = NULL, purged = 1 WHERE tenant_id = ? AND session_id = ?",
];

/// Purges sessions deleted before a time, each in a transaction of its own, so that the living get in between.
pub(super) async fn purge(connections: &Connections, before: Timestamp) -> Result<Vec<SandboxId>, Error> {
    let mut sandboxes = BTreeSet::new();
    loop {
        match purge_one(connections, before).await {
            Ok(Some(had)) => sandboxes.extend(had),
            Ok(None) => break,
            // Nobody would hear of these sandboxes again; the error comes back with the next call.
            Err(error) if !sandboxes.is_empty() => {
                tracing::warn!(%error, "not all deleted sessions could be purged; the next purge goes on");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sandboxes.into_iter().collect())
}

async fn purge_one(connections: &Connections, before: Timestamp) -> Result<Option<Vec<SandboxId>>, Error> {
    let mut tx = connections.write().await?;
    let sql = "SELECT tenant_id, session_id FROM session
        WHERE deleted_at IS NOT NULL AND purged = 0 AND deleted_at < ? ORDER BY deleted_at LIMIT 1";
    let Some(row) = sqlx::query(sql).bind(before.0).fetch_optional(&mut *tx).await? else {
        tx.undo().await?;
        return Ok(None);
    };
    let tenant = TenantId::new(row.try_get::<&str, _>(0)?);
    let key = SessionKey { tenant, session: SessionId::new(row.try_get::<&str, _>(1)?) };
    let had = sandboxes(&mut tx, &key).await?;
    revision::forget(&mut tx, &key).await?;
    for sql in TABLES {
        sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).execute(&mut *tx).await?;
    }
    profiles::forget_unneeded(&mut tx, &key).await?;
    tx.commit().await?;
    Ok(Some(had))
}

async fn sandboxes(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Vec<SandboxId>, Error> {
    let sql = "SELECT sandbox_id FROM exec WHERE tenant_id = ?1 AND session_id = ?2
        UNION SELECT sandbox_id FROM session WHERE tenant_id = ?1 AND session_id = ?2 AND sandbox_id IS NOT NULL";
    let rows = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_all(conn).await?;
    rows.iter().map(|row| Ok(SandboxId::new(row.try_get::<&str, _>(0)?))).collect()
}

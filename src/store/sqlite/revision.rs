//! Revisions: the order of all that lists show of a tenant's sessions. The session's row keeps the newest of its own, so a
//! change costs no row, and what changed since a revision is a range of an index.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    open::Connections,
    rows,
    sessions::{open_turns, split},
};
use crate::{
    domain::{LogUid, SessionKey, SessionStatus, TenantId},
    store::{Batch, ChangesPage, ChangesQuery, Error, ListChange, ListedChange, SessionView, listing::Visible},
};

const CHANGES: &str =
    "SELECT session_id, head, last_activity, epoch, trimmed_to, record, uid, revision, added_revision,
    filed_revision, deleted_at IS NOT NULL AS deleted FROM session
    WHERE tenant_id = ? AND revision > ? AND revision <= ? AND purged = 0 ORDER BY revision LIMIT ?";

/// Gives the next revision to each session of which lists show a change; in the transaction of the change, so that they
/// become visible in their order.
pub(super) async fn assign(conn: &mut SqliteConnection, batches: &[&Batch]) -> Result<(), Error> {
    for batch in batches {
        let Some(Visible { created, filed }) = batch.visible() else { continue };
        let key = &batch.key;
        let sql = "INSERT INTO tenant (tenant_id, revision, forgotten) VALUES (?, 1, 0)
            ON CONFLICT (tenant_id) DO UPDATE SET revision = revision + 1 RETURNING revision";
        let revision: i64 = sqlx::query_scalar(sql).bind(key.tenant.as_str()).fetch_one(&mut *conn).await?;
        let sql = "UPDATE session SET revision = ?1, added_revision = iif(?2, ?1, added_revision),
            filed_revision = iif(?3, ?1, filed_revision) WHERE tenant_id = ?4 AND session_id = ?5";
        sqlx::query(sql)
            .bind(revision)
            .bind(created)
            .bind(filed)
            .bind(key.tenant.as_str())
            .bind(key.session.as_str())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Takes note that the last change of a session can be told no more.
pub(super) async fn forget(conn: &mut SqliteConnection, key: &SessionKey) -> Result<(), Error> {
    let sql = "UPDATE tenant SET forgotten =
        MAX(forgotten, (SELECT revision FROM session WHERE tenant_id = ?1 AND session_id = ?2)) WHERE tenant_id = ?1";
    sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).execute(conn).await?;
    Ok(())
}

/// The newest revision of a tenant.
pub(super) async fn newest(connections: &Connections, tenant: &TenantId) -> Result<i64, Error> {
    let mut tx = connections.read().await?;
    let newest: Option<i64> = sqlx::query_scalar("SELECT revision FROM tenant WHERE tenant_id = ?")
        .bind(tenant.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    Ok(newest.unwrap_or_default())
}

/// A page of what changed.
pub(super) async fn changes(
    connections: &Connections,
    tenant: &TenantId,
    query: ChangesQuery<'_>,
) -> Result<ChangesPage, Error> {
    let mut tx = connections.read().await?;
    let forgotten: Option<i64> = sqlx::query_scalar("SELECT forgotten FROM tenant WHERE tenant_id = ?")
        .bind(tenant.as_str())
        .fetch_optional(&mut *tx)
        .await?;
    let rows = sqlx::query(CHANGES)
        .bind(tenant.as_str())
        .bind(query.after)
        .bind(query.until)
        .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await?;
    let through = match rows.last() {
        Some(last) if rows.len() >= query.limit => last.try_get("revision")?,
        Some(_) | None => query.until,
    };
    let changes = rows.iter().filter_map(|row| change(row, query).transpose());
    let mut changes = changes.collect::<Result<Vec<_>, Error>>()?;
    let there = changes.iter().filter(|change| change.change != ListChange::Removed);
    let ids: Vec<&str> = there.map(|change| change.view.session.session_id.as_str()).collect();
    let mut turns = open_turns(&mut tx, tenant, &ids).await?;
    for ListedChange { view, .. } in &mut changes {
        let turns = turns.remove(&view.session.session_id).unwrap_or_default();
        (view.active_turn, view.queued_turns) = split(turns);
    }
    Ok(ChangesPage { changes, through, forgotten: forgotten.unwrap_or_default() })
}

/// The change that a row is to somebody who asks with this query.
fn change(row: &SqliteRow, query: ChangesQuery<'_>) -> Result<Option<ListedChange>, Error> {
    let rows::Record { mut session, epoch: _, trimmed } = rows::record(row)?;
    let deleted = row.try_get("deleted")?;
    session.uid = LogUid::new(row.try_get::<&str, _>("uid")?);
    if deleted {
        session.status = SessionStatus::Deleted;
    }
    let (added, filed) = (row.try_get("added_revision")?, row.try_get("filed_revision")?);
    let Some(change) = query.filter.change(&session, deleted, query.after, added, filed) else { return Ok(None) };
    let (queued_turns, open_permissions, open_questions) = Default::default();
    let oldest_sequence = trimmed + 1;
    let view =
        SessionView { session, oldest_sequence, active_turn: None, queued_turns, open_permissions, open_questions };
    Ok(Some(ListedChange { revision: row.try_get("revision")?, change, view }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many sessions there are, only those that changed are read.
    #[tokio::test]
    async fn changes_are_a_range_of_an_index() {
        let connections = Connections::memory().await.unwrap();
        let mut tx = connections.read().await.unwrap();
        let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {CHANGES}"));
        let rows = sqlx::query(explained).fetch_all(&mut *tx).await.unwrap();
        let plan: String = rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect();
        assert!(plan.contains("session_revision") && !plan.contains("SCAN") && !plan.contains("B-TREE"), "{plan}");
    }
}

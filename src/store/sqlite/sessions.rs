//! Sessions as lists show them, and what a server asks of all sessions.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{open::Connections, rows};
use crate::{
    domain::{SessionId, SessionKey, TenantId, Turn},
    store::{Error, SessionQuery, SessionView, codec},
};

/// One session with its turns that are not over, and what waits for an answer.
pub(super) async fn one(connections: &Connections, key: &SessionKey) -> Result<Option<SessionView>, Error> {
    let mut tx = connections.read().await?;
    let Some(rows::Record { session, trimmed, .. }) = rows::find(&mut tx, key).await? else { return Ok(None) };
    let (active_turn, queued_turns) = split(rows::open_turns(&mut tx, key).await?);
    let open_permissions = rows::open_permissions(&mut tx, key).await?;
    let open_questions = rows::open_questions(&mut tx, key).await?;
    let oldest_sequence = trimmed + 1;
    Ok(Some(SessionView { session, oldest_sequence, active_turn, queued_turns, open_permissions, open_questions }))
}

/// A page of a tenant's sessions: two statements, however long it is.
pub(super) async fn page(
    connections: &Connections,
    tenant: &TenantId,
    query: &SessionQuery,
) -> Result<Vec<SessionView>, Error> {
    let mut tx = connections.read().await?;
    let rows = statement(tenant, query).build().fetch_all(&mut *tx).await?;
    let records = rows.iter().map(rows::record).collect::<Result<Vec<_>, Error>>()?;
    let ids: Vec<&str> = records.iter().map(|record| record.session.session_id.as_str()).collect();
    let mut turns = open_turns(&mut tx, tenant, &ids).await?;
    let view = |rows::Record { session, trimmed, .. }: rows::Record| {
        let (active_turn, queued_turns) = split(turns.remove(&session.session_id).unwrap_or_default());
        let (open_permissions, open_questions) = (Vec::new(), Vec::new());
        let oldest_sequence = trimmed + 1;
        SessionView { session, oldest_sequence, active_turn, queued_turns, open_permissions, open_questions }
    };
    Ok(records.into_iter().map(view).collect())
}

/// Sessions that have a turn that is not over.
pub(super) async fn unfinished(connections: &Connections) -> Result<Vec<SessionKey>, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT tenant_id, session_id FROM session s WHERE deleted_at IS NULL AND (sandbox_running = 1 OR EXISTS
        (SELECT 1 FROM turn t WHERE t.tenant_id = s.tenant_id AND t.session_id = s.session_id AND t.open = 1))
        ORDER BY tenant_id, session_id";
    let rows = sqlx::query(sql).fetch_all(&mut *tx).await?;
    let key = |row: &sqlx::sqlite::SqliteRow| {
        let tenant = TenantId::new(row.try_get::<&str, _>(0)?);
        Ok(SessionKey { tenant, session: SessionId::new(row.try_get::<&str, _>(1)?) })
    };
    rows.iter().map(key).collect()
}

/// How many of a tenant's sessions have a sandbox that runs.
pub(super) async fn active(connections: &Connections, tenant: &TenantId) -> Result<i64, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT COUNT(*) FROM session WHERE tenant_id = ? AND sandbox_running = 1 AND deleted_at IS NULL";
    Ok(sqlx::query_scalar(sql).bind(tenant.as_str()).fetch_one(&mut *tx).await?)
}

/// The page, by an index that has its order: of labels where there are any, else the one that the filters select.
fn statement(tenant: &TenantId, query: &SessionQuery) -> QueryBuilder<Sqlite> {
    const COLUMNS: &str = "SELECT s.session_id, s.head, s.last_activity, s.epoch, s.trimmed_to, s.record FROM ";
    let mut labels = query.labels.iter();
    let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
    // Where the order is taken from.
    let place = if let Some((key, value)) = labels.next() {
        sql.push("label l CROSS JOIN session s ON s.tenant_id = l.tenant_id AND s.session_id = l.session_id");
        sql.push(" WHERE l.tenant_id = ").push_bind(tenant.as_str().to_owned());
        sql.push(" AND l.key = ").push_bind(key.clone()).push(" AND l.value = ").push_bind(value.clone());
        "l"
    } else {
        sql.push("session s WHERE s.tenant_id = ").push_bind(tenant.as_str().to_owned());
        "s"
    };
    sql.push(" AND s.deleted_at IS NULL");
    for (key, value) in labels {
        sql.push(" AND EXISTS (SELECT 1 FROM label m WHERE m.tenant_id = l.tenant_id AND m.key = ");
        sql.push_bind(key.clone()).push(" AND m.value = ").push_bind(value.clone());
        sql.push(" AND m.create_time = l.create_time AND m.session_id = l.session_id)");
    }
    if let Some(status) = query.status {
        sql.push(" AND s.status = ").push_bind(status.as_str());
    }
    if let Some(revision) = query.as_of {
        sql.push(" AND s.added_revision <= ").push_bind(revision);
    }
    if let Some(profile) = &query.profile_id {
        sql.push(" AND s.profile_id = ").push_bind(profile.as_str().to_owned());
    }
    if let Some(external_id) = &query.external_id {
        sql.push(" AND s.external_id = ").push_bind(external_id.clone());
        if !external_id.is_empty() {
            // Said once more, so that the index of external ids, which leaves out empty ones, can be used.
            sql.push(" AND s.external_id <> ''");
        }
    }
    if let Some((time, id)) = &query.before {
        sql.push(format_args!(" AND ({place}.create_time, {place}.session_id) < ("));
        sql.push_bind(time.0).push(", ").push_bind(id.as_str().to_owned()).push(")");
    }
    sql.push(format_args!(" ORDER BY {place}.create_time DESC, {place}.session_id DESC LIMIT "));
    sql.push_bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
    sql
}

/// The turns that are not over of many sessions at once.
pub(super) async fn open_turns(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    ids: &[&str],
) -> Result<HashMap<SessionId, Vec<Turn>>, Error> {
    let sql = "SELECT t.session_id, t.body FROM json_each(?) AS wanted CROSS JOIN turn t
        WHERE t.tenant_id = ? AND t.session_id = wanted.value AND t.open = 1 ORDER BY t.session_id, t.ordinal";
    let wanted = serde_json::to_string(ids).expect("a list of text is JSON");
    let mut turns: HashMap<SessionId, Vec<Turn>> = HashMap::new();
    for row in sqlx::query(sql).bind(wanted).bind(tenant.as_str()).fetch_all(conn).await? {
        let id: &str = row.try_get("session_id")?;
        let turn = codec::decode(row.try_get("body")?, format_args!("{tenant}/{id}"))?;
        turns.entry(SessionId::new(id)).or_default().push(turn);
    }
    Ok(turns)
}

/// The one that holds the session, and those that wait.
pub(super) fn split(turns: Vec<Turn>) -> (Option<Turn>, Vec<Turn>) {
    let (active, queued): (Vec<_>, Vec<_>) = turns.into_iter().partition(|turn| turn.status.is_active());
    let queued = Turn::queue(&queued).into_iter().cloned().collect();
    (active.into_iter().next(), queued)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::{ProfileId, SessionStatus, Timestamp};

    /// Every way to ask is answered from an index in order: no scan of the table, no sort.
    #[tokio::test]
    async fn pages_read_ranges_of_an_index() {
        let connections = Connections::memory().await.unwrap();
        let newest = SessionQuery { limit: 100, ..SessionQuery::default() };
        let before = Some((Timestamp(1), SessionId::new("ses_1")));
        let label =
            |count: usize| (0..count).map(|at| (format!("key{at}"), "value".to_owned())).collect::<BTreeMap<_, _>>();
        let cases = [
            ("session_newest", newest.clone()),
            ("session_newest", SessionQuery { before: before.clone(), as_of: Some(1), ..newest.clone() }),
            (
                "session_status",
                SessionQuery { status: Some(SessionStatus::Idle), before: before.clone(), ..newest.clone() },
            ),
            ("session_profile", SessionQuery { profile_id: Some(ProfileId::new("p")), ..newest.clone() }),
            ("session_external_id", SessionQuery { external_id: Some("mine".into()), ..newest.clone() }),
            ("l USING PRIMARY KEY", SessionQuery { labels: label(1), before: before.clone(), ..newest.clone() }),
            ("SEARCH m", SessionQuery { labels: label(2), status: Some(SessionStatus::Idle), ..newest.clone() }),
        ];
        for (index, query) in cases {
            let mut sql = statement(&TenantId::default_tenant(), &query);
            let plan = explain(&connections, &mut sql).await;
            assert!(plan.contains(index), "{query:?}\n{plan}");
            assert!(!plan.contains("SCAN"), "{query:?}\n{plan}");
            // There is at most one session of an external id: sorting one row costs nothing.
            assert!(query.external_id.is_some() || !plan.contains("B-TREE"), "{query:?}\n{plan}");
        }
    }

    async fn explain(connections: &Connections, sql: &mut QueryBuilder<Sqlite>) -> String {
        let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.sql().as_str()));
        let mut tx = connections.read().await.unwrap();
        let rows = sqlx::query(explained).fetch_all(&mut *tx).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect()
    }
}

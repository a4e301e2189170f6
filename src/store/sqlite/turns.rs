//! Turns, one by one: also those that are over.

use futures::TryStreamExt as _;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::{open::Connections, rows};
use crate::{
    domain::{Kind, SessionKey, Turn, TurnId, TurnStatus},
    store::{Error, TurnPage, TurnQuery, codec},
};

/// One turn of a session that is there.
pub(super) async fn one(connections: &Connections, key: &SessionKey, turn_id: &TurnId) -> Result<Option<Turn>, Error> {
    let mut tx = connections.read().await?;
    if rows::find(&mut tx, key).await?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT body FROM turn WHERE tenant_id = ? AND session_id = ? AND turn_id = ?";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(turn_id.as_str());
    let row = query.fetch_optional(&mut *tx).await?;
    row.map(|row| codec::decode(row.try_get("body")?, format_args!("{key}"))).transpose()
}

/// A page of turns, in the order of their acceptance.
pub(super) async fn page(
    connections: &Connections,
    key: &SessionKey,
    query: &TurnQuery,
) -> Result<Option<TurnPage>, Error> {
    let mut tx = connections.read().await?;
    if !rows::exists(&mut tx, key).await? {
        return Ok(None);
    }
    let mut page = TurnPage { turns: Vec::new(), next: None };
    let mut bytes = 0;
    let mut last = None;
    let mut sql = statement(key, query);
    let mut found = sql.build().fetch(&mut *tx);
    while let Some(row) = found.try_next().await? {
        let body: &[u8] = row.try_get("body")?;
        bytes += body.len();
        if page.turns.len() == query.limit || (bytes > query.max_bytes && !page.turns.is_empty()) {
            page.next = last;
            break;
        }
        page.turns.push(codec::decode(body, format_args!("{key}"))?);
        last = Some(row.try_get("ordinal")?);
    }
    drop(found);
    Ok(Some(page))
}

/// The page, by an index that has its order.
fn statement(key: &SessionKey, query: &TurnQuery) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT ordinal, body FROM turn WHERE tenant_id = ");
    sql.push_bind(key.tenant.as_str().to_owned());
    sql.push(" AND session_id = ").push_bind(key.session.as_str().to_owned());
    if let Some(status) = query.status {
        sql.push(" AND status = ").push_bind(TurnStatus::as_str(status));
    }
    if let Some(after) = query.after {
        sql.push(if query.newest_first { " AND ordinal < " } else { " AND ordinal > " }).push_bind(after);
    }
    sql.push(if query.newest_first { " ORDER BY ordinal DESC LIMIT " } else { " ORDER BY ordinal LIMIT " });
    // One more than asked for tells whether there is another page.
    sql.push_bind(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1));
    sql
}

/// Sequence of the event that ended a turn, looked for after a sequence.
pub(super) async fn end(
    connections: &Connections,
    key: &SessionKey,
    turn_id: &TurnId,
    after: i64,
) -> Result<Option<i64>, Error> {
    let mut tx = connections.read().await?;
    let Some(rows::Record { trimmed, .. }) = rows::find(&mut tx, key).await? else { return Ok(None) };
    let sql = "SELECT sequence, payload FROM event
        WHERE tenant_id = ? AND session_id = ? AND sequence > ? AND kind = 'turn_updated' ORDER BY sequence";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(after);
    {
        let mut found = query.fetch(&mut *tx);
        while let Some(row) = found.try_next().await? {
            let sequence: i64 = row.try_get("sequence")?;
            let kind: Kind = codec::decode(row.try_get("payload")?, format_args!("{key} at {sequence}"))?;
            if let Kind::TurnUpdated { turn } = kind
                && turn.turn_id == *turn_id
                && turn.status.is_final()
            {
                return Ok(Some(sequence));
            }
        }
    }
    // A turn that is over and whose end is not there ended before what is kept begins.
    let sql = "SELECT open FROM turn WHERE tenant_id = ? AND session_id = ? AND turn_id = ?";
    let query = sqlx::query_scalar(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(turn_id.as_str());
    let open: Option<bool> = query.fetch_optional(&mut *tx).await?;
    Ok((open == Some(false) && trimmed > after).then_some(trimmed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SessionId, TenantId};

    /// Every way to ask is answered from an index in order: no scan of the table, no sort.
    #[tokio::test]
    async fn pages_read_ranges_of_an_index() {
        let connections = Connections::memory().await.unwrap();
        let key = SessionKey { tenant: TenantId::default_tenant(), session: SessionId::new("ses_1") };
        for (index, status) in [("turn_order", None), ("turn_status", Some(TurnStatus::Failed))] {
            for newest_first in [false, true] {
                let query = TurnQuery { status, newest_first, after: Some(1), limit: 10, max_bytes: 1000 };
                let sql = statement(&key, &query);
                let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.sql().as_str()));
                let mut tx = connections.read().await.unwrap();
                let rows = sqlx::query(explained).fetch_all(&mut *tx).await.unwrap();
                let plan: String = rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect();
                assert!(plan.contains(index) && !plan.contains("SCAN") && !plan.contains("B-TREE"), "{plan}");
            }
        }
    }

    #[test]
    fn a_status_is_stored_under_one_name() {
        for status in TurnStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
    }
}

//! Permission requests and questions, one by one, also those that are over; and the standing answers.

use sqlx::{Row as _, SqliteConnection};

use super::{open::Connections, rows};
use crate::{
    domain::{PermissionRequest, PermissionRule, Question, SessionKey},
    store::{Error, codec},
};

/// One request of a session that is there.
pub(super) async fn one(
    connections: &Connections,
    key: &SessionKey,
    permission_id: &str,
) -> Result<Option<PermissionRequest>, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT body FROM permission WHERE tenant_id = ? AND session_id = ? AND permission_id = ?";
    let body = body(&mut tx, sql, key, permission_id).await?;
    body.map(|body| codec::decode(&body, format_args!("{key}"))).transpose()
}

/// One question of a session that is there.
pub(super) async fn question(
    connections: &Connections,
    key: &SessionKey,
    question_id: &str,
) -> Result<Option<Question>, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT body FROM question WHERE tenant_id = ? AND session_id = ? AND question_id = ?";
    let body = body(&mut tx, sql, key, question_id).await?;
    body.map(|body| codec::decode(&body, format_args!("{key}"))).transpose()
}

/// The rules of a session that is there.
pub(super) async fn rules(connections: &Connections, key: &SessionKey) -> Result<Option<Vec<PermissionRule>>, Error> {
    let mut tx = connections.read().await?;
    if rows::find(&mut tx, key).await?.is_none() {
        return Ok(None);
    }
    rows::permission_rules(&mut tx, key).await.map(Some)
}

async fn body(
    conn: &mut SqliteConnection,
    sql: &'static str,
    key: &SessionKey,
    id: &str,
) -> Result<Option<Vec<u8>>, Error> {
    if rows::find(conn, key).await?.is_none() {
        return Ok(None);
    }
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(id);
    let row = query.fetch_optional(conn).await?;
    Ok(row.map(|row| row.try_get("body")).transpose()?)
}

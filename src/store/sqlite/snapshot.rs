//! Everything there is to show of a session: the fold of its log, put together from its parts.

use sqlx::SqliteConnection;

use super::{
    open::Connections,
    rows::{self, StoredBlock},
};
use crate::{
    domain::{SessionKey, SessionState},
    store::Error,
};

/// The state as of the head.
pub(super) async fn snapshot(connections: &Connections, key: &SessionKey) -> Result<Option<SessionState>, Error> {
    let mut tx = connections.read().await?;
    let Some(rows::Record { session, .. }) = rows::find(&mut tx, key).await? else { return Ok(None) };
    let turns = "SELECT body FROM turn WHERE tenant_id = ? AND session_id = ? ORDER BY ordinal";
    let permissions = "SELECT body FROM permission WHERE tenant_id = ? AND session_id = ? ORDER BY ordinal";
    let questions = "SELECT body FROM question WHERE tenant_id = ? AND session_id = ? ORDER BY ordinal";
    let files = "SELECT body FROM file WHERE tenant_id = ? AND session_id = ? ORDER BY path";
    let blocks = blocks(&mut tx, key).await?;
    let blocks = rows::grow(&mut tx, key, &session, blocks).await?;
    Ok(Some(SessionState {
        turns: rows::bodies(&mut tx, turns, key).await?,
        conversations: rows::conversations(&mut tx, key).await?,
        permissions: rows::bodies(&mut tx, permissions, key).await?,
        questions: rows::bodies(&mut tx, questions, key).await?,
        permission_rules: rows::permission_rules(&mut tx, key).await?,
        files: rows::bodies(&mut tx, files, key).await?,
        blocks: blocks.into_iter().map(|stored| stored.block).collect(),
        session,
    }))
}

async fn blocks(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Vec<StoredBlock>, Error> {
    let sql = "SELECT ordinal, written_at, body FROM block WHERE tenant_id = ? AND session_id = ?";
    let rows = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_all(conn).await?;
    let mut blocks = rows.iter().map(|row| rows::block(row, key)).collect::<Result<Vec<_>, _>>()?;
    // Sorted here: the database would carry all the text through its sorter.
    blocks.sort_by_key(|stored| stored.ordinal);
    Ok(blocks)
}

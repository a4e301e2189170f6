//! Everything there is to show of a session: the fold of its log, put together from its parts.

use futures::TryStreamExt as _;
use sqlx::{Row as _, SqliteConnection};

use super::{
    open::Connections,
    put,
    rows::{self, StoredBlock},
};
use crate::{
    domain::{Session, SessionKey, SessionState},
    store::{Error, PlacedBlock, SnapshotHead},
};

/// The state as of the head.
pub(super) async fn snapshot(connections: &Connections, key: &SessionKey) -> Result<Option<SessionState>, Error> {
    let mut tx = connections.read().await?;
    let Some(rows::Record { session, .. }) = rows::find(&mut tx, key).await? else { return Ok(None) };
    let blocks = blocks(&mut tx, key).await?;
    let blocks = rows::grow(&mut tx, key, &session, blocks).await?;
    let blocks = blocks.into_iter().map(|stored| stored.block).collect();
    Ok(Some(SessionState { blocks, ..all_but_blocks(&mut tx, key, session).await? }))
}

/// The state as of the head, of whose blocks only those that stream.
pub(super) async fn head(connections: &Connections, key: &SessionKey) -> Result<Option<SnapshotHead>, Error> {
    let mut tx = connections.read().await?;
    let Some(rows::Record { session, .. }) = rows::find(&mut tx, key).await? else { return Ok(None) };
    let blocks = rows::open_blocks(&mut tx, key).await?;
    let blocks = rows::grow(&mut tx, key, &session, blocks).await?;
    let (places, blocks) = blocks.into_iter().map(|stored| (stored.ordinal, stored.block)).unzip();
    let state = SessionState { blocks, ..all_but_blocks(&mut tx, key, session).await? };
    Ok(Some(SnapshotHead { state, places }))
}

/// A page of the blocks there were at a sequence: their places tell when they were first put.
pub(super) async fn final_blocks(
    connections: &Connections,
    key: &SessionKey,
    sequence: i64,
    after: i64,
    max_bytes: usize,
) -> Result<Option<Vec<PlacedBlock>>, Error> {
    let mut tx = connections.read().await?;
    if rows::find(&mut tx, key).await?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT ordinal, open = 0 AND written_at <= ?3 AS unchanged, written_at, body FROM block
        WHERE tenant_id = ?1 AND session_id = ?2 AND ordinal > ?4 AND ordinal < ?5 ORDER BY ordinal";
    let mut found = sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(sequence)
        .bind(after)
        .bind(put::place(sequence, 0))
        .fetch(&mut *tx);
    let mut page = Vec::new();
    let mut bytes = 0;
    while bytes < max_bytes
        && let Some(row) = found.try_next().await?
    {
        let unchanged: bool = row.try_get("unchanged")?;
        bytes += row.try_get::<&[u8], _>("body")?.len();
        let stored = rows::block(&row, key)?;
        page.push(PlacedBlock { place: stored.ordinal, block: unchanged.then_some(stored.block) });
    }
    Ok(Some(page))
}

async fn all_but_blocks(
    conn: &mut SqliteConnection,
    key: &SessionKey,
    session: Session,
) -> Result<SessionState, Error> {
    let turns = "SELECT body FROM turn WHERE tenant_id = ? AND session_id = ? ORDER BY ordinal";
    let permissions = "SELECT body FROM permission WHERE tenant_id = ? AND session_id = ? ORDER BY ordinal";
    let questions = "SELECT body FROM question WHERE tenant_id = ? AND session_id = ? ORDER BY ordinal";
    let files = "SELECT body FROM file WHERE tenant_id = ? AND session_id = ? ORDER BY path";
    Ok(SessionState {
        turns: rows::bodies(conn, turns, key).await?,
        conversations: rows::conversations(conn, key).await?,
        permissions: rows::bodies(conn, permissions, key).await?,
        questions: rows::bodies(conn, questions, key).await?,
        permission_rules: rows::permission_rules(conn, key).await?,
        files: rows::bodies(conn, files, key).await?,
        ..SessionState::new(session)
    })
}

async fn blocks(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Vec<StoredBlock>, Error> {
    let sql = "SELECT ordinal, written_at, body FROM block WHERE tenant_id = ? AND session_id = ?";
    let rows = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_all(conn).await?;
    let mut blocks = rows.iter().map(|row| rows::block(row, key)).collect::<Result<Vec<_>, _>>()?;
    // Sorted here: the database would carry all the text through its sorter.
    blocks.sort_by_key(|stored| stored.ordinal);
    Ok(blocks)
}

//! Pages of a conversation's blocks, and whose one is.

use futures::TryStreamExt as _;
use sqlx::Row as _;

use super::{open::Connections, rows};
use crate::{
    domain::{BlockId, SessionKey, TurnId},
    store::{BlockPage, BlockQuery, Error},
};

/// A page of blocks, as of the head.
pub(super) async fn page(
    connections: &Connections,
    key: &SessionKey,
    query: &BlockQuery,
) -> Result<Option<BlockPage>, Error> {
    let mut tx = connections.read().await?;
    let Some(rows::Record { session, .. }) = rows::find(&mut tx, key).await? else { return Ok(None) };
    let (sql, from) = if query.newest_first {
        let sql = "SELECT ordinal, written_at, body FROM block
            WHERE tenant_id = ? AND session_id = ? AND conversation_id = ? AND ordinal < ?
            ORDER BY ordinal DESC LIMIT ?";
        (sql, i64::MAX)
    } else {
        let sql = "SELECT ordinal, written_at, body FROM block
            WHERE tenant_id = ? AND session_id = ? AND conversation_id = ? AND ordinal > ?
            ORDER BY ordinal LIMIT ?";
        (sql, i64::MIN)
    };
    let mut stored = Vec::new();
    let mut bytes = 0;
    let mut more = false;
    {
        // One more than asked for tells whether there is another page.
        let mut found = sqlx::query(sql)
            .bind(key.tenant.as_str())
            .bind(key.session.as_str())
            .bind(query.conversation_id.as_str().as_bytes())
            .bind(query.after.unwrap_or(from))
            .bind(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1))
            .fetch(&mut *tx);
        while let Some(row) = found.try_next().await? {
            bytes += row.try_get::<&[u8], _>("body")?.len();
            if stored.len() == query.limit || (bytes > query.max_bytes && !stored.is_empty()) {
                more = true;
                break;
            }
            stored.push(rows::block(&row, key)?);
        }
    }
    let mut stored = rows::grow(&mut tx, key, &session, stored).await?;
    // Text that only the log has counts too.
    let mut total = 0;
    let fits = stored.iter().take_while(|held| {
        total += held.block.content.growing().map_or(0, str::len);
        total <= query.max_bytes
    });
    let fits = fits.count().max(1);
    if fits < stored.len() {
        stored.truncate(fits);
        more = true;
    }
    let next = stored.last().filter(|_| more).map(|held| held.ordinal);
    let blocks = stored.into_iter().map(|held| held.block).collect();
    Ok(Some(BlockPage { blocks, next, sequence: session.sequence }))
}

/// The turn that a block belongs to.
pub(super) async fn turn(connections: &Connections, key: &SessionKey, id: &BlockId) -> Result<Option<TurnId>, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT ordinal, written_at, body FROM block WHERE tenant_id = ? AND session_id = ? AND block_id = ?";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(id.as_str().as_bytes());
    let row = query.fetch_optional(&mut *tx).await?;
    let stored = row.map(|row| rows::block(&row, key)).transpose()?;
    Ok(stored.and_then(|stored| stored.block.turn_id))
}

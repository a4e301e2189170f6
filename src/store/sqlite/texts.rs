//! The text of blocks past what they hold inline.

use futures::TryStreamExt as _;
use sqlx::{Row as _, SqliteConnection};

use super::{open::Connections, rows};
use crate::{
    domain::{Block, BlockId, SessionKey},
    store::{Error, Piece, TextPiece},
};

/// Writes pieces. Each stands at its own place, so that one that is written again changes nothing.
pub(super) async fn put(conn: &mut SqliteConnection, key: &SessionKey, pieces: &[TextPiece]) -> Result<(), Error> {
    for piece in pieces {
        let id = piece.block_id.as_str().as_bytes();
        if piece.anew {
            let sql = "DELETE FROM block_text WHERE tenant_id = ? AND session_id = ? AND block_id = ?";
            let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(id);
            query.execute(&mut *conn).await?;
        }
        if piece.data.is_empty() {
            continue;
        }
        let sql = "INSERT INTO block_text (tenant_id, session_id, block_id, byte_offset, data) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (tenant_id, session_id, block_id, byte_offset) DO UPDATE SET data = excluded.data";
        sqlx::query(sql)
            .bind(key.tenant.as_str())
            .bind(key.session.as_str())
            .bind(id)
            .bind(super::put::signed(piece.offset)?)
            .bind(piece.data.as_slice())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// A part of a block's text, inline or not, from a byte on. `None`: no such block.
pub(super) async fn read(
    connections: &Connections,
    key: &SessionKey,
    id: &BlockId,
    offset: u64,
) -> Result<Option<Piece>, Error> {
    let mut tx = connections.read().await?;
    let rows::Record { session, .. } = rows::find(&mut tx, key).await?.ok_or(Error::NotFound)?;
    let sql = "SELECT ordinal, written_at, body FROM block WHERE tenant_id = ? AND session_id = ? AND block_id = ?";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(id.as_str().as_bytes());
    let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
    let stored = rows::grow(&mut tx, key, &session, vec![rows::block(&row, key)?]).await?;
    let Some(block) = stored.into_iter().next().map(|stored| stored.block) else { return Ok(None) };
    let text = block.content.text();
    let end = end(&mut tx, key, &block).await?;
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let inline = text.as_bytes().get(offset..).unwrap_or_default();
    let mut data = inline[..inline.len().min(Piece::BYTES)].to_vec();
    if data.len() < Piece::BYTES && ((offset + data.len()) as u64) < end {
        beside(&mut tx, key, id, offset, &mut data).await?;
    }
    Ok(Some(Piece { data, end }))
}

/// Gives the blocks whose text was cut the number of bytes that are kept of the rest: while a block streams, its row has
/// the number as of the first cut.
pub(super) async fn count(conn: &mut SqliteConnection, key: &SessionKey, blocks: &mut [Block]) -> Result<(), Error> {
    for block in blocks.iter_mut().filter(|block| block.truncated_bytes > 0) {
        let inline = block.content.text().len() as u64;
        let kept = i64::try_from(end(conn, key, block).await?.saturating_sub(inline)).unwrap_or(i64::MAX);
        block.truncated_bytes = block.truncated_bytes.max(kept);
    }
    Ok(())
}

/// Where the text of a block ends, as far as it is kept.
async fn end(conn: &mut SqliteConnection, key: &SessionKey, block: &Block) -> Result<u64, Error> {
    let inline = block.content.text().len() as u64;
    if block.truncated_bytes == 0 {
        return Ok(inline);
    }
    let sql =
        "SELECT byte_offset + length(data) FROM block_text WHERE tenant_id = ? AND session_id = ? AND block_id = ?
        ORDER BY byte_offset DESC LIMIT 1";
    let query = sqlx::query_scalar::<_, i64>(sql).bind(key.tenant.as_str()).bind(key.session.as_str());
    let end = query.bind(block.block_id.as_str().as_bytes()).fetch_optional(conn).await?;
    Ok(end.and_then(|end| u64::try_from(end).ok()).unwrap_or(0).max(inline))
}

/// Adds what follows `data`, which begins at `offset`, as far as it fits into one piece.
async fn beside(
    conn: &mut SqliteConnection,
    key: &SessionKey,
    id: &BlockId,
    offset: usize,
    data: &mut Vec<u8>,
) -> Result<(), Error> {
    let sql = "SELECT byte_offset, data FROM block_text
        WHERE tenant_id = ?1 AND session_id = ?2 AND block_id = ?3 AND byte_offset >= (SELECT MAX(byte_offset)
            FROM block_text WHERE tenant_id = ?1 AND session_id = ?2 AND block_id = ?3 AND byte_offset <= ?4)
        ORDER BY byte_offset";
    let from = super::put::signed((offset + data.len()) as u64)?;
    let mut rows = sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(id.as_str().as_bytes())
        .bind(from)
        .fetch(conn);
    while data.len() < Piece::BYTES
        && let Some(row) = rows.try_next().await?
    {
        let (at, piece): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        let skip = usize::try_from(at).ok().and_then(|at| (offset + data.len()).checked_sub(at));
        let fresh = skip
            .and_then(|skip| piece.get(skip..))
            .ok_or_else(|| Error::Corrupt(format!("the text of block {id} of {key} has a hole before byte {at}")))?;
        data.extend_from_slice(&fresh[..fresh.len().min(Piece::BYTES - data.len())]);
    }
    Ok(())
}

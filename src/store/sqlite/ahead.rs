//! Bytes that are kept ahead of the batch that names them: a file may be far larger than a transaction should be.
//!
//! Each hand that puts a blob has a row of its own until the last piece is there, so that two sessions with the same large
//! file do not disturb each other, and bytes that turned out to be others are never mixed with right ones.

use sqlx::{Row as _, SqliteConnection};

use super::{blobs, open::Connections, put::signed};
use crate::{
    domain::{TenantId, Timestamp},
    store::{BlobPiece, Error},
};

/// Writes pieces, all or none.
pub(super) async fn put(
    connections: &Connections,
    tenant: &TenantId,
    by: &str,
    pieces: &[BlobPiece],
) -> Result<(), Error> {
    let now = Timestamp::now();
    let mut tx = connections.write().await?;
    // Most files are small: those that come in one piece go together.
    let (whole, parts): (Vec<_>, Vec<_>) =
        pieces.iter().partition(|piece| piece.offset == 0 && piece.data.len() as u64 == piece.size);
    let whole: Vec<_> = whole.iter().map(|piece| (piece.sha256.as_str(), piece.data.as_slice())).collect();
    blobs::put_whole(&mut tx, tenant, &whole, now).await?;
    for piece in parts {
        match put_part(&mut tx, tenant, by, piece, now).await {
            Ok(()) => {}
            Err(error @ Error::Corrupt(_)) => {
                tx.undo().await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
    }
    tx.commit().await
}

async fn put_part(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    by: &str,
    piece: &BlobPiece,
    now: Timestamp,
) -> Result<(), Error> {
    let BlobPiece { sha256, size, offset, data } = piece;
    if !blobs::touch(conn, tenant, &blobs::list(&[sha256]), now).await?.is_empty() {
        return forget(conn, tenant, by, sha256).await;
    }
    let (size, from) = (signed(*size)?, signed(*offset)?);
    let end = from.saturating_add(signed(data.len() as u64)?);
    let begun = if from == 0 {
        forget(conn, tenant, by, sha256).await?;
        None
    } else {
        Some(begun(conn, tenant, by, sha256).await?.ok_or_else(|| misplaced(piece, 0))?)
    };
    let blob_id = match begun {
        // Put again, because nobody knew whether it was stored.
        Some(begun) if end <= begun.there && size == begun.size => return Ok(()),
        Some(begun) if from != begun.there || size != begun.size => return Err(misplaced(piece, begun.there)),
        _ if end > size => return Err(misplaced(piece, from)),
        Some(begun) => begun.blob_id,
        None => {
            let sql = "INSERT INTO blob (tenant_id, sha256, size, put_by, touched_at) VALUES (?, ?, ?, ?, ?)";
            let query = sqlx::query(sql).bind(tenant.as_str()).bind(sha256).bind(size).bind(by).bind(now.0);
            query.execute(&mut *conn).await?.last_insert_rowid()
        }
    };
    blobs::put_pieces(conn, blobs::cut(blob_id, from, data)).await?;
    let sql = "UPDATE blob SET touched_at = ?, put_by = iif(?, NULL, put_by) WHERE blob_id = ?";
    sqlx::query(sql).bind(now.0).bind(end == size).bind(blob_id).execute(conn).await?;
    Ok(())
}

/// Bytes on their way.
struct Begun {
    blob_id: i64,
    size: i64,
    there: i64,
}

/// What this hand put of bytes that are not whole.
async fn begun(conn: &mut SqliteConnection, tenant: &TenantId, by: &str, sha256: &str) -> Result<Option<Begun>, Error> {
    let sql = "SELECT b.blob_id, b.size, COALESCE((SELECT p.byte_offset + length(p.data) FROM blob_piece p
            WHERE p.blob_id = b.blob_id ORDER BY p.byte_offset DESC LIMIT 1), 0)
        FROM blob b WHERE b.tenant_id = ? AND b.sha256 = ? AND b.put_by = ?";
    let query = sqlx::query(sql).bind(tenant.as_str()).bind(sha256).bind(by);
    let row = query.fetch_optional(conn).await?;
    row.map(|row| Ok(Begun { blob_id: row.try_get(0)?, size: row.try_get(1)?, there: row.try_get(2)? })).transpose()
}

/// Removes what this hand put of bytes that are not whole.
async fn forget(conn: &mut SqliteConnection, tenant: &TenantId, by: &str, sha256: &str) -> Result<(), Error> {
    let sql = "DELETE FROM blob WHERE tenant_id = ? AND sha256 = ? AND put_by = ?";
    sqlx::query(sql).bind(tenant.as_str()).bind(sha256).bind(by).execute(conn).await?;
    Ok(())
}

fn misplaced(piece: &BlobPiece, there: i64) -> Error {
    let BlobPiece { sha256, size, offset, data } = piece;
    let length = data.len();
    Error::Corrupt(format!(
        "{length} bytes at {offset} of the {size} of {sha256} do not fit the {there} that are there; begin again at 0"
    ))
}

/// Which bytes are there whole. Those count as named now.
pub(super) async fn held(connections: &Connections, tenant: &TenantId, sha256: &[String]) -> Result<Vec<bool>, Error> {
    if sha256.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = connections.write().await?;
    let held = blobs::touch(&mut tx, tenant, &blobs::list(sha256), Timestamp::now()).await?;
    tx.commit().await?;
    Ok(sha256.iter().map(|sha256| held.contains(sha256)).collect())
}

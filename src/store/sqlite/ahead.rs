//! Bytes that are kept ahead of the batch that names them: a file may be far larger than a transaction should be.
//!
//! Each hand that puts a blob has a row of its own until the last piece is there, so that two sessions with the same large
//! file do not disturb each other, and bytes that turned out to be others are never mixed with right ones.

use std::collections::HashSet;

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
    let mut tx = connections.write().await?;
    let now = Timestamp::now();
    for piece in pieces {
        match put_piece(&mut tx, tenant, by, piece, now).await {
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

async fn put_piece(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    by: &str,
    piece: &BlobPiece,
    now: Timestamp,
) -> Result<(), Error> {
    let end = piece.offset + piece.data.len() as u64;
    if blobs::touch(conn, tenant, &piece.sha256, now).await? {
        return forget(conn, tenant, by, &piece.sha256).await;
    }
    let blob_id = if piece.offset == 0 {
        forget(conn, tenant, by, &piece.sha256).await?;
        let sql = "INSERT INTO blob (tenant_id, sha256, size, put_by, touched_at) VALUES (?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(tenant.as_str())
            .bind(&piece.sha256)
            .bind(signed(piece.size)?)
            .bind(by)
            .bind(now.0)
            .execute(&mut *conn)
            .await?
            .last_insert_rowid()
    } else {
        let sql = "SELECT b.blob_id, b.size, (SELECT p.byte_offset + length(p.data) FROM blob_piece p
                WHERE p.blob_id = b.blob_id ORDER BY p.byte_offset DESC LIMIT 1)
            FROM blob b WHERE b.tenant_id = ? AND b.sha256 = ? AND b.put_by = ?";
        let query = sqlx::query(sql).bind(tenant.as_str()).bind(&piece.sha256).bind(by);
        let row = query.fetch_optional(&mut *conn).await?.ok_or_else(|| misplaced(piece, 0))?;
        let there = u64::try_from(row.try_get::<Option<i64>, _>(2)?.unwrap_or(0)).unwrap_or(0);
        if row.try_get::<i64, _>(1)? != signed(piece.size)? {
            return Err(misplaced(piece, there));
        }
        // Put again, because nobody knew whether it was stored.
        if end <= there {
            return Ok(());
        }
        if piece.offset != there {
            return Err(misplaced(piece, there));
        }
        row.try_get(0)?
    };
    if end > piece.size {
        return Err(misplaced(piece, piece.offset));
    }
    blobs::put_pieces(conn, blob_id, piece.offset, &piece.data).await?;
    let sql = "UPDATE blob SET touched_at = ?, put_by = iif(?, NULL, put_by) WHERE blob_id = ?";
    sqlx::query(sql).bind(now.0).bind(end == piece.size).bind(blob_id).execute(conn).await?;
    Ok(())
}

/// Removes what this hand put of bytes that are not whole.
async fn forget(conn: &mut SqliteConnection, tenant: &TenantId, by: &str, sha256: &str) -> Result<(), Error> {
    let sql = "DELETE FROM blob WHERE tenant_id = ? AND sha256 = ? AND put_by = ?";
    sqlx::query(sql).bind(tenant.as_str()).bind(sha256).bind(by).execute(conn).await?;
    Ok(())
}

fn misplaced(piece: &BlobPiece, there: u64) -> Error {
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
    let sql = "UPDATE blob SET touched_at = MAX(touched_at, ?) WHERE tenant_id = ? AND put_by IS NULL
        AND sha256 IN (SELECT value FROM json_each(?)) RETURNING sha256";
    let query = sqlx::query_scalar::<_, String>(sql).bind(Timestamp::now().0).bind(tenant.as_str());
    let held: HashSet<String> = query.bind(blobs::list(sha256)).fetch_all(&mut *tx).await?.into_iter().collect();
    tx.commit().await?;
    Ok(sha256.iter().map(|sha256| held.contains(sha256)).collect())
}

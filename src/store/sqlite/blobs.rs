//! Bytes named by their hash: kept once per tenant, for as long as a session names them.

use sqlx::{Row as _, SqliteConnection};

use super::{open::Connections, rows};
use crate::{
    domain::{SessionKey, Timestamp},
    store::{Batch, Error, Piece},
};

/// Writes the bytes that a batch names, and that its session does. Bytes that are there already count as new, so that a
/// collection that is due cannot take them from under the session.
pub(super) async fn put(conn: &mut SqliteConnection, batch: &Batch) -> Result<(), Error> {
    let key = &batch.key;
    let now = batch.events.last().map_or_else(Timestamp::now, |event| event.time);
    for blob in &batch.beside.blobs {
        let size = super::put::signed(blob.data.len() as u64)?;
        let sql = "INSERT INTO blob (tenant_id, sha256, size, touched_at) VALUES (?, ?, ?, ?)
            ON CONFLICT (tenant_id, sha256) DO UPDATE SET touched_at = MAX(touched_at, excluded.touched_at)";
        let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(&blob.sha256).bind(size).bind(now.0);
        query.execute(&mut *conn).await?;
        for (index, piece) in blob.data.chunks(Piece::BYTES).enumerate() {
            let sql = "INSERT INTO blob_piece (tenant_id, sha256, byte_offset, data) VALUES (?, ?, ?, ?)
                ON CONFLICT (tenant_id, sha256, byte_offset) DO NOTHING";
            let offset = super::put::signed((index * Piece::BYTES) as u64)?;
            let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(&blob.sha256).bind(offset).bind(piece);
            query.execute(&mut *conn).await?;
        }
        let sql = "INSERT INTO blob_ref (tenant_id, sha256, session_id) VALUES (?, ?, ?)
            ON CONFLICT (tenant_id, sha256, session_id) DO NOTHING";
        let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(&blob.sha256).bind(key.session.as_str());
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// A part of the bytes, from one of them on. `None`: the session does not name such bytes.
pub(super) async fn read(
    connections: &Connections,
    key: &SessionKey,
    sha256: &str,
    offset: u64,
) -> Result<Option<Piece>, Error> {
    let mut tx = connections.read().await?;
    rows::find(&mut tx, key).await?.ok_or(Error::NotFound)?;
    let sql = "SELECT b.size FROM blob_ref r JOIN blob b ON b.tenant_id = r.tenant_id AND b.sha256 = r.sha256
        WHERE r.tenant_id = ? AND r.sha256 = ? AND r.session_id = ?";
    let query = sqlx::query_scalar::<_, i64>(sql).bind(key.tenant.as_str()).bind(sha256).bind(key.session.as_str());
    let Some(size) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
    let sql = "SELECT byte_offset, data FROM blob_piece
        WHERE tenant_id = ? AND sha256 = ? AND byte_offset <= ? ORDER BY byte_offset DESC LIMIT 1";
    let from = i64::try_from(offset).unwrap_or(i64::MAX);
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(sha256).bind(from);
    let mut data = Vec::new();
    if let Some(row) = query.fetch_optional(&mut *tx).await? {
        let (at, piece): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        let skip = usize::try_from(from - at).unwrap_or(usize::MAX);
        data.extend_from_slice(piece.get(skip..).unwrap_or_default());
    }
    Ok(Some(Piece { data, end: u64::try_from(size).unwrap_or(0) }))
}

/// Removes bytes that no session names, and that none named since `before`.
pub(super) async fn collect(connections: &Connections, before: Timestamp) -> Result<(), Error> {
    let mut tx = connections.write().await?;
    let sql = "DELETE FROM blob WHERE touched_at < ? AND NOT EXISTS
        (SELECT 1 FROM blob_ref r WHERE r.tenant_id = blob.tenant_id AND r.sha256 = blob.sha256)";
    sqlx::query(sql).bind(before.0).execute(&mut *tx).await?;
    tx.commit().await
}

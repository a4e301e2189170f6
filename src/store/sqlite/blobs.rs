//! Bytes named by their hash: kept once per tenant, for as long as a session names them.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{open::Connections, put::ROWS, rows};
use crate::{
    domain::{SessionKey, TenantId, Timestamp},
    store::{Batch, Error, Piece},
};

/// Blobs that one transaction removes, so that whoever writes gets in between.
const STEP: usize = 64;

/// Which blobs can go, given before when.
macro_rules! unneeded {
    () => {
        "touched_at < ? AND NOT EXISTS (SELECT 1 FROM blob_ref r WHERE r.blob_id = blob.blob_id)
            AND NOT EXISTS (SELECT 1 FROM checkpoint c WHERE c.manifest_id = blob.blob_id)"
    };
}

/// A list of hashes, as statements are given one: as JSON, so that one statement does for thousands.
pub(super) fn list<S: AsRef<str>>(sha256: &[S]) -> String {
    let all: Vec<&str> = sha256.iter().map(AsRef::as_ref).collect();
    serde_json::to_string(&all).expect("a list of text is JSON")
}

/// Refuses a batch that names bytes which are neither there whole nor brought by itself.
pub(super) async fn check(conn: &mut SqliteConnection, batch: &Batch) -> Result<Result<(), Error>, Error> {
    let brought: HashSet<&str> = batch.beside.blobs.iter().map(|blob| blob.sha256.as_str()).collect();
    let kept = batch.checkpoint.iter().flat_map(|new| new.adds.iter().chain([&new.checkpoint.manifest]));
    let named = batch.beside.names.iter().chain(kept).map(String::as_str);
    let named: Vec<&str> = named.filter(|sha256| !brought.contains(sha256)).collect();
    if named.is_empty() {
        return Ok(Ok(()));
    }
    let sql = "SELECT value FROM json_each(?) WHERE NOT EXISTS
        (SELECT 1 FROM blob b WHERE b.tenant_id = ? AND b.sha256 = value AND b.put_by IS NULL) LIMIT 1";
    let query = sqlx::query_scalar::<_, String>(sql).bind(list(&named)).bind(batch.key.tenant.as_str());
    Ok(match query.fetch_optional(conn).await? {
        None => Ok(()),
        Some(sha256) => Err(Error::Corrupt(format!(
            "a batch for {} names {sha256}, of which the tenant has no bytes, or not all; put them again",
            batch.key
        ))),
    })
}

/// Writes the bytes that a batch brings, and that its session names them and those that were put ahead.
pub(super) async fn put(conn: &mut SqliteConnection, batch: &Batch) -> Result<(), Error> {
    let beside = &batch.beside;
    let now = batch.events.last().map_or_else(Timestamp::now, |event| event.time);
    if !beside.blobs.is_empty() {
        let brought: Vec<_> = beside.blobs.iter().map(|blob| (blob.sha256.as_str(), blob.data.as_slice())).collect();
        put_whole(conn, &batch.key.tenant, &brought, now).await?;
    }
    let brought = beside.blobs.iter().map(|blob| &blob.sha256);
    let named: Vec<&String> = brought.chain(&beside.names).collect();
    if named.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO blob_ref (tenant_id, session_id, blob_id, by_event)
        SELECT ?1, ?2, b.blob_id, 1 FROM json_each(?3) n CROSS JOIN blob b
            ON b.tenant_id = ?1 AND b.sha256 = n.value AND b.put_by IS NULL WHERE TRUE
        ON CONFLICT (tenant_id, session_id, blob_id) DO UPDATE SET by_event = 1";
    let query = sqlx::query(sql).bind(batch.key.tenant.as_str()).bind(batch.key.session.as_str()).bind(list(&named));
    query.execute(conn).await?;
    Ok(())
}

/// Keeps bytes that are at hand as a whole. Those that are there already count as new, so that a collection that is due
/// cannot take them from under the session.
pub(super) async fn put_whole(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    blobs: &[(&str, &[u8])],
    now: Timestamp,
) -> Result<(), Error> {
    let names: Vec<&str> = blobs.iter().map(|(sha256, _)| *sha256).collect();
    let mut there = touch(conn, tenant, &list(&names), now).await?;
    let newest: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(blob_id), 0) FROM blob").fetch_one(&mut *conn).await?;
    let fresh = blobs.iter().filter(|(sha256, _)| there.insert((*sha256).to_owned()));
    let fresh: Vec<_> = (newest + 1..).zip(fresh).collect();
    for rows in fresh.chunks(ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO blob (blob_id, tenant_id, sha256, size, touched_at) ");
        sql.push_values(rows, |mut row, (blob_id, (sha256, data))| {
            row.push_bind(blob_id).push_bind(tenant.as_str()).push_bind(*sha256);
            row.push_bind(i64::try_from(data.len()).unwrap_or(i64::MAX)).push_bind(now.0);
        });
        sql.build().execute(&mut *conn).await?;
    }
    put_pieces(conn, fresh.iter().flat_map(|(blob_id, (_, data))| cut(*blob_id, 0, data))).await
}

/// Bytes of a blob from an offset on, as rows that can be read one at a time: blob, offset, data.
pub(super) fn cut(blob_id: i64, offset: i64, data: &[u8]) -> impl Iterator<Item = (i64, i64, &[u8])> {
    (offset..).step_by(Piece::BYTES).zip(data.chunks(Piece::BYTES)).map(move |(offset, data)| (blob_id, offset, data))
}

/// Writes rows that were [`cut`].
pub(super) async fn put_pieces(
    conn: &mut SqliteConnection,
    pieces: impl Iterator<Item = (i64, i64, &[u8])>,
) -> Result<(), Error> {
    let pieces: Vec<_> = pieces.collect();
    for rows in pieces.chunks(ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO blob_piece (blob_id, byte_offset, data) ");
        sql.push_values(rows, |mut row, (blob_id, offset, data)| {
            row.push_bind(*blob_id).push_bind(*offset).push_bind(*data);
        });
        sql.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Which of these bytes are there whole. They count as needed now.
pub(super) async fn touch(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    sha256: &str,
    now: Timestamp,
) -> Result<HashSet<String>, Error> {
    let sql = "UPDATE blob SET touched_at = MAX(touched_at, ?) WHERE tenant_id = ? AND put_by IS NULL
        AND sha256 IN (SELECT value FROM json_each(?)) RETURNING sha256";
    let query = sqlx::query_scalar::<_, String>(sql).bind(now.0).bind(tenant.as_str()).bind(sha256);
    Ok(query.fetch_all(conn).await?.into_iter().collect())
}

/// A part of the bytes, from one of them on. `None`: the session does not name such bytes.
pub(super) async fn read(
    connections: &Connections,
    key: &SessionKey,
    sha256: &str,
    offset: u64,
) -> Result<Option<Piece>, Error> {
    let mut tx = connections.read().await?;
    if !rows::exists(&mut tx, key).await? {
        return Err(Error::NotFound);
    }
    let sql = "SELECT b.blob_id, b.size FROM blob b WHERE b.tenant_id = ?1 AND b.sha256 = ?2 AND b.put_by IS NULL
        AND (EXISTS (SELECT 1 FROM blob_ref r
                WHERE r.tenant_id = ?1 AND r.session_id = ?3 AND r.blob_id = b.blob_id)
            OR EXISTS (SELECT 1 FROM checkpoint c
                WHERE c.tenant_id = ?1 AND c.session_id = ?3 AND c.manifest_id = b.blob_id))";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(sha256).bind(key.session.as_str());
    let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
    let (blob_id, size): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let sql = "SELECT byte_offset, data FROM blob_piece
        WHERE blob_id = ? AND byte_offset <= ? ORDER BY byte_offset DESC LIMIT 1";
    let from = i64::try_from(offset).unwrap_or(i64::MAX);
    let mut data = Vec::new();
    if let Some(row) = sqlx::query(sql).bind(blob_id).bind(from).fetch_optional(&mut *tx).await? {
        let (at, piece): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        let skip = usize::try_from(from - at).unwrap_or(usize::MAX);
        data.extend_from_slice(piece.get(skip..).unwrap_or_default());
    }
    Ok(Some(Piece { data, end: u64::try_from(size).unwrap_or(0) }))
}

/// Removes bytes that no session names, and that were neither named nor put ahead since `before`.
pub(super) async fn collect(connections: &Connections, before: Timestamp) -> Result<(), Error> {
    let mut tx = connections.read().await?;
    let sql = concat!("SELECT blob_id FROM blob WHERE ", unneeded!());
    let ids: Vec<i64> = sqlx::query_scalar(sql).bind(before.0).fetch_all(&mut *tx).await?;
    drop(tx);
    for ids in ids.chunks(STEP) {
        let mut tx = connections.write().await?;
        // Asked again: somebody may have named them since.
        let sql = concat!("DELETE FROM blob WHERE ", unneeded!(), " AND blob_id IN (SELECT value FROM json_each(?))");
        let ids = serde_json::to_string(ids).expect("a list of numbers is JSON");
        sqlx::query(sql).bind(before.0).bind(ids).execute(&mut *tx).await?;
        tx.commit().await?;
    }
    Ok(())
}

//! Checkpoints: the newest of each session, and the bytes that it alone keeps.

use sqlx::{Row as _, SqliteConnection};

use super::{blobs, open::Connections};
use crate::{
    domain::{Checkpoint, SessionKey},
    store::{Batch, Error, NewCheckpoint, codec},
};

/// Writes the checkpoint of a batch that was checked, instead of the one before. What changed is told, so it costs the same
/// however large the workspace is.
pub(super) async fn put(conn: &mut SqliteConnection, batch: &Batch) -> Result<(), Error> {
    let Some(NewCheckpoint { checkpoint, adds, drops }) = &batch.checkpoint else { return Ok(()) };
    let key = &batch.key;
    if !drops.is_empty() {
        // What an event named stays; the rest has nobody left who needs it.
        let sql = "DELETE FROM blob_ref WHERE tenant_id = ?1 AND session_id = ?2 AND by_event = 0 AND blob_id IN
            (SELECT b.blob_id FROM json_each(?3) d CROSS JOIN blob b
                ON b.tenant_id = ?1 AND b.sha256 = d.value AND b.put_by IS NULL)";
        let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(blobs::list(drops));
        query.execute(&mut *conn).await?;
    }
    if !adds.is_empty() {
        let sql = "INSERT INTO blob_ref (tenant_id, session_id, blob_id, by_event)
            SELECT ?1, ?2, b.blob_id, 0 FROM json_each(?3) n CROSS JOIN blob b
                ON b.tenant_id = ?1 AND b.sha256 = n.value AND b.put_by IS NULL WHERE TRUE
            ON CONFLICT (tenant_id, session_id, blob_id) DO NOTHING";
        let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(blobs::list(adds));
        query.execute(&mut *conn).await?;
    }
    let sql = "INSERT INTO checkpoint (tenant_id, session_id, manifest_id, body)
        SELECT ?1, ?2, blob_id, ?4 FROM blob WHERE tenant_id = ?1 AND sha256 = ?3 AND put_by IS NULL
        ON CONFLICT (tenant_id, session_id) DO UPDATE SET manifest_id = excluded.manifest_id, body = excluded.body";
    sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(&checkpoint.manifest)
        .bind(codec::encode(checkpoint))
        .execute(conn)
        .await?;
    Ok(())
}

/// The newest checkpoint of a session that is not deleted.
pub(super) async fn newest(connections: &Connections, key: &SessionKey) -> Result<Option<Checkpoint>, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT c.body FROM checkpoint c JOIN session s USING (tenant_id, session_id)
        WHERE c.tenant_id = ? AND c.session_id = ? AND s.deleted_at IS NULL";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str());
    let row = query.fetch_optional(&mut *tx).await?;
    row.map(|row| codec::decode(row.try_get("body")?, format_args!("{key}"))).transpose()
}

//! Calls that had their effect. A row is written in the transaction of the effect; alone only where there was
//! nothing to change.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::open::Connections;
use crate::{
    domain::{Remembered, Request, RequestId, TenantId, Timestamp},
    store::{Error, codec},
};

/// Rows that are removed in one transaction, so that the living get in between.
const CHUNK: i64 = 1000;

/// What a request id stands for at a time.
pub(super) async fn find(
    connections: &Connections,
    tenant: &TenantId,
    id: &RequestId,
    now: Timestamp,
) -> Result<Option<Remembered>, Error> {
    let mut tx = connections.read().await?;
    Ok(one(&mut tx, tenant, id).await?.filter(|held| held.expires > now))
}

/// Refuses calls whose id stands for another one already. The same row, sent again, is none: nobody knew whether it was
/// stored.
pub(super) async fn check(
    conn: &mut SqliteConnection,
    tenant: &TenantId,
    calls: &[Remembered],
) -> Result<Result<(), Error>, Error> {
    let now = Timestamp::now();
    for call in calls {
        let held = one(conn, tenant, &call.request.id).await?;
        if held.is_some_and(|held| held.expires > now && held != *call) {
            return Ok(Err(Error::RequestIdInUse(call.request.id.clone())));
        }
    }
    Ok(Ok(()))
}

/// Writes calls that were checked, instead of those of the same id that are over.
pub(super) async fn put(conn: &mut SqliteConnection, tenant: &TenantId, calls: &[Remembered]) -> Result<(), Error> {
    for Remembered { request, answer, expires } in calls {
        let sql = "INSERT INTO request (tenant_id, request_id, method, body_hash, answer, expires)
            VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, request_id) DO UPDATE SET method = excluded.method,
            body_hash = excluded.body_hash, answer = excluded.answer, expires = excluded.expires";
        sqlx::query(sql)
            .bind(tenant.as_str())
            .bind(request.id.as_str())
            .bind(&request.method)
            .bind(&request.hash[..])
            .bind(codec::encode(answer))
            .bind(expires.0)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Writes a call that had nothing to change, which is all that there is to write.
pub(super) async fn remember(connections: &Connections, tenant: &TenantId, call: &Remembered) -> Result<(), Error> {
    let mut tx = connections.write().await?;
    let calls = std::slice::from_ref(call);
    if let Err(error) = check(&mut tx, tenant, calls).await? {
        tx.undo().await?;
        return Err(error);
    }
    put(&mut tx, tenant, calls).await?;
    tx.commit().await
}

/// Removes what is over.
pub(super) async fn forget(connections: &Connections, now: Timestamp) -> Result<u64, Error> {
    let mut removed = 0;
    loop {
        let mut tx = connections.write().await?;
        let sql = "DELETE FROM request WHERE (tenant_id, request_id) IN
            (SELECT tenant_id, request_id FROM request WHERE expires <= ? LIMIT ?)";
        let rows = sqlx::query(sql).bind(now.0).bind(CHUNK).execute(&mut *tx).await?.rows_affected();
        if rows == 0 {
            tx.undo().await?;
            return Ok(removed);
        }
        tx.commit().await?;
        removed += rows;
    }
}

async fn one(conn: &mut SqliteConnection, tenant: &TenantId, id: &RequestId) -> Result<Option<Remembered>, Error> {
    let sql = "SELECT method, body_hash, answer, expires FROM request WHERE tenant_id = ? AND request_id = ?";
    let row = sqlx::query(sql).bind(tenant.as_str()).bind(id.as_str()).fetch_optional(conn).await?;
    row.map(|row| remembered(&row, tenant, id)).transpose()
}

fn remembered(row: &SqliteRow, tenant: &TenantId, id: &RequestId) -> Result<Remembered, Error> {
    let hash: &[u8] = row.try_get("body_hash")?;
    let hash = hash.try_into().map_err(|_| Error::Corrupt(format!("request {tenant}/{id}: a hash of another size")))?;
    Ok(Remembered {
        request: Request { id: id.clone(), method: row.try_get("method")?, hash },
        answer: codec::decode(row.try_get("answer")?, format_args!("request {tenant}/{id}"))?,
        expires: Timestamp(row.try_get("expires")?),
    })
}

//! Creating sessions and appending batches: the only ways in.
//!
//! A session's row is claimed first, by an update that names the epoch and head it must have; what fits is then written.
//! Events of all batches go together. Streaming text has a way of its own, which is tried first: `light`.

use sqlx::{Row as _, SqliteConnection};

use super::{blobs, light, open::Connections, profiles, put, requests, revision, writer::WriteTx};
use crate::{
    domain::{Kind, Sandbox, SandboxStatus, Session, SessionId, SessionKey},
    store::{Batch, Error, codec},
};

/// Stores a session with its first events.
pub(super) async fn create(mut tx: WriteTx<'_>, session: &Session, batch: &Batch) -> Result<(), Error> {
    if let Err(error) = requests::check(&mut tx, &batch.key.tenant, &batch.calls).await? {
        tx.undo().await?;
        return Err(error);
    }
    if let Err(error) = blobs::check(&mut tx, batch).await? {
        tx.undo().await?;
        return Err(error);
    }
    match insert(&mut tx, batch.record.as_ref().unwrap_or(session), batch).await {
        // Looked at last: of a session that is there already this says nothing.
        Ok(()) if profiles::is_deleted(&mut tx, &batch.key.tenant, &session.profile_id).await? => {
            tx.undo().await?;
            Err(Error::ProfileDeleted(session.profile_id.clone()))
        }
        Ok(()) => {
            requests::put(&mut tx, &batch.key.tenant, &batch.calls).await?;
            put::events(&mut tx, &[batch]).await?;
            put::rest(&mut tx, batch).await?;
            revision::assign(&mut tx, &[batch]).await?;
            tx.commit().await
        }
        Err(error) => {
            tx.undo().await?;
            Err(error)
        }
    }
}

/// Appends what fits; the answer says for each batch whether it did.
pub(super) async fn append(connections: &Connections, batches: &[Batch]) -> Result<Vec<Result<(), Error>>, Error> {
    if light::append(connections, batches).await? {
        return Ok(vec![Ok(()); batches.len()]);
    }
    let mut outcomes = Vec::with_capacity(batches.len());
    let mut claimed = Vec::with_capacity(batches.len());
    let mut tx = connections.write().await?;
    for batch in batches {
        let outcome = admit(&mut tx, batch).await?;
        if outcome.is_ok() {
            requests::put(&mut tx, &batch.key.tenant, &batch.calls).await?;
            claimed.push(batch);
        }
        outcomes.push(outcome);
    }
    if claimed.is_empty() {
        tx.undo().await?;
        return Ok(outcomes);
    }
    put::events(&mut tx, &claimed).await?;
    revision::assign(&mut tx, &claimed).await?;
    for batch in claimed {
        put::rest(&mut tx, batch).await?;
    }
    tx.commit().await?;
    Ok(outcomes)
}

/// Claims the session of a batch that could be stored as a whole.
async fn admit(conn: &mut SqliteConnection, batch: &Batch) -> Result<Result<(), Error>, Error> {
    let head = match dense(batch) {
        Ok(head) => head,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = requests::check(conn, &batch.key.tenant, &batch.calls).await? {
        return Ok(Err(error));
    }
    if let Err(error) = blobs::check(conn, batch).await? {
        return Ok(Err(error));
    }
    claim(conn, batch, head).await
}

/// The head after a batch. Its events must follow each other from its head on: a hole, once stored, cannot be mended.
fn dense(batch: &Batch) -> Result<i64, Error> {
    let mut head = batch.head;
    for event in &batch.events {
        if event.first_sequence != head + 1 || event.sequence <= head {
            let (key, first, last) = (&batch.key, event.first_sequence, event.sequence);
            return Err(Error::Corrupt(format!("a batch for {key} has events {first} to {last} after {head}")));
        }
        head = event.sequence;
    }
    if batch.events.is_empty() && !batch.parts.is_empty() {
        return Err(Error::Corrupt(format!("a batch for {} has parts, but no event that changed them", batch.key)));
    }
    Ok(head)
}

async fn insert(conn: &mut SqliteConnection, session: &Session, batch: &Batch) -> Result<(), Error> {
    let key = &batch.key;
    if let Some((epoch, head)) = position(conn, key).await? {
        return Err(Error::Conflict { epoch, head });
    }
    if batch.epoch != 0 || batch.head != 0 {
        return Err(Error::Conflict { epoch: 0, head: 0 });
    }
    let head = dense(batch)?;
    if !session.external_id.is_empty() {
        let sql = "SELECT session_id FROM session
            WHERE tenant_id = ? AND external_id = ? AND external_id <> '' AND deleted_at IS NULL";
        let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(&session.external_id);
        if let Some(row) = query.fetch_optional(&mut *conn).await? {
            return Err(Error::ExternalIdInUse(SessionId::new(row.try_get::<&str, _>(0)?)));
        }
    }
    let last_activity = batch.events.last().map_or(session.last_activity_time, |event| event.time);
    let sql = "INSERT INTO session (tenant_id, session_id, uid, epoch, head, last_activity, status, profile_id,
        external_id, create_time, sandbox_id, sandbox_running, record) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(session.uid.as_str())
        .bind(head)
        .bind(last_activity.0)
        .bind(session.status.as_str())
        .bind(session.profile_id.as_str())
        .bind(&session.external_id)
        .bind(session.create_time.0)
        .bind(sandbox_id(session))
        .bind(runs(session))
        .bind(codec::encode(session))
        .execute(&mut *conn)
        .await?;
    put::labels(conn, key, session).await
}

/// Moves the session's head, where epoch and head are those of the batch.
async fn claim(conn: &mut SqliteConnection, batch: &Batch, head: i64) -> Result<Result<(), Error>, Error> {
    let key = &batch.key;
    let last_activity = batch.events.last().map(|event| event.time.0);
    let query = match &batch.record {
        None => sqlx::query(
            "UPDATE session SET head = ?, last_activity = COALESCE(?, last_activity)
            WHERE tenant_id = ? AND session_id = ? AND epoch = ? AND head = ? AND deleted_at IS NULL",
        )
        .bind(head)
        .bind(last_activity),
        Some(session) => sqlx::query(
            "UPDATE session SET head = ?, last_activity = COALESCE(?, last_activity), status = ?,
            sandbox_id = ?, sandbox_running = ?, record = ?
            WHERE tenant_id = ? AND session_id = ? AND epoch = ? AND head = ? AND deleted_at IS NULL",
        )
        .bind(head)
        .bind(last_activity)
        .bind(session.status.as_str())
        .bind(sandbox_id(session))
        .bind(runs(session))
        .bind(codec::encode(session)),
    };
    let query = query.bind(key.tenant.as_str()).bind(key.session.as_str()).bind(batch.epoch).bind(batch.head);
    if query.execute(&mut *conn).await?.rows_affected() == 0 {
        let Some((epoch, head)) = position(conn, key).await? else { return Ok(Err(Error::NotFound)) };
        return Ok(Err(Error::Conflict { epoch, head }));
    }
    if let Some(session) = &batch.record
        && batch.events.iter().any(|event| matches!(event.kind, Kind::SessionUpdated(_)))
    {
        put::labels(conn, key, session).await?;
    }
    if batch.deletes {
        put::deleted(conn, key).await?;
    }
    Ok(Ok(()))
}

/// Epoch and head of a session, deleted ones too.
async fn position(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Option<(i64, i64)>, Error> {
    let sql = "SELECT epoch, head FROM session WHERE tenant_id = ? AND session_id = ?";
    let row = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_optional(conn).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

fn sandbox_id(session: &Session) -> Option<&str> {
    let sandbox = session.sandbox.as_ref()?;
    sandbox.sandbox_id.as_ref().map(crate::domain::SandboxId::as_str)
}

fn runs(session: &Session) -> bool {
    session.sandbox.as_ref().is_some_and(|Sandbox { status, .. }| match status {
        SandboxStatus::Starting | SandboxStatus::Ready | SandboxStatus::Unhealthy => true,
        SandboxStatus::Terminated => false,
    })
}

//! Profiles and their revisions.
//!
//! A deleted profile is one whose rows have no newest. They stay as long as sessions need them; then their bodies, and with
//! them all secrets, are emptied, and what remains is the tombstone by which a session that is just being created is
//! refused.

use futures::TryStreamExt as _;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{open::Connections, requests};
use crate::{
    domain::{Profile, ProfileId, ProfileSetup, Remembered, SessionKey, TenantId},
    store::{Error, codec},
};

/// Stores the revision after the newest one, and the call that asked for it. None follows a deletion.
pub(super) async fn put(
    connections: &Connections,
    tenant: &TenantId,
    profile: &Profile,
    call: Option<&Remembered>,
) -> Result<(), Error> {
    let mut tx = connections.write().await?;
    let calls = call.map(std::slice::from_ref).unwrap_or_default();
    if let Err(error) = requests::check(&mut tx, tenant, calls).await? {
        tx.undo().await?;
        return Err(error);
    }
    let newest = newest(&mut tx, tenant, &profile.profile_id).await?;
    let deleted = is_deleted(&mut tx, tenant, &profile.profile_id).await?;
    if deleted || profile.revision != newest + 1 {
        tx.undo().await?;
        return Err(Error::Conflict { epoch: 0, head: newest });
    }
    requests::put(&mut tx, tenant, calls).await?;
    let sql = "UPDATE profile SET newest = 0 WHERE tenant_id = ? AND profile_id = ? AND newest = 1";
    sqlx::query(sql).bind(tenant.as_str()).bind(profile.profile_id.as_str()).execute(&mut *tx).await?;
    let sql = "INSERT INTO profile (tenant_id, profile_id, revision, name, newest, body) VALUES (?, ?, ?, ?, 1, ?)";
    sqlx::query(sql)
        .bind(tenant.as_str())
        .bind(profile.profile_id.as_str())
        .bind(profile.revision)
        .bind(&profile.name)
        .bind(codec::encode(profile))
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

/// Takes away the mark of the newest, and remembers the call that asked for it.
pub(super) async fn delete(
    connections: &Connections,
    tenant: &TenantId,
    id: &ProfileId,
    revision: i64,
    call: Option<&Remembered>,
) -> Result<(), Error> {
    let mut tx = connections.write().await?;
    let calls = call.map(std::slice::from_ref).unwrap_or_default();
    if let Err(error) = requests::check(&mut tx, tenant, calls).await? {
        tx.undo().await?;
        return Err(error);
    }
    let newest = newest(&mut tx, tenant, id).await?;
    if newest == 0 || revision != newest {
        tx.undo().await?;
        return Err(Error::Conflict { epoch: 0, head: newest });
    }
    requests::put(&mut tx, tenant, calls).await?;
    let sql = "UPDATE profile SET newest = 0 WHERE tenant_id = ? AND profile_id = ? AND newest = 1";
    sqlx::query(sql).bind(tenant.as_str()).bind(id.as_str()).execute(&mut *tx).await?;
    empty(&mut tx, tenant, id.as_str()).await?;
    tx.commit().await
}

/// Empties the profile of a session that is going away, when it was deleted and no other session needs it.
pub(super) async fn forget_unneeded(conn: &mut SqliteConnection, key: &SessionKey) -> Result<(), Error> {
    let sql = "SELECT profile_id FROM session WHERE tenant_id = ? AND session_id = ?";
    let query = sqlx::query_scalar(sql).bind(key.tenant.as_str()).bind(key.session.as_str());
    let id: Option<String> = query.fetch_optional(&mut *conn).await?;
    match id {
        Some(id) => empty(conn, &key.tenant, &id).await,
        None => Ok(()),
    }
}

async fn empty(conn: &mut SqliteConnection, tenant: &TenantId, id: &str) -> Result<(), Error> {
    let sql = "UPDATE profile SET name = '', body = x'' WHERE tenant_id = ?1 AND profile_id = ?2
        AND NOT EXISTS (SELECT 1 FROM profile WHERE tenant_id = ?1 AND profile_id = ?2 AND newest = 1)
        AND NOT EXISTS
            (SELECT 1 FROM session WHERE tenant_id = ?1 AND profile_id = ?2 AND deleted_at IS NULL)";
    sqlx::query(sql).bind(tenant.as_str()).bind(id).execute(conn).await?;
    Ok(())
}

/// Whether there was such a profile, and is no more.
pub(super) async fn is_deleted(conn: &mut SqliteConnection, tenant: &TenantId, id: &ProfileId) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM profile WHERE tenant_id = ?1 AND profile_id = ?2)
        AND NOT EXISTS (SELECT 1 FROM profile WHERE tenant_id = ?1 AND profile_id = ?2 AND newest = 1)";
    Ok(sqlx::query_scalar(sql).bind(tenant.as_str()).bind(id.as_str()).fetch_one(conn).await?)
}

/// A revision; 0: the newest.
pub(super) async fn one(
    connections: &Connections,
    tenant: &TenantId,
    id: &ProfileId,
    revision: i64,
) -> Result<Option<Profile>, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT profile_id, revision, body FROM profile
        WHERE tenant_id = ?1 AND profile_id = ?2 AND (revision = ?3 OR (?3 = 0 AND newest = 1)) AND body <> x''";
    let query = sqlx::query(sql).bind(tenant.as_str()).bind(id.as_str()).bind(revision);
    query.fetch_optional(&mut *tx).await?.map(|row| profile(&row)).transpose()
}

/// Newest revisions, by name and id, without what they set up.
pub(super) async fn page(
    connections: &Connections,
    tenant: &TenantId,
    after: Option<&(String, ProfileId)>,
    limit: usize,
) -> Result<Vec<Profile>, Error> {
    let mut tx = connections.read().await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let query = match after {
        None => sqlx::query(
            "SELECT profile_id, revision, body FROM profile
            WHERE tenant_id = ? AND newest = 1 ORDER BY name, profile_id LIMIT ?",
        )
        .bind(tenant.as_str()),
        Some((name, id)) => sqlx::query(
            "SELECT profile_id, revision, body FROM profile
            WHERE tenant_id = ? AND newest = 1 AND (name, profile_id) > (?, ?) ORDER BY name, profile_id LIMIT ?",
        )
        .bind(tenant.as_str())
        .bind(name)
        .bind(id.as_str()),
    };
    // One at a time: a page of large ones would be as large as all of them.
    let mut rows = query.bind(limit).fetch(&mut *tx);
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await? {
        found.push(Profile { setup: ProfileSetup::default(), ..profile(&row)? });
    }
    Ok(found)
}

/// The newest revision; 0: there is none, or none any more.
async fn newest(conn: &mut SqliteConnection, tenant: &TenantId, id: &ProfileId) -> Result<i64, Error> {
    let sql = "SELECT COALESCE(MAX(revision), 0) FROM profile WHERE tenant_id = ? AND profile_id = ? AND newest = 1";
    Ok(sqlx::query_scalar(sql).bind(tenant.as_str()).bind(id.as_str()).fetch_one(conn).await?)
}

fn profile(row: &SqliteRow) -> Result<Profile, Error> {
    let (id, revision): (&str, i64) = (row.try_get("profile_id")?, row.try_get("revision")?);
    codec::decode(row.try_get("body")?, format_args!("{id} revision {revision}"))
}

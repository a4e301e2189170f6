//! The files of a workspace, as the events told them.

use sqlx::Row as _;

use super::{open::Connections, rows};
use crate::{
    domain::{SessionKey, WorkspaceFile},
    store::{Error, FilePage, FileQuery, codec},
};

/// A page of files, by the bytes of their paths: a range of the table's own order.
pub(super) async fn page(
    connections: &Connections,
    key: &SessionKey,
    query: &FileQuery,
) -> Result<Option<FilePage>, Error> {
    let mut tx = connections.read().await?;
    if !rows::exists(&mut tx, key).await? {
        return Ok(None);
    }
    let (after, end) = range(query);
    // No path has a byte 0xff, because no UTF-8 does. One more row than asked for tells whether others follow.
    let sql = "SELECT body FROM file WHERE tenant_id = ? AND session_id = ? AND path > ?
        AND path < COALESCE(?, x'ff') ORDER BY path LIMIT ?";
    let rows = sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(after)
        .bind(end)
        .bind(i64::try_from(query.limit).unwrap_or(i64::MAX).saturating_add(1))
        .fetch_all(&mut *tx)
        .await?;
    let decode = |row: &sqlx::sqlite::SqliteRow| codec::decode(row.try_get("body")?, format_args!("{key}"));
    let files = rows.iter().take(query.limit).map(decode).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(FilePage { more: rows.len() > files.len(), files }))
}

/// What the paths come after, and what they come before. What lies below a folder begins with its path and "/", which is
/// followed by nothing else.
fn range(query: &FileQuery) -> (Vec<u8>, Option<Vec<u8>>) {
    let after = query.after.as_deref().unwrap_or_default().as_bytes().to_vec();
    if query.prefix.is_empty() {
        return (after, None);
    }
    let folder = query.prefix.as_bytes();
    let (from, end) = ([folder, b"/"].concat(), [folder, &[b'/' + 1]].concat());
    (after.max(from), Some(end))
}

/// One file. `None`: no such file.
pub(super) async fn one(
    connections: &Connections,
    key: &SessionKey,
    path: &str,
) -> Result<Option<WorkspaceFile>, Error> {
    let mut tx = connections.read().await?;
    if !rows::exists(&mut tx, key).await? {
        return Err(Error::NotFound);
    }
    let sql = "SELECT body FROM file WHERE tenant_id = ? AND session_id = ? AND path = ?";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(path.as_bytes());
    let row = query.fetch_optional(&mut *tx).await?;
    row.map(|row| codec::decode(row.try_get("body")?, format_args!("{key}"))).transpose()
}

//! Permission requests, one by one: also those that are over.

use sqlx::Row as _;

use super::{open::Connections, rows};
use crate::{
    domain::{PermissionRequest, SessionKey},
    store::{Error, codec},
};

/// One request of a session that is there.
pub(super) async fn one(
    connections: &Connections,
    key: &SessionKey,
    permission_id: &str,
) -> Result<Option<PermissionRequest>, Error> {
    let mut tx = connections.read().await?;
    if rows::find(&mut tx, key).await?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT body FROM permission WHERE tenant_id = ? AND session_id = ? AND permission_id = ?";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(permission_id);
    let row = query.fetch_optional(&mut *tx).await?;
    row.map(|row| codec::decode(row.try_get("body")?, format_args!("{key}"))).transpose()
}

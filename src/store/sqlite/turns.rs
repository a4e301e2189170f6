//! Turns, one by one: also those that are over.

use futures::TryStreamExt as _;
use sqlx::Row as _;

use super::{open::Connections, rows};
use crate::{
    domain::{Kind, SessionKey, TurnId},
    store::{Error, codec},
};

/// Sequence of the event that ended a turn, looked for after a sequence.
pub(super) async fn end(
    connections: &Connections,
    key: &SessionKey,
    turn_id: &TurnId,
    after: i64,
) -> Result<Option<i64>, Error> {
    let mut tx = connections.read().await?;
    let Some(rows::Record { trimmed, .. }) = rows::find(&mut tx, key).await? else { return Ok(None) };
    let sql = "SELECT sequence, payload FROM event
        WHERE tenant_id = ? AND session_id = ? AND sequence > ? AND kind = 'turn_updated' ORDER BY sequence";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(after);
    {
        let mut found = query.fetch(&mut *tx);
        while let Some(row) = found.try_next().await? {
            let sequence: i64 = row.try_get("sequence")?;
            let kind: Kind = codec::decode(row.try_get("payload")?, format_args!("{key} at {sequence}"))?;
            if let Kind::TurnUpdated { turn } = kind
                && turn.turn_id == *turn_id
                && turn.status.is_final()
            {
                return Ok(Some(sequence));
            }
        }
    }
    // A turn that is over and whose end is not there ended before what is kept begins.
    let sql = "SELECT open FROM turn WHERE tenant_id = ? AND session_id = ? AND turn_id = ?";
    let query = sqlx::query_scalar(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(turn_id.as_str());
    let open: Option<bool> = query.fetch_optional(&mut *tx).await?;
    Ok((open == Some(false) && trimmed > after).then_some(trimmed))
}

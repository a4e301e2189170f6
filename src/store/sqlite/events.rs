//! Pages of the log.

use futures::TryStreamExt as _;
use sqlx::Row as _;

use super::{open::Connections, rows};
use crate::{
    domain::SessionKey,
    store::{Error, EventPage},
};

/// A page ends with the event that makes it this large.
const PAGE_BYTES: usize = 256 * 1024;

/// Events after a sequence, also of a deleted session, and the head as of the same moment.
pub(super) async fn page(
    connections: &Connections,
    key: &SessionKey,
    after: i64,
    limit: usize,
) -> Result<EventPage, Error> {
    let mut tx = connections.read().await?;
    let sql = "SELECT uid, head, deleted_at IS NOT NULL AS deleted, compacted_to, trimmed_to FROM session
        WHERE tenant_id = ? AND session_id = ? AND purged = 0";
    let row = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_optional(&mut *tx).await?;
    let row = row.ok_or(Error::NotFound)?;
    let head: i64 = row.try_get("head")?;
    let (compacted, trimmed): (i64, i64) = (row.try_get("compacted_to")?, row.try_get("trimmed_to")?);
    let mut events = Vec::new();
    if after < trimmed {
        return Ok(EventPage { events, head, trimmed, uid: rows::uid(&row)?, deleted: row.try_get("deleted")? });
    }
    let mut bytes = 0;
    let mut last = after.max(0);
    let mut whole = true;
    {
        let sql = "SELECT sequence, first_sequence, conversation_id, time, actor, payload FROM event
            WHERE tenant_id = ? AND session_id = ? AND sequence > ? AND (block_id IS NULL OR sequence > ?)
            ORDER BY sequence LIMIT ?";
        let mut rows = sqlx::query(sql)
            .bind(key.tenant.as_str())
            .bind(key.session.as_str())
            .bind(after)
            .bind(compacted)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let mut event = rows::event(&row, key)?;
            // What is missing before it is known to be gone: it stands for that too. Any other hole is damage.
            if event.first_sequence > last + 1 && event.first_sequence <= compacted + 1 {
                event.first_sequence = last + 1;
            }
            // Only the first may begin before what is asked for: the cursor stands inside what was merged into it.
            if event.first_sequence > last + 1 || (event.first_sequence <= last && !events.is_empty()) {
                return Err(Error::Corrupt(format!(
                    "the log of {key} has no event {} before {}",
                    last + 1,
                    event.sequence
                )));
            }
            last = event.sequence;
            bytes += row.try_get::<&[u8], _>("payload")?.len();
            events.push(event);
            if bytes >= PAGE_BYTES {
                whole = false;
                break;
            }
        }
    }
    if whole && events.len() < limit && last < head {
        return Err(Error::Corrupt(format!("the log of {key} ends at {last}, before its head {head}")));
    }
    Ok(EventPage { events, head, trimmed, uid: rows::uid(&row)?, deleted: row.try_get("deleted")? })
}

//! After a backup was put back: every log gets another uid, and every list another range of revisions. Whoever remembers a
//! place in what happened after the backup is then told so, instead of being shown what took that place since.

use sqlx::{Row as _, SqliteConnection};

use super::{open::Connections, rows};
use crate::{
    domain::{Kind, LogUid, Session, SessionId, SessionKey, TenantId},
    store::{Error, codec},
};

/// How far the revisions of lists move on: far beyond what any list had.
const AHEAD: i64 = 1 << 40;

/// Renames all logs at once, and tells how many there are.
pub(super) async fn rename(connections: &Connections) -> Result<usize, Error> {
    let mut tx = connections.write().await?;
    let sql = "SELECT tenant_id, session_id FROM session WHERE purged = 0";
    let sessions = sqlx::query(sql).fetch_all(&mut *tx).await?;
    for row in &sessions {
        let tenant = TenantId::new(row.try_get::<&str, _>(0)?);
        one(&mut tx, &SessionKey { tenant, session: SessionId::new(row.try_get::<&str, _>(1)?) }).await?;
    }
    sqlx::query("UPDATE tenant SET revision = revision + ?1, forgotten = revision + ?1")
        .bind(AHEAD)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(sessions.len())
}

/// The uid stands in the session's row, in its record, and in the event that tells its creation, which a reader folds.
async fn one(conn: &mut SqliteConnection, key: &SessionKey) -> Result<(), Error> {
    let uid = LogUid::mint();
    let sql = "SELECT record FROM session WHERE tenant_id = ? AND session_id = ?";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str());
    let row = query.fetch_one(&mut *conn).await?;
    let record: Session = codec::decode(row.try_get(0)?, format_args!("{key}"))?;
    sqlx::query("UPDATE session SET uid = ?, record = ? WHERE tenant_id = ? AND session_id = ?")
        .bind(uid.as_str())
        .bind(codec::encode(&Session { uid: uid.clone(), ..record }))
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .execute(&mut *conn)
        .await?;
    let sql = "SELECT sequence, first_sequence, conversation_id, time, actor, payload FROM event
        WHERE tenant_id = ? AND session_id = ? AND kind = 'session_created'";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str());
    // Where retention took it, nobody reads it any more.
    let Some(row) = query.fetch_optional(&mut *conn).await? else { return Ok(()) };
    let event = rows::event(&row, key)?;
    let Kind::SessionCreated { mut session } = event.kind else {
        return Err(Error::Corrupt(format!("event {} of {key} is not what its row calls it", event.sequence)));
    };
    session.uid = uid;
    sqlx::query("UPDATE event SET payload = ? WHERE tenant_id = ? AND session_id = ? AND sequence = ?")
        .bind(codec::encode(&Kind::SessionCreated { session }))
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(event.sequence)
        .execute(conn)
        .await?;
    Ok(())
}

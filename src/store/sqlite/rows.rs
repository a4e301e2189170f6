//! Rows as values: what more than one read needs.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use crate::{
    domain::{
        Block, BlockState, Conversation, ConversationId, Event, Kind, LogUid, PermissionRequest, PermissionRule,
        Question, Session, SessionKey, SessionState, Timestamp, Turn,
    },
    store::{Error, codec},
};

/// The row of a session that is not deleted.
pub(super) struct Record {
    /// With the sequence and time of the head.
    pub(super) session: Session,
    pub(super) epoch: i64,
    /// Events up to here are gone.
    pub(super) trimmed: i64,
}

/// Columns that [`record`] reads.
macro_rules! record_columns {
    () => {
        "session_id, head, last_activity, epoch, trimmed_to, record"
    };
}
pub(super) use record_columns;

/// The record of a session, as of the head.
pub(super) async fn find(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Option<Record>, Error> {
    let sql = concat!(
        "SELECT ",
        record_columns!(),
        " FROM session WHERE tenant_id = ? AND session_id = ? AND deleted_at IS NULL"
    );
    let row = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_optional(conn).await?;
    row.map(|row| record(&row)).transpose()
}

/// Whether there is a session that is not deleted.
pub(super) async fn exists(conn: &mut SqliteConnection, key: &SessionKey) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM session WHERE tenant_id = ? AND session_id = ? AND deleted_at IS NULL";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str());
    Ok(query.fetch_optional(conn).await?.is_some())
}

/// The columns say where the log stands; the body only what else there is to know.
pub(super) fn record(row: &SqliteRow) -> Result<Record, Error> {
    let id: &str = row.try_get("session_id")?;
    let mut session: Session = codec::decode(row.try_get("record")?, format_args!("session {id}"))?;
    session.sequence = row.try_get("head")?;
    session.last_activity_time = Timestamp(row.try_get("last_activity")?);
    Ok(Record { session, epoch: row.try_get("epoch")?, trimmed: row.try_get("trimmed_to")? })
}

/// The bodies of all rows that a statement with the two parts of the key finds.
pub(super) async fn bodies<T: codec::Stored>(
    conn: &mut SqliteConnection,
    sql: &'static str,
    key: &SessionKey,
) -> Result<Vec<T>, Error> {
    let rows = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_all(conn).await?;
    rows.iter().map(|row| codec::decode(row.try_get("body")?, format_args!("{key}"))).collect()
}

/// The turns of a session that are not over, in order.
pub(super) async fn open_turns(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Vec<Turn>, Error> {
    let sql = "SELECT body FROM turn WHERE tenant_id = ? AND session_id = ? AND open = 1 ORDER BY ordinal";
    bodies(conn, sql, key).await
}

/// The permission requests of a session that wait, in order.
pub(super) async fn open_permissions(
    conn: &mut SqliteConnection,
    key: &SessionKey,
) -> Result<Vec<PermissionRequest>, Error> {
    let sql = "SELECT body FROM permission WHERE tenant_id = ? AND session_id = ? AND open = 1 ORDER BY ordinal";
    bodies(conn, sql, key).await
}

/// The questions of a session that wait, in order.
pub(super) async fn open_questions(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Vec<Question>, Error> {
    let sql = "SELECT body FROM question WHERE tenant_id = ? AND session_id = ? AND open = 1 ORDER BY ordinal";
    bodies(conn, sql, key).await
}

/// All conversations of a session, in order.
pub(super) async fn conversations(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Vec<Conversation>, Error> {
    bodies(conn, "SELECT body FROM conversation WHERE tenant_id = ? AND session_id = ? ORDER BY ordinal", key).await
}

/// The standing answers of a session.
pub(super) async fn permission_rules(
    conn: &mut SqliteConnection,
    key: &SessionKey,
) -> Result<Vec<PermissionRule>, Error> {
    let sql = "SELECT body FROM permission_rules WHERE tenant_id = ? AND session_id = ?";
    let rules: Vec<Vec<PermissionRule>> = bodies(conn, sql, key).await?;
    Ok(rules.into_iter().flatten().collect())
}

/// A block as its row has it, before [`grow`].
pub(super) fn block(row: &SqliteRow, key: &SessionKey) -> Result<StoredBlock, Error> {
    let block = codec::decode(row.try_get("body")?, format_args!("{key}"))?;
    Ok(StoredBlock { block, ordinal: row.try_get("ordinal")?, written_at: row.try_get("written_at")? })
}

/// A block, its place, and the event its text is as of.
pub(super) struct StoredBlock {
    pub(super) block: Block,
    pub(super) ordinal: i64,
    pub(super) written_at: i64,
}

/// The blocks of a session that are not final, in order, before [`grow`].
pub(super) async fn open_blocks(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Vec<StoredBlock>, Error> {
    let sql = "SELECT ordinal, written_at, body FROM block
        WHERE tenant_id = ? AND session_id = ? AND open = 1 ORDER BY ordinal";
    let rows = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_all(conn).await?;
    rows.iter().map(|row| block(row, key)).collect()
}

/// Gives the blocks that stream the text that came since their rows were written: by the fold, from the log.
pub(super) async fn grow(
    conn: &mut SqliteConnection,
    key: &SessionKey,
    session: &Session,
    blocks: Vec<StoredBlock>,
) -> Result<Vec<StoredBlock>, Error> {
    let streaming = || blocks.iter().filter(|stored| stored.block.state == BlockState::Streaming);
    let Some(since) = streaming().map(|stored| stored.written_at).min() else { return Ok(blocks) };
    let mut scratch = SessionState::new(session.clone());
    scratch.blocks = streaming().map(|stored| stored.block.clone()).collect();
    // The deltas of the blocks that are open, and of them only those that their rows do not have.
    let sql = "SELECT e.sequence, e.payload FROM event e CROSS JOIN block b
        ON b.tenant_id = e.tenant_id AND b.session_id = e.session_id AND b.block_id = e.block_id
        WHERE e.tenant_id = ? AND e.session_id = ? AND e.sequence > ? AND b.open = 1 AND e.sequence > b.written_at
        ORDER BY e.sequence";
    let query = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).bind(since);
    for row in query.fetch_all(conn).await? {
        let sequence: i64 = row.try_get("sequence")?;
        let kind: Kind = codec::decode(row.try_get("payload")?, format_args!("{key} at {sequence}"))?;
        if !matches!(kind, Kind::BlockDelta { .. }) {
            return Err(Error::Corrupt(format!("event of {key} at {sequence}: stored as a delta, but it is none")));
        }
        scratch.apply(&Event {
            sequence,
            first_sequence: sequence,
            conversation_id: ConversationId::none(),
            time: session.last_activity_time,
            actor: None,
            kind,
        });
    }
    let mut grown = scratch.blocks.into_iter();
    let grow_one = |stored: StoredBlock| match stored.block.state {
        BlockState::Streaming => {
            StoredBlock { block: grown.next().expect("the fold of deltas removes no block"), ..stored }
        }
        BlockState::Complete | BlockState::Interrupted => stored,
    };
    Ok(blocks.into_iter().map(grow_one).collect())
}

/// One event of the log.
pub(super) fn event(row: &SqliteRow, key: &SessionKey) -> Result<Event, Error> {
    let sequence: i64 = row.try_get("sequence")?;
    let conversation = std::str::from_utf8(row.try_get("conversation_id")?)
        .map_err(|_| Error::Corrupt(format!("conversation of {key} at {sequence}: not UTF-8")))?;
    let actor: Option<&[u8]> = row.try_get("actor")?;
    Ok(Event {
        sequence,
        first_sequence: row.try_get("first_sequence")?,
        conversation_id: ConversationId::new(conversation),
        time: Timestamp(row.try_get("time")?),
        actor: actor.map(|body| codec::decode(body, format_args!("{key} at {sequence}"))).transpose()?,
        kind: codec::decode(row.try_get("payload")?, format_args!("{key} at {sequence}"))?,
    })
}

/// The identity of a log.
pub(super) fn uid(row: &SqliteRow) -> Result<LogUid, Error> {
    Ok(LogUid::new(row.try_get::<&str, _>("uid")?))
}

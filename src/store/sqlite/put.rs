//! Writing what a batch carries, once its session is claimed.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::{
    domain::{BlockState, Event, ExecId, Kind, Session, SessionKey, WorkspaceFile},
    store::{Batch, Error, ExecMark, Part, StdinRow, codec},
};

/// Rows in one statement: enough that the statement costs little, few enough for SQLite's limit on parameters.
pub(super) const ROWS: usize = 100;

/// Writes the events of batches.
pub(super) async fn events(conn: &mut SqliteConnection, batches: &[&Batch]) -> Result<(), Error> {
    let events: Vec<(&SessionKey, &Event)> =
        batches.iter().flat_map(|batch| batch.events.iter().map(|event| (&batch.key, event))).collect();
    for rows in events.chunks(ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "INSERT INTO event (tenant_id, session_id, sequence, first_sequence, conversation_id, time, actor, kind, \
             block_id, payload) ",
        );
        sql.push_values(rows, |mut row, (key, event)| {
            let block_id = if let Kind::BlockDelta { block_id, .. } = &event.kind { Some(block_id) } else { None };
            row.push_bind(key.tenant.as_str())
                .push_bind(key.session.as_str())
                .push_bind(event.sequence)
                .push_bind(event.first_sequence)
                .push_bind(event.conversation_id.as_str().as_bytes())
                .push_bind(event.time.0)
                .push_bind(event.actor.as_ref().map(codec::encode))
                .push_bind(codec::kind_name(&event.kind))
                .push_bind(block_id.map(|id| id.as_str().as_bytes()))
                .push_bind(codec::encode(&event.kind));
        });
        sql.build().execute(&mut *conn).await?;
    }
    Ok(())
}

/// Writes all of a batch but its events and its record.
pub(super) async fn rest(conn: &mut SqliteConnection, batch: &Batch) -> Result<(), Error> {
    let mut files = BTreeMap::new();
    for (index, part) in batch.parts.iter().enumerate() {
        put_part(conn, batch, place(batch.head, index), part, &mut files).await?;
    }
    put_files(conn, &batch.key, &files).await?;
    for row in &batch.stdin {
        put_stdin(conn, &batch.key, row).await?;
    }
    super::texts::put(conn, &batch.key, &batch.beside.texts).await?;
    super::blobs::put(conn, batch).await?;
    super::checkpoints::put(conn, batch).await?;
    if let Some(mark) = &batch.exec {
        put_exec(conn, &batch.key, mark).await?;
    }
    if let Some((exec_id, taken)) = &batch.stdin_taken {
        trim_stdin(conn, &batch.key, exec_id, *taken).await?;
    }
    Ok(())
}

/// Writes a session's labels, instead of those it had.
pub(super) async fn labels(conn: &mut SqliteConnection, key: &SessionKey, session: &Session) -> Result<(), Error> {
    forget_labels(conn, key).await?;
    for (label, value) in &session.labels {
        let sql = "INSERT INTO label (tenant_id, key, value, create_time, session_id) VALUES (?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(key.tenant.as_str())
            .bind(label)
            .bind(value)
            .bind(session.create_time.0)
            .bind(key.session.as_str())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Marks a session as deleted at the time of its last event.
pub(super) async fn deleted(conn: &mut SqliteConnection, key: &SessionKey) -> Result<(), Error> {
    let sql = "UPDATE session SET deleted_at = last_activity, sandbox_running = 0
        WHERE tenant_id = ? AND session_id = ?";
    sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).execute(&mut *conn).await?;
    forget_labels(conn, key).await
}

async fn forget_labels(conn: &mut SqliteConnection, key: &SessionKey) -> Result<(), Error> {
    let sql = "DELETE FROM label WHERE tenant_id = ? AND session_id = ?";
    sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).execute(conn).await?;
    Ok(())
}

/// Where a part stands that is put for the first time: after all that was put by earlier batches, and in the order of
/// its own. A batch has fewer parts than this leaves room for.
pub(super) fn place(head: i64, index: usize) -> i64 {
    ((head + 1) << 20) + i64::try_from(index).expect("a batch fits into memory")
}

async fn put_part<'a>(
    conn: &mut SqliteConnection,
    batch: &Batch,
    place: i64,
    part: &'a Part,
    files: &mut BTreeMap<&'a str, Option<&'a WorkspaceFile>>,
) -> Result<(), Error> {
    let key = &batch.key;
    match part {
        Part::Turn(turn) => {
            let sql = "INSERT INTO turn (tenant_id, session_id, turn_id, ordinal, open, status, body)
                VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, session_id, turn_id)
                DO UPDATE SET open = excluded.open, status = excluded.status, body = excluded.body";
            sqlx::query(sql)
                .bind(key.tenant.as_str())
                .bind(key.session.as_str())
                .bind(turn.turn_id.as_str())
                .bind(place)
                .bind(!turn.status.is_final())
                .bind(turn.status.as_str())
                .bind(codec::encode(turn))
                .execute(conn)
                .await?;
            Ok(())
        }
        Part::Permission(permission) => {
            let sql = "INSERT INTO permission (tenant_id, session_id, permission_id, ordinal, open, body)
                VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, session_id, permission_id)
                DO UPDATE SET open = excluded.open, body = excluded.body";
            let open = permission.resolution.is_none();
            put_row(conn, sql, key, &permission.permission_id, place, open, codec::encode(permission)).await
        }
        Part::Question(question) => {
            let sql = "INSERT INTO question (tenant_id, session_id, question_id, ordinal, open, body)
                VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, session_id, question_id)
                DO UPDATE SET open = excluded.open, body = excluded.body";
            let open = question.resolution.is_none();
            put_row(conn, sql, key, &question.question_id, place, open, codec::encode(question)).await
        }
        Part::Block(block) => {
            let sql = "INSERT INTO block
                (tenant_id, session_id, block_id, conversation_id, ordinal, open, written_at, body)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, session_id, block_id)
                DO UPDATE SET conversation_id = excluded.conversation_id, open = excluded.open,
                written_at = excluded.written_at, body = excluded.body";
            sqlx::query(sql)
                .bind(key.tenant.as_str())
                .bind(key.session.as_str())
                .bind(block.block_id.as_str().as_bytes())
                .bind(block.conversation_id.as_str().as_bytes())
                .bind(place)
                .bind(block.state == BlockState::Streaming)
                .bind(batch.events.last().map_or(batch.head, |event| event.sequence))
                .bind(codec::encode(block))
                .execute(conn)
                .await?;
            Ok(())
        }
        Part::Conversation(conversation) => {
            let sql = "INSERT INTO conversation (tenant_id, session_id, conversation_id, ordinal, body)
                VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant_id, session_id, conversation_id)
                DO UPDATE SET body = excluded.body";
            sqlx::query(sql)
                .bind(key.tenant.as_str())
                .bind(key.session.as_str())
                .bind(conversation.conversation_id.as_str().as_bytes())
                .bind(place)
                .bind(codec::encode(conversation))
                .execute(conn)
                .await?;
            Ok(())
        }
        Part::PermissionRules(rules) => {
            let sql = "INSERT INTO permission_rules (tenant_id, session_id, body) VALUES (?, ?, ?)
                ON CONFLICT (tenant_id, session_id) DO UPDATE SET body = excluded.body";
            sqlx::query(sql)
                .bind(key.tenant.as_str())
                .bind(key.session.as_str())
                .bind(codec::encode(rules))
                .execute(conn)
                .await?;
            Ok(())
        }
        Part::File(path, file) => {
            files.insert(path, file.as_ref());
            Ok(())
        }
    }
}

async fn put_row(
    conn: &mut SqliteConnection,
    sql: &'static str,
    key: &SessionKey,
    id: &str,
    place: i64,
    open: bool,
    body: Vec<u8>,
) -> Result<(), Error> {
    sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(id)
        .bind(place)
        .bind(open)
        .bind(body)
        .execute(conn)
        .await?;
    Ok(())
}

/// A workspace changes by the hundred; each path is there once.
async fn put_files(
    conn: &mut SqliteConnection,
    key: &SessionKey,
    files: &BTreeMap<&str, Option<&WorkspaceFile>>,
) -> Result<(), Error> {
    let there: Vec<_> = files.iter().filter_map(|(path, file)| file.map(|file| (*path, file))).collect();
    for rows in there.chunks(ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO file (tenant_id, session_id, path, body) ");
        sql.push_values(rows, |mut row, (path, file)| {
            row.push_bind(key.tenant.as_str())
                .push_bind(key.session.as_str())
                .push_bind(path.as_bytes())
                .push_bind(codec::encode(*file));
        });
        sql.push(" ON CONFLICT (tenant_id, session_id, path) DO UPDATE SET body = excluded.body");
        sql.build().execute(&mut *conn).await?;
    }
    let gone: Vec<&str> = files.iter().filter(|(_, file)| file.is_none()).map(|(path, _)| *path).collect();
    for rows in gone.chunks(ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new("DELETE FROM file WHERE tenant_id = ");
        sql.push_bind(key.tenant.as_str()).push(" AND session_id = ").push_bind(key.session.as_str());
        sql.push(" AND path IN (");
        let mut list = sql.separated(", ");
        for path in rows {
            list.push_bind(path.as_bytes());
        }
        sql.push(")");
        sql.build().execute(&mut *conn).await?;
    }
    Ok(())
}

async fn put_stdin(conn: &mut SqliteConnection, key: &SessionKey, row: &StdinRow) -> Result<(), Error> {
    let sql = "INSERT INTO exec_stdin (tenant_id, session_id, exec_id, byte_offset, data) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (tenant_id, session_id, exec_id, byte_offset) DO UPDATE SET data = excluded.data";
    sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(row.exec_id.as_str())
        .bind(signed(row.offset)?)
        .bind(row.data.as_slice())
        .execute(conn)
        .await?;
    Ok(())
}

/// Removes what the sandbox has taken, but for the newest row: it tells where the next one begins.
async fn trim_stdin(conn: &mut SqliteConnection, key: &SessionKey, exec_id: &ExecId, taken: u64) -> Result<(), Error> {
    let sql = "DELETE FROM exec_stdin WHERE tenant_id = ?1 AND session_id = ?2 AND exec_id = ?3
        AND byte_offset + length(data) <= ?4 AND byte_offset < (SELECT MAX(byte_offset) FROM exec_stdin
            WHERE tenant_id = ?1 AND session_id = ?2 AND exec_id = ?3)";
    sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(exec_id.as_str())
        .bind(signed(taken)?)
        .execute(conn)
        .await?;
    Ok(())
}

async fn put_exec(conn: &mut SqliteConnection, key: &SessionKey, mark: &ExecMark) -> Result<(), Error> {
    // The version goes with the state: a mark without a state leaves both as they are.
    let sql = "INSERT INTO exec (tenant_id, session_id, exec_id, sandbox_id, generation, stdout_offset, stderr_offset,
        parser_version, parser_state, held, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (tenant_id, session_id, exec_id) DO UPDATE SET sandbox_id = excluded.sandbox_id,
        generation = excluded.generation, stdout_offset = excluded.stdout_offset,
        stderr_offset = excluded.stderr_offset,
        parser_version = CASE WHEN excluded.parser_state IS NULL THEN parser_version ELSE excluded.parser_version END,
        parser_state = COALESCE(excluded.parser_state, parser_state), held = excluded.held, ended = excluded.ended";
    sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(mark.exec_id.as_str())
        .bind(mark.sandbox_id.as_str())
        .bind(mark.generation)
        .bind(signed(mark.stdout_offset)?)
        .bind(signed(mark.stderr_offset)?)
        .bind(mark.parser_version)
        .bind(mark.parser_state.as_deref().map(str::as_bytes))
        .bind(held(mark))
        .bind(mark.ended)
        .execute(&mut *conn)
        .await?;
    // The row says it all now.
    let sql = "UPDATE session SET stdout_offset = NULL, stderr_offset = NULL, held = NULL
        WHERE tenant_id = ? AND session_id = ? AND stdout_offset IS NOT NULL";
    sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).execute(&mut *conn).await?;
    if mark.ended {
        let sql = "DELETE FROM exec_stdin WHERE tenant_id = ? AND session_id = ? AND exec_id = ?";
        sqlx::query(sql)
            .bind(key.tenant.as_str())
            .bind(key.session.as_str())
            .bind(mark.exec_id.as_str())
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// What is held back, where anything is.
pub(super) fn held(mark: &ExecMark) -> Option<Vec<u8>> {
    (!mark.held.is_empty()).then(|| codec::encode(&mark.held))
}

/// An offset as the database has it.
pub(super) fn signed(offset: u64) -> Result<i64, Error> {
    i64::try_from(offset).map_err(|_| Error::Corrupt(format!("offset {offset} is beyond what can be stored")))
}

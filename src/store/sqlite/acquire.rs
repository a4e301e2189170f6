//! Becoming the owner of a session: the epoch goes up, and what is open comes back.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{rows, texts, writer::WriteTx};
use crate::{
    domain::{ExecId, SandboxId, SessionKey, SessionState},
    store::{Acquired, Error, ExecMark, StdinRow, codec},
};

/// Raises the epoch and returns what the new owner has to know.
pub(super) async fn acquire(mut tx: WriteTx<'_>, key: &SessionKey) -> Result<Option<Acquired>, Error> {
    let sql = concat!(
        "UPDATE session SET epoch = epoch + 1 WHERE tenant_id = ? AND session_id = ? AND deleted_at IS NULL RETURNING ",
        rows::record_columns!()
    );
    let row = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_optional(&mut *tx).await?;
    let Some(row) = row else {
        tx.undo().await?;
        return Ok(None);
    };
    let rows::Record { session, epoch, trimmed } = rows::record(&row)?;
    let mut open = SessionState::new(session);
    open.turns = rows::open_turns(&mut tx, key).await?;
    open.conversations = rows::conversations(&mut tx, key).await?;
    open.permissions = rows::open_permissions(&mut tx, key).await?;
    open.questions = rows::open_questions(&mut tx, key).await?;
    open.permission_rules = rows::permission_rules(&mut tx, key).await?;
    let blocks = rows::open_blocks(&mut tx, key).await?;
    let blocks = rows::grow(&mut tx, key, &open.session, blocks).await?;
    open.blocks = blocks.into_iter().map(|stored| stored.block).collect();
    texts::count(&mut tx, key, &mut open.blocks).await?;
    let exec = newest_exec(&mut tx, key).await?;
    let stdin = match &exec {
        Some(exec) => stdin(&mut tx, key, &exec.exec_id).await?,
        None => Vec::new(),
    };
    tx.commit().await?;
    Ok(Some(Acquired { epoch, open, exec, stdin, oldest_sequence: trimmed + 1 }))
}

async fn newest_exec(conn: &mut SqliteConnection, key: &SessionKey) -> Result<Option<ExecMark>, Error> {
    let sql =
        "SELECT e.exec_id, e.sandbox_id, e.generation, COALESCE(s.stdout_offset, e.stdout_offset) AS stdout_offset,
        COALESCE(s.stderr_offset, e.stderr_offset) AS stderr_offset, e.parser_version, e.parser_state,
        CASE WHEN s.stdout_offset IS NULL THEN e.held ELSE s.held END AS held, e.ended
        FROM exec e JOIN session s USING (tenant_id, session_id)
        WHERE tenant_id = ? AND session_id = ? ORDER BY e.ordinal DESC LIMIT 1";
    let row = sqlx::query(sql).bind(key.tenant.as_str()).bind(key.session.as_str()).fetch_optional(conn).await?;
    row.map(|row| exec(&row, key)).transpose()
}

fn exec(row: &SqliteRow, key: &SessionKey) -> Result<ExecMark, Error> {
    let exec_id: &str = row.try_get("exec_id")?;
    let parser_state: Option<Vec<u8>> = row.try_get("parser_state")?;
    let parser_state = parser_state
        .map(String::from_utf8)
        .transpose()
        .map_err(|_| Error::Corrupt(format!("parser state of {exec_id} of {key}: not UTF-8")))?;
    let held: Option<Vec<u8>> = row.try_get("held")?;
    let held = held.map(|held| codec::decode(&held, format_args!("{exec_id} of {key}"))).transpose()?;
    Ok(ExecMark {
        exec_id: ExecId::new(exec_id),
        sandbox_id: SandboxId::new(row.try_get::<&str, _>("sandbox_id")?),
        generation: row.try_get("generation")?,
        stdout_offset: unsigned(row.try_get("stdout_offset")?, key)?,
        stderr_offset: unsigned(row.try_get("stderr_offset")?, key)?,
        parser_version: row.try_get("parser_version")?,
        parser_state,
        held: held.unwrap_or_default(),
        ended: row.try_get("ended")?,
    })
}

async fn stdin(conn: &mut SqliteConnection, key: &SessionKey, exec_id: &ExecId) -> Result<Vec<StdinRow>, Error> {
    let sql = "SELECT byte_offset, data FROM exec_stdin
        WHERE tenant_id = ? AND session_id = ? AND exec_id = ? ORDER BY byte_offset";
    let rows = sqlx::query(sql)
        .bind(key.tenant.as_str())
        .bind(key.session.as_str())
        .bind(exec_id.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            let offset = unsigned(row.try_get("byte_offset")?, key)?;
            Ok(StdinRow { exec_id: exec_id.clone(), offset, data: row.try_get("data")? })
        })
        .collect()
}

fn unsigned(offset: i64, key: &SessionKey) -> Result<u64, Error> {
    u64::try_from(offset).map_err(|_| Error::Corrupt(format!("a program of {key} has offset {offset}")))
}

//! The ledger of sandboxes elsewhere, and whose they are.

use async_trait::async_trait;
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{SqliteStore, rows, writer::WriteTx};
use crate::{
    domain::{
        LedgerEntry, LedgerFacts, LedgerState, Sandbox, SandboxId, Session, SessionId, SessionKey, SessionSandbox,
        TenantId,
    },
    store::{Error, LedgerQuery, LedgerRows, codec},
};

const SELECT: &str = "SELECT sandbox_id, tenant_id, session_id, generation, provider, state, body FROM ledger";

#[async_trait]
impl LedgerRows for SqliteStore {
    async fn owner(&self) -> Result<String, Error> {
        let mut tx = self.connections.read().await?;
        Ok(sqlx::query_scalar("SELECT owner_id FROM owner").fetch_one(&mut *tx).await?)
    }

    fn is_owner(&self) -> bool {
        self.holds_lock()
    }

    async fn put_entry(&self, entry: &LedgerEntry) -> Result<(), Error> {
        put(self.write_as_owner().await?, entry).await
    }

    async fn entry(&self, id: &SandboxId) -> Result<Option<LedgerEntry>, Error> {
        let mut tx = self.connections.read().await?;
        let sql = format!("{SELECT} WHERE sandbox_id = ?");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.as_str()).fetch_optional(&mut *tx).await?;
        row.as_ref().map(read).transpose()
    }

    async fn entries(&self, provider: &str) -> Result<Vec<LedgerEntry>, Error> {
        let mut tx = self.connections.read().await?;
        let sql = format!("{SELECT} WHERE provider = ? ORDER BY sandbox_id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(provider).fetch_all(&mut *tx).await?;
        rows.iter().map(read).collect()
    }

    async fn tenant_entries(&self, query: &LedgerQuery) -> Result<Vec<LedgerEntry>, Error> {
        let LedgerQuery { tenant, include_ended, after, limit } = query;
        let mut tx = self.connections.read().await?;
        let sql = format!(
            "{SELECT} WHERE tenant_id = ? AND sandbox_id > ? AND (? OR state <> 'ended') ORDER BY sandbox_id LIMIT ?"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(tenant.as_str())
            .bind(after.as_ref().map_or("", SandboxId::as_str))
            .bind(include_ended)
            .bind(i64::try_from(*limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        rows.iter().map(read).collect()
    }

    async fn session_sandboxes(&self, query: &LedgerQuery) -> Result<Vec<SessionSandbox>, Error> {
        let LedgerQuery { tenant, include_ended, after, limit } = query;
        let mut tx = self.connections.read().await?;
        let sql = concat!(
            "SELECT ",
            rows::record_columns!(),
            " FROM session WHERE tenant_id = ? AND sandbox_id > ? AND deleted_at IS NULL AND (? OR sandbox_running = 1)
            AND sandbox_id NOT IN (SELECT sandbox_id FROM ledger) ORDER BY sandbox_id LIMIT ?"
        );
        let rows = sqlx::query(sql)
            .bind(tenant.as_str())
            .bind(after.as_ref().map_or("", SandboxId::as_str))
            .bind(include_ended)
            .bind(i64::try_from(*limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        let records = rows.iter().map(rows::record).collect::<Result<Vec<_>, Error>>()?;
        Ok(records.into_iter().filter_map(|record| of_session(tenant, record.session)).collect())
    }

    async fn remove_entry(&self, id: &SandboxId) -> Result<(), Error> {
        let mut tx = self.write_as_owner().await?;
        sqlx::query("DELETE FROM ledger WHERE sandbox_id = ?").bind(id.as_str()).execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn sandboxes(&self) -> Result<Vec<SandboxId>, Error> {
        let mut tx = self.connections.read().await?;
        let sql = "SELECT sandbox_id FROM session WHERE sandbox_id IS NOT NULL";
        let rows = sqlx::query(sql).fetch_all(&mut *tx).await?;
        rows.iter().map(|row| Ok(SandboxId::new(row.try_get::<&str, _>(0)?))).collect()
    }
}

fn of_session(tenant: &TenantId, session: Session) -> Option<SessionSandbox> {
    let key = SessionKey { tenant: tenant.clone(), session: session.session_id };
    let Sandbox { sandbox_id, provider, status, generation, .. } = session.sandbox?;
    Some(SessionSandbox { id: sandbox_id?, session: key, generation, provider, status })
}

async fn put(mut tx: WriteTx<'_>, entry: &LedgerEntry) -> Result<(), Error> {
    let LedgerEntry { id, session, generation, provider, state, facts } = entry;
    let sql = "INSERT OR REPLACE INTO ledger (sandbox_id, tenant_id, session_id, generation, provider, state, body)
        VALUES (?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(id.as_str())
        .bind(session.tenant.as_str())
        .bind(session.session.as_str())
        .bind(generation)
        .bind(provider)
        .bind(word(*state))
        .bind(codec::encode(facts))
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

fn read(row: &SqliteRow) -> Result<LedgerEntry, Error> {
    let id = SandboxId::new(row.try_get::<&str, _>("sandbox_id")?);
    let tenant = TenantId::new(row.try_get::<&str, _>("tenant_id")?);
    let state = row.try_get::<&str, _>("state")?;
    let state = [LedgerState::Intended, LedgerState::Created, LedgerState::Ended]
        .into_iter()
        .find(|known| word(*known) == state)
        .ok_or_else(|| Error::Corrupt(format!("the state of sandbox {id} in the ledger is not known to this build")))?;
    Ok(LedgerEntry {
        session: SessionKey { tenant, session: SessionId::new(row.try_get::<&str, _>("session_id")?) },
        generation: row.try_get("generation")?,
        provider: row.try_get("provider")?,
        state,
        facts: codec::decode::<LedgerFacts>(row.try_get("body")?, format_args!("sandbox {id}"))?,
        id,
    })
}

/// As the column spells it.
fn word(state: LedgerState) -> &'static str {
    match state {
        LedgerState::Intended => "intended",
        LedgerState::Created => "created",
        LedgerState::Ended => "ended",
    }
}

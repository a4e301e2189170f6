//! A sandbox as it is listed: what the ledger has of one elsewhere, or what its session has of one on this machine.

use super::timestamp;
use crate::{
    domain::{LedgerEntry, LedgerFacts, LedgerState, ListedSandbox, SandboxStatus, SessionSandbox, Timestamp},
    proto,
};

/// A sandbox as it is told at a time, which says what it has cost.
#[must_use]
pub fn sandbox_record(listed: ListedSandbox, now: Timestamp) -> proto::SandboxRecord {
    match listed {
        ListedSandbox::Elsewhere { entry, out_of_reach } => elsewhere(*entry, out_of_reach, now),
        ListedSandbox::OfSession(sandbox) => of_session(sandbox),
    }
}

/// Nothing of it is reserved, and nothing of it costs.
fn of_session(sandbox: SessionSandbox) -> proto::SandboxRecord {
    let SessionSandbox { id, session, generation, provider, status } = sandbox;
    proto::SandboxRecord {
        sandbox_id: id.to_string(),
        provider,
        session_id: session.session.to_string(),
        generation,
        state: proto::SandboxRecordState::from(status).into(),
        create_time: id.mint_time().map(timestamp),
        ..proto::SandboxRecord::default()
    }
}

fn elsewhere(entry: LedgerEntry, out_of_reach: Option<String>, now: Timestamp) -> proto::SandboxRecord {
    let LedgerEntry { id, session, generation, provider, state, facts } = entry;
    let LedgerFacts { external_id, task_id: _, create_time, expire_time, end_time, settings, snapshot, origin: _ } =
        facts;
    // Its provider ends it then, whoever knows of it.
    let until = end_time.unwrap_or_else(|| expire_time.map_or(now, |expires| expires.min(now)));
    proto::SandboxRecord {
        sandbox_id: id.to_string(),
        provider,
        external_id,
        session_id: session.session.to_string(),
        generation,
        state: proto::SandboxRecordState::from(state).into(),
        create_time: Some(timestamp(create_time)),
        expire_time: expire_time.map(timestamp),
        end_time: end_time.map(timestamp),
        hourly_cost_micro_usd: settings.hourly_cost_micro_usd(),
        cost_micro_usd: settings.cost_micro_usd(until.since(create_time)),
        modal: Some(settings.filled().into()),
        snapshot_expire_time: snapshot.map(|snapshot| timestamp(snapshot.expire_time)),
        out_of_reach: out_of_reach.unwrap_or_default(),
    }
}

impl From<SandboxStatus> for proto::SandboxRecordState {
    fn from(status: SandboxStatus) -> Self {
        match status {
            SandboxStatus::Starting => Self::Intended,
            SandboxStatus::Ready | SandboxStatus::Unhealthy => Self::Running,
            SandboxStatus::Terminated => Self::Ended,
        }
    }
}

impl From<LedgerState> for proto::SandboxRecordState {
    fn from(state: LedgerState) -> Self {
        match state {
            LedgerState::Intended => Self::Intended,
            LedgerState::Created => Self::Running,
            LedgerState::Ended => Self::Ended,
        }
    }
}

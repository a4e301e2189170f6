//! Replay: recorded output of an agent, as the events it would give. Nothing is stored and nothing is started.

use std::time::Duration;

use super::pending::Pending;
use crate::{
    agent::{self, Action, Setup},
    domain::{
        Agent, Event, ExecId, LogUid, Principal, ProfileId, SandboxSpec, Session, SessionId, SessionOptions,
        SessionState, SessionStatus, Timestamp, Usage,
    },
};

/// The events that this output gives in a session of its own. Times are those of the replay.
///
/// # Errors
/// What the agent's adapter says of the setup, which is empty here.
pub fn replay(agent: Agent, output: &[u8]) -> Result<Vec<Event>, agent::UnknownCheckpoint> {
    let mut parser = agent::plan(agent, &Setup::default())?.parser;
    let mut pending = Pending::new(SessionState::new(record(agent)));
    let (mut actions, mut events) = (Vec::new(), Vec::new());
    // In pieces, so that no more than one line's events wait at a time, as in a session at work.
    for chunk in output.chunks(64 * 1024) {
        parser.feed(chunk, &mut actions);
        act(&mut pending, &mut actions);
        events.append(&mut pending.drain().events);
        pending.prune();
    }
    parser.finish(&mut actions);
    act(&mut pending, &mut actions);
    events.append(&mut pending.drain().events);
    Ok(events)
}

/// Nobody is there to be told anything, so what the parser would write goes nowhere.
fn act(pending: &mut Pending, actions: &mut Vec<Action>) {
    for action in actions.drain(..) {
        let Some(action) = pending.redact(action) else { continue };
        pending.act(action, &ExecId::new("replay"), Duration::ZERO);
    }
}

/// The record of a session that is stored nowhere.
pub(super) fn record(agent: Agent) -> Session {
    let now = Timestamp::now();
    Session {
        session_id: SessionId::new("replay"),
        uid: LogUid::new("replay"),
        external_id: String::new(),
        agent,
        name: String::new(),
        status: SessionStatus::Idle,
        profile_id: ProfileId::new("default"),
        profile_revision: 1,
        sequence: 0,
        sandbox: None,
        sandbox_spec: SandboxSpec::default(),
        workspace: None,
        seed_files: Vec::new(),
        options: SessionOptions::default(),
        usage: Usage::default(),
        labels: std::collections::BTreeMap::new(),
        metadata: None,
        created_by: Principal::system(),
        create_time: now,
        last_activity_time: now,
        etag: String::new(),
        error: None,
    }
}

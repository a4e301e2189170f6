//! What a server that ends leaves running, in the words of whoever looks after it.

use std::time::SystemTime;

use super::Manager;
use crate::domain::{SandboxId, SessionId, TurnId};

/// An agent that works on without a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftRunning {
    /// Whose it is.
    pub session: SessionId,
    /// What it is at; `None`: it waits for a message.
    pub turn: Option<TurnId>,
    /// Until when the next server must have taken it over.
    pub until: SystemTime,
}

impl Manager {
    /// Whose these sandboxes are, as it is stored.
    pub async fn left_running(&self, sandboxes: Vec<(SandboxId, SystemTime)>) -> Vec<LeftRunning> {
        let store = self.log().store();
        let mut left = Vec::new();
        let sessions = if sandboxes.is_empty() { Ok(Vec::new()) } else { store.unfinished().await };
        let sessions = sessions.unwrap_or_else(|error| {
            tracing::warn!(%error, ?sandboxes, "it cannot be told whose the agents are that are left running");
            Vec::new()
        });
        for key in sessions {
            let Ok(Some(view)) = store.session(&key).await else { continue };
            let sandbox = view.session.sandbox.and_then(|sandbox| sandbox.sandbox_id);
            if let Some((_, until)) = sandboxes.iter().find(|(id, _)| Some(id) == sandbox.as_ref()) {
                let turn = view.active_turn.map(|turn| turn.turn_id);
                left.push(LeftRunning { session: key.session, turn, until: *until });
            }
        }
        left
    }
}

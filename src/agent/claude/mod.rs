//! Claude Code. Stands in until the room's own adapter is merged.

use super::{Action, Checkpoint, Plan, Setup, UnknownCheckpoint};
use crate::domain::{Agent, BlockId};

/// Reads what Claude Code prints.
#[derive(Clone, Debug)]
pub struct Parser;

fn absent() -> UnknownCheckpoint {
    UnknownCheckpoint { agent: Agent::ClaudeCode, version: 0 }
}

pub(super) fn plan(_setup: &Setup) -> Result<Plan, UnknownCheckpoint> {
    Err(absent())
}

pub(super) fn prompt(_block_id: &BlockId, _text: &str) -> Vec<u8> {
    Vec::new()
}

#[expect(clippy::unused_self, reason = "the adapter replaces it")]
impl Parser {
    pub(super) fn feed(&mut self, _bytes: &[u8], _actions: &mut Vec<Action>) {}

    pub(super) fn finish(&mut self, _actions: &mut Vec<Action>) {}

    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint { version: 0, offset: 0, state: String::new() }
    }

    pub(super) fn restore(_checkpoint: &Checkpoint) -> Result<Self, UnknownCheckpoint> {
        Err(absent())
    }
}

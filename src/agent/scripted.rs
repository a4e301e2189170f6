//! Stand-in for the scripted agent's parser, until its own branch brings it.

use super::{Action, Checkpoint, Plan, Setup, UnknownCheckpoint};
use crate::domain::{Agent, BlockId};

/// Reads nothing.
#[derive(Clone, Debug)]
pub struct Parser;

pub(super) fn plan(setup: &Setup) -> Plan {
    let argv = vec![setup.program.clone()];
    Plan { argv, env: Vec::new(), pass_env: &[], parser: super::Parser::Scripted(Parser) }
}

pub(super) fn prompt(_: &BlockId, _: &str) -> Vec<u8> {
    Vec::new()
}

impl Parser {
    /// Nothing.
    pub fn feed(&mut self, _: &[u8], _: &mut Vec<Action>) {}

    /// Nothing.
    pub fn finish(&mut self, _: &mut Vec<Action>) {}

    /// The beginning.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { version: 0, offset: 0, state: String::new() }
    }

    /// # Errors
    /// Always.
    pub fn restore(checkpoint: &Checkpoint) -> Result<Self, UnknownCheckpoint> {
        Err(UnknownCheckpoint { agent: Agent::Scripted, version: checkpoint.version })
    }
}

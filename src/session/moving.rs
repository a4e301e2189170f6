//! A turn whose sandbox reaches the end of its life, as events: it leaves, its agent is told to go on in the next one, and it
//! is there when that is taken up. It stays one turn, running all the time.

use super::{pending::Pending, turn::Prompt};
use crate::{
    agent::{self, Progress},
    domain::{BlockId, ConversationId, InputOutcome, Kind, Moving, Turn, TurnStatus, Usage},
};

impl Pending {
    /// How far the active turn is on its way to another sandbox.
    pub(super) fn moving(&self) -> Option<Moving> {
        self.state().active_turn()?.moving
    }

    /// The active turn is to go on elsewhere, and its agent has not ended what it does. One that a caller or a limit ends as
    /// well goes on nowhere.
    pub(super) fn leaves(&self) -> bool {
        let leaves = |turn: &Turn| {
            turn.moving == Some(Moving::Leaving) && turn.interrupt_time.is_none() && turn.meter.reached.is_none()
        };
        self.state().active_turn().is_some_and(leaves)
    }

    /// The active turn is to leave its sandbox.
    pub(super) fn leave(&mut self) {
        if !self.leaves() {
            self.moves(Some(Moving::Leaving));
        }
    }

    /// What its agent did in the sandbox that it leaves is over; what that used counts. False: it does not leave.
    pub(super) fn leave_off(&mut self, usage: Usage) -> bool {
        if !self.leaves() {
            return false;
        }
        self.withdraw_with_turn(InputOutcome::Withdrawn);
        self.goes_on(None);
        self.interrupt_blocks();
        let Some(mut turn) = self.state().active_turn().cloned() else { return false };
        let Progress { steps, cost_micro_usd, .. } = std::mem::take(&mut self.progress);
        turn.meter.steps = turn.meter.steps.saturating_add(steps);
        turn.meter.cost_micro_usd = turn.meter.cost_micro_usd.saturating_add(cost_micro_usd);
        turn.usage += usage;
        (turn.status, turn.moving) = (TurnStatus::Running, Some(Moving::Left));
        self.record(ConversationId::main(), None, Kind::TurnUpdated { turn });
        true
    }

    /// What the next process is told, so that it goes on with a turn that has left its sandbox. `memory` is what the last one
    /// left behind.
    pub(super) fn arrive(&mut self, memory: Option<&str>) -> Option<Prompt> {
        let turn = self.state().active_turn().filter(|turn| turn.moving == Some(Moving::Left))?.clone();
        let message = if turn.carried.is_empty() {
            agent::moved(self.state().session.agent)
        } else {
            self.go_on_with(&turn, memory)
        };
        self.moves(Some(Moving::Arriving));
        Some(self.continuation(&turn, message))
    }

    /// The agent took a message up: that it is to go on, if it was told so.
    pub(super) fn took_up(&mut self, block_id: Option<&BlockId>) {
        if block_id.is_some() && self.moving() == Some(Moving::Arriving) {
            self.moves(None);
        }
    }

    fn moves(&mut self, moving: Option<Moving>) {
        if let Some(turn) = self.state().active_turn().cloned() {
            self.record(ConversationId::main(), None, Kind::TurnUpdated { turn: Turn { moving, ..turn } });
        }
    }
}

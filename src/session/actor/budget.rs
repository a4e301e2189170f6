//! A turn that uses too much is ended: by its agent's own protocol, and by force where the agent does not follow.

use std::time::Duration;

use tokio::time::Instant;

use super::Actor;
use crate::{
    domain::{Limit, Timestamp, TurnStatus, Usage},
    session::side::Side,
};

/// How long an agent may take to end a turn that it was told to end.
const GRACE: Duration = Duration::from_secs(10);

impl Actor {
    /// Holds the active turn to its budget, as far as its agent has got.
    pub(super) fn hold_to_budget(&mut self) {
        // What was read and is held may be of the turn after this one.
        if self.files.is_holding() {
            return;
        }
        if let Side::On(running) = &self.side
            && let Some(told) = self.pending.got_on(running.parser.progress())
        {
            self.tell(told);
        }
        // Also of a turn that an earlier owner told to end.
        match (self.pending.is_cut(), self.cut_at) {
            (true, None) => self.cut_at = Some(Instant::now() + GRACE),
            (false, Some(_)) => self.cut_at = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// When the active turn has worked as long as it may.
    pub(super) fn works_until(&self) -> Option<Instant> {
        let left = self.pending.works_until()?.since(Timestamp::now());
        Instant::now().checked_add(left)
    }

    /// It has.
    pub(super) fn time_is_up(&mut self) {
        if let Some(told) = self.pending.cut(Limit::TurnDuration) {
            match &self.side {
                Side::On(_) => self.tell(told),
                // There is nobody to tell yet.
                Side::Off | Side::Finding(_) | Side::Preparing(..) | Side::Starting(..) => self.cut_off(),
            }
        }
    }

    /// The agent did not end its turn, so its program ends.
    pub(super) fn cut_off(&mut self) {
        self.pending.end_turn(TurnStatus::BudgetExhausted, None, Usage::default(), None);
        self.pending.record_status_after_turn();
        self.shut("the turn reached a limit of its budget, and its agent did not end it");
    }
}

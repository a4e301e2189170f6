//! Budgets: what a turn has used is measured where turns change, and held to what it may use. Which limit is reached stands
//! in the turn's own record until its agent has ended it, so that another owner of the session knows it too.

use super::pending::Pending;
use crate::{
    agent::{self, Progress},
    domain::{
        Budget, ConversationId, Failure, Kind, Limit, Meter, Principal, SessionError, Timestamp, Turn, TurnStatus,
    },
};

impl Pending {
    /// Notes on a turn that changes how long it worked, what it may use from its beginning on, and what it used in a
    /// process that is gone.
    pub(super) fn measure(&mut self, turn: &mut Turn, time: Timestamp) {
        let runs = turn.status == TurnStatus::Running;
        if runs && turn.meter.is_new() {
            turn.meter.budget = self.state().session.options.budget.clone().unwrap_or_default();
            self.progress = Progress::default();
        }
        match (runs, turn.meter.since) {
            (true, None) => turn.meter.since = Some(time),
            (false, Some(since)) => {
                turn.meter.worked += time.since(since);
                turn.meter.since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        if turn.status == TurnStatus::Parked {
            let Progress { steps, cost_micro_usd, .. } = std::mem::take(&mut self.progress);
            turn.meter.steps = turn.meter.steps.saturating_add(steps);
            turn.meter.cost_micro_usd = turn.meter.cost_micro_usd.saturating_add(cost_micro_usd);
        }
    }

    /// Refuses a message while the session has cost what it may.
    pub(super) fn within_budget(&self) -> Result<(), Failure> {
        let session = &self.state().session;
        match &session.options.budget {
            Some(budget) if is_over(budget.session_cost_micro_usd, session.usage.cost_micro_usd) => {
                Err(Limit::SessionCost.reached(budget))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The agent got on with its turn, which ends if that reaches a limit. Returns what the agent is to be told: to end it,
    /// or to tell what it costs, where nobody knows.
    pub(super) fn got_on(&mut self, progress: Progress) -> Option<Vec<u8>> {
        if progress == self.progress {
            return None;
        }
        let turn = self.state().active_turn().filter(|turn| turn.meter.reached.is_none())?;
        let (more, meter) = (progress.ended != self.progress.ended, turn.meter.clone());
        self.progress = progress;
        if let Some(limit) = self.reached(&meter) {
            return self.cut(limit);
        }
        let Budget { session_cost_micro_usd, turn_cost_micro_usd, .. } = meter.budget;
        let counts = session_cost_micro_usd > 0 || turn_cost_micro_usd > 0;
        agent::ask_cost(self.state().session.agent).filter(|_| more && counts)
    }

    fn reached(&self, meter: &Meter) -> Option<Limit> {
        let Meter { budget, steps, cost_micro_usd, .. } = meter;
        let Progress { steps: now, ended: _, cost_micro_usd: cost, untold_micro_usd: untold } = self.progress;
        let all = self.state().session.usage.cost_micro_usd.saturating_add(untold);
        // The call after the last one that is allowed is cut off as it begins.
        if budget.turn_steps > 0 && steps.saturating_add(now) > budget.turn_steps {
            Some(Limit::TurnSteps)
        } else if is_over(budget.turn_cost_micro_usd, cost_micro_usd.saturating_add(cost)) {
            Some(Limit::TurnCost)
        } else if is_over(budget.session_cost_micro_usd, all) {
            Some(Limit::SessionCost)
        } else {
            None
        }
    }

    /// When the turn that works has worked as long as it may. `None`: nothing waits for that.
    pub(super) fn works_until(&self) -> Option<Timestamp> {
        let turn = self.state().active_turn().filter(|turn| turn.meter.reached.is_none())?;
        turn.meter.deadline()
    }

    /// The active turn is being ended, because it reached a limit.
    pub(super) fn is_cut(&self) -> bool {
        self.state().active_turn().is_some_and(|turn| turn.meter.reached.is_some())
    }

    /// Begins to end the active turn. Returns what its agent is to be told, if there is one.
    pub(super) fn cut(&mut self, limit: Limit) -> Option<Vec<u8>> {
        let mut turn = self.state().active_turn()?.clone();
        tracing::info!(turn = %turn.turn_id, %limit, "the turn reached a limit of its budget");
        turn.meter.reached = Some(limit);
        let told = agent::interrupt(self.state().session.agent, turn.turn_id.as_str());
        self.record(ConversationId::main(), None, Kind::TurnUpdated { turn });
        Some(told)
    }

    /// How a turn ends that is being ended: what its agent finished in time is finished, and whatever a caller ends is ended
    /// by the caller.
    pub(super) fn as_cut(
        turn: &Turn,
        status: TurnStatus,
        error: Option<SessionError>,
        by: Option<&Principal>,
    ) -> (TurnStatus, Option<SessionError>) {
        match turn.meter.reached {
            Some(limit) if by.is_none() && status != TurnStatus::Completed => {
                let error = limit.reached(&turn.meter.budget).into_session_error(false);
                (TurnStatus::BudgetExhausted, Some(error))
            }
            Some(_) | None => (status, error),
        }
    }
}

/// 0 is no limit.
fn is_over(limit: i64, value: i64) -> bool {
    limit > 0 && value >= limit
}

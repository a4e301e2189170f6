//! Turns, and the one table that says what a command does to them.

use serde::{Deserialize, Serialize};

use super::{BlockId, CarriedAnswer, Meter, Principal, Reason, SessionError, Timestamp, TurnId, Usage, UserMessage};

/// One piece of work of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Minted by the server.
    pub turn_id: TurnId,
    /// Where it is in its life.
    pub status: TurnStatus,
    /// Why it exists.
    pub origin: TurnOrigin,
    /// Its user message block; `None` when the agent went on unasked.
    pub block_id: Option<BlockId>,
    /// The message while it is queued.
    pub message: Option<UserMessage>,
    /// Who asked for it.
    pub created_by: Principal,
    /// When it was accepted.
    pub create_time: Timestamp,
    /// When the agent acknowledged the message.
    pub start_time: Option<Timestamp>,
    /// Unset until it ended.
    pub end_time: Option<Timestamp>,
    /// Of this turn alone.
    pub usage: Usage,
    /// Why it did not end well.
    pub error: Option<SessionError>,
    /// Answers that wait for the agent to ask again, after it was parked. Not in the contract's record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<CarriedAnswer>,
    /// What it may use and has used. Not in the contract's record.
    #[serde(default, skip_serializing_if = "Meter::is_new")]
    pub meter: Meter,
}

/// The life of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnStatus {
    /// Accepted, waiting for the turn before it.
    Queued,
    /// The agent works, or is being started to.
    Running,
    /// A permission request or question is open.
    AwaitingInput,
    /// As awaiting input, but the agent's process is gone.
    Parked,
    /// The agent finished.
    Completed,
    /// A caller stopped it.
    Interrupted,
    /// Taken out of the queue.
    Cancelled,
    /// The agent, its model or its sandbox failed.
    Failed,
    /// A limit of the budget was reached.
    BudgetExhausted,
    /// The runtime cannot know how it went.
    Lost,
}

impl TurnStatus {
    /// Every status.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Running,
        Self::AwaitingInput,
        Self::Parked,
        Self::Completed,
        Self::Interrupted,
        Self::Cancelled,
        Self::Failed,
        Self::BudgetExhausted,
        Self::Lost,
    ];

    /// It holds the session: running, awaiting input or parked.
    #[must_use]
    pub fn is_active(self) -> bool {
        match self {
            Self::Running | Self::AwaitingInput | Self::Parked => true,
            Self::Queued
            | Self::Completed
            | Self::Interrupted
            | Self::Cancelled
            | Self::Failed
            | Self::BudgetExhausted
            | Self::Lost => false,
        }
    }

    /// It never changes again.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::Queued && !self.is_active()
    }

    /// Whether a turn may go from this status to the other one, as the contract's `Turn` says.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => matches!(next, Self::Running | Self::Cancelled),
            Self::Running => next == Self::AwaitingInput || next.is_end_of_active(),
            Self::AwaitingInput => matches!(next, Self::Running | Self::Parked) || next.is_end_of_active(),
            Self::Parked => next == Self::Running || next.is_end_of_active(),
            Self::Completed
            | Self::Interrupted
            | Self::Cancelled
            | Self::Failed
            | Self::BudgetExhausted
            | Self::Lost => false,
        }
    }

    fn is_end_of_active(self) -> bool {
        self.is_final() && self != Self::Cancelled
    }
}

/// Why a turn exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnOrigin {
    /// A message of a caller.
    User,
    /// The agent went on unasked.
    Agent,
    /// The runtime told the agent to go on.
    Continuation,
}

/// What a caller can ask of a session that has, or has not, a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// `SendMessage` or `RunTurn` with the policy to reject.
    Send,
    /// `StopSession` or `DeleteSession`.
    Stop,
    /// `ResolvePermission`, or the deadline of a request, with nothing else open then.
    Resolve,
}

/// What a command does to a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It goes ahead and leaves the turn alone.
    Proceed,
    /// It is refused.
    Refuse(Reason),
    /// The turn ends this way first.
    End(TurnStatus),
    /// The turn goes on, and is running.
    GoOn,
}

impl Command {
    /// The table of the contract's `Turn`: state x command. Policies and commands that are not built are not in it.
    #[must_use]
    pub fn effect(self, turn: TurnStatus) -> Effect {
        match (self, turn) {
            (Self::Send, TurnStatus::Queued | TurnStatus::Running | TurnStatus::AwaitingInput | TurnStatus::Parked) => {
                Effect::Refuse(Reason::SessionBusy)
            }
            (Self::Resolve, TurnStatus::AwaitingInput | TurnStatus::Parked) => Effect::GoOn,
            (
                Self::Resolve,
                TurnStatus::Queued
                | TurnStatus::Running
                | TurnStatus::Completed
                | TurnStatus::Interrupted
                | TurnStatus::Cancelled
                | TurnStatus::Failed
                | TurnStatus::BudgetExhausted
                | TurnStatus::Lost,
            ) => Effect::Refuse(Reason::AlreadyResolved),
            (Self::Stop, TurnStatus::Queued) => Effect::End(TurnStatus::Cancelled),
            (Self::Stop, TurnStatus::Running | TurnStatus::AwaitingInput | TurnStatus::Parked) => {
                Effect::End(TurnStatus::Interrupted)
            }
            (
                Self::Send | Self::Stop,
                TurnStatus::Completed
                | TurnStatus::Interrupted
                | TurnStatus::Cancelled
                | TurnStatus::Failed
                | TurnStatus::BudgetExhausted
                | TurnStatus::Lost,
            ) => Effect::Proceed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Effect, TurnStatus};
    use crate::domain::Reason;

    /// The allowed changes, as the contract's `Turn` lists them.
    const ALLOWED: &[(TurnStatus, &[TurnStatus])] = &[
        (TurnStatus::Queued, &[TurnStatus::Running, TurnStatus::Cancelled]),
        (
            TurnStatus::Running,
            &[
                TurnStatus::AwaitingInput,
                TurnStatus::Completed,
                TurnStatus::Interrupted,
                TurnStatus::Failed,
                TurnStatus::BudgetExhausted,
                TurnStatus::Lost,
            ],
        ),
        (
            TurnStatus::AwaitingInput,
            &[
                TurnStatus::Running,
                TurnStatus::Parked,
                TurnStatus::Completed,
                TurnStatus::Interrupted,
                TurnStatus::Failed,
                TurnStatus::BudgetExhausted,
                TurnStatus::Lost,
            ],
        ),
        (
            TurnStatus::Parked,
            &[
                TurnStatus::Running,
                TurnStatus::Completed,
                TurnStatus::Interrupted,
                TurnStatus::Failed,
                TurnStatus::BudgetExhausted,
                TurnStatus::Lost,
            ],
        ),
    ];

    #[test]
    fn a_turn_changes_as_the_contract_says_and_in_no_other_way() {
        for from in TurnStatus::ALL {
            let allowed = ALLOWED.iter().find(|(status, _)| *status == from).map_or(&[][..], |(_, to)| to);
            for to in TurnStatus::ALL {
                assert_eq!(from.may_become(to), allowed.contains(&to), "{from:?} to {to:?}");
            }
            assert_eq!(from.is_final(), allowed.is_empty(), "{from:?} is an end exactly if nothing follows it");
        }
    }

    #[test]
    fn every_command_has_its_effect_in_every_state_and_each_effect_is_allowed() {
        for status in TurnStatus::ALL {
            let over = status.is_final();
            let sent = if over { Effect::Proceed } else { Effect::Refuse(Reason::SessionBusy) };
            assert_eq!(Command::Send.effect(status), sent, "{status:?}");
            let stopped = match status {
                TurnStatus::Queued => Effect::End(TurnStatus::Cancelled),
                _ if over => Effect::Proceed,
                _ => Effect::End(TurnStatus::Interrupted),
            };
            assert_eq!(Command::Stop.effect(status), stopped, "{status:?}");
            if let Effect::End(end) = Command::Stop.effect(status) {
                assert!(status.may_become(end), "{status:?} cannot become {end:?}");
            }
            let waits = matches!(status, TurnStatus::AwaitingInput | TurnStatus::Parked);
            let resolved = if waits { Effect::GoOn } else { Effect::Refuse(Reason::AlreadyResolved) };
            assert_eq!(Command::Resolve.effect(status), resolved, "{status:?}");
            assert!(!waits || status.may_become(TurnStatus::Running), "{status:?}");
        }
    }
}

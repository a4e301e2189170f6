//! Turns and the life they have. What a command does to one stands in [`Command`](super::Command).

use serde::{Deserialize, Serialize};

use super::{BlockId, CarriedAnswer, Meter, Principal, SessionError, Timestamp, TurnId, Usage, UserMessage};

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
    /// While it is queued: it goes before those that wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_first: bool,
    /// Since when its agent is asked to end it. Not in the contract's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt_time: Option<Timestamp>,
    /// Answers that wait for the agent to ask again, after it was parked. Not in the contract's record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<CarriedAnswer>,
    /// What it may use and has used. Not in the contract's record.
    #[serde(default, skip_serializing_if = "Meter::is_new")]
    pub meter: Meter,
    /// How far it is on its way to another sandbox. Not in the contract's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
}

/// A turn at the end of its sandbox's life: it goes on in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moving {
    /// Its agent is asked to end what it does.
    Leaving,
    /// That is over, and nobody was told to go on.
    Left,
    /// A new process is told to go on, and has not taken that up.
    Arriving,
}

impl Turn {
    /// Those of these turns that are queued, next first: what goes before the others, the newest of it first, then in order
    /// of acceptance.
    #[must_use]
    pub fn queue<'a>(turns: impl IntoIterator<Item = &'a Self>) -> Vec<&'a Self> {
        let queued = turns.into_iter().filter(|turn| turn.status == TurnStatus::Queued);
        let (mut first, rest): (Vec<_>, Vec<_>) = queued.partition(|turn| turn.goes_first);
        first.reverse();
        first.extend(rest);
        first
    }
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

    /// As the store names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::AwaitingInput => "awaiting_input",
            Self::Parked => "parked",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::BudgetExhausted => "budget_exhausted",
            Self::Lost => "lost",
        }
    }

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

#[cfg(test)]
mod tests {
    use super::TurnStatus;

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
}

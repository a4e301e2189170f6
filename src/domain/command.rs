//! The one table that says what a command does to a turn: state x command, as the contract's `Turn` has it.

use super::{Reason, TurnStatus};

/// What a caller can ask of a session that has, or has not, a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// `SendMessage` or `RunTurn`.
    Send(Busy),
    /// `InterruptTurn`.
    Interrupt,
    /// `CancelTurn`.
    Cancel,
    /// `StopSession` or `DeleteSession`.
    Stop,
    /// `ResolvePermission`, or the deadline of a request, with nothing else open then.
    Resolve,
    /// `AnswerQuestion`, or the deadline of a question, with nothing else open then.
    Answer,
}

/// What a message does while a turn is active or queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Busy {
    /// It is refused.
    #[default]
    Reject,
    /// It waits its turn.
    Queue,
    /// The active turn is interrupted, and it goes before those that wait.
    Interrupt,
}

/// What a command does to a turn, and what the turn does to the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It goes ahead and leaves the turn alone.
    Proceed,
    /// It is refused.
    Refuse(Reason),
    /// The turn ends this way. What asked for it goes on behind the end.
    End(TurnStatus),
    /// The turn goes on, and is running.
    GoOn,
    /// The message waits until the turn is over.
    Wait,
    /// The message goes before the turn, which waits on.
    Overtake,
}

impl Command {
    /// Every command.
    pub const ALL: [Self; 8] = [
        Self::Send(Busy::Reject),
        Self::Send(Busy::Queue),
        Self::Send(Busy::Interrupt),
        Self::Interrupt,
        Self::Cancel,
        Self::Stop,
        Self::Resolve,
        Self::Answer,
    ];

    /// The table.
    #[must_use]
    pub fn effect(self, turn: TurnStatus) -> Effect {
        match turn {
            TurnStatus::Queued => match self {
                Self::Send(Busy::Reject) => Effect::Refuse(Reason::SessionBusy),
                Self::Send(Busy::Queue) => Effect::Wait,
                Self::Send(Busy::Interrupt) => Effect::Overtake,
                Self::Interrupt | Self::Cancel | Self::Stop => Effect::End(TurnStatus::Cancelled),
                Self::Resolve | Self::Answer => Effect::Refuse(Reason::AlreadyResolved),
            },
            TurnStatus::Running | TurnStatus::AwaitingInput | TurnStatus::Parked => match self {
                Self::Send(Busy::Reject) => Effect::Refuse(Reason::SessionBusy),
                Self::Send(Busy::Queue) => Effect::Wait,
                Self::Send(Busy::Interrupt) | Self::Interrupt | Self::Stop => Effect::End(TurnStatus::Interrupted),
                Self::Cancel => Effect::Refuse(Reason::TurnStarted),
                Self::Resolve | Self::Answer if turn == TurnStatus::Running => Effect::Refuse(Reason::AlreadyResolved),
                Self::Resolve | Self::Answer => Effect::GoOn,
            },
            TurnStatus::Completed
            | TurnStatus::Interrupted
            | TurnStatus::Cancelled
            | TurnStatus::Failed
            | TurnStatus::BudgetExhausted
            | TurnStatus::Lost => match self {
                Self::Cancel if turn != TurnStatus::Cancelled => Effect::Refuse(Reason::TurnFinished),
                Self::Send(_) | Self::Interrupt | Self::Cancel | Self::Stop => Effect::Proceed,
                Self::Resolve | Self::Answer => Effect::Refuse(Reason::AlreadyResolved),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Busy, Command, Effect, TurnStatus};
    use crate::domain::Reason;

    const BUSY: Effect = Effect::Refuse(Reason::SessionBusy);
    const RESOLVED: Effect = Effect::Refuse(Reason::AlreadyResolved);
    const FINISHED: Effect = Effect::Refuse(Reason::TurnFinished);
    const STARTED: Effect = Effect::Refuse(Reason::TurnStarted);
    const CANCELLED: Effect = Effect::End(TurnStatus::Cancelled);
    const INTERRUPTED: Effect = Effect::End(TurnStatus::Interrupted);

    /// The contract's words, one row a status, one column a command in the order of [`Command::ALL`]: the three policies of
    /// a message, interrupt, cancel, stop, resolve, answer.
    #[rustfmt::skip]
    const TABLE: [(TurnStatus, [Effect; 8]); 10] = {
        use {Effect::{GoOn, Overtake, Proceed, Wait}, TurnStatus as Is};
        [
            (Is::Queued,          [BUSY, Wait, Overtake, CANCELLED, CANCELLED, CANCELLED, RESOLVED, RESOLVED]),
            (Is::Running,         [BUSY, Wait, INTERRUPTED, INTERRUPTED, STARTED, INTERRUPTED, RESOLVED, RESOLVED]),
            (Is::AwaitingInput,   [BUSY, Wait, INTERRUPTED, INTERRUPTED, STARTED, INTERRUPTED, GoOn, GoOn]),
            (Is::Parked,          [BUSY, Wait, INTERRUPTED, INTERRUPTED, STARTED, INTERRUPTED, GoOn, GoOn]),
            (Is::Completed,       [Proceed, Proceed, Proceed, Proceed, FINISHED, Proceed, RESOLVED, RESOLVED]),
            (Is::Interrupted,     [Proceed, Proceed, Proceed, Proceed, FINISHED, Proceed, RESOLVED, RESOLVED]),
            (Is::Cancelled,       [Proceed, Proceed, Proceed, Proceed, Proceed, Proceed, RESOLVED, RESOLVED]),
            (Is::Failed,          [Proceed, Proceed, Proceed, Proceed, FINISHED, Proceed, RESOLVED, RESOLVED]),
            (Is::BudgetExhausted, [Proceed, Proceed, Proceed, Proceed, FINISHED, Proceed, RESOLVED, RESOLVED]),
            (Is::Lost,            [Proceed, Proceed, Proceed, Proceed, FINISHED, Proceed, RESOLVED, RESOLVED]),
        ]
    };

    #[test]
    fn every_command_has_its_effect_in_every_state_and_each_effect_is_allowed() {
        assert_eq!(TABLE.map(|(status, _)| status), TurnStatus::ALL);
        for (status, row) in TABLE {
            for (command, expected) in Command::ALL.into_iter().zip(row) {
                assert_eq!(command.effect(status), expected, "{command:?} on {status:?}");
                match expected {
                    Effect::End(end) => assert!(status.may_become(end), "{status:?} cannot become {end:?}"),
                    Effect::GoOn => assert!(status.may_become(TurnStatus::Running), "{status:?}"),
                    Effect::Proceed | Effect::Refuse(_) | Effect::Wait | Effect::Overtake => {}
                }
            }
        }
    }

    #[test]
    fn what_is_refused_because_of_a_turn_is_not_refused_for_ever() {
        for status in TurnStatus::ALL {
            let refused = Command::Send(Busy::Reject).effect(status) == BUSY;
            assert_eq!(refused, !status.is_final(), "{status:?}");
        }
        assert_eq!(Busy::default(), Busy::Reject);
    }
}

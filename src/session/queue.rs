//! Turns that wait and turns that are told to end, as events. Which of them does what to which turn stands in
//! [`domain::Command`](crate::domain::Command); how an agent is made to end its turn, with the actor.

use super::{
    images,
    pending::Pending,
    turn::{Accepted, Prompt, status_name},
};
use crate::domain::{
    Busy, Command, ContentPart, ConversationId, Effect, Failure, InputOutcome, Kind, Principal, Reason, SessionStatus,
    Turn, TurnId, TurnStatus, UserMessage,
};

/// Turns that may wait.
pub const MAX_QUEUED_TURNS: usize = 32;
/// Bytes of text that wait: a session is shown with all of it, and must stay small enough for any client.
pub const MAX_QUEUED_BYTES: usize = 512 << 10;

/// When a message that was let in has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At once.
    Now,
    /// After those that wait.
    Last,
    /// Before those that wait; what is active is to be interrupted.
    First,
}

/// Why a turn was taken out of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    CancelTurn,
    InterruptTurn,
    StopSession,
    DeleteSession,
    /// What the session may cost is used up.
    SessionBudget,
}

impl Cause {
    fn as_str(self) -> &'static str {
        match self {
            Self::CancelTurn => "cancel_turn",
            Self::InterruptTurn => "interrupt_turn",
            Self::StopSession => "stop_session",
            Self::DeleteSession => "delete_session",
            Self::SessionBudget => "session_budget",
        }
    }
}

impl Pending {
    /// The turn that a message which comes now is behind: the active one, else the next.
    fn holder(&self) -> Option<&Turn> {
        let state = self.state();
        state.active_turn().or_else(|| state.queued_turns().into_iter().next())
    }

    /// When this message has its turn, or why it cannot be let in.
    pub(super) fn admit(&self, parts: &[ContentPart], busy: Busy) -> Result<When, Failure> {
        let Some(holder) = self.holder() else { return Ok(When::Now) };
        let when = match Command::Send(busy).effect(holder.status) {
            Effect::Refuse(reason) => {
                let message = "a turn is active; wait for its end, stop it, or send with another busy_policy";
                let status = format!("TURN_STATUS_{}", status_name(holder.status));
                let failure = Failure::new(reason, message).with("turn_id", &holder.turn_id);
                return Err(failure.with("turn_status", status));
            }
            Effect::Proceed | Effect::GoOn => return Ok(When::Now),
            Effect::Wait => When::Last,
            Effect::Overtake | Effect::End(_) => When::First,
        };
        let queued = self.state().queued_turns();
        let waits = queued.iter().filter_map(|turn| turn.message.as_ref()).map(|message| bytes(&message.parts));
        let (limit, message) = if queued.len() >= MAX_QUEUED_TURNS {
            (("limit", MAX_QUEUED_TURNS), format!("{MAX_QUEUED_TURNS} messages wait already"))
        } else if waits.sum::<usize>() + bytes(parts) > MAX_QUEUED_BYTES {
            (("limit_bytes", MAX_QUEUED_BYTES), format!("more than {MAX_QUEUED_BYTES} bytes would wait"))
        } else {
            return Ok(when);
        };
        let failure = Failure::new(Reason::QueueFull, format!("{message}; send it when a turn ended"));
        Err(failure.with(limit.0, limit.1))
    }

    /// Lets a message in that waits for its turn.
    pub(super) fn queue(&mut self, parts: Vec<ContentPart>, by: &Principal, goes_first: bool) -> Accepted {
        let sequence = self.head();
        // They stay in memory too, until the message is given.
        self.keep_bytes(parts.clone());
        let message = UserMessage { parts, created_by: Some(by.clone()) };
        let turn = Turn { status: TurnStatus::Queued, message: Some(message), goes_first, ..self.new_turn(by) };
        self.record(ConversationId::main(), Some(by), Kind::TurnQueued { turn: turn.clone() });
        tracing::info!(turn = %turn.turn_id, goes_first, "a message waits its turn");
        Accepted { turn, sequence }
    }

    /// Begins the next turn that waits, if none is active; returns what its agent is given. Once nothing more may be spent,
    /// none of those that wait has its turn.
    pub(super) fn begin_next(&mut self) -> Option<Prompt> {
        if self.state().active_turn().is_some() {
            return None;
        }
        if self.within_budget().is_err() {
            self.cancel_all(Cause::SessionBudget, &Principal::system());
            self.record_status_after_turn();
            return None;
        }
        let next = self.state().queued_turns().into_iter().next()?;
        let mut turn = Turn { status: TurnStatus::Running, goes_first: false, ..next.clone() };
        let message = turn.message.take()?;
        let is_loaded = images::is_loaded(&message.parts);
        let prompt = self.begin(turn, message, None);
        if !is_loaded {
            self.lose_turn("message_unreadable", "the message cannot be read any more; send it again");
            return self.begin_next();
        }
        Some(prompt)
    }

    /// Takes a turn out of the queue. `None`: it does not wait.
    pub(super) fn cancel(&mut self, turn_id: &TurnId, cause: Cause, by: &Principal) -> Option<Turn> {
        let queued = self.state().turns.iter().find(|turn| turn.turn_id == *turn_id)?;
        let Effect::End(status @ TurnStatus::Cancelled) = Command::Cancel.effect(queued.status) else { return None };
        let message = "it was taken out of the queue, and its message never reached the agent";
        let failure = Failure::new(Reason::TurnCancelled, message).with("cause", cause.as_str());
        let turn = Turn {
            status,
            // From now on it is nothing that will be said.
            message: None,
            goes_first: false,
            end_time: Some(self.time()),
            error: Some(failure.into_session_error(true)),
            ..queued.clone()
        };
        tracing::info!(turn = %turn.turn_id, cause = cause.as_str(), "a queued turn was cancelled");
        self.record(ConversationId::main(), Some(by), Kind::TurnUpdated { turn: turn.clone() });
        Some(turn)
    }

    /// Empties the queue.
    pub(super) fn cancel_all(&mut self, cause: Cause, by: &Principal) {
        let queued: Vec<_> = self.state().queued_turns().iter().map(|turn| turn.turn_id.clone()).collect();
        for id in queued {
            self.cancel(&id, cause, by);
        }
    }

    /// Records that the active turn is to end, and that nobody need answer what it asks any more.
    pub(super) fn interrupt(&mut self, outcome: InputOutcome, by: &Principal) {
        self.withdraw_all(outcome);
        let Some(turn) = self.state().active_turn().cloned() else { return };
        let interrupt_time = Some(self.time());
        tracing::info!(turn = %turn.turn_id, "a turn is to end");
        let turn = Turn { status: TurnStatus::Running, interrupt_time, moving: None, ..turn };
        self.record(ConversationId::main(), Some(by), Kind::TurnUpdated { turn });
        self.record_status(SessionStatus::Running, "", None, Some(by));
    }

    /// The active turn, where it is to end.
    pub(super) fn interrupted(&self) -> Option<&Turn> {
        self.state().active_turn().filter(|turn| turn.interrupt_time.is_some())
    }
}

fn bytes(parts: &[ContentPart]) -> usize {
    let bytes = |part: &ContentPart| match part {
        ContentPart::Text(text) | ContentPart::ImageUri(text) | ContentPart::FilePath(text) => text.len(),
        // Its bytes lie beside the log.
        ContentPart::Image(_) | ContentPart::Attachment(_) => 0,
    };
    parts.iter().map(bytes).sum()
}

//! The life of a turn, as events: accepted, acknowledged, ended. Which command does what to which turn stands in
//! [`domain::Command`](crate::domain::Command); here stands what is recorded of it.

use uuid::Uuid;

use super::pending::Pending;
use crate::{
    agent::{self, Outcome, TurnEnd},
    domain::{
        Agent, Block, BlockId, BlockState, Command, Content, ContentPart, ConversationId, Effect, Failure,
        InputOutcome, Kind, Meter, Principal, Reason, SessionError, SessionStatus, Turn, TurnId, TurnOrigin,
        TurnStatus, Usage, UserMessage,
    },
};

/// A message that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its turn.
    pub turn: Turn,
    /// Watch after this to see everything of it.
    pub sequence: i64,
}

/// A message as the agent's program is given it.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    /// Whose message it is.
    pub(super) block_id: BlockId,
    /// For its input.
    pub(super) bytes: Vec<u8>,
}

impl Pending {
    /// Accepts a message whose turn runs from now on.
    pub(super) fn accept(&mut self, parts: Vec<ContentPart>, by: &Principal) -> (Accepted, Prompt) {
        let sequence = self.head();
        let turn = self.new_turn(by);
        let prompt = self.begin(turn.clone(), UserMessage { parts, created_by: Some(by.clone()) }, Some(by));
        (Accepted { turn, sequence }, prompt)
    }

    /// A caller's turn as it begins to run.
    pub(super) fn new_turn(&self, by: &Principal) -> Turn {
        Turn {
            turn_id: TurnId::mint(),
            status: TurnStatus::Running,
            origin: TurnOrigin::User,
            block_id: Some(user_block_id(self.state().session.agent)),
            message: None,
            created_by: by.clone(),
            create_time: self.time(),
            start_time: None,
            end_time: None,
            usage: Usage::default(),
            error: None,
            goes_first: false,
            interrupt_time: None,
            carried: Vec::new(),
            meter: Meter::default(),
            moving: None,
        }
    }

    /// A turn runs from now on, and its message is a block.
    pub(super) fn begin(&mut self, turn: Turn, message: UserMessage, by: Option<&Principal>) -> Prompt {
        let now = self.time();
        let block_id = turn.block_id.clone().unwrap_or_else(|| user_block_id(self.state().session.agent));
        let prompt = prompt(self.state().session.agent, &block_id, &message.parts);
        let UserMessage { parts, created_by } = message;
        let message = UserMessage { parts: self.keep_bytes(parts), created_by };
        let block = Block {
            block_id,
            conversation_id: ConversationId::main(),
            turn_id: Some(turn.turn_id.clone()),
            state: BlockState::Complete,
            create_time: now,
            complete_time: Some(now),
            truncated_bytes: 0,
            content: Content::UserMessage(message),
        };
        tracing::info!(turn = %turn.turn_id, "turn begun");
        self.record(ConversationId::main(), by, Kind::TurnUpdated { turn });
        self.record_status(SessionStatus::Running, "", None, by);
        self.record(ConversationId::main(), by, Kind::BlockStart { block });
        prompt
    }

    /// The agent took a message up, or went on unasked. What it does unasked before it takes up a message that was given
    /// to it is part of that message's turn: only one runs at a time.
    pub(super) fn turn_started(&mut self, block_id: Option<&BlockId>) {
        match self.state().active_turn() {
            Some(turn) if turn.start_time.is_none() && turn.block_id.as_ref() == block_id => {
                let turn = Turn { start_time: Some(self.time()), ..turn.clone() };
                self.record(ConversationId::main(), None, Kind::TurnUpdated { turn });
            }
            Some(_) => self.took_up(block_id),
            None => self.begin_unasked(),
        }
    }

    pub(super) fn begin_unasked(&mut self) {
        let now = self.time();
        let by = Principal::agent();
        let turn = Turn { origin: TurnOrigin::Agent, block_id: None, start_time: Some(now), ..self.new_turn(&by) };
        self.record(ConversationId::main(), None, Kind::TurnUpdated { turn });
        self.record_status(SessionStatus::Running, "the agent went on by itself", None, None);
    }

    /// The agent says that it is done.
    pub(super) fn turn_ended(&mut self, end: TurnEnd) {
        if let Some(turn) = self.state().active_turn().filter(|turn| turn.start_time.is_none()).cloned() {
            return self.unasked_ended(turn, end.usage);
        }
        if end.outcome == Outcome::Interrupted && self.leave_off(end.usage) {
            return;
        }
        let (status, error) = match end.outcome {
            Outcome::Completed => match self.answer_not_taken() {
                Some(error) => (TurnStatus::Lost, Some(error)),
                None => (TurnStatus::Completed, None),
            },
            Outcome::Interrupted => (TurnStatus::Interrupted, None),
            Outcome::Failed(error) => (TurnStatus::Failed, Some(error)),
        };
        self.end_turn(status, error, end.usage, None);
        self.record_status_after_turn();
        self.take_along();
    }

    /// What the agent did unasked is over, and it has not taken up the message of the turn.
    fn unasked_ended(&mut self, turn: Turn, usage: Usage) {
        self.withdraw_with_turn(InputOutcome::Withdrawn);
        self.interrupt_blocks();
        let waits = self.waits();
        let mut turn = turn;
        if !waits {
            turn.status = TurnStatus::Running;
        }
        turn.usage += usage;
        self.record(ConversationId::main(), None, Kind::TurnUpdated { turn });
        if !waits {
            self.record_status(SessionStatus::Running, "", None, None);
        }
    }

    /// Ends the active turn, if there is one, and its open blocks with it. What the session is then, the caller records.
    pub(super) fn end_turn(
        &mut self,
        status: TurnStatus,
        error: Option<SessionError>,
        usage: Usage,
        by: Option<&Principal>,
    ) {
        let Some(turn) = self.state().active_turn().filter(|turn| turn.status.may_become(status)).cloned() else {
            return;
        };
        let (status, error) = Self::as_cut(&turn, status, error, by);
        // A call that ends the session's work takes back what was asked; the agent's own protocol interrupts it.
        let interrupted = status == TurnStatus::Interrupted && by.is_none();
        self.withdraw_with_turn(if interrupted { InputOutcome::Interrupted } else { InputOutcome::Withdrawn });
        self.interrupt_blocks();
        tracing::info!(turn = %turn.turn_id, ?status, error = error.as_ref().map(|error| &error.message), "turn ended");
        let mut turn = Turn { status, error, end_time: Some(self.time()), carried: Vec::new(), ..turn };
        (turn.interrupt_time, turn.moving) = (None, None);
        turn.usage += usage;
        self.record(ConversationId::main(), by, Kind::TurnUpdated { turn });
    }

    /// After the end of a turn the session is ready for the next message. One that is parked is not over.
    pub(super) fn record_status_after_turn(&mut self) {
        if self.state().active_turn().is_some() {
            return;
        }
        match self.state().session.status {
            SessionStatus::Running | SessionStatus::AwaitingInput => {
                let waits = !self.state().queued_turns().is_empty();
                let status = if waits { SessionStatus::Running } else { SessionStatus::Idle };
                self.record_status(status, "", None, None);
            }
            SessionStatus::Idle | SessionStatus::Stopped | SessionStatus::Failed | SessionStatus::Deleted => {}
        }
    }

    /// A caller ends what is active.
    pub(super) fn stop_turn(&mut self, by: &Principal) {
        if let Some(turn) = self.state().active_turn()
            && let Effect::End(status) = Command::Stop.effect(turn.status)
        {
            self.end_turn(status, None, Usage::default(), Some(by));
        }
    }

    /// The agent could not be started: its turn failed, and the session says why until the next message.
    pub(super) fn start_failed(&mut self, failure: Failure) {
        let error = failure.into_session_error(true);
        self.record_session(None, Kind::ErrorOccurred { error: error.clone() });
        self.end_turn(TurnStatus::Failed, Some(error.clone()), Usage::default(), None);
        let reason = error.message.clone();
        self.record_status(SessionStatus::Failed, &reason, Some(error), None);
    }

    /// Nobody can know how the active turn went; one that waits for an answer is parked.
    pub(super) fn lose_turn(&mut self, cause: &str, message: &str) {
        if self.park() {
            return;
        }
        let generation = self.state().session.sandbox.as_ref().map_or(0, |sandbox| sandbox.generation);
        let failure = Failure::new(Reason::TurnLost, message).with("cause", cause).with("generation", generation);
        let error = failure.into_session_error(true);
        self.end_turn(TurnStatus::Lost, Some(error), Usage::default(), None);
        self.record_status_after_turn();
    }

    /// Records what the session does now, where that is something else.
    pub(super) fn record_status(
        &mut self,
        status: SessionStatus,
        reason: &str,
        error: Option<SessionError>,
        by: Option<&Principal>,
    ) {
        let session = &self.state().session;
        if session.status != status || session.error != error {
            self.record_session(by, Kind::StatusChanged { status, reason: reason.to_owned(), error });
        }
    }
}

/// A message as the agent's program is given it; the same bytes each time.
pub(super) fn prompt(agent: Agent, block_id: &BlockId, parts: &[ContentPart]) -> Prompt {
    Prompt { bytes: agent::prompt(agent, block_id, parts), block_id: block_id.clone() }
}

/// What tells a new process to go on with a turn that was parked; the same bytes each time.
pub(super) fn continuation(agent: Agent, block_id: &BlockId, text: &str) -> Prompt {
    prompt(agent, block_id, &[ContentPart::Text(text.to_owned())])
}

/// Claude Code takes only UUIDs, and stores the message under the one it is given.
pub(super) fn user_block_id(agent: Agent) -> BlockId {
    match agent {
        Agent::ClaudeCode => BlockId::new(Uuid::new_v4().to_string()),
        Agent::Scripted => BlockId::mint(),
    }
}

/// As the contract spells a status, without its prefix.
pub(super) fn status_name(status: TurnStatus) -> &'static str {
    match status {
        TurnStatus::Queued => "QUEUED",
        TurnStatus::Running => "RUNNING",
        TurnStatus::AwaitingInput => "AWAITING_INPUT",
        TurnStatus::Parked => "PARKED",
        TurnStatus::Completed => "COMPLETED",
        TurnStatus::Interrupted => "INTERRUPTED",
        TurnStatus::Cancelled => "CANCELLED",
        TurnStatus::Failed => "FAILED",
        TurnStatus::BudgetExhausted => "BUDGET_EXHAUSTED",
        TurnStatus::Lost => "LOST",
    }
}

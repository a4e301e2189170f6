//! The life of a turn, as events: accepted, acknowledged, ended. Which command does what to which turn stands in
//! [`domain::Command`](crate::domain::Command); here stands what is recorded of it.

use uuid::Uuid;

use super::pending::Pending;
use crate::{
    agent::{self, Outcome, TurnEnd},
    domain::{
        Agent, Block, BlockId, BlockState, Command, Content, ContentPart, ConversationId, Effect, Failure,
        InputOutcome, Kind, Principal, Reason, SessionError, SessionStatus, Turn, TurnId, TurnOrigin, TurnStatus,
        Usage, UserMessage,
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
    /// Accepts a message: its turn runs from now on.
    pub(super) fn accept(&mut self, parts: Vec<ContentPart>, by: &Principal) -> Result<(Accepted, Prompt), Failure> {
        if let Some(turn) = self.state().active_turn()
            && let Effect::Refuse(reason) = Command::Send.effect(turn.status)
        {
            let message = "a turn is active; wait for its end, or stop it";
            let status = format!("TURN_STATUS_{}", status_name(turn.status));
            return Err(Failure::new(reason, message).with("turn_id", &turn.turn_id).with("turn_status", status));
        }
        let sequence = self.head();
        let now = self.time();
        let agent = self.state().session.agent;
        if let Some(at) = parts.iter().position(|part| !agent::takes(agent, part)) {
            return Err(Failure::invalid(format!("parts[{at}]"), format!("{agent} cannot be given such a part")));
        }
        let block_id = user_block_id(agent);
        let prompt = prompt(agent, &block_id, &parts);
        let parts = self.keep_bytes(parts);
        let turn = Turn {
            turn_id: TurnId::mint(),
            status: TurnStatus::Running,
            origin: TurnOrigin::User,
            block_id: Some(block_id.clone()),
            message: None,
            created_by: by.clone(),
            create_time: now,
            start_time: None,
            end_time: None,
            usage: Usage::default(),
            error: None,
            carried: Vec::new(),
        };
        let block = Block {
            block_id,
            conversation_id: ConversationId::main(),
            turn_id: Some(turn.turn_id.clone()),
            state: BlockState::Complete,
            create_time: now,
            complete_time: Some(now),
            truncated_bytes: 0,
            content: Content::UserMessage(UserMessage { parts, created_by: Some(by.clone()) }),
        };
        self.record(ConversationId::main(), Some(by), Kind::TurnUpdated { turn: turn.clone() });
        self.record_status(SessionStatus::Running, "", None, Some(by));
        self.record(ConversationId::main(), Some(by), Kind::BlockStart { block });
        tracing::info!(turn = %turn.turn_id, "turn accepted");
        Ok((Accepted { turn, sequence }, prompt))
    }

    /// The agent took a message up, or went on unasked.
    pub(super) fn turn_started(&mut self, block_id: Option<&BlockId>) {
        match self.state().active_turn() {
            Some(turn) if turn.start_time.is_none() && (block_id.is_none() || turn.block_id.as_ref() == block_id) => {
                let turn = Turn { start_time: Some(self.time()), ..turn.clone() };
                self.record(ConversationId::main(), None, Kind::TurnUpdated { turn });
            }
            Some(_) => {}
            None => self.begin_unasked(),
        }
    }

    pub(super) fn begin_unasked(&mut self) {
        let now = self.time();
        let turn = Turn {
            turn_id: TurnId::mint(),
            status: TurnStatus::Running,
            origin: TurnOrigin::Agent,
            block_id: None,
            message: None,
            created_by: Principal::agent(),
            create_time: now,
            start_time: Some(now),
            end_time: None,
            usage: Usage::default(),
            error: None,
            carried: Vec::new(),
        };
        self.record(ConversationId::main(), None, Kind::TurnUpdated { turn });
        self.record_status(SessionStatus::Running, "the agent went on by itself", None, None);
    }

    /// The agent says that it is done.
    pub(super) fn turn_ended(&mut self, end: TurnEnd) {
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
        // A call that ends the session's work takes back what was asked; the agent's own protocol interrupts it.
        let interrupted = status == TurnStatus::Interrupted && by.is_none();
        self.withdraw_all(if interrupted { InputOutcome::Interrupted } else { InputOutcome::Withdrawn });
        self.interrupt_blocks();
        tracing::info!(turn = %turn.turn_id, ?status, error = error.as_ref().map(|error| &error.message), "turn ended");
        let turn = Turn { status, error, usage, end_time: Some(self.time()), carried: Vec::new(), ..turn };
        self.record(ConversationId::main(), by, Kind::TurnUpdated { turn });
    }

    /// After the end of a turn the session is ready for the next message. One that is parked is not over.
    pub(super) fn record_status_after_turn(&mut self) {
        if self.state().active_turn().is_some() {
            return;
        }
        match self.state().session.status {
            SessionStatus::Running | SessionStatus::AwaitingInput => {
                self.record_status(SessionStatus::Idle, "", None, None);
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
fn status_name(status: TurnStatus) -> &'static str {
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

//! What an agent asks, as events: a request, its answer, and the turn that waits for it, also when its process is gone.
//! Which of them does what to which turn stands in [`domain::Command`](crate::domain::Command).

use std::time::Duration;

use ulid::Ulid;

use super::{
    bounds,
    pending::Pending,
    turn::{self, Prompt},
};
use crate::{
    agent::{self, Ask},
    domain::{
        Asked, Block, BlockId, BlockPatch, BlockState, CarriedAnswer, Command, Content, ConversationId, Effect, ExecId,
        ExecutionStatus, Failure, InputOutcome, InputResolution, Kind, LogLevel, NoticeKind, PermissionAnswer,
        PermissionOption, PermissionRequest, Principal, Reason, SessionError, SessionStatus, Timestamp, Turn,
        TurnStatus,
    },
};

/// What a caller answers to a request for permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// One of the request's options.
    pub option_id: String,
    /// Told to the agent with a rejection; may be empty.
    pub message: String,
    /// Input to use instead of the agent's, a JSON object; empty: its own.
    pub updated_input_json: String,
}

impl Pending {
    /// The agent asks, and its turn waits. The answer is told to the program `exec_id`.
    pub(super) fn ask(&mut self, ask: Ask, exec_id: ExecId, patience: Duration) {
        if self.open_of(&exec_id, &ask.agent_request_id).is_some() {
            return self.log(LogLevel::Warn, format!("the agent asks the same again: {}", ask.agent_request_id));
        }
        if self.state().active_turn().is_none() {
            self.begin_unasked();
        }
        let Some(turn_id) = self.state().active_turn().map(|turn| turn.turn_id.clone()) else { return };
        let now = self.time();
        let input_sha256 = ask.input_sha256();
        let Ask { agent_request_id, conversation_id, tool_use_id, tool_name, input_json, title } = ask;
        let permission = PermissionRequest {
            permission_id: format!("perm_{}", Ulid::new()),
            conversation_id: conversation_id.clone(),
            turn_id,
            tool_use_id: bounds::clip_text(tool_use_id),
            tool_name: bounds::clip_text(tool_name),
            input_json: bounds::json(input_json),
            title: bounds::clip_text(title),
            options: PermissionOption::once(),
            create_time: now,
            expire_time: Some(after(now, patience)),
            resolution: None,
            asked: Some(Asked { exec_id, agent_request_id, input_sha256 }),
        };
        tracing::info!(permission = %permission.permission_id, tool = %permission.tool_name, "the agent asks");
        self.tool_is(&permission.tool_use_id, ExecutionStatus::Running, ExecutionStatus::Pending);
        let title = permission.title.clone();
        self.record(conversation_id, None, Kind::PermissionRequested { permission });
        self.turn_is(TurnStatus::AwaitingInput, None);
        self.record_status(SessionStatus::AwaitingInput, &title, None, None);
    }

    /// The program does not ask any more.
    pub(super) fn ask_withdrawn(&mut self, exec_id: &ExecId, agent_request_id: &str) {
        let Some(id) = self.open_of(exec_id, agent_request_id).map(|open| open.permission_id.clone()) else {
            // What was open when the turn was interrupted is over already.
            if self.interrupted().is_none() {
                self.log(LogLevel::Warn, format!("the agent withdraws what it does not ask: {agent_request_id}"));
            }
            return;
        };
        let by_agent = InputResolution {
            resolved_by: Some(Principal::agent()),
            ..InputResolution::by_itself(InputOutcome::Withdrawn, self.time())
        };
        let resolution = match self.interrupted() {
            Some(_) => InputResolution::by_itself(InputOutcome::Interrupted, self.time()),
            None => by_agent,
        };
        self.resolve(&id, resolution, None);
        if !self.waits() {
            self.goes_on(None);
        }
    }

    /// A request that waits for an answer.
    pub(super) fn open_permission(&self, permission_id: &str) -> Option<&PermissionRequest> {
        self.open_permissions().find(|open| open.permission_id == permission_id)
    }

    fn open_permissions(&self) -> impl Iterator<Item = &PermissionRequest> {
        self.state().permissions.iter().filter(|permission| permission.resolution.is_none())
    }

    fn open_of(&self, exec_id: &ExecId, agent_request_id: &str) -> Option<&PermissionRequest> {
        let is_it = |asked: &Asked| asked.exec_id == *exec_id && asked.agent_request_id == agent_request_id;
        self.open_permissions().find(|open| open.asked.as_ref().is_some_and(is_it))
    }

    /// A request waits for an answer.
    pub(super) fn waits(&self) -> bool {
        self.open_permissions().next().is_some()
    }

    /// When the next request that nobody answers is over.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.open_permissions().filter_map(|open| open.expire_time).min()
    }

    /// When the last of the requests that are open is over.
    pub(super) fn last_deadline(&self) -> Option<Timestamp> {
        self.open_permissions().filter_map(|open| open.expire_time).max()
    }

    /// The requests that nobody answered in time.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<String> {
        let over = self.open_permissions().filter(|open| open.expire_time.is_some_and(|time| time <= now));
        over.map(|open| open.permission_id.clone()).collect()
    }

    /// What a caller's decision means, if it is one of this request.
    pub(super) fn decided(
        &self,
        open: &PermissionRequest,
        decision: &Decision,
        by: &Principal,
    ) -> Result<InputResolution, Failure> {
        let Decision { option_id, message, updated_input_json } = decision.clone();
        let Some(option) = open.options.iter().find(|option| option.option_id == option_id) else {
            let ids: Vec<_> = open.options.iter().map(|option| option.option_id.as_str()).collect();
            return Err(Failure::invalid("option_id", format!("must be one of {}", ids.join(", "))));
        };
        let allows = option.kind.allows();
        if allows && !message.is_empty() {
            return Err(Failure::invalid("message", "only with an option that rejects"));
        }
        if !allows && !updated_input_json.is_empty() {
            return Err(Failure::invalid("updated_input_json", "only with an option that allows"));
        }
        let outcome = if allows { InputOutcome::Allowed } else { InputOutcome::Rejected };
        let resolved_by = Some(by.clone());
        let itself = InputResolution::by_itself(outcome, self.time());
        Ok(InputResolution { option_id, message, updated_input_json, resolved_by, ..itself })
    }

    /// Records how a request ended, and returns it. A parked turn keeps the answer for the agent's next process.
    pub(super) fn resolve(
        &mut self,
        permission_id: &str,
        resolution: InputResolution,
        by: Option<&Principal>,
    ) -> Option<PermissionRequest> {
        let open = self.open_permission(permission_id)?.clone();
        let outcome = resolution.outcome;
        let answer = resolution.answer();
        tracing::info!(permission = %permission_id, ?outcome, "a permission request is over");
        let resolved = PermissionRequest { resolution: Some(resolution.clone()), ..open.clone() };
        let kind = Kind::PermissionResolved { permission_id: permission_id.to_owned(), resolution };
        self.record(open.conversation_id.clone(), by, kind);
        if let Some(PermissionAnswer::Allow { .. }) = answer {
            self.tool_is(&open.tool_use_id, ExecutionStatus::Pending, ExecutionStatus::Running);
        }
        if let (Some(turn), Some(answer), Some(asked)) = (self.parked(), answer, open.asked) {
            let PermissionRequest { tool_name, input_json, .. } = open;
            let permission_id = permission_id.to_owned();
            let mut turn = turn.clone();
            turn.carried.push(CarriedAnswer { permission_id, asked, tool_name, input_json, answer });
            self.record(ConversationId::main(), by, Kind::TurnUpdated { turn });
        }
        Some(resolved)
    }

    /// Nothing is open any more, so the turn goes on. One that was parked needs a new process, which is given the prompt;
    /// `memory` is what the last one left behind.
    pub(super) fn answered(&mut self, memory: Option<&str>, by: Option<&Principal>) -> Option<Prompt> {
        if self.waits() {
            return None;
        }
        let parked = self.parked().cloned();
        self.goes_on(by);
        parked.map(|turn| self.continuation(&turn, memory))
    }

    fn continuation(&mut self, turn: &Turn, memory: Option<&str>) -> Prompt {
        let agent = self.state().session.agent;
        let (block_id, message) = (turn::user_block_id(agent), agent::go_on(agent, memory, &turn.carried));
        let prompt = turn::continuation(agent, &block_id, &message);
        let now = self.time();
        let metadata_json = String::new();
        let content = Content::System { kind: NoticeKind::Continuation, message, metadata_json };
        let block = Block {
            block_id,
            conversation_id: ConversationId::main(),
            turn_id: Some(turn.turn_id.clone()),
            state: BlockState::Complete,
            create_time: now,
            complete_time: Some(now),
            truncated_bytes: 0,
            content,
        };
        self.record(ConversationId::main(), None, Kind::BlockStart { block });
        prompt
    }

    fn goes_on(&mut self, by: Option<&Principal>) {
        let status = self.state().active_turn().map(|turn| turn.status);
        if status.is_some_and(|status| Command::Resolve.effect(status) == Effect::GoOn) {
            self.turn_is(TurnStatus::Running, by);
            self.record_status(SessionStatus::Running, "", None, by);
        }
    }

    /// The process that asked is gone: its turn waits on, for an answer that begins a new one. False: nothing is asked.
    pub(super) fn park(&mut self) -> bool {
        if !self.waits() {
            return false;
        }
        self.interrupt_blocks();
        self.turn_is(TurnStatus::Parked, None);
        true
    }

    fn parked(&self) -> Option<&Turn> {
        self.state().active_turn().filter(|turn| turn.status == TurnStatus::Parked)
    }

    /// The answer that was given to the same request of an earlier process, if it was not given again yet.
    pub(super) fn carried(&mut self, ask: &Ask) -> Option<PermissionAnswer> {
        let mut turn = self.state().active_turn()?.clone();
        let input_sha256 = ask.input_sha256();
        let is_same = |held: &CarriedAnswer| held.tool_name == ask.tool_name && held.asked.input_sha256 == input_sha256;
        let at = turn.carried.iter().position(is_same)?;
        let CarriedAnswer { permission_id, answer, .. } = turn.carried.remove(at);
        self.record(ConversationId::main(), None, Kind::TurnUpdated { turn });
        self.log(LogLevel::Info, format!("the agent asks again, and is given the answer to {permission_id}"));
        Some(answer)
    }

    /// Why a turn was not completed whose agent says so: it was told to make a call again that was allowed, and did not.
    pub(super) fn answer_not_taken(&self) -> Option<SessionError> {
        let turn = self.state().active_turn()?;
        let allowed = |held: &&CarriedAnswer| matches!(held.answer, PermissionAnswer::Allow { .. });
        let CarriedAnswer { permission_id, tool_name, .. } = turn.carried.iter().find(allowed)?;
        let message = format!(
            "the agent was restarted while it waited for permission, and did not ask again for the call of {tool_name} \
             that was allowed; look at the workspace, then say what is to be done"
        );
        let generation = self.state().session.sandbox.as_ref().map_or(0, |sandbox| sandbox.generation);
        let failure = Failure::new(Reason::TurnLost, message)
            .with("cause", "permission_not_asked_again")
            .with("generation", generation)
            .with("permission_id", permission_id);
        Some(failure.into_session_error(true))
    }

    /// Ends all requests, because nobody waits for the answers any more.
    pub(super) fn withdraw_all(&mut self, outcome: InputOutcome) {
        let open: Vec<_> = self.open_permissions().map(|open| open.permission_id.clone()).collect();
        for id in open {
            let resolution = InputResolution::by_itself(outcome, self.time());
            self.resolve(&id, resolution, None);
        }
    }

    fn turn_is(&mut self, status: TurnStatus, by: Option<&Principal>) {
        let turn = self.state().active_turn().filter(|turn| turn.status.may_become(status)).cloned();
        if let Some(turn) = turn {
            self.record(ConversationId::main(), by, Kind::TurnUpdated { turn: Turn { status, ..turn } });
        }
    }

    /// The tool call that is asked about waits, or runs.
    fn tool_is(&mut self, tool_use_id: &str, was: ExecutionStatus, is: ExecutionStatus) {
        let block_id = BlockId::new(tool_use_id);
        let open = self.state().block(&block_id).filter(|block| block.state == BlockState::Streaming);
        let Some(block) = open else { return };
        if matches!(&block.content, Content::ToolUse(tool) if tool.status == was) {
            let (conversation_id, patch) =
                (block.conversation_id.clone(), BlockPatch { status: Some(is), ..BlockPatch::default() });
            self.record(conversation_id, None, Kind::BlockUpdate { block_id, patch });
        }
    }
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
}

//! What a turn waits for: permissions and questions alike. Which command does what to which turn stands in
//! [`domain::Command`](crate::domain::Command).

use std::time::Duration;

use ulid::Ulid;

use super::pending::Pending;
use crate::{
    agent::{self, Ask},
    domain::{
        Asked, BlockId, BlockPatch, BlockState, CarriedAnswer, Command, Content, ConversationId, Effect, ExecId,
        ExecutionStatus, InputOutcome, InputResolution, Kind, LogLevel, PermissionAnswer, PermissionRequest, Principal,
        Question, SessionStatus, Timestamp, Turn, TurnId, TurnStatus,
    },
};

/// Something asked that nobody answered yet.
struct Open<'a> {
    id: &'a str,
    conversation_id: &'a ConversationId,
    asked: Option<&'a Asked>,
    expires: Option<Timestamp>,
}

/// Something asked that is over: what it takes to tell the agent.
pub(super) struct Over {
    pub(super) tool_use_id: String,
    pub(super) asked: Option<Asked>,
    /// `None`: the agent does not wait for one.
    pub(super) answer: Option<PermissionAnswer>,
    pub(super) conversation_id: ConversationId,
    pub(super) tool_name: String,
    pub(super) input_json: String,
}

impl Pending {
    fn open(&self) -> impl Iterator<Item = Open<'_>> {
        let permissions = self.state().permissions.iter().filter(|held| held.resolution.is_none());
        let permissions = permissions.map(|open| Open {
            id: &open.permission_id,
            conversation_id: &open.conversation_id,
            asked: open.asked.as_ref(),
            expires: open.expire_time,
        });
        let questions = self.state().questions.iter().filter(|held| held.resolution.is_none());
        permissions.chain(questions.map(|open| Open {
            id: &open.question_id,
            conversation_id: &open.conversation_id,
            asked: open.asked.as_ref(),
            expires: open.expire_time,
        }))
    }

    fn open_of(&self, exec_id: &ExecId, agent_request_id: &str) -> Option<&str> {
        let is_it = |asked: &Asked| asked.exec_id == *exec_id && asked.agent_request_id == agent_request_id;
        self.open().find(|open| open.asked.is_some_and(is_it)).map(|open| open.id)
    }

    /// The agent asks. The answer is told to the program `exec_id`. Nobody is waited for longer than the patience lasts.
    pub(super) fn ask(&mut self, ask: Ask, exec_id: ExecId, patience: Duration) {
        let title = if ask.questions.is_empty() { ask.title.clone() } else { "the agent asks a question".to_owned() };
        let conversation_id = ask.conversation_id.clone();
        let Some(turn_id) = self.turn_of(&ask, &exec_id) else { return };
        self.tool_is(&ask.tool_use_id, ExecutionStatus::Running, ExecutionStatus::Pending);
        let kind = match self.question(&ask, &exec_id, &turn_id, patience) {
            Some(question) => Kind::QuestionRequested { question },
            None => Kind::PermissionRequested { permission: self.permission(ask, exec_id, turn_id, patience) },
        };
        self.record(conversation_id, None, kind);
        self.turn_is(TurnStatus::AwaitingInput, None);
        self.record_status(SessionStatus::AwaitingInput, &title, None, None);
    }

    /// The turn in which the agent asks, once for each request.
    pub(super) fn turn_of(&mut self, ask: &Ask, exec_id: &ExecId) -> Option<TurnId> {
        if self.open_of(exec_id, &ask.agent_request_id).is_some() {
            self.log(LogLevel::Warn, format!("the agent asks the same again: {}", ask.agent_request_id));
            return None;
        }
        if self.state().active_turn().is_none() {
            self.begin_unasked();
        }
        self.state().active_turn().map(|turn| turn.turn_id.clone())
    }

    /// The program does not ask any more.
    pub(super) fn ask_withdrawn(&mut self, exec_id: &ExecId, agent_request_id: &str) {
        let Some(id) = self.open_of(exec_id, agent_request_id).map(str::to_owned) else {
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

    /// Something waits for an answer.
    pub(super) fn waits(&self) -> bool {
        self.open().next().is_some()
    }

    /// When the next request that nobody answers is over.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.open().filter_map(|open| open.expires).min()
    }

    /// When the last of the requests that are open is over.
    pub(super) fn last_deadline(&self) -> Option<Timestamp> {
        self.open().filter_map(|open| open.expires).max()
    }

    /// The requests that nobody answered in time.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<String> {
        let over = self.open().filter(|open| open.expires.is_some_and(|time| time <= now));
        over.map(|open| open.id.to_owned()).collect()
    }

    /// Records how a request ended. A parked turn keeps the answer for the agent's next process.
    pub(super) fn resolve(&mut self, id: &str, resolution: InputResolution, by: Option<&Principal>) -> Option<Over> {
        let outcome = resolution.outcome;
        let (over, kind) = if let Some(over) = self.permission_over(id, &resolution) {
            (over, Kind::PermissionResolved { permission_id: id.to_owned(), resolution })
        } else {
            let over = self.question_over(id, &resolution)?;
            (over, Kind::QuestionResolved { question_id: id.to_owned(), resolution })
        };
        tracing::info!(request = %id, ?outcome, "what the agent asked is over");
        self.record(over.conversation_id.clone(), by, kind);
        match over.answer {
            Some(PermissionAnswer::Allow { .. } | PermissionAnswer::Answered { .. }) => {
                self.tool_is(&over.tool_use_id, ExecutionStatus::Pending, ExecutionStatus::Running);
            }
            Some(PermissionAnswer::Reject { .. }) | None => {}
        }
        self.carry(id, &over, by);
        Some(over)
    }

    fn carry(&mut self, id: &str, over: &Over, by: Option<&Principal>) {
        let Over { tool_name, input_json, .. } = over;
        if let (Some(turn), Some(answer), Some(asked)) = (self.parked(), &over.answer, &over.asked) {
            let mut turn = turn.clone();
            turn.carried.push(CarriedAnswer {
                permission_id: id.to_owned(),
                asked: asked.clone(),
                tool_name: tool_name.clone(),
                input_json: input_json.clone(),
                answer: answer.clone(),
            });
            self.record(ConversationId::main(), by, Kind::TurnUpdated { turn });
        }
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

    pub(super) fn goes_on(&mut self, by: Option<&Principal>) {
        let status = self.state().active_turn().map(|turn| turn.status);
        if status.is_some_and(|status| Command::Resolve.effect(status) == Effect::GoOn) {
            self.turn_is(TurnStatus::Running, by);
            self.record_status(SessionStatus::Running, "", None, by);
        }
    }

    /// The process that asked is gone: its turn waits on, for an answer that begins a new one. False: nothing is asked.
    pub(super) fn park(&mut self) -> bool {
        // One that is to end waits for nothing.
        if !self.waits() || self.interrupted().is_some() {
            return false;
        }
        self.interrupt_blocks();
        self.turn_is(TurnStatus::Parked, None);
        true
    }

    pub(super) fn parked(&self) -> Option<&Turn> {
        self.state().active_turn().filter(|turn| turn.status == TurnStatus::Parked)
    }

    /// Ends all requests, because nobody waits for the answers any more.
    pub(super) fn withdraw_all(&mut self, outcome: InputOutcome) {
        let open = self.open().map(|open| open.id.to_owned()).collect();
        self.withdraw(open, outcome);
    }

    /// The same when a turn is over: what a subagent asks that goes on is waited for still.
    pub(super) fn withdraw_with_turn(&mut self, outcome: InputOutcome) {
        let over = self.open().filter(|open| !self.is_running(open.conversation_id));
        let over = over.map(|open| open.id.to_owned()).collect();
        self.withdraw(over, outcome);
    }

    /// What subagents ask that outlived their turn is asked in a turn of their own.
    pub(super) fn take_along(&mut self) {
        if self.state().active_turn().is_some() || !self.waits() {
            return;
        }
        self.begin_unasked();
        let Some(turn_id) = self.state().active_turn().map(|turn| turn.turn_id.clone()) else { return };
        let state = self.state();
        let permissions = state.permissions.iter().filter(|open| open.resolution.is_none()).cloned();
        let permissions: Vec<_> =
            permissions.map(|open| PermissionRequest { turn_id: turn_id.clone(), ..open }).collect();
        let questions = state.questions.iter().filter(|open| open.resolution.is_none()).cloned();
        let questions: Vec<_> = questions.map(|open| Question { turn_id: turn_id.clone(), ..open }).collect();
        for permission in permissions {
            self.record(permission.conversation_id.clone(), None, Kind::PermissionRequested { permission });
        }
        for question in questions {
            self.record(question.conversation_id.clone(), None, Kind::QuestionRequested { question });
        }
        self.turn_is(TurnStatus::AwaitingInput, None);
        self.record_status(SessionStatus::AwaitingInput, "a subagent waits for an answer", None, None);
    }

    fn withdraw(&mut self, open: Vec<String>, outcome: InputOutcome) {
        for id in open {
            let resolution = InputResolution::by_itself(outcome, self.time());
            self.resolve(&id, resolution, None);
        }
    }

    fn turn_is(&mut self, status: TurnStatus, by: Option<&Principal>) {
        let turn = self.state().active_turn().filter(|turn| turn.status.may_become(status)).cloned();
        if let Some(turn) = turn {
            // One that waits goes on when it is answered, and moves no more.
            let moving = turn.moving.filter(|_| status != TurnStatus::Parked);
            self.record(ConversationId::main(), by, Kind::TurnUpdated { turn: Turn { status, moving, ..turn } });
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

    /// What a new process is told that goes on with a turn.
    pub(super) fn go_on_with(&self, turn: &Turn, memory: Option<&str>) -> String {
        agent::go_on(self.state().session.agent, memory, &turn.carried)
    }
}

/// An id of something asked.
pub(super) fn mint(prefix: &str) -> String {
    format!("{prefix}_{}", Ulid::new())
}

/// When something is over that was asked now.
pub(super) fn after(time: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
}

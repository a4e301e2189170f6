//! Requests for permission, as events: what the agent asks, what a caller may answer, and how a turn goes on that was
//! parked meanwhile.

use std::time::Duration;

use super::{
    bounds,
    pending::Pending,
    turn::{self, Prompt},
    waiting::{Over, after, mint},
};
use crate::{
    agent::Ask,
    domain::{
        Asked, Block, BlockState, CarriedAnswer, Content, ConversationId, ExecId, Failure, InputOutcome,
        InputResolution, Kind, NoticeKind, PermissionAnswer, PermissionEffect, PermissionOption, PermissionRequest,
        PermissionRule, Principal, Reason, SessionError, Turn, TurnId,
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

/// A request for permission that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// With its resolution.
    pub permission: PermissionRequest,
    /// The rule that the answer left.
    pub rule: Option<PermissionRule>,
}

impl Pending {
    /// The record of a request.
    pub(super) fn permission(
        &self,
        ask: Ask,
        exec_id: ExecId,
        turn_id: TurnId,
        patience: Duration,
    ) -> PermissionRequest {
        let now = self.time();
        let input_sha256 = ask.input_sha256();
        let options = self.options(&ask);
        let Ask { agent_request_id, conversation_id, tool_use_id, tool_name, input_json, title, .. } = ask;
        let permission = PermissionRequest {
            permission_id: mint("perm"),
            conversation_id,
            turn_id,
            tool_use_id: bounds::clip_text(tool_use_id),
            tool_name: bounds::clip_text(tool_name),
            input_json: bounds::json(input_json),
            title: bounds::clip_text(title),
            options,
            create_time: now,
            expire_time: Some(after(now, patience)),
            resolution: None,
            asked: Some(Asked { exec_id, agent_request_id, input_sha256 }),
        };
        tracing::info!(permission = %permission.permission_id, tool = %permission.tool_name, "the agent asks");
        permission
    }

    /// A request that waits for an answer.
    pub(super) fn open_permission(&self, permission_id: &str) -> Option<&PermissionRequest> {
        let open = self.state().permissions.iter().filter(|held| held.resolution.is_none());
        open.into_iter().find(|open| open.permission_id == permission_id)
    }

    /// One that was answered, before that is submitted.
    pub(super) fn held_permission(&self, permission_id: &str) -> Option<&PermissionRequest> {
        self.state().permissions.iter().find(|held| held.permission_id == permission_id)
    }

    /// What a caller's decision means, if it is one of this request, and the rule that it leaves.
    pub(super) fn decided(
        &self,
        open: &PermissionRequest,
        decision: &Decision,
        by: &Principal,
    ) -> Result<(InputResolution, Option<PermissionRule>), Failure> {
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
        let rule = option.rule.as_deref().map(|rule| self.new_rule(rule, by)).transpose()?;
        let (outcome, effect) = if allows {
            (InputOutcome::Allowed, PermissionEffect::Allow)
        } else {
            (InputOutcome::Rejected, PermissionEffect::Reject)
        };
        let (resolved_by, effect) = (Some(by.clone()), Some(effect));
        let rule_id = rule.as_ref().map(|rule| rule.rule_id.clone()).unwrap_or_default();
        let itself = InputResolution::by_itself(outcome, self.time());
        let resolution =
            InputResolution { option_id, message, updated_input_json, resolved_by, rule_id, effect, ..itself };
        Ok((resolution, rule))
    }

    /// What the end of a request means for its agent.
    pub(super) fn permission_over(&self, permission_id: &str, resolution: &InputResolution) -> Option<Over> {
        let PermissionRequest { conversation_id, tool_use_id, tool_name, input_json, asked, .. } =
            self.open_permission(permission_id)?.clone();
        Some(Over { tool_use_id, asked, answer: resolution.answer(), conversation_id, tool_name, input_json })
    }

    /// A request that is answered as soon as it is made. Its turn does not wait.
    pub(super) fn ask_answered(&mut self, ask: Ask, exec_id: ExecId, resolution: InputResolution) {
        let Some(turn_id) = self.turn_of(&ask, &exec_id) else { return };
        let mut permission = self.permission(ask, exec_id, turn_id, Duration::ZERO);
        let permission_id = permission.permission_id.clone();
        let conversation_id = permission.conversation_id.clone();
        permission.options = PermissionOption::once();
        permission.expire_time = None;
        permission.resolution = Some(resolution.clone());
        self.record(conversation_id.clone(), None, Kind::PermissionRequested { permission });
        self.record(conversation_id, None, Kind::PermissionResolved { permission_id, resolution });
    }

    /// Nothing is open any more, so the turn goes on. One that was parked needs a new process, which is given the prompt;
    /// `memory` is what the last one left behind.
    pub(super) fn answered(&mut self, memory: Option<&str>, by: Option<&Principal>) -> Option<Prompt> {
        if self.waits() {
            return None;
        }
        let parked = self.parked().cloned();
        self.goes_on(by);
        parked.map(|turn| self.continuation(&turn, self.go_on_with(&turn, memory)))
    }

    /// What a new process is told, so that it goes on with a turn.
    pub(super) fn continuation(&mut self, turn: &Turn, message: String) -> Prompt {
        let agent = self.state().session.agent;
        let block_id = turn::user_block_id(agent);
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

    /// Why a turn was not completed whose agent says so: it was told to make a call again that was allowed, and did not.
    pub(super) fn answer_not_taken(&self) -> Option<SessionError> {
        let turn = self.state().active_turn()?;
        let allowed = |held: &&CarriedAnswer| match held.answer {
            PermissionAnswer::Allow { .. } => true,
            // It was told the answer in words.
            PermissionAnswer::Reject { .. } | PermissionAnswer::Answered { .. } => false,
        };
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
}

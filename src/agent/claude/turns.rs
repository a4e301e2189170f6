//! Turns: when the agent takes up a message, goes on unasked, and is done; and with what.
//!
//! Starts and ends alternate, whatever the CLI prints.

use std::collections::BTreeMap;

use super::{
    kinds::CommandState,
    options::Counted,
    parser::Reading,
    shares,
    state::Turn,
    usage::{Told, Totals},
    wire::{CommandLine, ResultLine, Text},
};
use crate::agent::{Action, Draft, Outcome, TurnEnd};
use crate::domain::{Agent, BlockId, Content, ConversationId, LogLevel, NoticeKind, Reason, SessionError, Usage};

impl Reading<'_> {
    /// How far a message is.
    pub(super) fn command(&mut self, line: &CommandLine<'_>) {
        let uuid = &*line.command_uuid;
        self.state.process.lifecycle = true;
        let is_active = self.state.process.turn == Turn::Prompt(uuid.to_owned());
        match CommandState::parse(&line.state) {
            // Deliberately nothing: we know what we sent.
            CommandState::Queued => {}
            CommandState::Started => {
                if !is_active && matches!(self.state.process.turn, Turn::Prompt(_)) {
                    let error = failed("Claude Code took up another message without ending this one", None);
                    self.end(Outcome::Failed(error), Totals::default());
                }
                self.taken_up(uuid);
            }
            // The result came before, and told more. Where there was none, this is the end.
            CommandState::Completed => {
                if is_active {
                    self.end(Outcome::Completed, Totals::default());
                }
            }
            CommandState::Cancelled | CommandState::Discarded => self.given_back(uuid, Outcome::Interrupted),
            CommandState::Refused => {
                let error = failed("Claude Code refuses to take this message up", None);
                self.given_back(uuid, Outcome::Failed(error));
            }
            CommandState::Unknown => self.unknown("command_lifecycle/", &line.state),
        }
    }

    /// A message ends before its answer does. One that was never taken up has its end, too.
    fn given_back(&mut self, uuid: &str, outcome: Outcome) {
        if self.state.process.turn == Turn::Idle {
            self.taken_up(uuid);
        }
        if self.state.process.turn == Turn::Prompt(uuid.to_owned()) {
            self.end(outcome, Totals::default());
        }
    }

    /// A message is taken up; the first line that says so counts. While another one is active it is none of ours.
    pub(super) fn taken_up(&mut self, uuid: &str) {
        if self.state.process.last_prompt.as_deref() == Some(uuid) {
            return;
        }
        match self.state.process.turn {
            Turn::Idle => {}
            // Versions that do not say when they take up a message echo it when they have begun to answer.
            Turn::Unasked if !self.state.process.lifecycle => {
                self.state.process.turn = Turn::Prompt(uuid.to_owned());
                self.state.process.last_prompt = Some(uuid.to_owned());
                return;
            }
            Turn::Unasked => self.end(Outcome::Completed, Totals::default()),
            Turn::Prompt(_) => return,
        }
        self.state.process.expected.take_if(|expected| *expected == *uuid);
        self.state.process.turn = Turn::Prompt(uuid.to_owned());
        self.state.process.last_prompt = Some(uuid.to_owned());
        self.state.resumable = true;
        self.actions.push(Action::TurnStarted { block_id: Some(BlockId::new(uuid)) });
    }

    /// The model said something, in answer to `prompt` where the line names it.
    pub(super) fn output(&mut self, conversation: &ConversationId, prompt: Option<&str>, subagent: Option<&Text<'_>>) {
        if *conversation == ConversationId::main() {
            self.state.resumable = true;
            self.active(prompt);
        } else {
            self.speaks(conversation, subagent);
        }
    }

    /// The model's API failed, and the CLI gives up.
    pub(super) fn failure(&mut self, code: String, message: String, uuid: Option<&str>, conversation: &ConversationId) {
        self.state.process.failure = Some(code.clone());
        let Some(uuid) = uuid else { return self.emit(Draft::Log(LogLevel::Warn, message)) };
        self.emit(Draft::Complete {
            conversation_id: conversation.clone(),
            block_id: BlockId::new(uuid),
            content: Some(Content::Error { code, message }),
        });
    }

    /// The agent is done.
    pub(super) fn result(&mut self, line: &ResultLine<'_>, prompt: Option<&str>) {
        let errors = errors(line);
        let is_lost = errors.iter().any(|error| error.starts_with("No conversation found"));
        if is_lost && self.forgotten(line) {
            return;
        }
        // After the end of its own turn a result adds what was used, and is no turn. So is the second of two for which the
        // CLI went on unasked as one.
        let is_late = self.state.process.turn == Turn::Idle
            && match prompt {
                Some(prompt) => self.state.process.last_prompt.as_deref() == Some(prompt),
                None => line.origin.is_some(),
            };
        if !is_late {
            self.active(prompt);
        }
        self.state.resumable &= !is_lost;
        let told = Told::read(line, self.state.totals);
        self.state.totals = told.totals;
        self.used(told);
        let outcome = self.outcome(line, &errors);
        if !is_late {
            if outcome == Outcome::Completed {
                self.ended_early(line);
            }
            self.end(outcome, told.turn);
        }
    }

    /// `--resume` found nothing, so the next process begins anew; at once, where this one did nothing else.
    fn forgotten(&mut self, line: &ResultLine<'_>) -> bool {
        let was_resumed = std::mem::take(&mut self.state.resumable);
        if !was_resumed || self.state.process.last_prompt.is_some() || self.state.process.turn != Turn::Idle {
            return false;
        }
        let message = "Claude Code has nothing stored of this conversation: it knows nothing of what was said before";
        self.notice(line.uuid.as_deref(), NoticeKind::Status, message.to_owned(), String::new());
        self.actions.push(Action::Forgotten);
        true
    }

    /// Something happens, so there is a turn.
    fn active(&mut self, prompt: Option<&str>) {
        if self.state.process.turn != Turn::Idle {
            return;
        }
        let expected = self.state.process.expected.clone().filter(|_| !self.state.process.lifecycle);
        if let Some(prompt) = prompt.or(expected.as_deref()) {
            self.taken_up(prompt);
        }
        if self.state.process.turn == Turn::Idle {
            self.state.process.turn = Turn::Unasked;
            self.actions.push(Action::TurnStarted { block_id: None });
        }
    }

    fn outcome(&self, line: &ResultLine<'_>, errors: &[String]) -> Outcome {
        if line.terminal_reason.as_deref().is_some_and(|reason| reason.starts_with("aborted")) {
            return Outcome::Interrupted;
        }
        // The subtype of a failed call of the model's API is "success".
        if !line.is_error && !line.subtype.starts_with("error") {
            return Outcome::Completed;
        }
        let message = match line.result.as_deref() {
            Some(result) if !result.is_empty() => result.to_owned(),
            Some(_) | None if !errors.is_empty() => errors.join("\n"),
            Some(_) | None => {
                let why = line.terminal_reason.as_deref().unwrap_or(&line.subtype);
                format!("Claude Code ended the turn with an error: {why}")
            }
        };
        Outcome::Failed(error(message, line.api_error_status, self.state.process.failure.as_deref()))
    }

    /// A turn that is no failure can all the same be without its answer: a hook says that it is enough.
    fn ended_early(&mut self, line: &ResultLine<'_>) {
        let message = match line.terminal_reason.as_deref() {
            None | Some("completed") => return,
            Some("hook_stopped" | "stop_hook_prevented") => "a hook ended the turn".to_owned(),
            Some(reason) => format!("Claude Code ended the turn: {reason}"),
        };
        self.notice(line.uuid.as_deref(), NoticeKind::Status, message, String::new());
    }

    /// Splits what was used among the conversations, so that they and the turns add up to the same.
    fn used(&mut self, told: Told) {
        let rest = Totals { nano_usd: 0, ..told.turn.minus(told.main) };
        let agents = &mut self.state.process.agents;
        let mut shares: Vec<_> = agents.iter_mut().map(|subagent| &mut subagent.share).collect();
        // What no conversation is known to have used, such as a title, is the main one's.
        let (parts, nobody) = shares::split(rest, &mut shares);
        let ids: Vec<_> = agents.iter().map(|subagent| subagent.id.clone()).collect();
        let main = (ConversationId::main(), told.main.plus(nobody));
        for (conversation_id, totals) in std::iter::once(main).chain(ids.into_iter().zip(parts)) {
            let usage = Usage::from(totals);
            if usage != Usage::default() {
                self.emit(Draft::Used { conversation_id, usage, model: String::new() });
            }
        }
    }

    /// The session closes what is open, but for subagents in the background, so nothing more is said of it.
    fn end(&mut self, outcome: Outcome, used: Totals) {
        self.end_subagents();
        let mut ending: Vec<_> = self.state.process.messages.keys().cloned().collect();
        ending.retain(|conversation| !self.outlives_turn(conversation));
        let mut tools = std::mem::take(&mut self.state.process.tools);
        tools.retain(|_, tool| tool.conversation.as_ref().is_some_and(|at| self.outlives_turn(at)));
        let process = &mut self.state.process;
        process.turn = Turn::Idle;
        process.counted = Counted::default();
        process.failure = None;
        process.repeated.clear();
        process.tools = tools;
        for id in ending {
            let blocks = process.messages.get_mut(&id).into_iter().flat_map(|message| message.blocks.values_mut());
            blocks.for_each(|open| open.closed = true);
        }
        self.actions.push(Action::TurnEnded(TurnEnd { outcome, usage: used.into() }));
    }
}

fn errors(line: &ResultLine<'_>) -> Vec<String> {
    line.errors.and_then(|errors| serde_json::from_str(errors.get()).ok()).unwrap_or_default()
}

/// Why a turn failed: by the status of the model's API, or by the CLI's code where it tells none.
fn error(message: String, status: Option<u16>, code: Option<&str>) -> SessionError {
    match (status, code) {
        (Some(429 | 529), _) | (None, Some("rate_limit" | "overloaded")) => {
            let mut error = failed(message, status);
            error.reason = Reason::ModelProviderLimit;
            error.metadata.remove("agent");
            error.metadata.insert("provider".to_owned(), "anthropic".to_owned());
            error
        }
        (Some(401 | 403), _) | (None, Some("authentication_failed" | "oauth_org_not_allowed")) => {
            SessionError { reason: Reason::AgentUnavailable, retryable: false, ..failed(message, status) }
        }
        (status, code) => {
            // The provider will refuse the same request again, unless the fault was its own.
            let refused = matches!(status, Some(400..=499)) && !matches!(status, Some(408 | 409));
            let refused = refused || matches!(code, Some("invalid_request" | "billing_error"));
            SessionError { retryable: !refused, ..failed(message, status) }
        }
    }
}

fn failed(message: impl Into<String>, status: Option<u16>) -> SessionError {
    let mut metadata = BTreeMap::from([("agent".to_owned(), Agent::ClaudeCode.as_str().to_owned())]);
    if let Some(status) = status {
        metadata.insert("http_status".to_owned(), status.to_string());
    }
    SessionError { reason: Reason::AgentFailed, message: message.into(), retryable: true, metadata }
}

//! What the CLI runs with, and how it is told to change that: by a `control_request` each, which it answers. And what its
//! turn costs so far, which it tells only when it is asked.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    ASKS_NOTHING,
    control::{GREETING, request},
    parser::{Parser, Reading},
    rules,
    state::Turn,
    usage::{micro, nano},
    wire::ControlAnswer,
};
use crate::{
    agent::{Adapt, Draft, Progress},
    domain::{Agent, PermissionRule, Reason, SessionError, SessionOptions},
};

/// Ids of our requests, by which their answers are told apart.
const SET_MODEL: &str = "set_model";
const SET_MODE: &str = "set_permission_mode";
const SET_RULES: &str = "set_rules";
const COST: &str = "cost";

/// What a process was told to run with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Given {
    pub(super) model: String,
    pub(super) permission_mode: String,
    /// The mode where none is said.
    pub(super) default_mode: String,
    /// SHA-256 of the settings that said its rules; empty: none did. Earlier builds did not note it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) rules_sha256: String,
    /// The tools that they are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ruled_tools: Vec<String>,
}

impl Given {
    /// It asks only about what rules are about.
    fn asks_nothing(&self) -> bool {
        let mode = if self.permission_mode.is_empty() { &self.default_mode } else { &self.permission_mode };
        mode == ASKS_NOTHING
    }

    /// It asks about this tool because of rules that it was told: by itself it asks about none.
    pub(super) fn asks_only_by_rule(&self, tool: &str) -> bool {
        self.asks_nothing() && self.ruled_tools.iter().any(|named| rules::names(named, tool))
    }

    /// The line that says these rules, where they are others than it knows, and takes back what others said.
    pub(super) fn tell_rules(&mut self, strict: &[PermissionRule]) -> Option<Vec<u8>> {
        let settings = rules::settings(strict, self.asks_nothing());
        let hash = |settings: &Value| format!("{:x}", Sha256::digest(settings.to_string()));
        let sha256 = settings.as_ref().map(hash).unwrap_or_default();
        self.ruled_tools = rules::tools(strict);
        if self.rules_sha256 == sha256 {
            return None;
        }
        self.rules_sha256 = sha256;
        let settings = settings.unwrap_or_else(rules::nothing);
        Some(request(SET_RULES, &json!({ "subtype": "apply_flag_settings", "settings": settings })))
    }
}

/// What is counted of the turn at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    pub(super) steps: i32,
    pub(super) ended: i32,
    /// What the CLI said that it has cost so far.
    pub(super) nano_usd: i64,
}

impl Counted {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Parser {
    /// How the CLI comes to run as these options say.
    pub(in crate::agent) fn adapt(&mut self, options: &SessionOptions) -> Adapt {
        let process = &mut self.state.process;
        // One that an earlier build started may be able to change nothing, or one that refused a change.
        let Some(given) = &mut process.given else { return Adapt::Restart };
        let SessionOptions { model, permission_mode, budget: _, idle_timeout: _ } = options;
        let mut lines = Vec::new();
        if given.model != *model {
            // Without a model it is the one that the CLI would choose.
            let model = if model.is_empty() { Value::Null } else { Value::from(&**model) };
            lines.extend(request(SET_MODEL, &json!({ "subtype": "set_model", "model": model })));
        }
        if given.permission_mode != *permission_mode {
            let mode = if permission_mode.is_empty() { &given.default_mode } else { permission_mode };
            lines.extend(request(SET_MODE, &json!({ "subtype": "set_permission_mode", "mode": mode })));
        }
        given.model.clone_from(model);
        given.permission_mode.clone_from(permission_mode);
        if lines.is_empty() { Adapt::Keep } else { Adapt::Tell(lines) }
    }

    /// The line by which the CLI comes to ask about what these rules are about, and no longer about what others were, as its
    /// mode needs it: from its next call on, in the middle of a turn too. `None`: it does so already.
    pub(in crate::agent) fn told_rules(&mut self, strict: &[PermissionRule]) -> Option<Vec<u8>> {
        // One that cannot be told is followed by one that is started with them.
        self.state.process.given.as_mut()?.tell_rules(strict)
    }

    pub(in crate::agent) fn progress(&self) -> Progress {
        let Counted { steps, ended, nano_usd } = self.state.process.counted;
        let cost = micro(nano_usd);
        Progress { steps, ended, cost_micro_usd: cost, untold_micro_usd: cost }
    }
}

impl Reading<'_> {
    /// A call of the model begins.
    pub(super) fn call_counted(&mut self) {
        if self.state.process.turn != Turn::Idle {
            let counted = &mut self.state.process.counted;
            counted.steps = counted.steps.saturating_add(1);
        }
    }

    /// A call of the model is over. Those of subagents are heard of when they are.
    pub(super) fn call_ended(&mut self) {
        if self.state.process.turn != Turn::Idle {
            let counted = &mut self.state.process.counted;
            counted.ended = counted.ended.saturating_add(1);
        }
    }

    /// The CLI answers a request of ours.
    pub(super) fn control_response(&mut self, answer: &ControlAnswer<'_>) {
        let id = answer.request_id.as_deref().unwrap_or_default();
        let what = match id {
            SET_MODEL => "model",
            SET_MODE => "permission mode",
            SET_RULES => return self.rules_told(answer),
            COST => return self.cost(answer),
            GREETING => return self.greeted(answer),
            // Deliberately nothing: the answer to an interrupt; what came of it, the result tells.
            _ => return,
        };
        let Some(why) = answer.error.as_deref().filter(|_| &*answer.subtype == "error") else { return };
        // The next message goes to a process that is started with it.
        self.state.process.given = None;
        let agent = Agent::ClaudeCode.as_str().to_owned();
        self.emit(Draft::Error(SessionError {
            reason: Reason::AgentFailed,
            message: format!("Claude Code did not change its {what}, and keeps the one it had for this turn: {why}"),
            retryable: true,
            metadata: [("agent".to_owned(), agent)].into(),
        }));
    }

    /// A version that takes no rules from us would take none from the one after it either.
    fn rules_told(&mut self, answer: &ControlAnswer<'_>) {
        if &*answer.subtype != "error" {
            return;
        }
        let why = answer.error.as_deref().unwrap_or("no reason given");
        let agent = Agent::ClaudeCode.as_str().to_owned();
        self.emit(Draft::Error(SessionError {
            reason: Reason::AgentFailed,
            message: format!(
                "Claude Code takes no rules of the session, so that it may do what they reject without asking: {why}"
            ),
            retryable: false,
            metadata: [("agent".to_owned(), agent)].into(),
        }));
    }

    /// What all has cost so far, of which the turn's part is what the last result did not tell.
    fn cost(&mut self, answer: &ControlAnswer<'_>) {
        #[derive(Deserialize)]
        struct Answer {
            session: Session,
        }
        #[derive(Deserialize)]
        struct Session {
            total_cost_usd: f64,
        }
        let told = answer.response.and_then(|response| serde_json::from_str::<Answer>(response.get()).ok());
        let Some(Answer { session: Session { total_cost_usd } }) = told else { return };
        if self.state.process.turn == Turn::Idle {
            return;
        }
        let (total, before) = (nano(total_cost_usd), self.state.totals.nano_usd);
        // Where a total fell, a new process began to count anew.
        let cost = if total < before { total } else { total - before };
        let counted = &mut self.state.process.counted;
        counted.nano_usd = counted.nano_usd.max(cost);
    }
}

/// The line that asks what all has cost so far. It is answered from memory, in the middle of a turn too.
pub(in crate::agent) fn ask_cost() -> Vec<u8> {
    request(COST, &json!({ "subtype": "get_usage", "skip_behaviors": true }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::{Action, claude::state::State},
        domain::PermissionEffect,
    };

    fn options(model: &str, permission_mode: &str) -> SessionOptions {
        let (model, permission_mode) = (model.to_owned(), permission_mode.to_owned());
        SessionOptions { model, permission_mode, ..SessionOptions::default() }
    }

    fn given() -> Given {
        Given { default_mode: "bypassPermissions".to_owned(), ..Given::default() }
    }

    fn parser(given: Option<Given>) -> Parser {
        let mut state = State::fresh("s");
        state.process.given = given;
        Parser::new(state)
    }

    fn told(adapt: Adapt) -> Vec<Value> {
        let Adapt::Tell(bytes) = adapt else { panic!("{adapt:?}") };
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["request"].clone()).collect()
    }

    #[test]
    fn it_is_told_what_changed_and_once() {
        let mut parser = parser(Some(given()));
        assert_eq!(parser.adapt(&options("", "")), Adapt::Keep);
        let model = json!({ "subtype": "set_model", "model": "m" });
        assert_eq!(told(parser.adapt(&options("m", ""))), [model]);
        assert_eq!(parser.adapt(&options("m", "")), Adapt::Keep);
        let mode = json!({ "subtype": "set_permission_mode", "mode": "plan" });
        let model = json!({ "subtype": "set_model", "model": null });
        assert_eq!(told(parser.adapt(&options("", "plan"))), [model, mode]);
        let mode = json!({ "subtype": "set_permission_mode", "mode": "bypassPermissions" });
        assert_eq!(told(parser.adapt(&options("", ""))), [mode]);
        // Of a process that an earlier build started nobody knows.
        assert_eq!(self::parser(None).adapt(&options("", "")), Adapt::Restart);
    }

    #[test]
    fn it_is_told_rules_where_they_are_others_and_once() {
        let rules = |said: &[&str]| -> Vec<PermissionRule> {
            said.iter().map(|pattern| PermissionRule::of("Bash", pattern, PermissionEffect::Reject)).collect()
        };
        let told = |line: Option<Vec<u8>>| {
            let line: Value = serde_json::from_slice(&line.expect("a line")).unwrap();
            assert_eq!(line["request"]["subtype"], "apply_flag_settings");
            line["request"]["settings"]["permissions"]["ask"].clone()
        };
        let mut parser = parser(Some(given()));
        assert_eq!(parser.told_rules(&[]), None);
        assert_eq!(told(parser.told_rules(&rules(&["ls"]))), json!(["Bash"]));
        assert_eq!(parser.told_rules(&rules(&["ls", "ls -l"])), None, "which of them, whoever it asks knows");
        parser.adapt(&options("", "acceptEdits"));
        assert_eq!(told(parser.told_rules(&rules(&["ls"]))), json!(["Bash(ls)"]));
        assert_eq!(parser.told_rules(&rules(&["ls"])), None);
        // Also by whoever takes the process over, and by one whose owner noted nothing of them.
        let stored = parser.checkpoint();
        let mut next = Parser::restore(&stored).expect("its own");
        assert_eq!(next.told_rules(&rules(&["ls"])), None);
        assert_eq!(told(next.told_rules(&[])), json!([]));
        let state = stored.state.replace("rules_sha256", "of_another_build");
        let mut next = Parser::restore(&crate::agent::Checkpoint { state, ..stored }).expect("it reads");
        assert_eq!(told(next.told_rules(&rules(&["ls"]))), json!(["Bash(ls)"]));
        assert_eq!(self::parser(None).told_rules(&rules(&["ls"])), None, "its place is taken with the next message");
    }

    #[test]
    fn in_the_mode_that_asks_nothing_only_rules_have_it_ask() {
        let strict = |tool: &str| [PermissionRule::of(tool, "x", PermissionEffect::Reject)];
        let mut given = given();
        given.tell_rules(&strict("Edit"));
        assert!(given.asks_only_by_rule("Write") && !given.asks_only_by_rule("Bash"));
        given.tell_rules(&strict("mcp__a"));
        assert!(given.asks_only_by_rule("mcp__a__b") && !given.asks_only_by_rule("Write"));
        given.permission_mode = "default".to_owned();
        assert!(!given.asks_only_by_rule("mcp__a__b"));
    }

    #[test]
    fn a_refusal_is_told_and_the_next_process_is_started_with_it() {
        let mut parser = parser(Some(given()));
        parser.adapt(&options("", "plan"));
        let mut actions = Vec::new();
        let refusal = r#"{"type":"control_response","response":{"subtype":"error","request_id":"set_permission_mode","error":"no"}}"#;
        parser.feed(format!("{refusal}\n").as_bytes(), &mut actions);
        let [Action::Emit(Draft::Error(error))] = &actions[..] else { panic!("{actions:?}") };
        assert!(error.message.contains("permission mode") && error.message.ends_with("no"), "{error:?}");
        assert_eq!(parser.adapt(&options("", "plan")), Adapt::Restart);
    }

    #[test]
    fn a_cli_that_takes_no_rules_is_told_of_and_goes_on() {
        let mut parser = parser(Some(given()));
        let mut actions = Vec::new();
        let refusal =
            r#"{"type":"control_response","response":{"subtype":"error","request_id":"set_rules","error":"no"}}"#;
        parser.feed(format!("{refusal}\n").as_bytes(), &mut actions);
        let [Action::Emit(Draft::Error(error))] = &actions[..] else { panic!("{actions:?}") };
        assert!(error.message.contains("no rules of the session") && !error.retryable, "{error:?}");
        assert_eq!(parser.adapt(&options("", "")), Adapt::Keep);
    }
}

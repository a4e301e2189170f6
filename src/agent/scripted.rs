//! The scripted agent: our own child process, in a dialect of its own.
//!
//! A line of its output is a JSON object with one key, which names what the line is:
//!
//! | line | fields |
//! |---|---|
//! | `turn_start` | `id` of the user's block |
//! | `start` | `id`, `kind` "text" or "thinking" |
//! | `delta` | `id`, `text` |
//! | `complete` | `id` |
//! | `tool` | `id`, `name`, `input` |
//! | `tool_result` | `id`, `tool`: id of the call, `output`, `is_error`, `duration_ms`, `exit_code` |
//! | `permission` | `id` of the request, `tool`: id of the call that waits for it, its `name` and `input`, `again`: what to play instead of the same request, if nobody lives to hear the answer |
//! | `permission_withdrawn` | `id` |
//! | `usage` | `model`, `usage` of one call of a model |
//! | `result` | `outcome` "completed", "interrupted" or "failed", `message`, `retryable`, `usage` of the turn |
//!
//! Its tools are those of Claude Code, and so are its rules and its questions: a request for permission of
//! `AskUserQuestion` asks the user.
//!
//! Block ids are the user's block id and a number, so they stay unique in a session and are the same whenever the output
//! is read. A line of any other form, or about a block that is not open, is recorded as unparsed output.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    Action, Adapt, Ask, Checkpoint, Draft, Outcome, Plan, Progress, Setup, TurnEnd, UnknownCheckpoint, claude,
    lines::{Line, Lines},
    profile::refusal,
};
use crate::domain::{
    Agent, BlockId, CarriedAnswer, Content, ContentPart, ConversationId, ExecutionStatus, PermissionAnswer,
    ProfileSetup, Reason, SessionError, SessionOptions, ToolOutput, ToolResult, ToolUse, Usage, Violation,
};

/// Version of [`State`].
const VERSION: i32 = 1;

/// Where its calls play: it has no files of its own.
const CWD: &str = "/workspace";

/// Bytes of output that is not understood, as recorded.
const UNPARSED_LIMIT: usize = 64 * 1024;

/// Reads what the scripted agent prints.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    lines: Lines,
    state: State,
}

/// What the rest of the output cannot tell.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// Blocks that may still change; there is rarely more than one.
    open: Vec<BlockId>,
    /// Calls that wait for permission, by the id of the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    asks: BTreeMap<String, Waits>,
    /// Model that the program was told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    model: String,
    /// Model calls of the turn at work: each `usage` line is one.
    #[serde(default, skip_serializing_if = "is_zero")]
    steps: i32,
    /// What they cost.
    #[serde(default, skip_serializing_if = "is_zero")]
    cost_micro_usd: i64,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// What a request stands for that nobody answered yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Waits {
    /// Steps to play in another process, instead of the same request.
    again: Option<Value>,
}

/// What of a profile has no effect on an agent without a model: it plays its script.
pub(super) fn refusals(profile: &ProfileSetup) -> Vec<Violation> {
    let said = [
        ("system_prompt", !profile.system_prompt.is_empty()),
        ("memory_file", !profile.memory_file.is_empty()),
        ("tools", !profile.tools.is_empty()),
        ("skills", !profile.skills.is_empty()),
        ("subagents", !profile.subagents.is_empty()),
        ("commands", !profile.commands.is_empty()),
        ("mcp_servers", !profile.mcp_servers.is_empty()),
    ];
    let said = said.into_iter().filter(|(_, said)| *said);
    said.map(|(field, _)| refusal(field, "the scripted agent has no model that this could reach")).collect()
}

pub(super) fn plan(setup: &Setup) -> Plan {
    let mut argv = vec![setup.program.clone(), "scripted-agent".into()];
    if !setup.model.is_empty() {
        argv.extend(["--model".to_owned(), setup.model.clone()]);
    }
    let state = State { model: setup.model.clone(), ..State::default() };
    let parser = super::Parser::Scripted(Parser { state, ..Parser::default() });
    Plan { argv, env: Vec::new(), pass_env: &[], files: Vec::new(), greeting: Vec::new(), parser }
}

pub(super) fn prompt(block_id: &BlockId, parts: &[ContentPart]) -> Vec<u8> {
    let texts = parts.iter().filter_map(|part| match part {
        ContentPart::Text(text) => Some(text.as_str()),
        ContentPart::Image(_) | ContentPart::Attachment(_) | ContentPart::ImageUri(_) | ContentPart::FilePath(_) => {
            None
        }
    });
    let text = texts.collect::<Vec<_>>().join("\n\n");
    let mut line = serde_json::json!({ "type": "user", "id": block_id, "text": text }).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// A script that makes each request once more, or plays what it left to be played instead.
pub(super) fn go_on(memory: Option<&str>, answers: &[CarriedAnswer]) -> String {
    let left = memory.and_then(|memory| serde_json::from_str::<State>(memory).ok()).unwrap_or_default();
    let again = |carried: &CarriedAnswer| {
        let waits = left.asks.get(&carried.asked.agent_request_id);
        let input = serde_json::from_str(&carried.input_json).unwrap_or(Value::Null);
        let same = || serde_json::json!([{ "ask": { "tool": carried.tool_name, "input": input } }]);
        waits.and_then(|waits| waits.again.clone()).unwrap_or_else(same)
    };
    answers.iter().map(|carried| again(carried).to_string()).collect::<Vec<_>>().join("\n")
}

/// The line that ends the turn at work.
pub(super) fn interrupt() -> Vec<u8> {
    b"{\"type\":\"interrupt\"}\n".to_vec()
}

impl Parser {
    /// The line that tells the program its model, where it has another one.
    pub(super) fn adapt(&mut self, options: &SessionOptions) -> Adapt {
        let SessionOptions { model, permission_mode: _, budget: _, idle_timeout: _ } = options;
        if self.state.model == *model {
            return Adapt::Keep;
        }
        self.state.model.clone_from(model);
        let mut line = serde_json::json!({ "type": "options", "model": model }).to_string().into_bytes();
        line.push(b'\n');
        Adapt::Tell(line)
    }

    pub(super) fn progress(&self) -> Progress {
        let State { steps, cost_micro_usd, .. } = self.state;
        Progress { steps, ended: steps, cost_micro_usd, untold_micro_usd: 0 }
    }

    /// The line that answers a request.
    pub(super) fn answer(&mut self, id: &str, answer: &PermissionAnswer) -> Vec<u8> {
        let line = match answer {
            PermissionAnswer::Allow { updated_input_json } | PermissionAnswer::Answered { updated_input_json, .. } => {
                let input = serde_json::from_str::<Value>(updated_input_json).ok();
                serde_json::json!({ "type": "answer", "id": id, "allow": true, "input": input })
            }
            PermissionAnswer::Reject { message } => {
                serde_json::json!({ "type": "answer", "id": id, "allow": false, "message": message })
            }
        };
        self.state.asks.remove(id);
        let mut line = line.to_string().into_bytes();
        line.push(b'\n');
        line
    }

    pub(super) fn feed(&mut self, bytes: &[u8], actions: &mut Vec<Action>) {
        let Self { lines, state } = self;
        lines.feed(bytes, |line| state.line(line, actions));
    }

    pub(super) fn finish(&mut self, actions: &mut Vec<Action>) {
        let Self { lines, state } = self;
        lines.finish(|line| state.line(line, actions));
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        let state = serde_json::to_string(&self.state).expect("texts and JSON are JSON");
        Checkpoint { version: VERSION, offset: self.lines.offset(), state }
    }

    pub(super) fn restore(checkpoint: &Checkpoint) -> Result<Self, UnknownCheckpoint> {
        let state = serde_json::from_str(&checkpoint.state).ok().filter(|_| checkpoint.version == VERSION);
        let state = state.ok_or(UnknownCheckpoint { agent: Agent::Scripted, version: checkpoint.version })?;
        Ok(Self { lines: Lines::at(checkpoint.offset), state })
    }
}

/// A line of output. Texts are borrowed from it where they hold no escapes.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Said<'a> {
    TurnStart {
        #[serde(borrow)]
        id: Cow<'a, str>,
    },
    Start {
        #[serde(borrow)]
        id: Cow<'a, str>,
        kind: Grows,
    },
    Delta {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        text: Cow<'a, str>,
    },
    Complete {
        #[serde(borrow)]
        id: Cow<'a, str>,
    },
    Tool {
        #[serde(borrow)]
        id: Cow<'a, str>,
        name: String,
        #[serde(borrow)]
        input: &'a RawValue,
    },
    ToolResult {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        tool: Cow<'a, str>,
        #[serde(borrow)]
        output: &'a RawValue,
        is_error: bool,
        duration_ms: u64,
        exit_code: Option<i32>,
    },
    Permission {
        #[serde(borrow)]
        id: Cow<'a, str>,
        #[serde(borrow)]
        tool: Cow<'a, str>,
        name: String,
        #[serde(borrow)]
        input: &'a RawValue,
        again: Option<Value>,
    },
    PermissionWithdrawn {
        #[serde(borrow)]
        id: Cow<'a, str>,
    },
    Usage {
        model: String,
        usage: Usage,
    },
    Result {
        outcome: Ends,
        message: String,
        retryable: bool,
        usage: Usage,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Grows {
    Text,
    Thinking,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ends {
    Completed,
    Interrupted,
    Failed,
}

impl State {
    fn line(&mut self, line: Line<'_>, actions: &mut Vec<Action>) {
        let (bytes, left_out) = match line {
            // A last line without an end may be whole all the same.
            Line::Whole(bytes) | Line::Partial(bytes) => (bytes, 0),
            Line::TooLong { head, left_out } => (head, left_out),
        };
        if bytes.trim_ascii().is_empty() && left_out == 0 {
            return;
        }
        let understood = match serde_json::from_slice(bytes) {
            Ok(said) if left_out == 0 => self.said(said, actions),
            Ok(_) | Err(_) => None,
        };
        if understood.is_none() {
            actions.push(Action::Emit(unparsed(bytes, left_out)));
        }
    }

    /// `None`: it is about a block that it cannot be about, and nothing was done.
    fn said(&mut self, said: Said<'_>, actions: &mut Vec<Action>) -> Option<()> {
        match said {
            Said::Delta { id, text } => {
                let block_id = self.find(&id)?.clone();
                if !text.is_empty() {
                    actions.push(Action::Emit(Draft::Delta { block_id, text: text.into_owned() }));
                }
            }
            Said::TurnStart { id } => {
                actions.push(Action::TurnStarted { block_id: Some(BlockId::new(&*id)) });
            }
            Said::Start { id, kind } => {
                let text = String::new();
                let content = match kind {
                    Grows::Text => Content::AssistantText { text, model: String::new() },
                    Grows::Thinking => Content::Thinking { text, summary: String::new() },
                };
                self.start(&id, content, actions)?;
            }
            Said::Complete { id } => {
                let block_id = self.close(&id)?;
                let conversation_id = ConversationId::main();
                actions.push(Action::Emit(Draft::Complete { conversation_id, block_id, content: None }));
            }
            Said::Tool { id, name, input } => {
                let call = ToolUse {
                    tool_use_id: id.clone().into_owned(),
                    tool_name: name,
                    input_json: input.get().to_owned(),
                    status: ExecutionStatus::Running,
                    display_name: String::new(),
                    description: String::new(),
                };
                self.start(&id, Content::ToolUse(call), actions)?;
            }
            Said::ToolResult { id, tool, output, is_error, duration_ms, exit_code } => {
                let call = self.close(&tool)?;
                let status = if is_error { ExecutionStatus::Failed } else { ExecutionStatus::Succeeded };
                let result = ToolResult {
                    tool_use_id: tool.into_owned(),
                    is_error,
                    output: Some(tool_output(output)),
                    duration: Some(Duration::from_millis(duration_ms)),
                    markdown: false,
                    exit_code,
                };
                actions.push(Action::Emit(Draft::CompleteTool { block_id: call, status }));
                actions.push(Action::Emit(Draft::Complete {
                    conversation_id: ConversationId::main(),
                    block_id: BlockId::new(&*id),
                    content: Some(Content::ToolResult(result)),
                }));
            }
            Said::Permission { id, tool, name, input, again } => {
                self.find(&tool)?;
                if self.asks.contains_key(&*id) {
                    return None;
                }
                self.asks.insert(id.clone().into_owned(), Waits { again });
                let mut ask = Ask {
                    agent_request_id: id.into_owned(),
                    conversation_id: ConversationId::main(),
                    tool_use_id: tool.into_owned(),
                    title: format!("Use {name}"),
                    questions: claude::items(&name, input.get()),
                    tool_name: name,
                    input_json: input.get().to_owned(),
                    always: None,
                    cwd: CWD.to_owned(),
                    given_sha256: None,
                    only_by_rule: false,
                };
                ask.always = claude::pattern(&ask, None);
                actions.push(Action::Ask(Box::new(ask)));
            }
            Said::PermissionWithdrawn { id } => {
                self.asks.remove(&*id)?;
                actions.push(Action::AskWithdrawn { agent_request_id: id.into_owned() });
            }
            Said::Usage { model, usage } => {
                self.steps = self.steps.saturating_add(1);
                self.cost_micro_usd = self.cost_micro_usd.saturating_add(usage.cost_micro_usd);
                actions.push(Action::Emit(Draft::Used { conversation_id: ConversationId::main(), usage, model }));
            }
            Said::Result { outcome, message, retryable, usage } => {
                // The session closes what a turn leaves open.
                self.open.clear();
                self.asks.clear();
                (self.steps, self.cost_micro_usd) = (0, 0);
                let outcome = match outcome {
                    Ends::Completed => Outcome::Completed,
                    Ends::Interrupted => Outcome::Interrupted,
                    Ends::Failed => Outcome::Failed(SessionError {
                        reason: Reason::AgentFailed,
                        message,
                        retryable,
                        metadata: BTreeMap::from([("agent".to_owned(), Agent::Scripted.as_str().to_owned())]),
                    }),
                };
                actions.push(Action::TurnEnded(TurnEnd { outcome, usage }));
            }
        }
        Some(())
    }

    fn find(&self, id: &str) -> Option<&BlockId> {
        self.open.iter().rev().find(|open| open.as_str() == id)
    }

    fn start(&mut self, id: &str, content: Content, actions: &mut Vec<Action>) -> Option<()> {
        if self.find(id).is_some() {
            return None;
        }
        let block_id = BlockId::new(id);
        self.open.push(block_id.clone());
        actions.push(Action::Emit(Draft::Start { conversation_id: ConversationId::main(), block_id, content }));
        Some(())
    }

    fn close(&mut self, id: &str) -> Option<BlockId> {
        let at = self.open.iter().rposition(|open| open.as_str() == id)?;
        Some(self.open.remove(at))
    }
}

/// A JSON text is text; any other value stays JSON.
fn tool_output(output: &RawValue) -> ToolOutput {
    match serde_json::from_str(output.get()) {
        Ok(text) => ToolOutput::Text(text),
        Err(_) => ToolOutput::Json(output.get().to_owned()),
    }
}

fn unparsed(bytes: &[u8], left_out: u64) -> Draft {
    let raw = &bytes[..bytes.len().min(UNPARSED_LIMIT)];
    let cut = (bytes.len() - raw.len()) as u64 + left_out;
    Draft::Unparsed { raw: raw.to_vec(), truncated_bytes: i64::try_from(cut).unwrap_or(i64::MAX) }
}

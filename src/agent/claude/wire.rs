//! The wire: lines of `--output-format stream-json`, as far as they are read. Everything else in a line is skipped.
//!
//! Strings are borrowed from the line where they have no escapes. Knows shapes, never what they mean for a session.

use std::{borrow::Cow, collections::BTreeMap, ops::Deref};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A string, borrowed from the line where it has no escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<Text<'_>> for String {
    fn from(text: Text<'_>) -> Self {
        text.0.into_owned()
    }
}

/// What is read of every line: enough for the lines there are most of, so that they are read once.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) subtype: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) event: Option<Event<'a>>,
    #[serde(borrow)]
    pub(super) parent_tool_use_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) user_message_uuid: Option<Text<'a>>,
}

/// The least that makes a line one of the protocol's.
#[derive(Debug, Deserialize)]
pub(super) struct Probe<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
}

/// The `event` of a `stream_event` line: one event of the model's API.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(default)]
    pub(super) index: u32,
    #[serde(borrow)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub(super) content_block: Option<Block<'a>>,
    #[serde(borrow)]
    pub(super) message: Option<Message<'a>>,
}

/// What a block grows by.
#[derive(Debug, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) thinking: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) partial_json: Option<Text<'a>>,
}

/// A content block, whole or as it starts.
#[derive(Debug, Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) thinking: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) tool_use_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    pub(super) is_error: Option<bool>,
    #[serde(borrow)]
    pub(super) source: Option<Source<'a>>,
}

/// Where an image comes from.
#[derive(Debug, Deserialize)]
pub(super) struct Source<'a> {
    #[serde(borrow)]
    pub(super) media_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) data: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) url: Option<Text<'a>>,
}

/// A message of the model's API.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) model: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    /// Of a call of the model as it began: what it read is known then, what it wrote is not.
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
}

/// An `assistant` or a `user` line.
#[derive(Debug, Deserialize)]
pub(super) struct MessageLine<'a> {
    #[serde(borrow)]
    pub(super) message: Message<'a>,
    #[serde(borrow)]
    pub(super) uuid: Option<Text<'a>>,
    /// Code of a failure of the model's API, of which this line tells.
    #[serde(borrow)]
    pub(super) error: Option<Text<'a>>,
    #[serde(default)]
    pub(super) aborted: bool,
    /// Definition of the subagent that says this.
    #[serde(borrow)]
    pub(super) subagent_type: Option<Text<'a>>,
    #[serde(default, rename = "isReplay")]
    pub(super) is_replay: bool,
    #[serde(borrow)]
    pub(super) tool_use_result: Option<&'a RawValue>,
}

/// What the CLI itself knows of a tool's result; another object for each tool.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolOutcome<'a> {
    /// Of a shell command.
    #[serde(borrow)]
    pub(super) stdout: Option<&'a RawValue>,
    /// Of a shell command that did not end with 0 and is no failure all the same.
    #[serde(borrow)]
    pub(super) return_code_interpretation: Option<&'a RawValue>,
    /// Of a shell command that goes on.
    #[serde(borrow)]
    pub(super) background_task_id: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) interrupted: bool,
    /// Of a subagent.
    #[serde(borrow)]
    pub(super) agent_id: Option<&'a RawValue>,
    /// Of a subagent: its answer, between what the CLI notes of it.
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
    /// How many parts of the answer before it, and after it, are notes.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) harness_note_count: usize,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) harness_tail_count: usize,
    /// Of a subagent: "completed", or that it goes on in the background.
    #[serde(borrow)]
    pub(super) status: Option<&'a RawValue>,
    /// Of a subagent: of its last call of the model alone.
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
    pub(super) total_duration_ms: Option<f64>,
    pub(super) duration_ms: Option<f64>,
}

/// A `command_lifecycle` line.
#[derive(Debug, Deserialize)]
pub(super) struct CommandLine<'a> {
    #[serde(borrow)]
    pub(super) command_uuid: Text<'a>,
    #[serde(borrow)]
    pub(super) state: Text<'a>,
}

/// A `control_request` or `control_cancel_request` line.
#[derive(Debug, Deserialize)]
pub(super) struct ControlLine<'a> {
    #[serde(borrow)]
    pub(super) request_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) request: Option<ControlRequest<'a>>,
}

/// What a `control_request` asks for.
#[derive(Debug, Deserialize)]
pub(super) struct ControlRequest<'a> {
    #[serde(borrow, default)]
    pub(super) subtype: Text<'a>,
    #[serde(borrow)]
    pub(super) tool_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) display_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) description: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) tool_use_id: Option<Text<'a>>,
    /// The task of the subagent that asks.
    #[serde(borrow)]
    pub(super) agent_id: Option<Text<'a>>,
    /// Where the rule stands that has it ask, where one alone does.
    #[serde(borrow)]
    pub(super) decision_reason_rule_source: Option<Text<'a>>,
    /// Of `elicitation`: the tool server that asks, and what.
    #[serde(borrow)]
    pub(super) mcp_server_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) message: Option<Text<'a>>,
    /// What the CLI itself would note after an "always".
    #[serde(borrow)]
    pub(super) permission_suggestions: Option<&'a RawValue>,
}

/// A `control_response` line: the CLI answers a request of ours.
#[derive(Debug, Deserialize)]
pub(super) struct ControlAnswerLine<'a> {
    #[serde(borrow)]
    pub(super) response: Option<ControlAnswer<'a>>,
}

/// What a `control_response` says.
#[derive(Debug, Deserialize)]
pub(super) struct ControlAnswer<'a> {
    #[serde(borrow, default)]
    pub(super) subtype: Text<'a>,
    #[serde(borrow)]
    pub(super) request_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) error: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
}

/// What is read of the `system` lines, `auth_status` and `rate_limit_event`.
#[derive(Debug, Deserialize)]
pub(super) struct NoticeLine<'a> {
    #[serde(borrow)]
    pub(super) uuid: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) session_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) model: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) cwd: Option<Text<'a>>,
    #[serde(borrow, rename = "permissionMode")]
    pub(super) permission_mode: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) claude_code_version: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) status: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) error: Option<Text<'a>>,
    pub(super) attempt: Option<u64>,
    pub(super) max_retries: Option<u64>,
    pub(super) retry_delay_ms: Option<f64>,
    pub(super) error_status: Option<u16>,
    #[serde(borrow)]
    pub(super) compact_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) hook_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) hook_event: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) outcome: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) content: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) message: Option<Text<'a>>,
    /// Of `auth_status`: lines for people.
    #[serde(borrow)]
    pub(super) output: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) rate_limit_info: Option<&'a RawValue>,
    /// Of `conversation_reset`: what has the CLI forget.
    #[serde(borrow)]
    pub(super) trigger: Option<Text<'a>>,
}

/// A `task_started`, `task_progress`, `task_updated` or `task_notification` line.
#[derive(Debug, Deserialize)]
pub(super) struct TaskLine<'a> {
    #[serde(borrow)]
    pub(super) uuid: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) task_id: Option<Text<'a>>,
    /// The task that began this one; none: the main conversation did.
    #[serde(borrow)]
    pub(super) parent_task_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) tool_use_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) task_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) subagent_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) prompt: Option<Text<'a>>,
    pub(super) is_backgrounded: Option<bool>,
    /// 1: the main conversation began it.
    pub(super) spawn_depth: Option<u32>,
    #[serde(borrow)]
    pub(super) status: Option<Text<'a>>,
    /// What the subagent answers, or what it was called for, or that it is done: versions differ.
    #[serde(borrow)]
    pub(super) summary: Option<Text<'a>>,
    pub(super) usage: Option<TaskUsage>,
    /// Of a workflow: its phases, its log, and its agents, each with how far it is.
    #[serde(borrow)]
    pub(super) workflow_progress: Option<&'a RawValue>,
    pub(super) patch: Option<TaskPatch>,
}

/// What a task used so far.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TaskUsage {
    /// What the newest call of the model read and wrote.
    #[serde(deserialize_with = "or_default")]
    pub(super) total_tokens: i64,
    pub(super) duration_ms: Option<f64>,
}

/// What of a task changed.
#[derive(Debug, Deserialize)]
pub(super) struct TaskPatch {
    pub(super) is_backgrounded: Option<bool>,
}

/// A `result` line: the agent is done with what it was doing.
#[derive(Debug, Deserialize)]
pub(super) struct ResultLine<'a> {
    #[serde(borrow)]
    pub(super) uuid: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) subtype: Text<'a>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) is_error: bool,
    pub(super) api_error_status: Option<u16>,
    #[serde(borrow)]
    pub(super) terminal_reason: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) result: Option<Text<'a>>,
    /// What had the CLI go on unasked.
    #[serde(borrow)]
    pub(super) origin: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) errors: Option<&'a RawValue>,
    /// Of what the process did in all, and perhaps the processes before it.
    pub(super) total_cost_usd: Option<f64>,
    /// Of the main conversation since the last result.
    pub(super) usage: Option<TurnUsage>,
    /// As `total_cost_usd`, by model; subagents included.
    #[serde(borrow, rename = "modelUsage")]
    pub(super) model_usage: Option<BTreeMap<Text<'a>, ModelUsage>>,
    /// Since the last result, by model; subagents included. Newer versions only.
    #[serde(borrow)]
    pub(super) model_usage_since_last_result: Option<BTreeMap<Text<'a>, ModelUsage>>,
}

/// Tokens as the model's API counts them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TurnUsage {
    #[serde(deserialize_with = "or_default")]
    pub(super) input_tokens: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) output_tokens: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) cache_read_input_tokens: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) cache_creation_input_tokens: i64,
    pub(super) output_tokens_details: Option<OutputDetails>,
}

/// Part of [`TurnUsage`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OutputDetails {
    #[serde(deserialize_with = "or_default")]
    pub(super) thinking_tokens: i64,
}

/// Tokens as the CLI adds them up.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ModelUsage {
    #[serde(deserialize_with = "or_default")]
    pub(super) input_tokens: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) output_tokens: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) cache_read_input_tokens: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) cache_creation_input_tokens: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) thinking_tokens: i64,
    #[serde(rename = "costUSD", deserialize_with = "or_default")]
    pub(super) cost_usd: f64,
}

/// The blocks of a message's `content`, which may also be a bare string.
pub(super) fn blocks(content: &RawValue) -> serde_json::Result<Vec<Block<'_>>> {
    if !content.get().starts_with('"') {
        return serde_json::from_str(content.get());
    }
    let text: Text<'_> = serde_json::from_str(content.get())?;
    Ok(vec![Block {
        kind: Text(Cow::Borrowed("text")),
        id: None,
        name: None,
        input: None,
        text: Some(text),
        thinking: None,
        tool_use_id: None,
        content: None,
        is_error: None,
        source: None,
    }])
}

/// `null` where a number or a flag could stand means that there is nothing to say.
pub(super) fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

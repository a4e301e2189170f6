//! Blocks: the steps of a conversation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BlobData, BlockId, ConversationId, Principal, Timestamp, TurnId};

/// One step of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Unique in its session.
    pub block_id: BlockId,
    /// Where it belongs.
    pub conversation_id: ConversationId,
    /// Turn that produced it; `None` outside a turn.
    pub turn_id: Option<TurnId>,
    /// Whether it can still change.
    pub state: BlockState,
    /// Time of its start event.
    pub create_time: Timestamp,
    /// Unset while streaming.
    pub complete_time: Option<Timestamp>,
    /// Bytes of the growing text kept out of the block.
    pub truncated_bytes: i64,
    /// What it is; for one id always the same sort.
    pub content: Content,
}

/// The life of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockState {
    /// Deltas and updates may follow.
    Streaming,
    /// Final.
    Complete,
    /// Final; its turn ended before the agent finished it.
    Interrupted,
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// What the user said.
    UserMessage(UserMessage),
    /// Text written by the agent. Grows: text.
    AssistantText {
        /// Markdown.
        text: String,
        /// Model that wrote it; empty when unknown.
        model: String,
    },
    /// The agent calls a tool. Grows: input.
    ToolUse(ToolUse),
    /// What a tool returned. Grows: text output.
    ToolResult(ToolResult),
    /// The agent's reasoning. Grows: text.
    Thinking {
        /// As far as the agent shows it.
        text: String,
        /// Short form; empty when there is none.
        summary: String,
    },
    /// Something the runtime or the agent program has to say.
    System {
        /// What it is about.
        kind: NoticeKind,
        /// For people.
        message: String,
        /// A JSON object, or empty.
        metadata_json: String,
    },
    /// The agent hands work to a subagent.
    Subagent(SubagentCall),
    /// An error shown inline.
    Error {
        /// The agent's own code; may be empty.
        code: String,
        /// For people.
        message: String,
    },
}

impl Content {
    /// The text that deltas append to; `None` where nothing grows.
    #[must_use]
    pub fn growing(&self) -> Option<&str> {
        match self {
            Self::AssistantText { text, .. } | Self::Thinking { text, .. } => Some(text),
            Self::ToolUse(tool) => Some(&tool.input_json),
            Self::ToolResult(result) => match &result.output {
                None => Some(""),
                Some(ToolOutput::Text(text)) => Some(text),
                Some(ToolOutput::Json(_) | ToolOutput::Parts(_)) => None,
            },
            Self::UserMessage(_) | Self::System { .. } | Self::Subagent(_) | Self::Error { .. } => None,
        }
    }

    /// As [`Self::growing`], to append to.
    pub fn growing_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::AssistantText { text, .. } | Self::Thinking { text, .. } => Some(text),
            Self::ToolUse(tool) => Some(&mut tool.input_json),
            Self::ToolResult(result) => match result.output.get_or_insert_with(|| ToolOutput::Text(String::new())) {
                ToolOutput::Text(text) => Some(text),
                ToolOutput::Json(_) | ToolOutput::Parts(_) => None,
            },
            Self::UserMessage(_) | Self::System { .. } | Self::Subagent(_) | Self::Error { .. } => None,
        }
    }
}

/// What the user said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMessage {
    /// In order, 1 to 64.
    pub parts: Vec<ContentPart>,
    /// Who sent it.
    pub created_by: Option<Principal>,
}

/// One piece of a message or of a tool's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentPart {
    /// Text.
    Text(String),
    /// An image for the model to look at.
    Image(Blob),
    /// Any other file.
    Attachment(Blob),
    /// An https address of an image.
    ImageUri(String),
    /// A file in the workspace.
    FilePath(String),
}

/// Bytes kept beside the log, named by their hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// SHA-256, 64 lower-case hex digits.
    pub sha256: String,
    /// How many bytes.
    pub size_bytes: i64,
    /// For example "image/png".
    pub media_type: String,
    /// File name to show; may be empty.
    pub name: String,
    /// The bytes themselves, where they are in memory.
    #[serde(skip)]
    pub data: BlobData,
}

/// The agent calls a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// Pairs the call with its result.
    pub tool_use_id: String,
    /// The agent's name of the tool.
    pub tool_name: String,
    /// Arguments as the JSON text the agent sent.
    pub input_json: String,
    /// How far the call is.
    pub status: ExecutionStatus,
    /// Title for people; may be empty.
    pub display_name: String,
    /// What this call is for; may be empty.
    pub description: String,
}

/// How far a tool call or a subagent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionStatus {
    /// Announced.
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended with an error, was rejected or interrupted.
    Failed,
}

/// What a tool returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call this answers.
    pub tool_use_id: String,
    /// The tool failed.
    pub is_error: bool,
    /// Unset while there is none.
    pub output: Option<ToolOutput>,
    /// How long the tool ran.
    pub duration: Option<Duration>,
    /// Show text as Markdown.
    pub markdown: bool,
    /// Exit status of a shell command.
    pub exit_code: Option<i32>,
}

/// The output of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolOutput {
    /// Plain text.
    Text(String),
    /// Any JSON value, as text.
    Json(String),
    /// Text and images mixed.
    Parts(Vec<ContentPart>),
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// The agent program started.
    SessionStart,
    /// The agent program ended.
    SessionEnd,
    /// The agent program reports a problem and goes on.
    Error,
    /// Progress or state.
    Status,
    /// A hook ran.
    HookResponse,
    /// The agent's login changed.
    AuthStatus,
    /// The agent shortened its context.
    Compaction,
    /// Brought back from a checkpoint.
    Restore,
    /// Told to go on after a parked turn.
    Continuation,
}

/// The agent hands work to a subagent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubagentCall {
    /// Conversation of the subagent.
    pub subagent_id: ConversationId,
    /// Its definition.
    pub name: String,
    /// The task it was given.
    pub input: String,
    /// How far it is.
    pub status: ExecutionStatus,
    /// Its answer; empty until it ends.
    pub output: String,
    /// How long it ran.
    pub duration: Option<Duration>,
    /// Tool call that spawned it; may be empty.
    pub tool_use_id: String,
}

/// A typed change of a block: each field that is set replaces its namesake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockPatch {
    /// Of a tool call or a subagent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ExecutionStatus>,
    /// Of a tool call: instead of what deltas built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_json: Option<String>,
    /// Of the block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated_bytes: Option<i64>,
    /// Of a tool result or a subagent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// Of a tool call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Of a tool call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of a thought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Of a subagent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Of a tool result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

//! The record of a session.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ConversationId, ExecutionStatus, LogUid, Principal, ProfileId, Sandbox, SandboxSpec, SeedFile, SessionError,
    SessionId, Timestamp, Usage, WorkspaceSource,
};

/// The agents there are: a closed set, so that every place a new one touches is found by the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agent {
    /// Anthropic's Claude Code CLI.
    ClaudeCode,
    /// A child process of ours that prints an event script.
    Scripted,
}

impl Agent {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ClaudeCode, Self::Scripted];

    /// The canonical name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Scripted => "scripted",
        }
    }

    /// Other names that are accepted for it.
    #[must_use]
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::ClaudeCode => &["claude-agent-sdk"],
            Self::Scripted => &[],
        }
    }

    /// Modes of asking for permission, in the agent's words.
    #[must_use]
    pub fn permission_modes(self) -> &'static [&'static str] {
        match self {
            Self::ClaudeCode => &["default", "acceptEdits", "plan", "bypassPermissions"],
            // It asks where its script says so.
            Self::Scripted => &["default"],
        }
    }

    /// The agent of that name or alias.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|agent| agent.as_str() == name || agent.aliases().contains(&name))
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The record of a session: what `SessionState.session` holds, less what follows from its turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Minted by the server.
    pub session_id: SessionId,
    /// Identity of the event log.
    pub uid: LogUid,
    /// The caller's own key; may be empty.
    pub external_id: String,
    /// Which agent.
    pub agent: Agent,
    /// For people; may be empty.
    pub name: String,
    /// What it is doing.
    pub status: SessionStatus,
    /// The profile it was created with.
    pub profile_id: ProfileId,
    /// The revision it is pinned to.
    pub profile_revision: i64,
    /// Sequence of the newest event folded in.
    pub sequence: i64,
    /// Unset before the first sandbox.
    pub sandbox: Option<Sandbox>,
    /// Which sandbox to use. Not in the contract's record; kept for the next start.
    pub sandbox_spec: SandboxSpec,
    /// Where its workspace starts from. Not in the contract's record; kept for the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceSource>,
    /// Files that its workspace starts with. As `workspace`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seed_files: Vec<SeedFile>,
    /// How the agent is run.
    pub options: SessionOptions,
    /// Totals over all conversations and turns.
    pub usage: Usage,
    /// For filters.
    pub labels: BTreeMap<String, String>,
    /// The caller's own data.
    pub metadata: Option<Metadata>,
    /// Who created it.
    pub created_by: Principal,
    /// When.
    pub create_time: Timestamp,
    /// Time of the newest event.
    pub last_activity_time: Timestamp,
    /// Changes when the caller's part of the record changes.
    pub etag: String,
    /// Why the status is failed.
    pub error: Option<SessionError>,
}

/// The caller's own data: a JSON object, never interpreted.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Ready for a message.
    Idle,
    /// A turn runs.
    Running,
    /// A permission request or question is open.
    AwaitingInput,
    /// Stopped by a call; the next message starts it again.
    Stopped,
    /// Agent or sandbox could not be started.
    Failed,
    /// Deleted.
    Deleted,
}

impl SessionStatus {
    /// As rows and filters spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::AwaitingInput => "awaiting_input",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }
}

/// One strand of talk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// "main", or the subagent's id.
    pub conversation_id: ConversationId,
    /// Conversation that spawned it; `None` for "main".
    pub parent_conversation_id: Option<ConversationId>,
    /// Definition of the subagent; may be empty.
    pub name: String,
    /// How far the subagent is; `None` for "main".
    pub status: Option<ExecutionStatus>,
    /// Tool call that spawned it; may be empty.
    pub tool_use_id: String,
    /// Model in use; may be empty.
    pub model: String,
    /// Totals of this conversation alone.
    pub usage: Usage,
}

impl Conversation {
    /// The conversation between the user and the agent, before anything is known of it.
    #[must_use]
    pub fn main() -> Self {
        Self {
            conversation_id: ConversationId::main(),
            parent_conversation_id: None,
            name: String::new(),
            status: None,
            tool_use_id: String::new(),
            model: String::new(),
            usage: Usage::default(),
        }
    }
}

/// How the agent is run. Unset: as the profile says, else the agent's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionOptions {
    /// In the agent's words; empty: its default.
    pub model: String,
    /// In the agent's words; empty: its default.
    pub permission_mode: String,
    /// Limits that end a turn.
    pub budget: Option<Budget>,
    /// Silence after which the sandbox is stopped.
    pub idle_timeout: Option<Duration>,
}

impl SessionOptions {
    /// With what `defaults` say where these say nothing. A budget is set or not as a whole.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        let text = |own: String, default: &String| if own.is_empty() { default.clone() } else { own };
        Self {
            model: text(self.model, &defaults.model),
            permission_mode: text(self.permission_mode, &defaults.permission_mode),
            budget: self.budget.or_else(|| defaults.budget.clone()),
            idle_timeout: self.idle_timeout.or(defaults.idle_timeout),
        }
    }
}

/// Limits that end a turn. 0 or unset: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Of all turns together.
    pub session_cost_micro_usd: i64,
    /// Of one turn.
    pub turn_cost_micro_usd: i64,
    /// Model calls of one turn.
    pub turn_steps: i32,
    /// Wall-clock time of one turn.
    pub turn_duration: Option<Duration>,
}

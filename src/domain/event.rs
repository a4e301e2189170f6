//! Events: what happened in a session, in order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Block, BlockId, BlockPatch, Conversation, ConversationId, FileChange, InputResolution, Metadata, PermissionRequest,
    PermissionRule, Principal, Question, Sandbox, Session, SessionError, SessionOptions, SessionStatus, Timestamp,
    Turn, Usage,
};

/// One thing that happened in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Place in the log: 1, 2, 3, without holes.
    pub sequence: i64,
    /// First sequence it stands for: less than `sequence` only where events were merged.
    pub first_sequence: i64,
    /// "main", a subagent's, or [`ConversationId::none`].
    pub conversation_id: ConversationId,
    /// When it was recorded; never goes back within a session.
    pub time: Timestamp,
    /// Whose command caused it.
    pub actor: Option<Principal>,
    /// What happened.
    pub kind: Kind,
}

impl Event {
    /// About how many bytes it holds on to: for limits, not for accounts.
    #[must_use]
    pub fn weight(&self) -> usize {
        const SMALL: usize = 512;
        match &self.kind {
            Kind::BlockDelta { delta, .. } => delta.len(),
            Kind::BlockStart { block } | Kind::BlockComplete { block } => {
                SMALL + block.content.growing().map_or(0, str::len)
            }
            Kind::UnparsedOutput { raw, .. } => raw.len(),
            Kind::Log { message, .. } => message.len(),
            Kind::FilesChanged { changes, .. } => changes.len() * SMALL,
            Kind::BlockUpdate { .. }
            | Kind::TurnUpdated { .. }
            | Kind::TurnQueued { .. }
            | Kind::ConversationUpdated { .. }
            | Kind::SessionCreated { .. }
            | Kind::SessionUpdated(_)
            | Kind::StatusChanged { .. }
            | Kind::SandboxChanged { .. }
            | Kind::PermissionRequested { .. }
            | Kind::PermissionResolved { .. }
            | Kind::PermissionRulesChanged { .. }
            | Kind::QuestionRequested { .. }
            | Kind::QuestionResolved { .. }
            | Kind::ErrorOccurred { .. } => SMALL,
        }
    }
}

/// What happened. What each one changes stands in the fold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind {
    /// A block appears.
    BlockStart {
        /// The whole block.
        block: Block,
    },
    /// A streaming block grows.
    BlockDelta {
        /// Which block.
        block_id: BlockId,
        /// Whole characters, never empty.
        delta: String,
        /// Bytes the growing text holds before this delta.
        offset: i64,
    },
    /// A block is patched.
    BlockUpdate {
        /// Which block.
        block_id: BlockId,
        /// What is replaced.
        patch: BlockPatch,
    },
    /// A block is final.
    BlockComplete {
        /// The whole block.
        block: Block,
    },
    /// A turn changed.
    TurnUpdated {
        /// The whole turn.
        turn: Turn,
    },
    /// A message was accepted and waits.
    TurnQueued {
        /// The whole turn, with its message.
        turn: Turn,
    },
    /// A conversation began, used tokens, changed its model, or got on.
    ConversationUpdated {
        /// The whole conversation.
        conversation: Conversation,
        /// Total of the session so far.
        session_usage: Usage,
    },
    /// The log begins.
    SessionCreated {
        /// The whole record.
        session: Box<Session>,
    },
    /// The caller's part of the record changed.
    SessionUpdated(SessionUpdate),
    /// The session does something else now.
    StatusChanged {
        /// What.
        status: SessionStatus,
        /// For people; may be empty.
        reason: String,
        /// Set when it failed.
        error: Option<SessionError>,
    },
    /// The sandbox changed.
    SandboxChanged {
        /// The whole description.
        sandbox: Sandbox,
    },
    /// The agent asks for permission.
    PermissionRequested {
        /// The whole request.
        permission: PermissionRequest,
    },
    /// A permission request is answered or over.
    PermissionResolved {
        /// Which one.
        permission_id: String,
        /// How it ended.
        resolution: InputResolution,
    },
    /// The standing answers changed.
    PermissionRulesChanged {
        /// All of them.
        rules: Vec<PermissionRule>,
    },
    /// The agent asks a question.
    QuestionRequested {
        /// The whole question.
        question: Question,
    },
    /// A question is answered or over.
    QuestionResolved {
        /// Which one.
        question_id: String,
        /// How it ended.
        resolution: InputResolution,
    },
    /// The workspace changed.
    FilesChanged {
        /// In order.
        changes: Vec<FileChange>,
        /// The next one belongs to the same batch.
        more: bool,
    },
    /// Something failed outside a call and outside a turn.
    ErrorOccurred {
        /// What.
        error: SessionError,
    },
    /// A line for people who look after the runtime.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// The line.
        message: String,
    },
    /// Output of the agent program that could not be read.
    UnparsedOutput {
        /// The first bytes of it.
        #[serde(with = "bytes_as_base64")]
        raw: Vec<u8>,
        /// Bytes left out.
        truncated_bytes: i64,
    },
}

/// The caller's part of a session's record, as totals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionUpdate {
    /// For people.
    pub name: String,
    /// For filters.
    pub labels: BTreeMap<String, String>,
    /// The caller's own data.
    pub metadata: Option<Metadata>,
    /// How the agent is run.
    pub options: SessionOptions,
    /// Of the new record.
    pub etag: String,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// For debugging.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Something went wrong.
    Error,
}

/// Bytes inside JSON text.
/// Bytes, as JSON spells them.
pub(super) mod bytes_as_base64 {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(in crate::domain) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in crate::domain) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

//! What can go wrong, in the words of the contract's `ErrorReason`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why something failed. Each stands for the `ErrorReason` of the same name, which says when it happens, with
        /// which code, and whether a retry helps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As `ErrorInfo.reason` spells it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// A field has a value that is not allowed, or not applied yet.
    InvalidField = "INVALID_FIELD",
    /// Not built or not offered.
    NotImplemented = "NOT_IMPLEMENTED",
    /// Over a size limit.
    MessageTooLarge = "MESSAGE_TOO_LARGE",
    /// A path leaves the workspace.
    WorkspacePath = "WORKSPACE_PATH",
    /// The request id was used for something else.
    RequestIdReused = "REQUEST_ID_REUSED",
    /// Another session has this external id.
    ExternalIdInUse = "EXTERNAL_ID_IN_USE",
    /// The record changed since it was read.
    EtagMismatch = "ETAG_MISMATCH",
    /// No credential.
    AuthMissing = "AUTH_MISSING",
    /// A credential that is not valid.
    AuthInvalid = "AUTH_INVALID",
    /// The credential lacks the scope.
    AccessDenied = "ACCESS_DENIED",
    /// The tenant has all it may have.
    QuotaExceeded = "QUOTA_EXCEEDED",
    /// Too many calls.
    RateLimited = "RATE_LIMITED",
    /// No such session.
    SessionNotFound = "SESSION_NOT_FOUND",
    /// No such turn.
    TurnNotFound = "TURN_NOT_FOUND",
    /// No such permission request.
    PermissionNotFound = "PERMISSION_NOT_FOUND",
    /// No such rule.
    PermissionRuleNotFound = "PERMISSION_RULE_NOT_FOUND",
    /// No such question.
    QuestionNotFound = "QUESTION_NOT_FOUND",
    /// No such block.
    BlockNotFound = "BLOCK_NOT_FOUND",
    /// The session does not hold these bytes.
    BlobNotFound = "BLOB_NOT_FOUND",
    /// No such file.
    FileNotFound = "FILE_NOT_FOUND",
    /// No such profile or revision.
    ProfileNotFound = "PROFILE_NOT_FOUND",
    /// No such key.
    ApiKeyNotFound = "API_KEY_NOT_FOUND",
    /// A turn is active.
    SessionBusy = "SESSION_BUSY",
    /// The queue is full.
    QueueFull = "QUEUE_FULL",
    /// The turn already reached the agent.
    TurnStarted = "TURN_STARTED",
    /// The turn already ended.
    TurnFinished = "TURN_FINISHED",
    /// Answered before.
    AlreadyResolved = "ALREADY_RESOLVED",
    /// A limit of the budget is reached.
    BudgetExhausted = "BUDGET_EXHAUSTED",
    /// The turn was taken out of the queue.
    TurnCancelled = "TURN_CANCELLED",
    /// Nobody can know how the turn went.
    TurnLost = "TURN_LOST",
    /// The sequence is older than what is kept.
    SequenceTruncated = "SEQUENCE_TRUNCATED",
    /// The sequence is above the head.
    SequenceAhead = "SEQUENCE_AHEAD",
    /// The log is another one.
    SessionReplaced = "SESSION_REPLACED",
    /// The caller has too many watches.
    TooManyWatchers = "TOO_MANY_WATCHERS",
    /// The agent program or its login is missing.
    AgentUnavailable = "AGENT_UNAVAILABLE",
    /// The agent program failed.
    AgentFailed = "AGENT_FAILED",
    /// The model provider refused.
    ModelProviderLimit = "MODEL_PROVIDER_LIMIT",
    /// The provider cannot give what the spec asks for.
    SandboxUnsuitable = "SANDBOX_UNSUITABLE",
    /// The sandbox could not be started or was lost.
    SandboxFailed = "SANDBOX_FAILED",
    /// The sandbox was made where this server cannot ask for it.
    SandboxOutOfReach = "SANDBOX_OUT_OF_REACH",
    /// One thing the agent printed cannot be stored.
    BlockTooLarge = "BLOCK_TOO_LARGE",
    /// The database does not answer.
    StorageUnavailable = "STORAGE_UNAVAILABLE",
    /// The server drains.
    ShuttingDown = "SHUTTING_DOWN",
    /// Another server owns the database.
    SecondServer = "SECOND_SERVER",
    /// The disk of the database is full.
    StorageFull = "STORAGE_FULL",
}

/// One field of a request that is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, for example `options.model`.
    pub field: String,
    /// The rule it breaks, for people.
    pub rule: String,
}

/// Why a command was refused. The one error type of the core; `grpc` maps it to a status in one place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure.
    pub reason: Reason,
    /// For people: what happened and what to do about it.
    pub message: String,
    /// The keys the contract shows at the reason.
    pub metadata: BTreeMap<&'static str, String>,
    /// The fields at fault, for [`Reason::InvalidField`].
    pub violations: Vec<Violation>,
}

impl Failure {
    /// A failure without metadata.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), metadata: BTreeMap::new(), violations: Vec::new() }
    }

    /// Adds one key of metadata.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.insert(key, value.to_string());
        self
    }

    /// A field of a request that breaks a rule.
    pub fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        let violation = Violation { field: field.into(), rule: rule.into() };
        let mut failure = Self::new(Reason::InvalidField, format!("{}: {}", violation.field, violation.rule))
            .with("field", &violation.field)
            .with("rule", &violation.rule);
        failure.violations.push(violation);
        failure
    }

    /// A session that does not exist for the caller.
    #[must_use]
    pub fn session_not_found(session: &super::SessionId) -> Self {
        Self::new(Reason::SessionNotFound, format!("there is no session {session}")).with("session_id", session)
    }

    /// The same failure as a turn, a session or an error event tells it.
    #[must_use]
    pub fn into_session_error(self, retryable: bool) -> SessionError {
        SessionError {
            reason: self.reason,
            message: self.message,
            retryable,
            metadata: self.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        }
    }
}

/// An error outside a call: of a turn, of a session, or told by an error event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionError {
    /// What sort of failure.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// Sending the same message again may succeed.
    pub retryable: bool,
    /// The keys the contract shows at the reason.
    pub metadata: BTreeMap<String, String>,
}

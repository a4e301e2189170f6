//! What a session is: ids, blocks, turns, events, and the fold that makes a state out of events.
//!
//! A leaf: it knows no wire, no database, no process and no clock but [`Timestamp::now`]. Every type mirrors the message
//! of the same name in the contract, where its fields are explained; here stands what the contract cannot say.

mod blob_data;
mod block;
mod checkpoint;
mod command;
mod error;
mod event;
mod fold;
mod ids;
mod ledger;
mod meter;
mod modal;
mod path;
mod permission;
mod price;
mod principal;
mod profile;
mod profile_change;
mod profile_whole;
mod request;
mod sandbox;
mod session;
mod state;
mod text;
mod time;
mod turn;
mod usage;
mod workspace;

pub use blob_data::BlobData;
pub use block::{
    Blob, Block, BlockPatch, BlockState, Content, ContentPart, ExecutionStatus, NoticeKind, SubagentCall, ToolOutput,
    ToolResult, ToolUse, UserMessage,
};
pub use checkpoint::{Checkpoint, ParserState};
pub use command::{Busy, Command, Effect};
pub use error::{Failure, Reason, SessionError, Violation};
pub use event::{Event, Kind, LogLevel, SessionUpdate};
pub use fold::Change;
pub use ids::{
    BlockId, ConversationId, ExecId, LogUid, ProfileId, RequestId, SandboxId, SessionId, SessionKey, TenantId, TurnId,
};
pub use ledger::{LedgerEntry, LedgerFacts, LedgerOrigin, LedgerSnapshot, LedgerState, ListedSandbox, SessionSandbox};
pub use meter::{Limit, Meter};
pub use modal::{ModalGpu, ModalNetwork, ModalSettings};
pub use path::{PathRule, WorkspacePath};
pub use permission::{
    Asked, CarriedAnswer, InputOutcome, InputResolution, PermissionAnswer, PermissionEffect, PermissionOption,
    PermissionOptionKind, PermissionPolicy, PermissionRequest, PermissionRule, Question, QuestionAnswer,
    QuestionChoice, QuestionItem, SILENCE,
};
pub use price::PRICES;
pub use principal::{Caller, Principal, PrincipalKind, Scope};
pub use profile::{
    McpServer, McpTransport, Profile, ProfileFile, ProfileSetup, Secret, Skill, SlashCommand, SubagentDefinition,
};
pub use profile_change::{KeptSecret, ProfileChange, ProfileField, SecretPlace};
pub use profile_whole::MAX_PROFILE_BYTES;
pub use request::{FirstAnswer, REQUEST_RETENTION, Remembered, Request};
pub use sandbox::{Isolation, Sandbox, SandboxSpec, SandboxStatus};
pub use session::{Agent, Budget, Conversation, Metadata, Session, SessionOptions, SessionStatus};
pub use state::SessionState;
pub use time::Timestamp;
pub use turn::{Moving, Turn, TurnOrigin, TurnStatus};
pub use usage::Usage;
pub use workspace::{
    ArchiveFormat, FileChange, FileChangeKind, FileChangeOrigin, FileType, SeedFile, WorkspaceFile, WorkspaceSource,
};

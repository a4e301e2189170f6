//! Requests to what the core works with. Every field of a request is taken, refused by name, or does not compile: requests
//! are taken apart whole. All that is wrong with a request is told at once.
//!
//! What is refused only because it is not built yet stands in [`super::fields`], and `tests/contract` holds the two
//! together.

mod blocks;
mod check;
mod content;
mod files;
mod git;
mod message;
mod metadata;
mod options;
mod path;
mod permission;
mod policy;
mod profile;
mod request;
mod sandbox;
mod sandboxes;
mod session;
mod source;
mod turn;
mod update;
mod watch;
mod workspace;

pub use blocks::{ListBlocks, list_blocks};
pub use content::{ReadBlob, ReadBlockContent, read_blob, read_block_content};
pub use message::{Resume, RunTurn, SendMessage, run_turn, send_message};
pub use permission::{
    AnswerQuestion, DeletePermissionRule, ResolvePermission, answer_question, delete_permission_rule,
    list_permission_rules, resolve_permission,
};
pub use profile::{
    GetProfile, ListProfiles, create_profile, delete_profile, get_profile, list_profiles, update_profile,
};
pub use sandboxes::{ListSandboxes, list_sandboxes};
pub use session::{
    DeleteSession, ListSessions, StopSession, WatchSessions, create_session, delete_session, get_session,
    list_sessions, stop_session, watch_sessions,
};
pub use turn::{CancelTurn, GetTurn, InterruptTurn, ListTurns, cancel_turn, get_turn, interrupt_turn, list_turns};
pub use update::{SyncSession, UpdateSession, sync_session, update_session};
pub use watch::{LONGEST_SILENCE, Watch, watch_session};
pub use workspace::{
    ListFiles, ReadFile, UploadFile, Uploaded, delete_file, list_files, read_file, upload_file, upload_piece,
    write_file,
};

use crate::{domain::Failure, proto, session::MAX_INLINE_BLOCK_BYTES};

/// The text of a message, all parts together. As much as a block holds inline, because what a user said is never cut.
pub const MAX_MESSAGE_TEXT: usize = MAX_INLINE_BLOCK_BYTES;
/// Parts of one message.
pub const MAX_PARTS: usize = 64;
/// Labels of a session.
pub const MAX_LABELS: usize = 32;
/// Metadata as JSON, in bytes.
pub const MAX_METADATA: usize = 64 * 1024;
/// Names, in characters.
pub const MAX_NAME: usize = 200;
/// Ids, in characters.
pub const MAX_ID: usize = 128;
/// What an agent is told with a rejection, in characters.
pub const MAX_ANSWER: usize = 4096;
/// Input to use instead of the agent's, in bytes.
pub const MAX_EDITED_INPUT: usize = MAX_INLINE_BLOCK_BYTES;
/// Rules of a profile's policy, and those of a session.
pub const MAX_RULES: usize = crate::domain::PermissionRule::MOST;
/// Which inputs a rule is about, in characters.
pub const MAX_PATTERN: usize = 4096;
/// Description of a profile, in characters.
pub const MAX_DESCRIPTION: usize = 1000;
/// A prompt, a memory file or a skill's body, in bytes.
pub const MAX_PROMPT: usize = 256 * 1024;
/// What says when a skill or a subagent is used, in characters.
pub const MAX_WHEN: usize = 1024;
/// The value of a secret, in bytes.
pub const MAX_SECRET: usize = 32 * 1024;
/// Names of models, in characters.
pub const MAX_MODEL: usize = 128;
/// A file that comes within a request, in bytes.
pub const MAX_WRITE_FILE: usize = 1 << 20;
/// A file or archive that is uploaded, in bytes.
pub const MAX_UPLOAD: u64 = 1 << 30;
/// One piece of it, in bytes.
pub const MAX_UPLOAD_PIECE: usize = 1 << 20;
/// Files that a session is created with.
pub const MAX_WORKSPACE_FILES: usize = 100;
/// All of them together, in bytes.
pub const MAX_WORKSPACE_FILES_BYTES: usize = 3 << 20;
/// The archive that a session is created with, in bytes.
pub const MAX_SOURCE_ARCHIVE: usize = 3 << 20;

/// `GetRuntimeInfo` asks for nothing in particular.
///
/// # Errors
/// None yet: there is no field to refuse.
pub fn get_runtime_info(request: proto::GetRuntimeInfoRequest) -> Result<(), Failure> {
    let proto::GetRuntimeInfoRequest {} = request;
    Ok(())
}

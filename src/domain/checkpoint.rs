//! What a session can be brought back from when its sandbox is gone.

use serde::{Deserialize, Serialize};

use super::{Timestamp, TurnId};

/// Conversation and workspace as they were at one event: the two belong together, so that an agent that is brought back
/// remembers no file that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The turn at whose end it was made; `None`: not at one.
    pub turn_id: Option<TurnId>,
    /// Of the newest event that it has the effects of.
    pub sequence: i64,
    /// Of the sandbox it was made of.
    pub generation: i32,
    /// The parser's checkpoint; `None`: no agent ran yet.
    pub parser: Option<ParserState>,
    /// SHA-256 of the bytes that list the workspace.
    pub manifest: String,
    /// Entries of the manifest.
    pub files: i64,
    /// Of all files together.
    pub bytes: i64,
    /// When it was made.
    pub create_time: Timestamp,
}

/// The checkpoint of an agent's parser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParserState {
    /// Format of `state`.
    pub version: i32,
    /// Read by the parser alone.
    pub state: String,
}

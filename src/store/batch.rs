//! What goes into a store: batches, and bytes that go ahead of them.

use serde::{Deserialize, Serialize};

use crate::domain::{
    Block, BlockId, Checkpoint, Conversation, Event, ExecId, PermissionRequest, PermissionRule, Question, Remembered,
    SandboxId, Session, SessionKey, Turn, WorkspaceFile,
};

/// What one owner appends to one session at once: stored as a whole or not at all.
#[derive(Clone, Debug)]
pub struct Batch {
    /// To which session.
    pub key: SessionKey,
    /// Of the owner.
    pub epoch: i64,
    /// Sequence of the newest event before these.
    pub head: i64,
    /// Dense, from `head + 1` on.
    pub events: Vec<Event>,
    /// The record, where more of it changed than sequence and time.
    pub record: Option<Session>,
    /// The parts of the state that these events changed, each as it is after them.
    pub parts: Vec<Part>,
    /// Where reading the agent's output stands.
    pub exec: Option<ExecMark>,
    /// Bytes to give to the agent, because of these events.
    pub stdin: Vec<StdinRow>,
    /// Calls that have their effect with this batch; an effect may be that there was nothing to do.
    pub calls: Vec<Remembered>,
    /// What these events leave out or name, kept beside the log.
    pub beside: Beside,
    /// A checkpoint as of these events, instead of the one before.
    pub checkpoint: Option<NewCheckpoint>,
    /// How much of what a program is given its sandbox has taken, where that should be noted: the bytes need not be kept.
    pub stdin_taken: Option<(ExecId, u64)>,
    /// This batch deletes the session: nothing but [`Store::events`] finds it afterwards.
    pub deletes: bool,
}

impl Batch {
    /// One that carries nothing yet.
    #[must_use]
    pub fn new(key: SessionKey, epoch: i64, head: i64) -> Self {
        let (events, parts, stdin, calls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            key,
            epoch,
            head,
            events,
            record: None,
            parts,
            exec: None,
            stdin,
            calls,
            beside: Beside::default(),
            checkpoint: None,
            stdin_taken: None,
            deletes: false,
        }
    }
}

/// One part of the state. For lists the place is the order in which the parts were first put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A turn.
    Turn(Turn),
    /// A block. Deltas alone put none: the events have them.
    Block(Block),
    /// A conversation.
    Conversation(Conversation),
    /// A permission request.
    Permission(PermissionRequest),
    /// A question.
    Question(Question),
    /// All standing answers.
    PermissionRules(Vec<PermissionRule>),
    /// A file; `None`: it is gone.
    File(String, Option<WorkspaceFile>),
}

/// Where reading the output of one program stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecMark {
    /// Which program.
    pub exec_id: ExecId,
    /// Where it runs.
    pub sandbox_id: SandboxId,
    /// Of that sandbox.
    pub generation: i32,
    /// All events of the bytes before it are stored.
    pub stdout_offset: u64,
    /// As `stdout_offset`.
    pub stderr_offset: u64,
    /// Format of `parser_state`.
    pub parser_version: i32,
    /// The parser's checkpoint at `stdout_offset`; `None`: as stored before.
    pub parser_state: Option<String>,
    /// What was read before it and is not in events yet.
    pub held: Vec<Held>,
    /// It ended.
    pub ended: bool,
}

/// The end of a block's text that is held back because it may be the beginning of a secret's value. Never the text itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whose.
    pub block_id: BlockId,
    /// The name of the secret.
    pub secret: String,
    /// How many bytes of the value.
    pub bytes: u64,
    /// Tells the value from another one that has the name later.
    pub check: u32,
}

/// Bytes that a program is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StdinRow {
    /// Which program.
    pub exec_id: ExecId,
    /// Where they stand in all it is given.
    pub offset: u64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What is kept beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Text of blocks that is not inline.
    pub texts: Vec<TextPiece>,
    /// Bytes that blocks name.
    pub blobs: Vec<BlobBytes>,
    /// SHA-256 of bytes that were put ahead ([`crate::store::Store::put_blobs`]) and that these events name.
    pub names: Vec<String>,
}

/// A checkpoint, and what becomes of the bytes that it and the one before need, told in proportion to what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCheckpoint {
    /// The checkpoint. Its manifest was put ahead, or is among [`Beside::blobs`].
    pub checkpoint: Checkpoint,
    /// SHA-256 of the bytes that this checkpoint needs and the one before did not: put ahead, or among [`Beside::blobs`].
    /// One that both need may be among them.
    pub adds: Vec<String>,
    /// SHA-256 of the bytes that the checkpoint before needed and this one does not. What is among `adds` too stays.
    pub drops: Vec<String>,
}

/// A part of a block's text that is not inline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPiece {
    /// Whose.
    pub block_id: BlockId,
    /// Bytes of the text before it, inline ones too.
    pub offset: u64,
    /// At most [`Piece::BYTES`]; may be cut inside a character.
    pub data: Vec<u8>,
    /// Instead of all that was kept of the block before.
    pub anew: bool,
}

/// Bytes named by their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobBytes {
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A part of bytes that are put ahead of the batch that names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobPiece {
    /// Of all bytes: SHA-256, lower-case hex.
    pub sha256: String,
    /// How many there are in all.
    pub size: u64,
    /// How many come before this piece.
    pub offset: u64,
    /// The piece.
    pub data: Vec<u8>,
}

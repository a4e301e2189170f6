//! Storage: what is kept of sessions, and in what form. SQL lives here and nowhere else.
//!
//! A room of its own: it knows the domain. It does not know how sequences are given out (`log`) or who owns a session.
//! What it returns is always committed: snapshots, lists and pages are read from here, never from memory.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;

use crate::domain::{
    Block, BlockId, Checkpoint, ConversationId, Event, LogUid, PermissionRequest, PermissionRule, Profile, ProfileId,
    Question, Remembered, RequestId, SandboxId, Session, SessionId, SessionKey, SessionState, SessionStatus, TenantId,
    Timestamp, Turn, TurnId, TurnStatus, WorkspaceFile,
};

mod batch;
mod codec;
mod horizon;
mod ledger;
mod listing;
mod parts;
mod sqlite;

pub use batch::{Batch, Beside, BlobBytes, BlobPiece, ExecMark, Held, NewCheckpoint, Part, StdinRow, TextPiece};
pub use ledger::{LedgerQuery, LedgerRows};
pub use listing::{ChangesPage, ChangesQuery, ListChange, ListedChange, SessionFilter};
pub use parts::parts_of;
pub use sqlite::{SqliteStore, owner_address};

/// A database of sessions. Every implementation passes the suite in `tests/store.rs` unchanged.
#[async_trait]
pub trait Store: LedgerRows + fmt::Debug + Send + Sync {
    /// Stores a session with its first events. The head must be 0, the epoch of the batch 0.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there is or was a session of that id, [`Error::ExternalIdInUse`],
    /// [`Error::RequestIdInUse`], [`Error::Corrupt`] when it names bytes that are not there, [`Error::Unavailable`].
    async fn create_session(&self, session: &Session, batch: &Batch) -> Result<(), Error>;

    /// Makes the caller the owner of a session: raises its epoch, so that earlier owners can append no more, and returns
    /// what the new one has to know. `None`: there is no such session, or it is deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn acquire(&self, key: &SessionKey) -> Result<Option<Acquired>, Error>;

    /// Appends batches of several sessions in one transaction: all that can be are stored, and the answer says for each
    /// in order whether it was. A batch whose epoch or head does not match is [`Error::Conflict`], one of an unknown
    /// session [`Error::NotFound`], one with a hole in its events or that names bytes that are not there whole
    /// [`Error::Corrupt`], one with a request id that stands for another call [`Error::RequestIdInUse`]; none hinders the
    /// others.
    ///
    /// # Errors
    /// The outer one when nothing was stored. After [`Error::Unavailable`] or [`Error::Full`] it is not known whether the
    /// transaction took effect; sending the same batches again settles it, because a batch that was stored is a conflict
    /// then, with the head it left.
    async fn append(&self, batches: &[Batch]) -> Result<Vec<Result<(), Error>>, Error>;

    /// Events after a sequence, oldest first, at most `limit` and about 256 KiB of them, and the head as of the same moment.
    /// An event that follows compacted ones stands for them too.
    ///
    /// # Errors
    /// [`Error::NotFound`] also for deleted sessions' keys that were purged, [`Error::Unavailable`], [`Error::Corrupt`].
    async fn events(&self, key: &SessionKey, after: i64, limit: usize) -> Result<EventPage, Error>;

    /// Everything there is to show of a session, as of its head. `None`: no such session, or deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn snapshot(&self, key: &SessionKey) -> Result<Option<SessionState>, Error>;

    /// The same but for the blocks that are final, which [`Store::final_blocks`] has in pages: so that a long session
    /// can be shown without being held in memory. `None`: no such session, or deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn snapshot_head(&self, key: &SessionKey) -> Result<Option<SnapshotHead>, Error>;

    /// The blocks there were at `sequence`, in order, after the place given; about `max_bytes` of them, at least one.
    /// None is left: there are no more. `None`: no such session, or deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn final_blocks(
        &self,
        key: &SessionKey,
        sequence: i64,
        after: i64,
        max_bytes: usize,
    ) -> Result<Option<Vec<PlacedBlock>>, Error>;

    /// The record of a session and the turns that are not over. `None`: no such session, or deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn session(&self, key: &SessionKey) -> Result<Option<SessionView>, Error>;

    /// A page of a tenant's sessions, newest first by creation; deleted ones are left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn sessions(&self, tenant: &TenantId, query: &SessionQuery) -> Result<Vec<SessionView>, Error>;

    /// The newest revision of a tenant's list: that of its last change that lists show. 0: there was none.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn revision(&self, tenant: &TenantId) -> Result<i64, Error>;

    /// Sessions of a tenant that changed, each once and as it is now, by the revision of its newest change.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn changes(&self, tenant: &TenantId, query: ChangesQuery<'_>) -> Result<ChangesPage, Error>;

    /// A page of a conversation's blocks, and the head it is true at. `None`: no such session, or deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn blocks(&self, key: &SessionKey, query: &BlockQuery) -> Result<Option<BlockPage>, Error>;

    /// The text of a block from a byte on, all of it or a piece, whether it is inline or not; as far as it is committed.
    /// `None`: no such block.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`], [`Error::Corrupt`].
    async fn block_text(&self, key: &SessionKey, id: &BlockId, offset: u64) -> Result<Option<Piece>, Error>;

    /// The turn that a block belongs to. `None`: it has none, or there is no such block or session.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn block_turn(&self, key: &SessionKey, id: &BlockId) -> Result<Option<TurnId>, Error>;

    /// Bytes named by their hash, from one of them on, all or a piece. `None`: the session does not name such bytes.
    ///
    /// A session names what its batches brought or named ([`Beside`]) for as long as it is there: versions of files that an
    /// event told of can be read whatever became of the files. What only its newest checkpoint needs can be read as long as
    /// that is the newest, and may be gone after the one that drops it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    async fn blob(&self, key: &SessionKey, sha256: &str, offset: u64) -> Result<Option<Piece>, Error>;

    /// Keeps bytes ahead of the batch that names them, all of these pieces in one transaction: a few MiB at once, so that
    /// others get in between. The pieces of one blob come in order, from 0 on, and with the last one it is whole. Until
    /// then it can be neither read nor named, and goes like whatever nobody names.
    ///
    /// `by` says whose pieces they are: those of others do not matter to them, and a piece at 0 begins anew. Pieces that
    /// are there already, or are of a blob that is whole, change nothing, so the same ones can be put again. Whoever puts
    /// the last piece has made sure that the bytes have this hash.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a piece does not follow those before it, or does not fit its size; what was put before may
    /// have been collected. [`Error::Unavailable`], [`Error::Full`].
    async fn put_blobs(&self, tenant: &TenantId, by: &str, pieces: &[BlobPiece]) -> Result<(), Error>;

    /// Which of these bytes the tenant has whole, in order. Those count as named just now, so that a collection that is due
    /// cannot take them before the batch that names them.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Full`].
    async fn held_blobs(&self, tenant: &TenantId, sha256: &[String]) -> Result<Vec<bool>, Error>;

    /// The newest checkpoint. `None`: there is none yet, or no such session, or it is deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn checkpoint(&self, key: &SessionKey) -> Result<Option<Checkpoint>, Error>;

    /// A page of the workspace's files as of the head, sorted by the bytes of their paths. `None`: no such session, or
    /// deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn files(&self, key: &SessionKey, query: &FileQuery) -> Result<Option<FilePage>, Error>;

    /// One file of the workspace as of the head. `None`: no such file.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`], [`Error::Corrupt`].
    async fn file(&self, key: &SessionKey, path: &str) -> Result<Option<WorkspaceFile>, Error>;

    /// Sessions that have a turn that is not over or a sandbox that runs: what a server looks after when it starts.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn unfinished(&self) -> Result<Vec<SessionKey>, Error>;

    /// Number of a tenant's sessions whose sandbox runs.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn active_sessions(&self, tenant: &TenantId) -> Result<i64, Error>;

    /// Compacts the logs that changed: removes deltas older than `before` of text that a later event, older than `before`
    /// too, tells whole. What a reader folds stays the same.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn compact(&self, before: Timestamp) -> Result<(), Error>;

    /// Removes events older than `before` from all logs, as far as they are compacted, but never the newest of a session.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn trim(&self, before: Timestamp) -> Result<(), Error>;

    /// Removes all that is stored of sessions deleted before `before`, but for the tombstones that keep their ids from
    /// being used again. Returns the sandboxes they had.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn purge(&self, before: Timestamp) -> Result<Vec<SandboxId>, Error>;

    /// Removes bytes that no session names, and that were neither named nor put ahead since `before`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn collect_blobs(&self, before: Timestamp) -> Result<(), Error>;

    /// Stores a revision of a profile, and the call that asked for it; the revision before must be there, or be none.
    ///
    /// # Errors
    /// [`Error::Conflict`] when that revision is there already, [`Error::RequestIdInUse`], [`Error::Unavailable`].
    async fn put_profile(&self, tenant: &TenantId, profile: &Profile, call: Option<&Remembered>) -> Result<(), Error>;

    /// Takes a profile from its list, and the call that asked for it; `revision` must be the newest. What no session
    /// needs is gone then, the rest stays to be read by number.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another revision is the newest, or none, [`Error::RequestIdInUse`],
    /// [`Error::Unavailable`].
    async fn delete_profile(
        &self,
        tenant: &TenantId,
        id: &ProfileId,
        revision: i64,
        call: Option<&Remembered>,
    ) -> Result<(), Error>;

    /// Remembers a call that had nothing to change.
    ///
    /// # Errors
    /// [`Error::RequestIdInUse`], [`Error::Unavailable`].
    async fn remember(&self, tenant: &TenantId, call: &Remembered) -> Result<(), Error>;

    /// A revision of a profile; 0: the newest, which a deleted one has not.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn profile(&self, tenant: &TenantId, id: &ProfileId, revision: i64) -> Result<Option<Profile>, Error>;

    /// Newest revisions of a tenant's profiles, by name and id, after the one given, without what they set up.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn profiles(
        &self,
        tenant: &TenantId,
        after: Option<&(String, ProfileId)>,
        limit: usize,
    ) -> Result<Vec<Profile>, Error>;

    /// The call that a request id stands for at a time. `None`: none yet, or none any more.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn request(&self, tenant: &TenantId, id: &RequestId, now: Timestamp) -> Result<Option<Remembered>, Error>;

    /// Removes the calls that need not be remembered any more, and returns how many there were.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn forget_requests(&self, now: Timestamp) -> Result<u64, Error>;

    /// Sequence of the event that ended a turn, where that comes after `after`. `None`: it is not over, or the session is
    /// gone.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn turn_end(&self, key: &SessionKey, turn_id: &TurnId, after: i64) -> Result<Option<i64>, Error>;

    /// A turn, also one that is over. `None`: no such turn, or no such session.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn turn(&self, key: &SessionKey, turn_id: &TurnId) -> Result<Option<Turn>, Error>;

    /// A page of a session's turns. `None`: no such session, or deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn turns(&self, key: &SessionKey, query: &TurnQuery) -> Result<Option<TurnPage>, Error>;

    /// A permission request, also one that is over. `None`: no such request, or no such session.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn permission(&self, key: &SessionKey, permission_id: &str) -> Result<Option<PermissionRequest>, Error>;

    /// A question, also one that is over. `None`: no such question, or no such session.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn question(&self, key: &SessionKey, question_id: &str) -> Result<Option<Question>, Error>;

    /// The rules of a session, oldest first. `None`: no such session.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`].
    async fn permission_rules(&self, key: &SessionKey) -> Result<Option<Vec<PermissionRule>>, Error>;

    /// Tries whether the database takes a transaction and the disk keeps it, by a small one that needs space. After an
    /// error of the disk it is also what makes the store usable again: nothing is trusted then that was open before.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Unavailable`].
    async fn probe(&self) -> Result<(), Error>;

    /// Finishes what is under way and closes the database.
    async fn close(&self);
}

/// A part of something long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// From the byte asked for on; empty only at or beyond the end.
    pub data: Vec<u8>,
    /// How long the whole is.
    pub end: u64,
}

impl Piece {
    /// The most that one piece has.
    pub const BYTES: usize = 256 << 10;
}

/// What a new owner has to know.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// Of the new owner.
    pub epoch: i64,
    /// The record, the conversations, the standing answers, the turns that are not over, the blocks that are not final
    /// with all their text, and the permission requests and questions that are open. Nothing else: what is over is not
    /// needed, and may be long.
    pub open: SessionState,
    /// The newest program of the session, with its parser's checkpoint (`parser_state` is set).
    pub exec: Option<ExecMark>,
    /// What that program is given, by offset; but for what its sandbox was noted to have taken
    /// ([`Batch::stdin_taken`]), of which the newest row is here too, because it tells where the next one begins.
    pub stdin: Vec<StdinRow>,
    /// First sequence that the log has.
    pub oldest_sequence: i64,
}

/// A run of events.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<Event>,
    /// Sequence of the newest event there is.
    pub head: i64,
    /// Events up to here are gone; what follows an earlier sequence cannot be had, and then there are none here.
    pub trimmed: i64,
    /// Of the log.
    pub uid: LogUid,
    /// The session is deleted: `head` is the last event there will be.
    pub deleted: bool,
}

/// A snapshot but for its final blocks.
#[derive(Clone, Debug)]
pub struct SnapshotHead {
    /// As of its sequence. Of the blocks only those that stream.
    pub state: SessionState,
    /// Places of the blocks that stream.
    pub places: Vec<i64>,
}

/// A block and its place among all blocks of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedBlock {
    /// Grows from block to block; never below 1.
    pub place: i64,
    /// `None`: it was written again since, or streamed then.
    pub block: Option<Block>,
}

/// A session as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// The record.
    pub session: Session,
    /// A watch can begin after this sequence minus one, or later.
    pub oldest_sequence: i64,
    /// The turn that is running, awaiting input or parked.
    pub active_turn: Option<Turn>,
    /// Next first.
    pub queued_turns: Vec<Turn>,
    /// Permission requests that wait, oldest first. Filled by [`Store::session`] only.
    pub open_permissions: Vec<PermissionRequest>,
    /// Questions that wait, oldest first. Filled by [`Store::session`] only.
    pub open_questions: Vec<Question>,
}

/// Which sessions, and from where on.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    /// With this status.
    pub status: Option<SessionStatus>,
    /// Of this profile.
    pub profile_id: Option<ProfileId>,
    /// With this key of the caller's.
    pub external_id: Option<String>,
    /// All must match.
    pub labels: BTreeMap<String, String>,
    /// Created up to this revision of the list.
    pub as_of: Option<i64>,
    /// Creation and id of the last one of the page before.
    pub before: Option<(Timestamp, SessionId)>,
    /// At most so many.
    pub limit: usize,
}

/// Which blocks, and from where on.
#[derive(Clone, Debug)]
pub struct BlockQuery {
    /// Of which conversation.
    pub conversation_id: ConversationId,
    /// The other way round.
    pub newest_first: bool,
    /// [`BlockPage::next`] of the page before.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: usize,
    /// The page ends before it gets larger than this, but has at least one block.
    pub max_bytes: usize,
}

/// A page of blocks.
#[derive(Clone, Debug)]
pub struct BlockPage {
    /// In the order asked for.
    pub blocks: Vec<Block>,
    /// Place to go on from; `None` on the last page.
    pub next: Option<i64>,
    /// Head of the log that the page is true at.
    pub sequence: i64,
}

/// Which turns, and from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnQuery {
    /// With this status.
    pub status: Option<TurnStatus>,
    /// The other way round.
    pub newest_first: bool,
    /// [`TurnPage::next`] of the page before.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: usize,
    /// The page ends before it gets larger than this, but has at least one turn.
    pub max_bytes: usize,
}

/// A page of turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnPage {
    /// In the order asked for.
    pub turns: Vec<Turn>,
    /// Place to go on from; `None` on the last page.
    pub next: Option<i64>,
}

/// Which files, and from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileQuery {
    /// Only what lies below this folder; empty: everything.
    pub prefix: String,
    /// Path of the last one of the page before.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A page of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePage {
    /// By the bytes of their paths.
    pub files: Vec<WorkspaceFile>,
    /// Others follow.
    pub more: bool,
}

/// What goes wrong with a database. Typed by what the caller can do about it; the text is for logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The batch does not fit: another owner, or another head.
    #[error("the session is at epoch {epoch} and head {head}, not at the ones given")]
    Conflict {
        /// Now.
        epoch: i64,
        /// Now.
        head: i64,
    },
    /// Another session of the tenant has the external id.
    #[error("session {0} has this external id")]
    ExternalIdInUse(SessionId),
    /// The profile of a new session was deleted.
    #[error("profile {0} was deleted")]
    ProfileDeleted(ProfileId),
    /// The request id stands for another call.
    #[error("request id {0} stands for another call")]
    RequestIdInUse(RequestId),
    /// There is nothing of that key.
    #[error("there is no such session")]
    NotFound,
    /// Another server owns this database.
    #[error("another server owns this database{}", .0.as_deref().map(|at| format!(" and serves at {at}")).unwrap_or_default())]
    Owned(Option<String>),
    /// The database does not answer, or not in time.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// There is no space left for the database; nothing was stored.
    #[error("there is no space left for the database: {0}")]
    Full(String),
    /// What is stored cannot be read.
    #[error("the database holds what this build cannot read: {0}")]
    Corrupt(String),
}

impl Error {
    /// The database or its disk does not do its part now, and may later.
    #[must_use]
    pub fn is_of_storage(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Full(_) => true,
            Self::Conflict { .. }
            | Self::ExternalIdInUse(_)
            | Self::ProfileDeleted(_)
            | Self::RequestIdInUse(_)
            | Self::NotFound
            | Self::Owned(_)
            | Self::Corrupt(_) => false,
        }
    }
}

//! Calls that change the files of a session: carried out between two looks, so that what an agent changed before is told as
//! the agent's, and what the call changed as the caller's.

use std::{fs::File, io::Seek as _, sync::Arc};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{
    Reply,
    ahead::hex,
    look::{Eyes, Known, Look, Seen},
};
use crate::{
    domain::{ArchiveFormat, Failure, FileChangeOrigin, Principal, Reason, Request, WorkspaceFile},
    sandbox::{self, Content, Root},
    workspace::{self, ArchiveLimits},
};

/// A call that changes files.
pub(super) struct Edit {
    pub(super) change: Change,
    pub(super) by: Principal,
    pub(super) request: Option<Request>,
    pub(super) reply: Reply<Changed>,
}

/// What it is to do.
#[derive(Clone, Debug)]
pub enum Change {
    /// Write a file, whole.
    Write {
        /// Where.
        path: String,
        /// Unix permission bits.
        mode: u32,
        /// What.
        content: Given,
        /// Only if this is so.
        condition: Condition,
    },
    /// Unpack an archive into a folder.
    Unpack {
        /// How it is packed.
        format: ArchiveFormat,
        /// The archive.
        archive: Given,
        /// The folder; empty: the workspace.
        under: String,
    },
    /// Delete a file, a link or an empty folder.
    Delete {
        /// Which.
        path: String,
        /// Only if this is so.
        condition: Condition,
    },
}

/// Bytes that a call brought.
#[derive(Clone, Debug)]
pub enum Given {
    /// Few.
    Memory(Bytes),
    /// Many, in a file without a name.
    Spooled(Arc<File>, u64),
}

/// What must be so before a file is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Any,
    /// There is no such file.
    Absent,
    /// It has this SHA-256.
    Sha256(String),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The file as it is now.
    Written(WorkspaceFile),
    /// So many files came out of the archive.
    Unpacked(i32),
    /// It is gone.
    Deleted,
}

/// What came of a call.
pub(super) struct Edited {
    pub(super) edit: Edit,
    /// What others had changed before.
    pub(super) before: Option<Seen>,
    pub(super) outcome: Result<(Seen, Changed), Failure>,
}

impl Given {
    fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Spooled(_, size) => *size,
        }
    }

    /// As a file, from its first byte.
    pub(super) fn file(&self) -> Result<File, sandbox::Error> {
        let failed = |error: std::io::Error| sandbox::Error::Unavailable(format!("what was uploaded is gone: {error}"));
        match self {
            Self::Memory(bytes) => {
                use std::io::Write as _;
                let mut file = tempfile::tempfile().map_err(failed)?;
                file.write_all(bytes).and_then(|()| file.rewind()).map_err(failed)?;
                Ok(file)
            }
            Self::Spooled(file, _) => {
                let mut file = file.try_clone().map_err(failed)?;
                file.rewind().map_err(failed)?;
                Ok(file)
            }
        }
    }

    fn sha256(&self) -> Result<String, sandbox::Error> {
        let failed = |error: std::io::Error| sandbox::Error::Unavailable(format!("what was uploaded is gone: {error}"));
        let mut digest = Sha256::new();
        match self {
            Self::Memory(bytes) => digest.update(bytes),
            Self::Spooled(..) => drop(std::io::copy(&mut self.file()?, &mut digest).map_err(failed)?),
        }
        Ok(hex(digest.finalize()))
    }

    fn content(&self) -> Result<Content, sandbox::Error> {
        match self {
            Self::Memory(bytes) => Ok(Content::Bytes(bytes.clone())),
            Self::Spooled(..) => self.file().map(Content::File),
        }
    }
}

/// Carries a call out. `checkpoint`: no turn is active, so what is there now is what a new sandbox begins with.
pub(super) async fn run(eyes: Eyes, known: Option<Known>, edit: Edit, checkpoint: bool) -> Edited {
    let look = Look { origin: FileChangeOrigin::Agent, checkpoint: false };
    let mut before = match eyes.look(known, look).await {
        Ok(seen) => seen,
        Err(failure) => return Edited { edit, before: None, outcome: Err(failure) },
    };
    let outcome = async {
        let changed = carry_out(&eyes, &edit.change).await?;
        let look = Look { origin: FileChangeOrigin::Client, checkpoint };
        let mut seen = eyes.look(Some(before.known.clone()), look).await?;
        seen.notes.append(&mut before.notes);
        Ok((seen, changed))
    }
    .await;
    Edited { edit, before: Some(before), outcome }
}

async fn carry_out(eyes: &Eyes, change: &Change) -> Result<Changed, Failure> {
    let refused = |error: sandbox::Error| refusal(eyes, error);
    match change {
        Change::Write { path, mode, content, condition } => {
            if let Err(failure) = check(eyes, path, condition).await {
                // The call may be the repetition of one that was cut before its effect was recorded: then it is done.
                let there = entry(eyes, path).await?.filter(|file| file.mode == *mode);
                let hash = content.sha256().map_err(refused)?;
                return there.filter(|file| file.sha256 == hash).map(Changed::Written).ok_or(failure);
            }
            let (bytes, size) = (content.content().map_err(refused)?, content.size());
            let written = eyes.files.write(Root::Workspace, path, *mode, bytes, size).await;
            written.map(|entry| Changed::Written(entry.file)).map_err(refused)
        }
        Change::Unpack { format, archive, under } => {
            let archive = archive.file().map_err(refused)?;
            let unpacked = eyes.files.unpack(*format, archive, under, ArchiveLimits::default()).await;
            let unpacked = unpacked.map_err(refused)?;
            Ok(Changed::Unpacked(i32::try_from(unpacked).unwrap_or(i32::MAX)))
        }
        Change::Delete { path, condition } => {
            check(eyes, path, condition).await?;
            eyes.files.delete(Root::Workspace, path).await.map_err(refused)?;
            Ok(Changed::Deleted)
        }
    }
}

async fn check(eyes: &Eyes, path: &str, condition: &Condition) -> Result<(), Failure> {
    let wanted = match condition {
        Condition::Any => return Ok(()),
        Condition::Absent => None,
        Condition::Sha256(hash) => Some(hash.as_str()),
    };
    let there = entry(eyes, path).await?;
    if there.as_ref().map(|file| file.sha256.as_str()) == wanted {
        return Ok(());
    }
    let is = there.map(|file| file.sha256).unwrap_or_default();
    let message = format!("{path:?} is not what if_sha256 says; read it again");
    Err(Failure::new(Reason::EtagMismatch, message).with("path", path).with("sha256", is))
}

async fn entry(eyes: &Eyes, path: &str) -> Result<Option<WorkspaceFile>, Failure> {
    match eyes.files.entry(Root::Workspace, path).await {
        Ok(entry) => Ok(Some(entry.file)),
        Err(sandbox::Error::Files(workspace::Error::NotFound { .. })) => Ok(None),
        Err(error) => Err(refusal(eyes, error)),
    }
}

/// Why a call is refused, in the contract's words.
fn refusal(eyes: &Eyes, error: sandbox::Error) -> Failure {
    let sandbox::Error::Files(error) = error else { return eyes.failure(&error) };
    let message = error.to_string();
    match error {
        workspace::Error::Path { path, rule } => {
            Failure::new(Reason::WorkspacePath, message).with("path", path).with("rule", rule)
        }
        workspace::Error::NotFound { path } => Failure::new(Reason::FileNotFound, message).with("path", path),
        workspace::Error::Sort { path, is, wanted } => Failure::new(Reason::WorkspacePath, message)
            .with("path", path)
            .with("rule", format!("is {is}, not {wanted}")),
        workspace::Error::NotEmpty { path } => {
            Failure::new(Reason::WorkspacePath, message).with("path", path).with("rule", "is not empty")
        }
        workspace::Error::TooLarge { what, limit } => {
            Failure::new(Reason::MessageTooLarge, message).with("field", what).with("limit", limit)
        }
        workspace::Error::Archive(_) => Failure::invalid("data", message),
        workspace::Error::Source(_)
        | workspace::Error::Manifest(_)
        | workspace::Error::Content { .. }
        | workspace::Error::Gone(_)
        | workspace::Error::Io { .. } => eyes.failure(&sandbox::Error::Files(error)),
    }
}

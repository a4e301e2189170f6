//! The files of a session's workspace, as calls read and write them. What is read is what the events told: it is the same
//! whether a sandbox runs or not.

use super::{
    Content, Incoming, Manager,
    edit::{Change, Changed},
};
use crate::{
    domain::{
        ArchiveFormat, Caller, Failure, Reason, Request, RequestId, SessionId, SessionKey, Timestamp, WorkspaceFile,
        WorkspacePath,
    },
    log::{failure, unavailable},
    store::{self, FilePage, FileQuery},
};

/// A file to write, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteFile {
    /// Of which session.
    pub session_id: SessionId,
    /// Where.
    pub path: WorkspacePath,
    /// Unix permission bits.
    pub mode: u32,
    /// What it holds then.
    pub content: Content,
    /// What must be there before.
    pub expect: Option<Expected>,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// An archive to unpack, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpack {
    /// Of which session.
    pub session_id: SessionId,
    /// Into which folder; `None`: into the workspace itself.
    pub folder: Option<WorkspacePath>,
    /// How it is packed.
    pub format: ArchiveFormat,
    /// The archive.
    pub content: Content,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// A file, link or empty folder to delete, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteFile {
    /// Of which session.
    pub session_id: SessionId,
    /// Which.
    pub path: WorkspacePath,
    /// What it must hold, when there is something it must.
    pub expect_sha256: Option<String>,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// What a file must be before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It holds bytes of this hash.
    Sha256(String),
    /// It is not there.
    Absent,
}

/// What became of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Files written.
    pub files: i32,
}

impl Manager {
    /// A page of a workspace's files, as they are stored.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::StorageUnavailable`].
    pub async fn list_files(&self, key: &SessionKey, query: &FileQuery) -> Result<FilePage, Failure> {
        let page = self.log().store().files(key, query).await.map_err(|error| failure(error, key))?;
        page.ok_or_else(|| Failure::session_not_found(&key.session))
    }

    /// One file of a workspace, as it is stored.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::FileNotFound`], [`Reason::StorageUnavailable`].
    pub async fn file(&self, key: &SessionKey, path: &WorkspacePath) -> Result<WorkspaceFile, Failure> {
        let file = self.log().store().file(key, path.as_str()).await.map_err(|error| failure(error, key))?;
        let missing =
            || Failure::new(Reason::FileNotFound, format!("there is no file {:?} in the workspace", path.as_str()));
        file.ok_or_else(|| missing().with("path", path))
    }

    /// Takes in the bytes of a call, before it is made. What would be refused anyway is refused before they come; a call
    /// that may have been made before is not, because it is answered as it was then.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn incoming(
        &self,
        caller: &Caller,
        session: &SessionId,
        request: Option<&RequestId>,
    ) -> Result<Incoming, Failure> {
        self.open()?;
        let store = self.log().store();
        let known = match request {
            Some(id) => {
                store.request(&caller.tenant, id, Timestamp::now()).await.map_err(|error| unavailable(&error))?
            }
            None => None,
        };
        if known.is_none() {
            self.view(&SessionKey { tenant: caller.tenant.clone(), session: session.clone() }).await?;
        }
        Incoming::begin(&self.config().spool).await
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`Reason::WorkspacePath`], [`Reason::EtagMismatch`] and whatever [`Manager::change`] gives.
    pub async fn write_file(&self, caller: &Caller, write: WriteFile) -> Result<WorkspaceFile, Failure> {
        let WriteFile { session_id, path, mode, content, expect, request } = write;
        let change = Change::Write { path, mode, content, expect };
        match self.change(caller, &session_id, change, request).await? {
            Changed::Written(file) => Ok(file),
            Changed::Unpacked(_) | Changed::Deleted => Err(other()),
        }
    }

    /// Unpacks an archive: all of it or nothing.
    ///
    /// # Errors
    /// [`Reason::InvalidField`] for what is no archive or leads out, [`Reason::FileTooLarge`] over a limit, and whatever
    /// [`Manager::change`] gives.
    pub async fn unpack(&self, caller: &Caller, unpack: Unpack) -> Result<Unpacked, Failure> {
        let Unpack { session_id, folder, format, content, request } = unpack;
        match self.change(caller, &session_id, Change::Unpack { format, content, folder }, request).await? {
            Changed::Unpacked(unpacked) => Ok(unpacked),
            Changed::Written(_) | Changed::Deleted => Err(other()),
        }
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// [`Reason::WorkspacePath`], [`Reason::FileNotFound`], [`Reason::EtagMismatch`] and whatever [`Manager::change`] gives.
    pub async fn delete_file(&self, caller: &Caller, delete: DeleteFile) -> Result<(), Failure> {
        let DeleteFile { session_id, path, expect_sha256, request } = delete;
        let expect = expect_sha256.map(Expected::Sha256);
        match self.change(caller, &session_id, Change::Delete { path, expect }, request).await? {
            Changed::Deleted => Ok(()),
            Changed::Written(_) | Changed::Unpacked(_) => Err(other()),
        }
    }
}

/// The actor answers what it was asked; it would be a mistake of ours.
fn other() -> Failure {
    unavailable(&store::Error::Corrupt("a call got the answer to another one".to_owned()))
}

//! The files of a sandbox, with or without a program that runs in it. Paths are relative to one of its two roots and never
//! lead out of it.
//!
//! It must not know how a sandbox keeps its files. Trees, scopes and manifests are the workspace room's own.

use std::{collections::BTreeMap, fmt, fs::File, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::Error;
use crate::{
    domain::{ArchiveFormat, FileType, WorkspaceFile},
    workspace::{ArchiveLimits, Cloning, Copying, Entry, GitSource, Restored, Scope, Tree},
};

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// The agent's working directory.
    Workspace,
    /// `HOME` of the agent.
    Home,
}

/// Bytes to be written.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a file, from where it stands to its end.
    File(File),
}

/// A file that is read.
pub struct Reading {
    /// As it was when it was opened, whatever the offset.
    pub file: WorkspaceFile,
    /// From the offset to its end.
    pub bytes: BoxStream<'static, Result<Bytes, Error>>,
}

/// Gives bytes by their hash.
#[async_trait]
pub trait Contents: fmt::Debug + Send + Sync {
    /// All bytes of this SHA-256. Whoever reads them checks them.
    ///
    /// # Errors
    /// When they cannot be had.
    async fn open(&self, sha256: &str) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error>;
}

/// Hints that something may have changed. An error among them says that from here on not everything is told, and why; whoever
/// wants to know more looks now and then. Behind it come those that can still be had. They end, after such an error, when
/// nothing is told any more.
pub type Hints = BoxStream<'static, Result<(), Error>>;

/// Where a workspace starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A repository, and what may be cloned.
    Git(GitSource, Cloning),
    /// A directory of the server's machine, and what may be copied.
    Directory(PathBuf, Copying),
}

/// The files of one sandbox.
///
/// # Errors
/// All methods: [`Error::Files`], whose cause says what to do; [`Error::Gone`] when the sandbox is not there any more;
/// [`Error::Unavailable`].
#[async_trait]
pub trait Files: fmt::Debug + Send + Sync {
    /// Looks at a tree; `known` is what an earlier look found and saves reading it again.
    async fn scan(&self, root: Root, scope: Scope, known: Arc<Tree>) -> Result<Tree, Error>;

    /// Describes one entry.
    async fn entry(&self, root: Root, path: &str) -> Result<Entry, Error>;

    /// Reads a file from `offset` on; beyond its end there is nothing to read.
    async fn read(&self, root: Root, path: &str, offset: u64) -> Result<Reading, Error>;

    /// All bytes of a file that has at most `most`. A larger one is refused without being read: whoever looks at what an
    /// agent can write does not know its size.
    async fn read_small(&self, root: Root, path: &str, most: u64) -> Result<Bytes, Error>;

    /// The bytes of several files that have at most `most` together, as far as they can be read, by path: one that cannot,
    /// or is none, is missing.
    async fn read_all(&self, root: Root, paths: &[String], most: u64) -> Result<BTreeMap<String, Bytes>, Error>;

    /// Writes a file of at most `limit` bytes, whole or not at all; missing folders are made.
    async fn write(&self, root: Root, path: &str, mode: u32, content: Content, limit: u64) -> Result<Entry, Error>;

    /// Deletes a file, a link or an empty directory, and says what it was.
    async fn delete(&self, root: Root, path: &str) -> Result<FileType, Error>;

    /// Unpacks an archive into the workspace's folder `under`, all of it or nothing. Says how many files it brought.
    async fn unpack(
        &self,
        format: ArchiveFormat,
        archive: File,
        under: &str,
        limits: ArchiveLimits,
    ) -> Result<usize, Error>;

    /// Makes what `scope` shows of a tree equal to these entries, one half of a manifest.
    async fn restore(
        &self,
        root: Root,
        scope: Scope,
        files: Vec<WorkspaceFile>,
        contents: Arc<dyn Contents>,
    ) -> Result<Restored, Error>;

    /// Fills an empty workspace. Giving up the call ends it, with nothing brought in.
    async fn seed(&self, source: Source) -> Result<(), Error>;

    /// Tells that something in the workspace may have changed, never what: a look tells. Several changes may be told as
    /// one.
    async fn hints(&self) -> Result<Hints, Error>;
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("file", &self.file).finish_non_exhaustive()
    }
}

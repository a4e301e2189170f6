//! The files of a sandbox of Modal: everything is done by helpers in it, each of which costs a few round trips, so a call
//! takes as few as it can. What needs no sandbox is done on this machine: archives are read, repositories cloned and
//! contents checked in a folder here, and arrive as one tar stream.
//!
//! | call | helpers |
//! |---|---|
//! | `scan` | 1; 1 more where a file was moved to where it is or changed while it was read, at most 3 |
//! | `entry`, `read`, `read_small`, `write`, `delete` | 1 |
//! | `read_all` | 1 |
//! | `unpack` | 2: what stands in the way, then everything |
//! | `restore` | 1 where all is right; 2 into an empty folder; 1 more where files may be right already |
//! | `seed` | 2: whether it is empty, then everything |
//! | `hints` | 1 at a time, for as long as they are asked for |
//!
//! It must not know how helpers are run. Nothing here walls an agent off: the sandbox does. Links that lead out of a folder
//! are refused all the same, so that a path means the same in every sandbox.

mod bring;
mod codes;
mod entries;
mod hints;
mod records;
mod scan;
mod script;
mod sending;

use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::task::TaskTracker;

pub use self::hints::WATCH;
use self::script::{ASIDE, Script};
use super::helper::{Done, Helper, Input};
use crate::{
    domain::{ArchiveFormat, FileType, WorkspaceFile},
    sandbox::{Content, Contents, Error, Files, Hints, Paths, Reading, Root, Source},
    workspace::{ArchiveLimits, Entry, Restored, Scope, Tree},
};

/// How everything that this process puts aside in sandboxes is called, and nobody else's.
static RUN: LazyLock<String> = LazyLock::new(|| format!("{:016x}", rand::random::<u64>()));
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Most that a helper prints that says little.
const LITTLE: usize = 64 * 1024;

/// The files of one sandbox, through the helpers that can be run in it.
#[derive(Clone, Debug)]
pub struct ModalFiles {
    helper: Arc<dyn Helper>,
    paths: Paths,
    /// A directory of this machine that only this process uses.
    staging: PathBuf,
    /// How long what watches runs at most.
    watch: Duration,
    tracker: TaskTracker,
}

impl ModalFiles {
    /// Of the sandbox that `helper` runs programs in. `staging` is a directory of this machine where things are put together,
    /// made when it is needed, which nobody else uses; the owner of `tracker` waits for what is done there. `watch` is how long
    /// what watches runs at most before it is started anew: [`WATCH`].
    #[must_use]
    pub fn new(helper: Arc<dyn Helper>, paths: Paths, staging: PathBuf, watch: Duration, tracker: TaskTracker) -> Self {
        Self { helper, paths, staging, watch, tracker }
    }

    fn root(&self, root: Root) -> &str {
        match root {
            Root::Workspace => &self.paths.workspace,
            Root::Home => &self.paths.home,
        }
    }

    /// Runs a helper that does something with `path` and prints at most `most` bytes.
    async fn run(
        &self,
        script: Script,
        root: Root,
        path: &str,
        arguments: &[&str],
        input: Input,
        most: usize,
    ) -> Result<Bytes, Error> {
        let Done { code, stdout, stderr } =
            self.helper.run(script.command(self.root(root), arguments), input, most).await?;
        codes::failure(code, path, &stderr).map_or(Ok(stdout), Err)
    }
}

/// A name for what is put aside in a sandbox.
fn aside() -> String {
    format!("{ASIDE}{}-{}", *RUN, NEXT.fetch_add(1, Ordering::Relaxed))
}

#[async_trait]
impl Files for ModalFiles {
    async fn scan(&self, root: Root, scope: Scope, known: Arc<Tree>) -> Result<Tree, Error> {
        self.look(root, &scope, &known).await
    }

    async fn entry(&self, root: Root, path: &str) -> Result<Entry, Error> {
        self.describe(root, path).await
    }

    async fn read(&self, root: Root, path: &str, offset: u64) -> Result<Reading, Error> {
        self.open(root, path, offset).await
    }

    async fn read_small(&self, root: Root, path: &str, most: u64) -> Result<Bytes, Error> {
        self.small(root, path, most).await
    }

    async fn read_all(&self, root: Root, paths: &[String], most: u64) -> Result<BTreeMap<String, Bytes>, Error> {
        self.several(root, paths, most).await
    }

    async fn write(&self, root: Root, path: &str, mode: u32, content: Content, limit: u64) -> Result<Entry, Error> {
        self.put(root, path, mode, content, limit).await
    }

    async fn delete(&self, root: Root, path: &str) -> Result<FileType, Error> {
        self.take_away(root, path).await
    }

    async fn unpack(
        &self,
        format: ArchiveFormat,
        archive: File,
        under: &str,
        limits: ArchiveLimits,
    ) -> Result<usize, Error> {
        self.bring_archive(format, archive, under, limits).await
    }

    async fn restore(
        &self,
        root: Root,
        scope: Scope,
        files: Vec<WorkspaceFile>,
        contents: Arc<dyn Contents>,
    ) -> Result<Restored, Error> {
        self.bring_tree(root, &scope, files, contents).await
    }

    async fn seed(&self, source: Source) -> Result<(), Error> {
        self.bring_source(source).await
    }

    async fn hints(&self) -> Result<Hints, Error> {
        hints::watch(Arc::clone(&self.helper), &self.paths.workspace, self.watch).await
    }
}

//! The files of a local sandbox: the workspace room's operations, run where blocking is allowed, as tasks that the
//! provider waits for when it shuts down. Every call opens the folders anew, so that a sandbox that was made again or
//! destroyed meanwhile is seen as what it is.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    sync::Arc,
    thread,
};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use futures::stream::{self, StreamExt as _};
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::task::TaskTracker;

use super::super::blocking::{GiveUp, blocking, content_of};
use crate::{
    domain::{ArchiveFormat, FileType, WorkspaceFile},
    sandbox::{Content, Contents, Error, Files, Hints, Reading, Root, Source},
    supervisor::folder,
    workspace::{
        self, ArchiveLimits, Entry, Folder, Restored, Scope, Tree, clone, copy_directory, restore, scan, unpack,
    },
};

/// Most bytes of a file read at once.
const CHUNK: usize = 64 * 1024;

/// The files of one sandbox.
#[derive(Clone, Debug)]
pub(super) struct LocalFiles {
    workspace: PathBuf,
    home: PathBuf,
    /// Beside both, where no program of a walled sandbox sees it.
    staging: PathBuf,
    tracker: TaskTracker,
}

impl LocalFiles {
    pub(super) fn new(folder: &folder::Folder, tracker: TaskTracker) -> Self {
        Self { workspace: folder.workspace(), home: folder.home(), staging: folder.base().join("staging"), tracker }
    }

    /// Does something with one of the folders.
    async fn with<T: Send + 'static>(
        &self,
        root: Root,
        work: impl FnOnce(&Folder) -> Result<T, workspace::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let files = self.clone();
        Ok(blocking(&self.tracker, move || work(&files.open(root)?)).await??)
    }

    fn open(&self, root: Root) -> Result<Folder, workspace::Error> {
        let folder = match root {
            Root::Workspace => &self.workspace,
            Root::Home => &self.home,
        };
        Folder::open(folder, &self.staging)
    }
}

impl From<workspace::Error> for Error {
    fn from(error: workspace::Error) -> Self {
        match error {
            workspace::Error::Gone(what) => Self::Gone(what),
            error => Self::Files(error),
        }
    }
}

#[async_trait]
impl Files for LocalFiles {
    async fn scan(&self, root: Root, scope: Scope, known: Arc<Tree>) -> Result<Tree, Error> {
        self.with(root, move |folder| scan(folder, &scope, &known)).await
    }

    async fn entry(&self, root: Root, path: &str) -> Result<Entry, Error> {
        let path = path.to_owned();
        self.with(root, move |folder| folder.entry(&path)).await
    }

    async fn read(&self, root: Root, path: &str, offset: u64) -> Result<Reading, Error> {
        let path = path.to_owned();
        let (file, content) = self
            .with(root, move |folder| {
                let workspace::Opened { file, mut content } = folder.read(&path)?;
                content.seek(SeekFrom::Start(offset)).map_err(|error| unreadable(&path, &error))?;
                Ok((file, content))
            })
            .await?;
        let reader = Reader { content, path: file.path.clone(), tracker: self.tracker.clone() };
        Ok(Reading { file, bytes: stream::try_unfold(reader, Reader::next).boxed() })
    }

    async fn read_small(&self, root: Root, path: &str, most: u64) -> Result<Bytes, Error> {
        let path = path.to_owned();
        Ok(self.with(root, move |folder| folder.read_small(&path, most)).await?.into())
    }

    async fn read_all(&self, root: Root, paths: &[String], most: u64) -> Result<BTreeMap<String, Bytes>, Error> {
        let paths = paths.to_owned();
        self.with(root, move |folder| folder.read_all(&paths, most)).await
    }

    async fn write(&self, root: Root, path: &str, mode: u32, content: Content, limit: u64) -> Result<Entry, Error> {
        let path = path.to_owned();
        self.with(root, move |folder| match content {
            Content::Bytes(bytes) => folder.write(&path, mode, &mut bytes.reader(), limit),
            Content::File(mut file) => folder.write(&path, mode, &mut file, limit),
        })
        .await
    }

    async fn delete(&self, root: Root, path: &str) -> Result<FileType, Error> {
        let path = path.to_owned();
        self.with(root, move |folder| folder.delete(&path)).await
    }

    async fn unpack(
        &self,
        format: ArchiveFormat,
        archive: File,
        under: &str,
        limits: ArchiveLimits,
    ) -> Result<usize, Error> {
        let under = under.to_owned();
        self.with(Root::Workspace, move |folder| unpack(folder, format, archive, &under, limits)).await
    }

    async fn restore(
        &self,
        root: Root,
        scope: Scope,
        files: Vec<WorkspaceFile>,
        contents: Arc<dyn Contents>,
    ) -> Result<Restored, Error> {
        let handle = Handle::current();
        self.with(root, move |folder| {
            restore(folder, &scope, &files, &mut |sha256| content_of(&*contents, &handle, sha256))
        })
        .await
    }

    async fn seed(&self, source: Source) -> Result<(), Error> {
        let stop = GiveUp::default();
        let stopped = stop.is_given_up();
        self.with(Root::Workspace, move |folder| match source {
            Source::Git(source, cloning) => clone(folder, &source, &cloning, &stopped),
            Source::Directory(from, copying) => copy_directory(folder, &from, &copying).map(drop),
        })
        .await
    }

    async fn hints(&self) -> Result<Hints, Error> {
        let files = self.clone();
        let watched = move || workspace::Hints::new(files.open(Root::Workspace)?);
        let (mut hints, stop) = blocking(&self.tracker, watched).await??;
        let (tell, told) = mpsc::channel(1);
        // A thread of its own: it waits for as long as somebody listens, and would take one of those that others wait for.
        let waits = move || {
            let mut whole = true;
            loop {
                if let Some(missing) = hints.missing().filter(|_| whole) {
                    whole = false;
                    if tell.blocking_send(Err(missing.clone().into())).is_err() {
                        return;
                    }
                }
                match hints.wait() {
                    // One that was not taken yet stands for this one too.
                    Ok(true) => drop(tell.try_send(Ok(()))),
                    Ok(false) => return,
                    // Unless nobody listens any more.
                    Err(error) => return drop(tell.blocking_send(Err(error.into()))),
                }
            }
        };
        let started = thread::Builder::new().name("workspace-hints".to_owned()).spawn(waits);
        started.map_err(|error| Error::Unavailable(format!("the workspace cannot be watched: {error}")))?;
        // When the stream is dropped, so is `stop`, and the thread ends.
        Ok(stream::unfold((told, stop), |(mut told, stop)| async move {
            told.recv().await.map(|hint| (hint, (told, stop)))
        })
        .boxed())
    }
}

/// A file on its way out.
struct Reader {
    content: File,
    path: String,
    tracker: TaskTracker,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        let tracker = self.tracker.clone();
        blocking(&tracker, move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = (&mut self.content).take(CHUNK as u64).read_to_end(&mut chunk);
            read.map_err(|error| unreadable(&self.path, &error))?;
            Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), self)))
        })
        .await?
    }
}

fn unreadable(path: &str, error: &io::Error) -> workspace::Error {
    workspace::Error::Io { doing: format!("{path:?} cannot be read"), kind: error.kind(), cause: error.to_string() }
}

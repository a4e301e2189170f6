//! A project of this machine on its way into a home: what lies in it, and its files by their hash.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::io::AsyncReadExt as _;

use crate::{
    domain::{FileType, WorkspaceFile},
    sandbox::{self, Contents},
    workspace::{self, Copying, Folder, Ignore, Scope, Tree, allowed, scan},
};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// A project that was looked at.
#[derive(Debug)]
pub(super) struct Project {
    root: PathBuf,
    tree: Tree,
    by_hash: HashMap<String, String>,
}

impl Project {
    /// Looks at the folder, if it may be copied.
    pub(super) async fn read(path: &Path, copying: &Copying) -> Result<Self, workspace::Error> {
        let (path, copying) = (path.to_owned(), copying.clone());
        let read = tokio::task::spawn_blocking(move || {
            let root = allowed(&path, &copying)?;
            let scope = Scope { ignore: Ignore::Nothing, max_entries: copying.max_entries, ..Scope::kept() };
            let tree = scan(&Folder::open(&root, Path::new(""))?, &scope, &Tree::default())?;
            let size: i64 = tree.iter().map(|entry| entry.file.size_bytes).sum();
            if tree.is_incomplete() || u64::try_from(size).unwrap_or(0) > copying.max_bytes {
                return Err(workspace::Error::Source(format!("{} is too large", path.display())));
            }
            let files = tree.iter().filter(|entry| entry.file.file_type == FileType::File);
            let by_hash = files.map(|entry| (entry.file.sha256.clone(), entry.file.path.clone())).collect();
            Ok(Self { root, tree, by_hash })
        });
        read.await.map_err(|error| workspace::Error::Source(error.to_string()))?
    }

    /// Its entries below a folder; its history is left out.
    pub(super) fn entries(&self, folder: &str) -> Vec<WorkspaceFile> {
        let kept = self.tree.iter().filter(|entry| entry.file.path != ".git" && !entry.file.path.starts_with(".git/"));
        kept.map(|entry| WorkspaceFile { path: format!("{folder}/{}", entry.file.path), ..entry.file.clone() })
            .collect()
    }
}

#[async_trait]
impl Contents for Project {
    async fn open(&self, sha256: &str) -> Result<BoxStream<'static, Result<Bytes, sandbox::Error>>, sandbox::Error> {
        let unread = |why: String| sandbox::Error::Unavailable(format!("the project cannot be read: {why}"));
        let path = self.by_hash.get(sha256).ok_or_else(|| unread(format!("nothing has the hash {sha256}")))?;
        let file = tokio::fs::File::open(self.root.join(path)).await.map_err(|error| unread(error.to_string()))?;
        let pieces = stream::try_unfold(file, move |mut file| async move {
            let mut piece = vec![0; CHUNK];
            let read = file.read(&mut piece).await.map_err(|error| unread(error.to_string()))?;
            piece.truncate(read);
            Ok((read > 0).then(|| (Bytes::from(piece), file)))
        });
        Ok(pieces.boxed())
    }
}

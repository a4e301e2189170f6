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
    workspace::{self, Copying, Folder, Ignore, Scope, Tree, allowed, same_archive, scan},
};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// Bytes that an entry takes in an archive beside what it holds, on the average.
const HEADER: u64 = 1024;

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
        self.kept().map(|file| WorkspaceFile { path: format!("{folder}/{}", file.path), ..file.clone() }).collect()
    }

    fn kept(&self) -> impl Iterator<Item = &WorkspaceFile> {
        self.tree.files().filter(|file| file.path != ".git" && !file.path.starts_with(".git/"))
    }

    /// All of it in one piece, which is the same for the same files. `None`: it would have more bytes than `most`.
    pub(super) async fn archive(self, most: u64) -> Result<Option<Vec<u8>>, workspace::Error> {
        let size = |file: &WorkspaceFile| HEADER + u64::try_from(file.size_bytes).unwrap_or(0);
        if self.kept().map(size).sum::<u64>() > most {
            return Ok(None);
        }
        let packed = tokio::task::spawn_blocking(move || {
            let content = |file: &WorkspaceFile| std::fs::read(self.root.join(&file.path));
            same_archive(self.kept(), content)
        });
        let archive = packed.await.map_err(|error| workspace::Error::Source(error.to_string()))??;
        // Somebody may have written meanwhile.
        Ok(Some(archive).filter(|archive| archive.len() as u64 <= most))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn an_archive_tells_its_files_and_is_no_larger_than_it_may_be() {
        let root = tempfile::tempdir().unwrap();
        let copying = Copying { roots: vec![root.path().to_owned()], ..Copying::default() };
        let read = async || Project::read(root.path(), &copying).await.unwrap();
        fs::write(root.path().join("a"), "one").unwrap();
        fs::create_dir(root.path().join(".git")).unwrap();
        fs::write(root.path().join(".git/config"), "history").unwrap();
        let one = read().await.archive(1 << 20).await.unwrap().expect("it is small");
        fs::write(root.path().join(".git/config"), "more history").unwrap();
        fs::write(root.path().join("a"), "one").unwrap();
        assert_eq!(read().await.archive(1 << 20).await.unwrap().unwrap(), one, "it tells when it was written");
        fs::write(root.path().join("a"), "two").unwrap();
        assert_ne!(read().await.archive(1 << 20).await.unwrap().unwrap(), one);
        assert_eq!(read().await.archive(HEADER).await.unwrap(), None);
    }
}

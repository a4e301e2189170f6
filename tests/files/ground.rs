//! What the cases need: a folder with something outside it, and a look at files that shares nothing with the room's own.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use agent_runtime::{
    domain::{FileChange, FileChangeKind, FileChangeOrigin, WorkspaceFile},
    workspace::{Folder, Scope, Tree, changes, scan},
};
use tempfile::TempDir;

/// A folder, its staging directory, and what must never be touched.
pub(crate) struct Ground {
    dir: TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().expect("a directory"))
    }

    /// In memory where that is possible: another file system, and a fast one.
    pub(crate) fn in_memory() -> Self {
        Self::within(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory"))
    }

    fn within(dir: TempDir) -> Self {
        fs::create_dir(dir.path().join("inside")).expect("made");
        Self { dir }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("inside")
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    /// Beside the folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn folder(&self) -> Folder {
        Folder::open(&self.root(), &self.staging()).expect("opened")
    }

    /// A file with this text, and the folders above it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        std::os::unix::fs::symlink(target, self.path(path)).expect("linked");
    }

    pub(crate) fn scan(&self, scope: &Scope, known: &Tree) -> Tree {
        scan(&self.folder(), scope, known).expect("scanned")
    }

    /// What is kept of it, looked at for the first time.
    pub(crate) fn kept(&self) -> Tree {
        self.scan(&Scope::kept(), &Tree::default())
    }

    /// Nothing half done is left.
    pub(crate) fn nothing_staged(&self) {
        let left: Vec<_> = fs::read_dir(self.staging()).into_iter().flatten().flatten().map(|e| e.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// What its owner may not enter is opened up, so that it can be removed.
impl Drop for Ground {
    fn drop(&mut self) {
        let mut waiting = vec![self.dir.path().to_owned()];
        while let Some(directory) = waiting.pop() {
            // The owner may always; what is gone is gone.
            let _ = fs::set_permissions(&directory, fs::Permissions::from_mode(0o700));
            let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
            waiting.extend(
                entries.filter(|entry| entry.file_type().is_ok_and(|sort| sort.is_dir())).map(|entry| entry.path()),
            );
        }
    }
}

/// One entry, as the file system says it: permission bits, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    File(u32, Vec<u8>),
    Link(PathBuf),
    Directory(u32),
    Other,
}

/// Everything below a directory.
pub(crate) fn dump(root: &Path) -> BTreeMap<PathBuf, Found> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        // What may not be entered or read looks empty, to anybody but root.
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let Ok(data) = fs::symlink_metadata(&path) else { continue };
            let mode = data.permissions().mode() & 0o7777;
            let entry = if data.is_dir() {
                waiting.push(path.clone());
                Found::Directory(mode)
            } else if data.is_symlink() {
                Found::Link(fs::read_link(&path).expect("a link"))
            } else if data.is_file() {
                Found::File(mode, fs::read(&path).unwrap_or_default())
            } else {
                Found::Other
            };
            found.insert(path.strip_prefix(root).expect("below").to_owned(), entry);
        }
    }
    found
}

/// The same with everything that would tell of a touch.
pub(crate) fn dump_closely(root: &Path) -> Vec<(PathBuf, Found, i64, i64, u64)> {
    let closely = |(path, found): (PathBuf, Found)| {
        let data = fs::symlink_metadata(root.join(&path)).expect("there");
        (
            path,
            found,
            data.mtime_nsec() + data.mtime() * 1_000_000_000,
            data.ctime() * 1_000_000_000 + data.ctime_nsec(),
            data.ino(),
        )
    };
    dump(root).into_iter().map(closely).collect()
}

/// The files of a tree.
pub(crate) fn files(tree: &Tree) -> Vec<WorkspaceFile> {
    tree.files().cloned().collect()
}

pub(crate) fn paths(tree: &Tree) -> Vec<&str> {
    tree.files().map(|file| file.path.as_str()).collect()
}

/// As the contract says that changes are folded.
pub(crate) fn fold(old: &Tree, changes: &[FileChange]) -> Vec<WorkspaceFile> {
    let mut files: BTreeMap<String, WorkspaceFile> =
        old.files().map(|file| (file.path.clone(), file.clone())).collect();
    for change in changes {
        match change.kind {
            FileChangeKind::Deleted => drop(files.remove(&change.file.path)),
            FileChangeKind::Renamed => {
                files.remove(&change.previous_path);
                files.insert(change.file.path.clone(), change.file.clone());
            }
            FileChangeKind::Created | FileChangeKind::Modified => {
                files.insert(change.file.path.clone(), change.file.clone());
            }
        }
    }
    files.into_values().collect()
}

/// Changes by the agent, in words: "created a", "renamed a -> b".
pub(crate) fn told(old: &Tree, new: &Tree) -> Vec<String> {
    let word = |change: &FileChange| {
        let path = &change.file.path;
        match change.kind {
            FileChangeKind::Created => format!("created {path}"),
            FileChangeKind::Modified => format!("modified {path}"),
            FileChangeKind::Deleted => format!("deleted {path}"),
            FileChangeKind::Renamed => format!("renamed {} -> {path}", change.previous_path),
        }
    };
    let changes = changes(old, new, FileChangeOrigin::Agent);
    assert_eq!(fold(old, &changes), files(new));
    changes.iter().map(word).collect()
}

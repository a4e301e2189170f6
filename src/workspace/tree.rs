//! What a look at a tree found.

use std::collections::{BTreeMap, HashSet};

use super::{Ignore, Stamp, path};
use crate::domain::{FileType, WorkspaceFile};

/// The mode of directories that need no mention.
pub(super) const PLAIN_DIRECTORY: u32 = 0o755;

/// How many of those left out are told by name.
const NAMED: usize = 100;

/// Everything a look found: files, links, and directories that are empty or, where the tree is to be put back, have a mode
/// other than 0755. Sorted by the bytes of the path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) left_out: LeftOut,
    pub(super) incomplete: bool,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it is told. `modify_time` is when it last became something else: a file that was only touched keeps its time,
    /// so that what was told stays true. Directories have none.
    pub file: WorkspaceFile,
    /// How it looked, where that is known.
    pub stamp: Option<Stamp>,
}

/// What a look found and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub count: usize,
    /// The first hundred, with what cannot be shown of a name replaced.
    pub some: Vec<(String, Why)>,
}

/// Why an entry was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its name, or where the link leads, is not UTF-8.
    NotUtf8,
    /// Its path has more than 1024 bytes.
    TooLong,
    /// It has more bytes than the scope allows.
    TooLarge,
    /// A socket, a pipe or a device.
    Special,
    /// It cannot be read.
    Unreadable,
    /// There are more entries than the scope allows; this is the first too many.
    TooMany,
}

impl Tree {
    /// What was told before, without stamps: everything is read again, and what is the same keeps its time.
    #[must_use]
    pub fn from_files(files: impl IntoIterator<Item = WorkspaceFile>) -> Self {
        let mut tree = Self::default();
        for file in files {
            tree.insert(Entry { file, stamp: None });
        }
        tree
    }

    /// The entry at this path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// All entries, sorted by path.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.values()
    }

    /// All entries as they are told, sorted by path.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &WorkspaceFile> {
        self.entries.values().map(|entry| &entry.file)
    }

    /// How many entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// There is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was found and left out.
    #[must_use]
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// The look ended before everything was seen; the rest stands as it was known before.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Puts an entry in, for one that was just written.
    pub fn insert(&mut self, entry: Entry) {
        self.entries.insert(entry.file.path.clone(), entry);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, path: &str) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// What of this tree is shown: the same as a look at the same files with [`Ignore::Hidden`], without looking again.
    #[must_use]
    pub fn shown(&self) -> Self {
        let shown =
            |file: &WorkspaceFile| !Ignore::Hidden.leaves_out_path(&file.path, file.file_type == FileType::Directory);
        let mut tree = Self { left_out: self.left_out.clone(), incomplete: self.incomplete, ..Self::default() };
        let mut folders: Vec<&str> = Vec::new();
        let mut filled: HashSet<&str> = HashSet::new();
        for (path, entry) in &self.entries {
            let visible = shown(&entry.file);
            if visible && entry.file.file_type != FileType::Directory {
                tree.entries.insert(path.clone(), entry.clone());
                for folder in path::above(path) {
                    if !filled.insert(folder) {
                        break;
                    }
                }
                continue;
            }
            // A folder that holds only what is hidden is an empty one to whoever looks.
            folders.extend(visible.then_some(path.as_str()));
            folders.extend(path::above(path).filter(|folder| !Ignore::Hidden.leaves_out_path(folder, true)));
        }
        folders.sort_unstable();
        folders.dedup();
        for folder in &folders {
            filled.extend(path::above(folder));
        }
        for folder in folders.into_iter().filter(|folder| !filled.contains(folder)) {
            let entry = self.entries.get(folder).cloned();
            let entry = entry.unwrap_or_else(|| Entry { file: directory(folder, PLAIN_DIRECTORY), stamp: None });
            tree.entries.insert(folder.to_owned(), entry);
        }
        tree
    }
}

impl LeftOut {
    pub(super) fn add(&mut self, path: impl Into<String>, why: Why) {
        self.count += 1;
        if self.some.len() < NAMED {
            self.some.push((path.into(), why));
        }
    }
}

/// A directory as it is told.
pub(super) fn directory(path: &str, mode: u32) -> WorkspaceFile {
    WorkspaceFile {
        path: path.to_owned(),
        file_type: FileType::Directory,
        size_bytes: 0,
        sha256: String::new(),
        mode,
        modify_time: None,
        symlink_target: String::new(),
    }
}

/// The same thing at the same place, whenever it came about.
pub(super) fn is_same(one: &WorkspaceFile, other: &WorkspaceFile) -> bool {
    let WorkspaceFile { path, file_type, size_bytes, sha256, mode, modify_time: _, symlink_target } = one;
    *path == other.path
        && *file_type == other.file_type
        && *size_bytes == other.size_bytes
        && *sha256 == other.sha256
        && *mode == other.mode
        && *symlink_target == other.symlink_target
}

//! A look at a tree of another machine: what a program there listed, put together by the rules of a look. What comes out is
//! what a look on that machine finds.
//!
//! It reads nothing itself: whoever drives it runs the programs, and is told which files still have to be read.

use std::collections::{BTreeMap, HashSet};

use rustix::fs::FileType as Sort;

use super::{
    Entry, Ignore, Scope, Stamp, Tree, Why,
    folder::MODE_BITS,
    path::{self, PATH_MAX},
    scope::Place,
    stamp::Told,
    tree::{PLAIN_DIRECTORY, directory, is_same},
};
use crate::domain::{FileType, Timestamp, WorkspaceFile};

/// One entry, as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Below the folder, whatever its bytes are.
    pub path: Vec<u8>,
    /// What sort of entry.
    pub sort: Sort,
    /// With whatever bits it has beside the permissions.
    pub mode: u32,
    /// How many names the file has.
    pub links: u64,
    /// By which a change is seen.
    pub told: Told,
    /// Where a link leads.
    pub target: Vec<u8>,
    /// What a directory holds may not be seen.
    pub closed: bool,
}

/// A look that is under way.
#[derive(Debug)]
pub struct Listing<'a> {
    scope: &'a Scope,
    known: &'a Tree,
    now: i64,
    tree: Tree,
    /// Directories that count, with what was told of them.
    directories: BTreeMap<String, Listed>,
    tagged: HashSet<Vec<u8>>,
    /// Files that have to be read, as they looked before that.
    unread: BTreeMap<String, Listed>,
    full: bool,
}

impl<'a> Listing<'a> {
    /// Begins a look. `known` is what an earlier one found.
    #[must_use]
    pub fn new(scope: &'a Scope, known: &'a Tree) -> Self {
        Self {
            scope,
            known,
            now: 0,
            tree: Tree::default(),
            directories: BTreeMap::new(),
            tagged: HashSet::new(),
            unread: BTreeMap::new(),
            full: false,
        }
    }

    /// What the clock over there said when it began, in nanoseconds. Told before anything else.
    pub fn begin(&mut self, now: i64) {
        self.now = now;
    }

    /// A directory says of itself that it can be made again. Told before what lies in it.
    pub fn tag(&mut self, path: &[u8]) {
        self.tagged.insert(path.to_owned());
    }

    /// One entry; a directory comes before what it holds.
    pub fn meet(&mut self, listed: Listed) {
        let (above, name) = match listed.path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&listed.path[..at], &listed.path[at + 1..]),
            None => (&[][..], &listed.path[..]),
        };
        let Ok(above) = std::str::from_utf8(above) else { return };
        let Ok(name) = std::str::from_utf8(name) else {
            if self.is_entered(above) {
                self.tree.left_out.add(path::join(above, "\u{fffd}"), Why::NotUtf8);
            }
            return;
        };
        let path = path::join(above, name);
        // What lies in what does not count does not count either; a scope of a few entries begins at these.
        if !self.is_entered(above) && !self.scope.only.contains(&path) || self.scope.place(&path) != Place::Inside {
            return;
        }
        if path.len() > PATH_MAX {
            self.tree.left_out.add(path, Why::TooLong);
            return;
        }
        let leaves_out = self.scope.ignore.leaves_out(name, listed.sort.is_dir());
        if leaves_out || self.scope.ignore.leaves_out_tagged() && self.tagged.contains(&listed.path) {
            return;
        }
        match listed.sort {
            Sort::Directory => {
                if listed.closed {
                    self.tree.left_out.add(path.clone(), Why::Unreadable);
                }
                self.directories.insert(path, listed);
            }
            Sort::RegularFile if listed.told.size > self.scope.max_file_bytes => {
                self.tree.left_out.add(path, Why::TooLarge);
            }
            Sort::RegularFile => {
                if self.refuses(&path) {
                    return;
                }
                let stamp = Stamp::told(&listed.told, self.now);
                match self.known.get(&path) {
                    Some(known)
                        if known.file.file_type == FileType::File
                            && known.stamp.is_some_and(|was| was.proves(&stamp)) =>
                    {
                        self.tree.insert(known.clone());
                    }
                    Some(_) | None => drop(self.unread.insert(path, listed)),
                }
            }
            Sort::Symlink => {
                let Ok(target) = String::from_utf8(listed.target) else {
                    self.tree.left_out.add(path, Why::NotUtf8);
                    return;
                };
                if self.refuses(&path) {
                    return;
                }
                let file = entry(path, FileType::Symlink, listed.mode, listed.told.modified);
                let stamp = Some(Stamp::told(&listed.told, self.now));
                self.insert(Entry { file: WorkspaceFile { symlink_target: target, ..file }, stamp });
            }
            Sort::Fifo | Sort::Socket | Sort::CharacterDevice | Sort::BlockDevice | Sort::Unknown => {
                self.tree.left_out.add(path, Why::Special);
            }
        }
    }

    /// Files that have to be read, sorted.
    pub fn unread(&self) -> impl ExactSizeIterator<Item = &str> {
        self.unread.keys().map(String::as_str)
    }

    /// A file was read, and looked as `after` says once it was. Where it was another one before, that is not taken: it is to
    /// be read again, unless it never holds still and this much of it was read `exactly`.
    pub fn read(&mut self, after: Listed, sha256: &str, exactly: bool) {
        let Ok(path) = String::from_utf8(after.path.clone()) else { return };
        let Some(before) = self.unread.remove(&path) else { return };
        if !after.sort.is_file() {
            return;
        }
        if after.told.size > self.scope.max_file_bytes {
            self.tree.left_out.add(path, Why::TooLarge);
            return;
        }
        let (was, is) = (Stamp::told(&before.told, self.now), Stamp::told(&after.told, self.now));
        let stamp = match (was.is_same(&is), exactly) {
            (true, false) => is,
            (_, true) => is.unsettled(),
            (false, false) => {
                self.unread.insert(path, after);
                return;
            }
        };
        let file = WorkspaceFile {
            size_bytes: i64::try_from(after.told.size).unwrap_or(i64::MAX),
            sha256: sha256.to_owned(),
            ..entry(path, FileType::File, after.mode, after.told.modified)
        };
        self.insert(Entry { file, stamp: Some(stamp) });
    }

    /// A file that has to be read cannot be.
    pub fn unreadable(&mut self, path: &str) {
        if self.unread.remove(path).is_some() {
            self.tree.left_out.add(path, Why::Unreadable);
        }
    }

    /// A file that has to be read is not there any more.
    pub fn gone(&mut self, path: &str) {
        self.unread.remove(path);
    }

    /// Not everything was seen: the rest stands as it was known.
    pub fn cut(&mut self) {
        self.tree.incomplete = true;
    }

    /// There are more entries than the scope allows, so that nothing more is taken in.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// What the look found. Files that were to be read and were not make it incomplete.
    #[must_use]
    pub fn finish(mut self) -> Tree {
        self.tree.incomplete |= !self.unread.is_empty();
        let filled: HashSet<String> = self
            .tree
            .entries
            .keys()
            .chain(self.unread.keys())
            .chain(self.directories.keys())
            .map(|path| path::split(path).0.to_owned())
            .collect();
        if self.tree.incomplete {
            self.carry(&filled);
        }
        for (path, listed) in std::mem::take(&mut self.directories) {
            // What can be told of a folder by what it holds is not told of itself, unless it must be put back that way.
            let mode = listed.mode & MODE_BITS;
            let kept_mode = mode != PLAIN_DIRECTORY && self.scope.ignore != Ignore::Hidden;
            // Where not everything was seen, what looks empty may not be.
            let empty = !filled.contains(&path) && !self.tree.incomplete;
            if !empty && !kept_mode {
                continue;
            }
            if self.tree.len() >= self.scope.max_entries {
                self.tree.left_out.add(path, Why::TooMany);
                self.tree.incomplete = true;
            } else {
                let stamp = Some(Stamp::told(&listed.told, self.now));
                self.tree.insert(Entry { file: directory(&path, mode), stamp });
            }
        }
        self.tree
    }

    /// What was not reached stays as it was known, where it fits to what was.
    fn carry(&mut self, filled: &HashSet<String>) {
        for (path, known) in &self.known.entries {
            let is_directory = known.file.file_type == FileType::Directory;
            let replaced = self.tree.entries.contains_key(path)
                || !is_directory && self.directories.contains_key(path)
                || is_directory && filled.contains(path);
            let below = |above| self.tree.get(above).is_some_and(|entry| entry.file.file_type != FileType::Directory);
            if !replaced && !path::above(path).any(below) {
                self.tree.entries.insert(path.clone(), known.clone());
            }
        }
    }

    fn is_entered(&self, above: &str) -> bool {
        above.is_empty() || self.directories.contains_key(above)
    }

    /// Whether there is no room for this one.
    fn refuses(&mut self, path: &str) -> bool {
        if self.tree.len() + self.unread.len() >= self.scope.max_entries && !self.full {
            self.tree.left_out.add(path, Why::TooMany);
            self.tree.incomplete = true;
            self.full = true;
        }
        self.full
    }

    /// What is still the same is told as it was.
    fn insert(&mut self, mut entry: Entry) {
        if let Some(known) = self.known.get(&entry.file.path).filter(|known| is_same(&known.file, &entry.file)) {
            entry.file.modify_time = known.file.modify_time;
        }
        self.tree.insert(entry);
    }
}

impl Listed {
    /// The entry by itself, at `path`: a file that was read as it was told, a link, or a directory. `None` for what no
    /// workspace tells.
    #[must_use]
    pub fn entry(&self, path: &str, sha256: &str, now: i64) -> Option<Entry> {
        let stamp = Some(Stamp::told(&self.told, now));
        let of = |file_type| entry(path.to_owned(), file_type, self.mode, self.told.modified);
        let file = match self.sort {
            Sort::RegularFile => WorkspaceFile {
                size_bytes: i64::try_from(self.told.size).unwrap_or(i64::MAX),
                sha256: sha256.to_owned(),
                ..of(FileType::File)
            },
            Sort::Symlink => {
                let target = String::from_utf8(self.target.clone()).ok()?;
                WorkspaceFile { symlink_target: target, ..of(FileType::Symlink) }
            }
            Sort::Directory => directory(path, self.mode & MODE_BITS),
            Sort::Fifo | Sort::Socket | Sort::CharacterDevice | Sort::BlockDevice | Sort::Unknown => return None,
        };
        Some(Entry { file, stamp })
    }
}

impl Tree {
    /// The moment after which a file must have changed, by the clock of its machine, that this tree does not prove; `None`:
    /// it proves nothing. In nanoseconds.
    #[must_use]
    pub fn proven_until(&self) -> Option<i64> {
        let files = self.entries.values().filter(|entry| entry.file.file_type == FileType::File);
        let reaches: Option<Vec<(i64, bool)>> = files.map(|entry| Some(entry.stamp.as_ref()?.reach())).collect();
        let reaches = reaches?;
        let settled = reaches.iter().filter(|(_, settled)| *settled).map(|(changed, _)| *changed).max()?;
        let open = reaches.iter().filter(|(_, settled)| !settled).map(|(changed, _)| changed.saturating_sub(1)).min();
        Some(open.map_or(settled, |open| settled.min(open)))
    }
}

/// An entry as it is told, without what belongs to its sort.
fn entry(path: String, file_type: FileType, mode: u32, modified: i64) -> WorkspaceFile {
    let modify_time = Some(Timestamp(modified.div_euclid(1000)));
    WorkspaceFile { file_type, modify_time, ..directory(&path, mode & MODE_BITS) }
}

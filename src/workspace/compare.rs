//! What is to be done to put a tree back on another machine: the rules of putting one back here, over what a program there
//! listed. It reads nothing itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rustix::fs::FileType as Sort;

use super::{
    Error, Listed, Restored, Scope,
    folder::MODE_BITS,
    path,
    scope::Place,
    tree::{PLAIN_DIRECTORY, directory},
};
use crate::domain::{FileType, Timestamp, WorkspaceFile};

/// A tree and the manifest it is to be made equal to.
#[derive(Debug)]
pub struct Comparison<'f> {
    wanted: BTreeMap<&'f str, &'f WorkspaceFile>,
    /// Every directory there must be, with its mode at the end.
    directories: BTreeMap<&'f str, u32>,
    /// What is there and stays or is replaced, by its path.
    there: BTreeMap<String, Listed>,
    remove: Vec<Vec<u8>>,
    /// Files that were read and are right.
    right: HashSet<String>,
    /// Directories on the way to what a scope of a few entries shows; not listed.
    passed: BTreeSet<String>,
}

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Takes these away, with all they hold. Their bytes are names of the other machine.
    pub remove: Vec<Vec<u8>>,
    /// Opens these directories up to their owner.
    pub open: Vec<String>,
    /// Replaces with a directory whatever else stands there: no look goes this way.
    pub enforce: Vec<String>,
    /// Writes these; directories with a mode that lets them be filled.
    pub write: Vec<WorkspaceFile>,
    /// Sets when these last changed.
    pub times: Vec<(String, Timestamp)>,
    /// Sets these modes: of directories last, the deepest first.
    pub modes: Vec<(String, u32)>,
    /// What will have been done.
    pub restored: Restored,
}

impl<'f> Comparison<'f> {
    /// Compares what the scope shows of a folder, as it was listed, a directory before what it holds, with `files`.
    ///
    /// # Errors
    /// [`Error::Path`] for what no tree has.
    pub fn new(scope: &Scope, files: &'f [WorkspaceFile], listed: Vec<Listed>) -> Result<Self, Error> {
        let wanted = files.iter().map(|file| (file.path.as_str(), file)).collect();
        let mut directories: BTreeMap<&str, u32> = BTreeMap::new();
        for file in files {
            path::check(&file.path)?;
            for above in path::above(&file.path) {
                directories.entry(above).or_insert(PLAIN_DIRECTORY);
            }
            if file.file_type == FileType::Directory {
                directories.insert(&file.path, file.mode);
            }
        }
        // What a scope of a few entries passes on the way to them is not its own and stays.
        let passed = scope.only.iter().flat_map(|only| path::above(only)).map(str::to_owned).collect();
        let mut comparison =
            Self { wanted, directories, there: BTreeMap::new(), remove: Vec::new(), right: HashSet::new(), passed };
        comparison.clear(scope, listed);
        Ok(comparison)
    }

    /// Whether the manifest speaks of what a look passes over by its name, where it is a directory.
    #[must_use]
    pub fn speaks_of(files: &[WorkspaceFile], scope: &Scope) -> bool {
        files.iter().any(|file| scope.ignore.leaves_out_path(&file.path, true))
    }

    /// Removes what is not wanted, and what is of another sort.
    fn clear(&mut self, scope: &Scope, listed: Vec<Listed>) {
        let mut entered: HashSet<Vec<u8>> = scope.only.iter().map(|only| path::split(only).0.into()).collect();
        entered.insert(Vec::new());
        for listed in listed {
            let at = listed.path.iter().rposition(|byte| *byte == b'/');
            let above = at.map_or(&[][..], |at| &listed.path[..at]);
            if !entered.contains(above) {
                continue;
            }
            let Ok(path) = String::from_utf8(listed.path.clone()) else {
                // No manifest has it, and nobody can ask for it by name.
                let inside = std::str::from_utf8(above).is_ok_and(|above| scope.place(above) == Place::Inside);
                if scope.only.is_empty() || inside {
                    self.remove.push(listed.path);
                }
                continue;
            };
            let standing = scope.place(&path);
            let known = self.directories.contains_key(path.as_str()) || self.wanted.contains_key(path.as_str());
            let (_, name) = path::split(&path);
            // What the scope leaves out and the manifest does not speak of is not its business.
            if standing == Place::Outside || scope.ignore.leaves_out(name, listed.sort.is_dir()) && !known {
                continue;
            }
            let is_wanted = |sort| self.wanted.get(path.as_str()).is_some_and(|file| file.file_type == sort);
            let fits = match listed.sort {
                Sort::Directory => self.directories.contains_key(path.as_str()) || self.passed.contains(&path),
                Sort::RegularFile => is_wanted(FileType::File),
                Sort::Symlink => is_wanted(FileType::Symlink),
                Sort::Fifo | Sort::Socket | Sort::CharacterDevice | Sort::BlockDevice | Sort::Unknown => false,
            };
            if !fits && (standing == Place::Inside || known) {
                self.remove.push(listed.path);
                continue;
            }
            if listed.sort.is_dir() {
                entered.insert(listed.path.clone());
            }
            self.there.insert(path, listed);
        }
    }

    /// Files that may be right already and have to be read to know, sorted. A second name of one file would get the mode of
    /// the first, so such are not among them.
    pub fn unread(&self) -> Vec<String> {
        let may_be = |file: &&&WorkspaceFile| {
            file.file_type == FileType::File
                && self
                    .there
                    .get(&file.path)
                    .is_some_and(|there| i64::try_from(there.told.size) == Ok(file.size_bytes) && there.links == 1)
        };
        self.wanted.values().filter(may_be).map(|file| file.path.clone()).collect()
    }

    /// One of them was read.
    pub fn read(&mut self, path: &str, sha256: &str) {
        if self.wanted.get(path).is_some_and(|file| file.sha256 == sha256) {
            self.right.insert(path.to_owned());
        }
    }

    /// What is to be done.
    #[must_use]
    pub fn finish(self) -> Repair {
        let mut repair = Repair { remove: self.remove, ..Repair::default() };
        repair.restored.removed = repair.remove.len();
        for file in self.wanted.values() {
            let there = self.there.get(&file.path);
            let right = match (file.file_type, there) {
                (FileType::File, Some(_)) => self.right.contains(&file.path),
                (FileType::Symlink, Some(there)) => there.target == file.symlink_target.as_bytes(),
                (FileType::File | FileType::Symlink, None) => false,
                (FileType::Directory, _) => continue,
            };
            let Some(there) = there.filter(|_| right) else {
                repair.restored.written += 1;
                repair.write.push((*file).clone());
                continue;
            };
            repair.restored.kept += 1;
            if file.file_type == FileType::File && there.mode & MODE_BITS != file.mode {
                repair.modes.push((file.path.clone(), file.mode));
            }
            if let Some(time) = file.modify_time.filter(|time| time.0 != there.told.modified.div_euclid(1000)) {
                repair.times.push((file.path.clone(), time));
            }
        }
        for (path, mode) in self.directories.iter().rev() {
            let there = self.there.get(*path).map(|there| there.mode & MODE_BITS);
            let opened = there.is_some_and(|there| there & 0o700 != 0o700);
            match there {
                Some(_) if opened => repair.open.push((*path).to_owned()),
                Some(_) => {}
                None if self.passed.contains(*path) => repair.enforce.push((*path).to_owned()),
                None => repair.write.push(directory(path, PLAIN_DIRECTORY)),
            }
            // Of what is passed is not known which mode it has.
            if there.unwrap_or(PLAIN_DIRECTORY) != *mode || opened || self.passed.contains(*path) {
                repair.modes.push(((*path).to_owned(), *mode));
            }
        }
        // Outermost first.
        repair.open.reverse();
        repair.enforce.reverse();
        repair
    }
}

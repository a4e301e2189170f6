//! A look at a tree. Directories are opened one at a time beneath the folder, without following links; files are read
//! only where their stamp does not prove that they are what they were.

use std::{fs::File, os::fd::OwnedFd, time::Instant};

use rustix::{
    fs::{Dir, FileType as Sort, Statx, readlinkat},
    io::Errno,
};

use super::{
    Entry, Error, Folder, Scope, Stamp, Tree, Why, digest,
    folder::{Links, MODE_BITS, io, open_content, open_plain},
    ignore::{Ignore, TAG, TAG_CONTENT},
    path::{self, PATH_MAX},
    scope::Place,
    stamp::{self, look},
    tree::{PLAIN_DIRECTORY, directory, is_same},
};
use crate::domain::{FileType, WorkspaceFile};

/// How often a file that changes while it is read is read again.
const TRIES: usize = 3;

/// Looks at the tree. `known` is what an earlier look found: what did not change since is not read again.
///
/// # Errors
/// [`Error::Gone`] and [`Error::Io`] when the folder itself cannot be read; entries that cannot be read are left out and
/// told by [`Tree::left_out`].
pub fn scan(folder: &Folder, scope: &Scope, known: &Tree) -> Result<Tree, Error> {
    folder.staging.clean();
    let root =
        Directory { path: String::new(), mode: PLAIN_DIRECTORY, stamp: None, above: None, holds: 0, listed: true };
    let mut walk = Walk {
        folder,
        scope,
        known,
        tree: Tree::default(),
        directories: vec![root],
        until: Instant::now() + scope.time,
        now: stamp::now(),
    };
    // Depth first, so that what is waiting stays short.
    let mut waiting = vec![0];
    while let Some(index) = waiting.pop() {
        let seen = if walk.is_over() { Seen::Over } else { walk.visit(index, &mut waiting)? };
        match seen {
            Seen::All => {}
            // Whether it is empty is told by those that know it.
            Seen::Over => {
                walk.directories[index].listed = false;
                let path = walk.directories[index].path.clone();
                walk.carry(&path);
            }
            Seen::Gone => walk.forget(index),
        }
    }
    Ok(walk.finish())
}

/// A directory on the way.
struct Directory {
    path: String,
    mode: u32,
    stamp: Option<Stamp>,
    above: Option<usize>,
    /// How many entries that count.
    holds: usize,
    /// It may become an entry.
    listed: bool,
}

enum Seen {
    All,
    /// Time is up.
    Over,
    /// It is not there any more, or none of ours.
    Gone,
}

struct Walk<'a> {
    folder: &'a Folder,
    scope: &'a Scope,
    known: &'a Tree,
    tree: Tree,
    directories: Vec<Directory>,
    until: Instant,
    now: i64,
}

impl Walk<'_> {
    fn is_over(&self) -> bool {
        self.tree.incomplete || Instant::now() > self.until
    }

    fn visit(&mut self, index: usize, waiting: &mut Vec<usize>) -> Result<Seen, Error> {
        let folder = self.directories[index].path.clone();
        let listing = match self.folder.listing(&folder, Links::Refused) {
            Ok(listing) => listing,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if index > 0 => return Ok(Seen::Gone),
            Err(Errno::ACCESS) if index > 0 => {
                self.tree.left_out.add(folder, Why::Unreadable);
                return Ok(Seen::All);
            }
            Err(errno) => return Err(Error::of(if index == 0 { "." } else { &folder }, errno)),
        };
        let place = listing.try_clone().map_err(|error| Error::io("a descriptor cannot be had", &error))?;
        let mut names = Vec::new();
        for entry in Dir::new(listing).map_err(|errno| Error::of(&folder, errno))? {
            let entry = entry.map_err(|errno| Error::of(&folder, errno))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        if index > 0
            && self.scope.ignore.leaves_out_tagged()
            && names.iter().any(|name| name == TAG.as_bytes())
            && is_tagged(&place)
        {
            return Ok(Seen::Gone);
        }
        let mut names = names.into_iter();
        while let Some(name) = names.next() {
            if self.is_over() {
                self.tree.incomplete = true;
                for name in std::iter::once(name).chain(names) {
                    if let Ok(name) = String::from_utf8(name) {
                        self.carry(&path::join(&folder, &name));
                    }
                }
                // What it holds was not counted, so it cannot be told to be empty.
                self.directories[index].listed = false;
                break;
            }
            let Ok(name) = String::from_utf8(name) else {
                self.tree.left_out.add(path::join(&folder, "\u{fffd}"), Why::NotUtf8);
                continue;
            };
            let path = path::join(&folder, &name);
            if path.len() > PATH_MAX {
                self.tree.left_out.add(path, Why::TooLong);
                continue;
            }
            self.meet(index, waiting, &place, &name, path)?;
        }
        Ok(Seen::All)
    }

    /// One entry of a directory.
    fn meet(
        &mut self,
        index: usize,
        waiting: &mut Vec<usize>,
        place: &OwnedFd,
        name: &str,
        path: String,
    ) -> Result<(), Error> {
        let standing = self.scope.place(&path);
        if standing == Place::Outside {
            return Ok(());
        }
        let stat = match look(place, name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            // Its directory may be listed and not entered.
            Err(Errno::ACCESS) => {
                self.tree.left_out.add(path, Why::Unreadable);
                return Ok(());
            }
            Err(errno) => return Err(Error::of(&path, errno)),
        };
        let sort = Sort::from_raw_mode(u32::from(stat.stx_mode));
        if self.scope.ignore.leaves_out(name, sort.is_dir()) {
            return Ok(());
        }
        if sort.is_dir() {
            self.directories[index].holds += 1;
            waiting.push(self.directories.len());
            self.directories.push(Directory {
                path,
                mode: u32::from(stat.stx_mode) & MODE_BITS,
                stamp: Some(Stamp::new(&stat, self.now)),
                above: Some(index),
                holds: 0,
                listed: standing == Place::Inside,
            });
            return Ok(());
        }
        if standing == Place::OnTheWay {
            return Ok(());
        }
        let entry = match sort {
            Sort::RegularFile => self.file(place, name, path, &stat),
            Sort::Symlink => self.link(place, name, path, &stat),
            Sort::Directory | Sort::Fifo | Sort::Socket | Sort::CharacterDevice | Sort::BlockDevice | Sort::Unknown => {
                self.tree.left_out.add(path, Why::Special);
                None
            }
        };
        if let Some(mut entry) = entry {
            if self.tree.len() >= self.scope.max_entries {
                self.tree.left_out.add(entry.file.path, Why::TooMany);
                self.tree.incomplete = true;
                return Ok(());
            }
            // What is still the same is told as it was.
            if let Some(known) = self.known.get(&entry.file.path).filter(|known| is_same(&known.file, &entry.file)) {
                entry.file.modify_time = known.file.modify_time;
            }
            self.directories[index].holds += 1;
            self.tree.insert(entry);
        }
        Ok(())
    }

    fn file(&mut self, place: &OwnedFd, name: &str, path: String, stat: &Statx) -> Option<Entry> {
        if stat.stx_size > self.scope.max_file_bytes {
            self.tree.left_out.add(path, Why::TooLarge);
            return None;
        }
        let stamp = Stamp::new(stat, self.now);
        if let Some(known) = self.known.get(&path)
            && known.file.file_type == FileType::File
            && known.stamp.is_some_and(|was| was.proves(&stamp))
        {
            return Some(known.clone());
        }
        match read(place, name, self.scope.max_file_bytes, self.now) {
            Ok(Some((digest, stat, stamp))) => {
                Some(Entry { file: file_entry(path, &digest, &stat), stamp: Some(stamp) })
            }
            Ok(None) => {
                self.tree.left_out.add(path, Why::TooLarge);
                None
            }
            // It is gone, or became something else meanwhile: a later look tells.
            Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => None,
            Err(_) => {
                self.tree.left_out.add(path, Why::Unreadable);
                None
            }
        }
    }

    fn link(&mut self, place: &OwnedFd, name: &str, path: String, stat: &Statx) -> Option<Entry> {
        // Gone or replaced meanwhile: a later look tells.
        let target = readlinkat(place, name, Vec::new()).ok()?;
        let Ok(target) = target.into_string() else {
            self.tree.left_out.add(path, Why::NotUtf8);
            return None;
        };
        Some(Entry { file: link_entry(path, target, stat), stamp: Some(Stamp::new(stat, self.now)) })
    }

    /// What is at `path` and below stays as it was known.
    fn carry(&mut self, path: &str) {
        self.tree.incomplete = true;
        if path.is_empty() {
            self.tree.entries.clone_from(&self.known.entries);
            return;
        }
        // The entry itself, then what sorts behind "path/".
        let within = format!("{path}/");
        let below = self.known.entries.range(within.clone()..).take_while(|(path, _)| path.starts_with(&within));
        let carried = self.known.entries.get_key_value(path).into_iter().chain(below);
        let carried: Vec<_> = carried.map(|(path, entry)| (path.clone(), entry.clone())).collect();
        self.tree.entries.extend(carried);
    }

    /// It does not count where it lies.
    fn forget(&mut self, index: usize) {
        self.directories[index].listed = false;
        if let Some(above) = self.directories[index].above {
            self.directories[above].holds -= 1;
        }
    }

    fn finish(mut self) -> Tree {
        for found in self.directories.into_iter().skip(1).filter(|found| found.listed) {
            // What can be told of a folder by what it holds is not told of itself, unless it must be put back that way.
            let kept_mode = found.mode != PLAIN_DIRECTORY && self.scope.ignore != Ignore::Hidden;
            if (found.holds == 0 || kept_mode) && self.tree.len() >= self.scope.max_entries {
                self.tree.left_out.add(found.path, Why::TooMany);
                self.tree.incomplete = true;
            } else if found.holds == 0 || kept_mode {
                self.tree.insert(Entry { file: directory(&found.path, found.mode), stamp: found.stamp });
            }
        }
        self.tree
    }
}

/// Reads a file until it stood still meanwhile; one that never does is told as it was read last, and is read again
/// by the next look. `None` once it is over `limit`.
pub(super) fn read(
    place: &OwnedFd,
    name: &str,
    limit: u64,
    now: i64,
) -> Result<Option<(digest::Digest, Statx, Stamp)>, Errno> {
    let mut last = None;
    for _ in 0..TRIES {
        let content = open_content(place, name)?;
        let before = look(&content, "")?;
        if !Sort::from_raw_mode(u32::from(before.stx_mode)).is_file() {
            return Err(Errno::NXIO);
        }
        let mut content = File::from(content);
        let digest = digest::copy(&mut content, &mut std::io::sink(), limit);
        let Some(digest) = digest.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))? else {
            return Ok(None);
        };
        let after = look(&content, "")?;
        let (was, is) = (Stamp::new(&before, now), Stamp::new(&after, now));
        if was.is_same(&is) {
            return Ok(Some((digest, after, is)));
        }
        last = Some((digest, after, is.unsettled()));
    }
    Ok(last)
}

/// A file as it is told.
pub(super) fn file_entry(path: String, digest: &digest::Digest, stat: &Statx) -> WorkspaceFile {
    WorkspaceFile {
        path,
        file_type: FileType::File,
        size_bytes: i64::try_from(digest.size).unwrap_or(i64::MAX),
        sha256: digest.sha256.clone(),
        mode: u32::from(stat.stx_mode) & MODE_BITS,
        modify_time: Some(stamp::modify_time(stat)),
        symlink_target: String::new(),
    }
}

/// A link as it is told.
pub(super) fn link_entry(path: String, target: String, stat: &Statx) -> WorkspaceFile {
    WorkspaceFile {
        path,
        file_type: FileType::Symlink,
        size_bytes: 0,
        sha256: String::new(),
        mode: u32::from(stat.stx_mode) & MODE_BITS,
        modify_time: Some(stamp::modify_time(stat)),
        symlink_target: target,
    }
}

/// Whether the directory says that it can be made again.
fn is_tagged(place: &OwnedFd) -> bool {
    let read = || {
        let mut begin = Vec::new();
        let tag = File::from(open_plain(place, TAG).map_err(io)?);
        std::io::Read::read_to_end(&mut std::io::Read::take(tag, TAG_CONTENT.len() as u64), &mut begin)?;
        Ok::<_, std::io::Error>(begin == TAG_CONTENT)
    };
    read().unwrap_or(false)
}

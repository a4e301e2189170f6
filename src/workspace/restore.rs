//! Puts a tree back: afterwards a look at the folder finds what the manifest says, and nothing else. What the scope leaves
//! out is left alone, unless it lies in a folder that goes.
//!
//! It can be broken off at any point and done again: what is there already and is right stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    os::fd::OwnedFd,
};

use rustix::{
    fs::{AtFlags, Dir, FileType as Sort, Timespec, Timestamps, UTIME_OMIT, unlinkat, utimensat},
    io::Errno,
};

use super::{
    Error, Folder, Scope,
    digest::Digest,
    folder::{Links, make_directory, set_mode},
    operations::sort_of,
    path, scan,
    scope::Place,
    stamp::{self, look},
    tree::PLAIN_DIRECTORY,
};
use crate::domain::{FileType, Timestamp, WorkspaceFile};

/// While a tree is put back, its directories are open to their owner.
const OPEN: u32 = 0o700;

/// Gives the bytes of a hash.
pub type ContentOf<'c> = dyn FnMut(&str) -> Result<Box<dyn Read>, Error> + 'c;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files and links written.
    pub written: usize,
    /// Files and links that were right already.
    pub kept: usize,
    /// Entries that were there and are not in the manifest.
    pub removed: usize,
}

/// Makes what the scope shows of the folder equal to `files`, which is one half of a manifest. `content` gives the bytes of
/// a hash; they are checked.
///
/// # Errors
/// [`Error::Content`] when bytes cannot be had or are others; [`Error::Io`]. What was put back by then stays.
pub fn restore(
    folder: &Folder,
    scope: &Scope,
    files: &[WorkspaceFile],
    content: &mut ContentOf<'_>,
) -> Result<Restored, Error> {
    let wanted: BTreeMap<&str, &WorkspaceFile> = files.iter().map(|file| (file.path.as_str(), file)).collect();
    // Every directory there must be, with its mode at the end.
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
    let mut restored = Restored::default();
    clear(folder, scope, &wanted, &directories, &mut restored)?;
    for directory in directories.keys() {
        let (place, name) = folder.parent(directory, Links::Refused)?;
        make_directory(&place, name, OPEN).map_err(|errno| Error::of(directory, errno))?;
    }
    for file in files {
        let done = match file.file_type {
            FileType::File => put_file(folder, file, content)?,
            FileType::Symlink => put_link(folder, file)?,
            FileType::Directory => continue,
        };
        if done { restored.written += 1 } else { restored.kept += 1 }
    }
    // Deepest first: a directory that nobody may enter is closed last.
    for (directory, mode) in directories.iter().rev() {
        let (place, name) = folder.parent(directory, Links::Refused)?;
        set_mode(&place, name, *mode).map_err(|errno| Error::of(directory, errno))?;
    }
    Ok(restored)
}

/// Removes what is not wanted, and what is of another sort; opens up what stays.
fn clear(
    folder: &Folder,
    scope: &Scope,
    wanted: &BTreeMap<&str, &WorkspaceFile>,
    directories: &BTreeMap<&str, u32>,
    restored: &mut Restored,
) -> Result<(), Error> {
    // What a scope of a few entries passes on the way to them is not its own and stays.
    let passed: BTreeSet<&str> = scope.only.iter().flat_map(|only| path::above(only)).collect();
    let mut waiting = vec![String::new()];
    while let Some(above) = waiting.pop() {
        let failed = |errno| Error::of(if above.is_empty() { "." } else { &above }, errno);
        let place = folder.place(&above, Links::Refused).map_err(failed)?;
        let listing = folder.listing(&above, Links::Refused).map_err(failed)?;
        for entry in Dir::new(listing).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(text) = name.to_str() else {
                // No manifest has it, and nobody can ask for it by name.
                if scope.only.is_empty() || scope.place(&above) == Place::Inside {
                    remove(folder, &place, name, restored)?;
                }
                continue;
            };
            let path = path::join(&above, text);
            let standing = scope.place(&path);
            let sort = sort_of(&place, text).map_err(failed)?;
            let known = directories.contains_key(path.as_str()) || wanted.contains_key(path.as_str());
            // What the scope leaves out and the manifest does not speak of is not its business.
            if standing == Place::Outside || scope.ignore.leaves_out(text, sort.is_dir()) && !known {
                continue;
            }
            let fits = match sort {
                Sort::Directory => directories.contains_key(path.as_str()) || passed.contains(path.as_str()),
                Sort::RegularFile => wanted.get(path.as_str()).is_some_and(|file| file.file_type == FileType::File),
                Sort::Symlink => wanted.get(path.as_str()).is_some_and(|file| file.file_type == FileType::Symlink),
                Sort::Fifo | Sort::Socket | Sort::CharacterDevice | Sort::BlockDevice | Sort::Unknown => false,
            };
            if !fits && (standing == Place::Inside || known) {
                remove(folder, &place, name, restored)?;
            } else if sort.is_dir() {
                if directories.contains_key(path.as_str()) {
                    set_mode(&place, text, OPEN).map_err(failed)?;
                }
                waiting.push(path);
            }
        }
    }
    Ok(())
}

/// Takes an entry away, with all it holds.
fn remove(folder: &Folder, place: &OwnedFd, name: &std::ffi::CStr, restored: &mut Restored) -> Result<(), Error> {
    restored.removed += 1;
    let failed = |errno| Error::of(&name.to_string_lossy(), errno);
    match unlinkat(place, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) if errno != Errno::NOENT => return Err(failed(errno)),
        Ok(()) | Err(_) => return Ok(()),
    }
    // A directory goes in one step and is emptied where nobody looks. To be moved it must be writable.
    if let Ok(text) = name.to_str() {
        set_mode(place, text, OPEN).map_err(failed)?;
    }
    let spot = folder.staging.spot()?;
    spot.take(place, name).map_err(failed)
}

fn put_file(folder: &Folder, file: &WorkspaceFile, content: &mut ContentOf<'_>) -> Result<bool, Error> {
    let (place, name) = folder.parent(&file.path, Links::Refused)?;
    let failed = |errno| Error::of(&file.path, errno);
    let size = u64::try_from(file.size_bytes).unwrap_or(0);
    let there = match look(&place, name) {
        // A second name of one file would get the mode of the first.
        Ok(stat) if stat.stx_size == size && stat.stx_nlink == 1 => {
            scan::read(&place, name, size, stamp::now()).map_err(failed)?
        }
        Ok(_) | Err(Errno::NOENT) => None,
        Err(errno) => return Err(failed(errno)),
    };
    let right = there.is_some_and(|(digest, _, _)| digest.sha256 == file.sha256);
    if right {
        set_mode(&place, name, file.mode).map_err(failed)?;
    } else {
        let broken = |cause: String| Error::Content { path: file.path.clone(), sha256: file.sha256.clone(), cause };
        let mut bytes = content(&file.sha256)?;
        let accept = |digest: &Digest| {
            let right = digest.sha256 == file.sha256;
            right.then_some(()).ok_or_else(|| broken(format!("what is kept under this name is {}", digest.sha256)))
        };
        let put = folder.put_if(&file.path, file.mode, &mut *bytes, size, Links::Refused, &accept);
        put.map_err(|error| match error {
            Error::TooLarge { .. } => broken(format!("there are more than the {size} bytes it must have")),
            error => error,
        })?;
    }
    set_time(&place, name, file.modify_time).map_err(failed)?;
    Ok(!right)
}

fn put_link(folder: &Folder, file: &WorkspaceFile) -> Result<bool, Error> {
    let (place, name) = folder.parent(&file.path, Links::Refused)?;
    let failed = |errno| Error::of(&file.path, errno);
    let right = match rustix::fs::readlinkat(&place, name, Vec::new()) {
        Ok(target) => target.to_bytes() == file.symlink_target.as_bytes(),
        Err(Errno::NOENT | Errno::INVAL) => false,
        Err(errno) => return Err(failed(errno)),
    };
    if !right {
        folder.put_link(&file.path, &file.symlink_target, Links::Refused)?;
    }
    set_time(&place, name, file.modify_time).map_err(failed)?;
    Ok(!right)
}

/// When it last changed, as it was told.
fn set_time(place: &OwnedFd, name: &str, time: Option<Timestamp>) -> rustix::io::Result<()> {
    let Some(Timestamp(micros)) = time else { return Ok(()) };
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: micros.div_euclid(1_000_000),
            tv_nsec: micros.rem_euclid(1_000_000) * 1000,
        },
    };
    utimensat(place, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}

//! Reading, writing and deleting single entries. Directories of a path may be links that stay in the folder; the entry
//! itself is never followed. What is told of an entry is told of where it really lies.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
};

use bytes::Bytes;
use rustix::{
    fs::{AtFlags, FileType as Sort, Mode, fchmod, readlinkat, symlinkat, unlinkat},
    io::Errno,
};

use super::{
    Entry, Error, Folder, Stamp,
    digest::{self, Digest},
    folder::{Links, MODE_BITS, make_directory, open_content, set_mode},
    path,
    scan::{self, file_entry, link_entry},
    stamp::{self, look},
    tree::directory,
};
use crate::domain::{FileType, WorkspaceFile};

/// Longest link target, in bytes: what the kernel takes.
pub(super) const TARGET_MAX: usize = 4095;

/// A file, described and open at its first byte.
#[derive(Debug)]
pub struct Opened {
    /// As it was when it was opened.
    pub file: WorkspaceFile,
    /// Its bytes.
    pub content: File,
}

impl Folder {
    /// Opens a file to be read.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::NotFound`], and [`Error::Sort`] when it is no file.
    pub fn read(&self, path: &str) -> Result<Opened, Error> {
        let (place, name) = self.parent(path, Links::Inside)?;
        let failed = |errno| Error::of(path, errno);
        sort_of(&place, name).map_err(failed).and_then(|sort| must_be_file(path, sort))?;
        let content = open_content(&place, name).map_err(failed)?;
        let stat = look(&content, "").map_err(failed)?;
        must_be_file(path, Sort::from_raw_mode(u32::from(stat.stx_mode)))?;
        let real = self.real(&place, path)?;
        let mut content = File::from(content);
        let unreadable = |error: io::Error| Error::io(format!("{path:?} cannot be read"), &error);
        let digest = digest::copy(&mut content, &mut io::sink(), u64::MAX).map_err(unreadable)?;
        let digest = digest.ok_or_else(|| endless(path))?;
        io::Seek::rewind(&mut content).map_err(unreadable)?;
        Ok(Opened { file: file_entry(real, &digest, &stat), content })
    }

    /// All bytes of a file that has at most `most`; nothing is read of a larger one, however little of the disk it takes.
    ///
    /// # Errors
    /// As [`Self::read`], and [`Error::TooLarge`].
    pub fn read_small(&self, path: &str, most: u64) -> Result<Vec<u8>, Error> {
        let (place, name) = self.parent(path, Links::Inside)?;
        let failed = |errno| Error::of(path, errno);
        sort_of(&place, name).map_err(failed).and_then(|sort| must_be_file(path, sort))?;
        let content = open_content(&place, name).map_err(failed)?;
        let stat = look(&content, "").map_err(failed)?;
        must_be_file(path, Sort::from_raw_mode(u32::from(stat.stx_mode)))?;
        let mut bytes = Vec::new();
        if stat.stx_size <= most {
            // It may have grown since.
            let read = File::from(content).take(most.saturating_add(1)).read_to_end(&mut bytes);
            read.map_err(|error| Error::io(format!("{path:?} cannot be read"), &error))?;
        }
        if stat.stx_size > most || bytes.len() as u64 > most {
            return Err(Error::TooLarge { what: format!("{path:?}, in bytes,"), limit: most });
        }
        Ok(bytes)
    }

    /// The bytes of several files that have at most `most` together, by path: one that cannot be read is missing.
    ///
    /// # Errors
    /// [`Error::Path`] for what is no path.
    pub fn read_all(&self, paths: &[String], most: u64) -> Result<BTreeMap<String, Bytes>, Error> {
        let (mut files, mut left) = (BTreeMap::new(), most);
        for path in paths {
            path::check(path)?;
            if let Ok(bytes) = self.read_small(path, left) {
                left -= bytes.len() as u64;
                files.insert(path.clone(), bytes.into());
            }
        }
        Ok(files)
    }

    /// Describes what is at `path`: a file, a link, or a directory whether or not it is empty.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::NotFound`], and [`Error::Sort`] when it is nothing that a workspace tells.
    pub fn entry(&self, path: &str) -> Result<Entry, Error> {
        let (place, name) = self.parent(path, Links::Inside)?;
        describe(&place, name, &self.real(&place, path)?)
    }

    /// Writes a file, whole or not at all, in place of the file or link that is there; missing folders are made.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Sort`] when a directory stands there, [`Error::TooLarge`], and [`Error::Io`], also when
    /// `content` cannot be read.
    pub fn write(&self, path: &str, mode: u32, content: &mut dyn Read, limit: u64) -> Result<Entry, Error> {
        self.put(path, mode, content, limit, Links::Inside)
    }

    /// The same, with a choice of what links among the folders are.
    pub(super) fn put(
        &self,
        path: &str,
        mode: u32,
        content: &mut dyn Read,
        limit: u64,
        links: Links,
    ) -> Result<Entry, Error> {
        self.put_if(path, mode, content, limit, links, &|_| Ok(()))
    }

    /// The same, if what was read is accepted.
    pub(super) fn put_if(
        &self,
        path: &str,
        mode: u32,
        content: &mut dyn Read,
        limit: u64,
        links: Links,
        accept: &dyn Fn(&Digest) -> Result<(), Error>,
    ) -> Result<Entry, Error> {
        // Before anything is made: a path that cannot be must leave nothing behind.
        path::check(path)?;
        let (staged, mut file) = self.staging.file()?;
        let written = digest::copy(content, &mut file, limit);
        let written = written.map_err(|error| Error::io(format!("{path:?} cannot be written"), &error))?;
        let digest = written.ok_or_else(|| Error::TooLarge { what: format!("{path:?}, in bytes,"), limit })?;
        accept(&digest)?;
        fchmod(&file, Mode::from_raw_mode(mode & MODE_BITS)).map_err(|errno| Error::of(path, errno))?;
        let (place, name) = self.parent_made(path, links)?;
        staged.move_to(&place, name).map_err(|errno| match errno {
            Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY => is_directory(path, "a file"),
            Errno::NOENT => Error::path(path, "lies in a folder that was removed meanwhile"),
            errno => Error::moving(path, errno),
        })?;
        let stat = look(&file, "").map_err(|errno| Error::of(path, errno))?;
        Ok(written_entry(&self.real(&place, path)?, &digest, &stat))
    }

    /// Deletes a file, a link or an empty directory, and says what it was.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::NotFound`], [`Error::NotEmpty`].
    pub fn delete(&self, path: &str) -> Result<FileType, Error> {
        let (place, name) = self.parent(path, Links::Inside)?;
        let failed = |errno| match errno {
            Errno::NOTEMPTY | Errno::EXIST => Error::NotEmpty { path: path.to_owned() },
            errno => Error::of(path, errno),
        };
        let sort = sort_of(&place, name).map_err(failed)?;
        let (flags, was) = match sort {
            Sort::Directory => (AtFlags::REMOVEDIR, FileType::Directory),
            Sort::Symlink => (AtFlags::empty(), FileType::Symlink),
            Sort::RegularFile
            | Sort::Fifo
            | Sort::Socket
            | Sort::CharacterDevice
            | Sort::BlockDevice
            | Sort::Unknown => (AtFlags::empty(), FileType::File),
        };
        unlinkat(&place, name, flags).map_err(failed)?;
        Ok(was)
    }

    /// Makes a directory, and those above it; one that is there gets the mode.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Sort`] when something else stands there.
    pub fn make_dir(&self, path: &str, mode: u32) -> Result<Entry, Error> {
        let (place, name) = self.parent_made(path, Links::Inside)?;
        let failed = |errno| Error::of(path, errno);
        make_directory(&place, name, mode).map_err(failed)?;
        match sort_of(&place, name).map_err(failed)? {
            Sort::Directory => set_mode(&place, name, mode).map_err(failed)?,
            sort => return Err(Error::Sort { path: path.to_owned(), is: word(sort), wanted: "a directory" }),
        }
        describe(&place, name, &self.real(&place, path)?)
    }

    /// Makes a link, in place of the file or link that is there. Where it leads is not looked at: nothing here follows it
    /// out of the folder.
    ///
    /// # Errors
    /// [`Error::Path`], also for a target that cannot be stored, [`Error::Sort`] when a directory stands there.
    pub fn symlink(&self, path: &str, target: &str) -> Result<Entry, Error> {
        self.put_link(path, target, Links::Inside)
    }

    /// The same, with a choice of what links among the folders are.
    pub(super) fn put_link(&self, path: &str, target: &str, links: Links) -> Result<Entry, Error> {
        path::check(path)?;
        if target.is_empty() || target.len() > TARGET_MAX || target.contains('\0') {
            return Err(Error::path(path, "leads to what cannot be stored: 1 to 4095 bytes without NUL"));
        }
        let staged = self.staging.spot()?;
        let failed = |errno| match errno {
            Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY => is_directory(path, "a link"),
            errno => Error::moving(path, errno),
        };
        symlinkat(target, rustix::fs::CWD, staged.path()).map_err(failed)?;
        let (place, name) = self.parent_made(path, links)?;
        staged.move_to(&place, name).map_err(failed)?;
        describe(&place, name, &self.real(&place, path)?)
    }

    /// Sets the permission bits of a file or directory.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::NotFound`], and [`Error::Sort`] for a link, which has none.
    pub fn set_mode(&self, path: &str, mode: u32) -> Result<(), Error> {
        let (place, name) = self.parent(path, Links::Inside)?;
        set_mode(&place, name, mode).map_err(|errno| match errno {
            Errno::LOOP => {
                Error::Sort { path: path.to_owned(), is: word(Sort::Symlink), wanted: "a file or a directory" }
            }
            errno => Error::of(path, errno),
        })
    }
}

fn describe(place: &OwnedFd, name: &str, path: &str) -> Result<Entry, Error> {
    let failed = |errno| Error::of(path, errno);
    let stat = look(place, name).map_err(failed)?;
    let now = stamp::now();
    match Sort::from_raw_mode(u32::from(stat.stx_mode)) {
        Sort::RegularFile => {
            let read = scan::read(place, name, u64::MAX, now).map_err(failed)?;
            let (digest, stat, stamp) = read.ok_or_else(|| endless(path))?;
            Ok(Entry { file: file_entry(path.to_owned(), &digest, &stat), stamp: Some(stamp) })
        }
        Sort::Symlink => {
            let target = readlinkat(place, name, Vec::new()).map_err(failed)?.into_string();
            let target = target.map_err(|_| Error::path(path, "leads to a name that is not UTF-8"))?;
            Ok(Entry { file: link_entry(path.to_owned(), target, &stat), stamp: Some(Stamp::new(&stat, now)) })
        }
        Sort::Directory => {
            let file = directory(path, u32::from(stat.stx_mode) & MODE_BITS);
            Ok(Entry { file, stamp: Some(Stamp::new(&stat, now)) })
        }
        sort => Err(Error::Sort { path: path.to_owned(), is: word(sort), wanted: "a file, a link or a directory" }),
    }
}

fn written_entry(path: &str, digest: &Digest, stat: &rustix::fs::Statx) -> Entry {
    Entry { file: file_entry(path.to_owned(), digest, stat), stamp: Some(Stamp::new(stat, stamp::now()).unsettled()) }
}

pub(super) fn sort_of(place: &OwnedFd, name: &str) -> rustix::io::Result<Sort> {
    Ok(Sort::from_raw_mode(u32::from(look(place, name)?.stx_mode)))
}

fn must_be_file(path: &str, sort: Sort) -> Result<(), Error> {
    if sort.is_file() {
        return Ok(());
    }
    Err(Error::Sort { path: path.to_owned(), is: word(sort), wanted: "a file" })
}

fn is_directory(path: &str, wanted: &'static str) -> Error {
    Error::Sort { path: path.to_owned(), is: word(Sort::Directory), wanted }
}

fn endless(path: &str) -> Error {
    Error::TooLarge { what: format!("{path:?}, in bytes,"), limit: u64::MAX }
}

/// What it is called in a sentence.
#[must_use]
pub fn word(sort: Sort) -> &'static str {
    match sort {
        Sort::RegularFile => "a file",
        Sort::Directory => "a directory",
        Sort::Symlink => "a link",
        Sort::Fifo => "a pipe",
        Sort::Socket => "a socket",
        Sort::CharacterDevice | Sort::BlockDevice => "a device",
        Sort::Unknown => "something else",
    }
}

//! Where the entries of an archive come together before they are moved in. Every rule about entries stands here, whatever
//! the format.

use std::{collections::BTreeMap, io::Read};

use rustix::fs::{AtFlags, linkat};

use super::ArchiveLimits;
use crate::workspace::{
    Error, Folder, folder::Links, operations::TARGET_MAX, path, staging::Staged, tree::PLAIN_DIRECTORY,
};

/// Archives may grow up to here by any factor.
const RATIO_FROM: u64 = 64 * 1024 * 1024;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Directory(u32),
    File,
    Link,
}

/// What an archive brings, in a folder of its own.
#[derive(Debug)]
pub struct Gathered {
    folder: Folder,
    /// Removes what was not moved in.
    staged: Staged,
    under: String,
    /// By their path in the archive.
    entries: BTreeMap<String, Sort>,
    count: usize,
    bytes: u64,
    limits: ArchiveLimits,
    /// What the files may grow to, by the size of the archive.
    most: u64,
}

impl Gathered {
    pub(super) fn new(folder: &Folder, under: &str, limits: ArchiveLimits, packed: u64) -> Result<Self, Error> {
        let (staged, folder) = folder.staging.folder()?;
        let most = limits.bytes.min(packed.saturating_mul(limits.ratio).max(RATIO_FROM));
        Ok(Self { folder, staged, under: under.to_owned(), entries: BTreeMap::new(), count: 0, bytes: 0, limits, most })
    }

    /// Where the files lie, by their path in the archive.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The same, with what removes it when it is dropped.
    #[must_use]
    pub fn into_parts(self) -> (Folder, Staged) {
        (self.folder, self.staged)
    }

    /// The folder they go to.
    pub(super) fn under(&self) -> &str {
        &self.under
    }

    /// Every entry, folders that are only implied too, sorted.
    pub(super) fn entries(&self) -> &BTreeMap<String, Sort> {
        &self.entries
    }

    /// The path of an entry as it is here; `None` for the folder itself, which some archives name.
    pub(super) fn path(raw: &[u8]) -> Result<Option<String>, Error> {
        let text = std::str::from_utf8(raw)
            .map_err(|_| refused(&String::from_utf8_lossy(raw), "has a name that is not UTF-8"))?;
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        // Many archives say "./a"; that is harmless, all else must be a path as it is.
        let parts: Vec<_> = trimmed.split('/').filter(|part| *part != ".").collect();
        if parts.is_empty() {
            return Ok(None);
        }
        let path = parts.join("/");
        match path::check(&path) {
            Err(Error::Path { path: _, rule }) => Err(refused(text, &rule)),
            checked => checked.map(|()| Some(path)),
        }
    }

    pub(super) fn directory(&mut self, path: &str, mode: u32) -> Result<(), Error> {
        self.admit(path, Sort::Directory(mode))?;
        self.folder.make_dir(path, PLAIN_DIRECTORY).map(drop)
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, content: &mut dyn Read) -> Result<(), Error> {
        self.admit(path, Sort::File)?;
        let most = self.most.min(self.limits.bytes);
        let put =
            self.folder.put(path, mode, content, most - self.bytes, Links::Refused).map_err(|error| match error {
                Error::TooLarge { .. } if self.most < self.limits.bytes => {
                    refused(path, &format!("makes the archive more than {} times larger", self.limits.ratio))
                }
                Error::TooLarge { .. } => {
                    Error::TooLarge { what: "what the archive holds, in bytes,".to_owned(), limit: self.limits.bytes }
                }
                // Mostly the archive's own damage: told by whoever reads it.
                Error::Io { cause, .. } => refused(path, &cause),
                error => error,
            });
        self.bytes += u64::try_from(put?.file.size_bytes).unwrap_or(0);
        Ok(())
    }

    pub(super) fn link(&mut self, path: &str, target: &[u8]) -> Result<(), Error> {
        let target = std::str::from_utf8(target).map_err(|_| refused(path, "leads to a name that is not UTF-8"))?;
        self.must_stay(path, target)?;
        self.admit(path, Sort::Link)?;
        self.folder.put_link(path, target, Links::Refused).map(drop)
    }

    /// A second name for a file that came before.
    pub(super) fn hard_link(&mut self, path: &str, target: &[u8]) -> Result<(), Error> {
        let Some(target) = Self::path(target)? else {
            return Err(refused(path, "is a hard link to a directory"));
        };
        if self.entries.get(&target) != Some(&Sort::File) || target == path {
            return Err(refused(path, &format!("is a hard link to {target:?}, which is no file before it")));
        }
        let replaces = self.entries.contains_key(path);
        self.admit(path, Sort::File)?;
        if replaces {
            self.folder.delete(path)?;
        }
        let (from, from_name) = self.folder.parent(&target, Links::Refused)?;
        let (to, name) = self.folder.parent_made(path, Links::Refused)?;
        linkat(&from, from_name, &to, name, AtFlags::empty()).map_err(|errno| Error::of(path, errno))
    }

    /// Counts an entry, and refuses one that does not fit to those before it.
    fn admit(&mut self, path: &str, sort: Sort) -> Result<(), Error> {
        self.count += 1;
        if self.count > self.limits.entries {
            let limit = self.limits.entries as u64;
            return Err(Error::TooLarge { what: "the number of entries in the archive".to_owned(), limit });
        }
        let whole = path::join(&self.under, path);
        if path::check(&whole).is_err() {
            return Err(refused(path, "has a path of more than 1024 bytes where it is to go"));
        }
        for above in path::above(path) {
            match self.entries.get(above) {
                Some(Sort::File | Sort::Link) => {
                    return Err(refused(path, "lies in what is no directory in the archive"));
                }
                Some(Sort::Directory(_)) => {}
                None => {
                    self.entries.insert(above.to_owned(), Sort::Directory(PLAIN_DIRECTORY));
                }
            }
        }
        match (self.entries.get(path), sort) {
            (None, _)
            | (Some(Sort::Directory(_)), Sort::Directory(_))
            | (Some(Sort::File | Sort::Link), Sort::File | Sort::Link) => {}
            (Some(Sort::Directory(_)), Sort::File | Sort::Link)
            | (Some(Sort::File | Sort::Link), Sort::Directory(_)) => {
                return Err(refused(path, "comes twice, as a directory and as something else"));
            }
        }
        self.entries.insert(path.to_owned(), sort);
        Ok(())
    }

    /// Refuses a link that can lead out. What goes up must do so first: then it starts from real directories, and each
    /// step up can be counted; what goes up behind a name could come from anywhere the name leads.
    fn must_stay(&self, path: &str, target: &str) -> Result<(), Error> {
        if target.is_empty() || target.len() > TARGET_MAX || target.contains('\0') {
            return Err(refused(path, "leads to what cannot be stored"));
        }
        let leaves = || Err(refused(path, &format!("is a link to {target:?}, which leaves the workspace")));
        if target.starts_with('/') {
            return leaves();
        }
        let whole = path::join(&self.under, path);
        let mut depth = path::above(&whole).count();
        let mut down = false;
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." if down => return leaves(),
                ".." => match depth.checked_sub(1) {
                    Some(up) => depth = up,
                    None => return leaves(),
                },
                _ => down = true,
            }
        }
        Ok(())
    }
}

/// An entry that is not let in.
pub(super) fn refused(path: &str, rule: &str) -> Error {
    Error::Archive(format!("its entry {path:?} {rule}"))
}

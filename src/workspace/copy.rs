//! A workspace that starts as the copy of a directory of this machine: below roots that the server's owner allows, and
//! never from where the server keeps its own.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{Dir, FileType, readlinkat};

use super::{
    Error, Folder, bring,
    folder::{Links, MODE_BITS, open_plain},
    path,
    stamp::look,
};

/// What may be copied, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copying {
    /// Directories below which everything may be copied; none: nothing may.
    pub roots: Vec<PathBuf>,
    /// Directories that may neither be copied nor hold nor lie in what is copied.
    pub hidden: Vec<PathBuf>,
    /// No more entries than these.
    pub max_entries: usize,
    /// No more bytes than these.
    pub max_bytes: u64,
}

/// Nothing may be copied until roots are named.
impl Default for Copying {
    fn default() -> Self {
        Self { roots: Vec::new(), hidden: Vec::new(), max_entries: 200_000, max_bytes: 4 << 30 }
    }
}

/// Copies the directory `from`, an absolute path, into the folder, which must be empty. Links are copied as links, modes
/// are kept; sockets, pipes, devices and names that no workspace can hold are left out. Says how many files and links it
/// brought.
///
/// # Errors
/// [`Error::Source`] when it may not be copied or cannot be read; [`Error::TooLarge`]; [`Error::Io`]. The folder is empty
/// then.
pub fn copy_directory(folder: &Folder, from: &Path, copying: &Copying) -> Result<usize, Error> {
    bring::must_be_empty(folder)?;
    let source = allowed(from, copying)?;
    let source = Folder::open(&source, Path::new("")).map_err(|error| Error::Source(error.to_string()))?;
    let (_staged, gathered) = folder.staging.folder()?;
    let mut copy = Copy { source: &source, gathered: &gathered, copying, entries: 0, bytes: 0, files: 0 };
    let mut modes = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(above) = waiting.pop() {
        copy.directory(&above, &mut waiting, &mut modes)?;
    }
    bring::bring(folder, &gathered)?;
    // After they were moved, for which they must be writable; those met last lie deepest and are closed first.
    for (path, mode) in modes.iter().rev() {
        folder.set_mode(path, *mode)?;
    }
    Ok(copy.files)
}

/// Where the directory `from` really lies, if it may be copied.
///
/// # Errors
/// [`Error::Source`], which says why not.
pub fn allowed(from: &Path, copying: &Copying) -> Result<PathBuf, Error> {
    let refused = |why: &str| Error::Source(format!("{} {why}", from.display()));
    if !from.is_absolute() {
        return Err(refused("is not an absolute path"));
    }
    let real = |path: &Path| fs::canonicalize(path).ok();
    // The same words for what is not there and what may not be seen.
    let outside = || refused("is no directory below a root that this server allows to copy from");
    let found = real(from).filter(|found| found.is_dir()).ok_or_else(outside)?;
    if !copying.roots.iter().filter_map(|root| real(root)).any(|root| found.starts_with(root)) {
        return Err(outside());
    }
    let hidden = copying.hidden.iter().filter_map(|hidden| real(hidden));
    if hidden.into_iter().any(|hidden| found.starts_with(&hidden) || hidden.starts_with(&found)) {
        return Err(refused("holds what the server keeps for itself"));
    }
    Ok(found)
}

struct Copy<'c> {
    source: &'c Folder,
    gathered: &'c Folder,
    copying: &'c Copying,
    entries: usize,
    bytes: u64,
    files: usize,
}

impl Copy<'_> {
    fn directory(
        &mut self,
        above: &str,
        waiting: &mut Vec<String>,
        modes: &mut Vec<(String, u32)>,
    ) -> Result<(), Error> {
        let unreadable = |path: &str, errno| Error::Source(Error::of(path, errno).to_string());
        let failed = |errno| unreadable(if above.is_empty() { "." } else { above }, errno);
        let place = self.source.place(above, Links::Refused).map_err(failed)?;
        for entry in Dir::new(self.source.listing(above, Links::Refused).map_err(failed)?).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let path = path::join(above, name);
            if path::check(&path).is_err() {
                continue;
            }
            self.entries += 1;
            if self.entries > self.copying.max_entries {
                let what = "the number of entries in the directory".to_owned();
                return Err(Error::TooLarge { what, limit: self.copying.max_entries as u64 });
            }
            let failed = |errno| unreadable(&path, errno);
            let stat = look(&place, name).map_err(failed)?;
            let mode = u32::from(stat.stx_mode) & MODE_BITS;
            match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
                FileType::Directory => {
                    self.gathered.make_dir(&path, 0o700)?;
                    modes.push((path.clone(), mode));
                    waiting.push(path);
                }
                FileType::RegularFile => self.file(&place, name, &path, mode)?,
                FileType::Symlink => {
                    let target = readlinkat(&place, name, Vec::new()).map_err(failed)?;
                    let Ok(target) = target.to_str() else { continue };
                    self.gathered.put_link(&path, target, Links::Refused)?;
                    self.files += 1;
                }
                FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, place: &OwnedFd, name: &str, path: &str, mode: u32) -> Result<(), Error> {
        let unreadable = |error: io::Error| Error::Source(format!("{path:?} cannot be read: {error}"));
        let mut content = File::from(open_plain(place, name).map_err(|errno| unreadable(errno.into()))?);
        if !content.metadata().map_err(unreadable)?.is_file() {
            return Ok(());
        }
        let left = self.copying.max_bytes - self.bytes;
        let put = self.gathered.put(path, mode, &mut content, left, Links::Refused).map_err(|error| match error {
            Error::TooLarge { .. } => {
                let what = "what the directory holds, in bytes,".to_owned();
                Error::TooLarge { what, limit: self.copying.max_bytes }
            }
            error => error,
        });
        self.bytes += u64::try_from(put?.file.size_bytes).unwrap_or(0);
        self.files += 1;
        Ok(())
    }
}

//! Unpacking an archive, all of it or nothing: it is read into a folder that nobody sees, and every entry is checked on the
//! way; what can stand in the way is looked for; then it is moved in.

mod afar;
mod enter;
mod gather;
mod tar;
mod zip;

use std::fs::File;

pub use self::{afar::Step, gather::Gathered};
use super::{Error, Folder, path};
use crate::domain::ArchiveFormat;

/// How much an archive may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Entries of any sort.
    pub entries: usize,
    /// Bytes of all files together.
    pub bytes: u64,
    /// How many times larger than the archive its files may be, once they are over 64 MiB.
    pub ratio: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 1 << 30, ratio: 200 }
    }
}

/// Unpacks into the folder `under`, which is made if it is missing and is empty for the folder itself. Files that are
/// there already stay, unless the archive has one of the same path. Says how many files and links it brought.
///
/// # Errors
/// [`Error::Archive`], which names the entry and the rule; [`Error::TooLarge`]; [`Error::Path`] for `under`;
/// [`Error::Sort`] where a directory would replace a file or the other way round; [`Error::Io`]. The folder is as it was
/// then.
pub fn unpack(
    folder: &Folder,
    format: ArchiveFormat,
    archive: File,
    under: &str,
    limits: ArchiveLimits,
) -> Result<usize, Error> {
    enter::enter(folder, &gather(folder, format, archive, under, limits)?)
}

/// Reads and checks an archive that is to go into the folder `under`, and puts what it holds together beside `folder`; nothing
/// in that is touched.
///
/// # Errors
/// As [`unpack`].
pub fn gather(
    folder: &Folder,
    format: ArchiveFormat,
    archive: File,
    under: &str,
    limits: ArchiveLimits,
) -> Result<Gathered, Error> {
    if !under.is_empty() {
        path::check(under)?;
    }
    let packed = archive.metadata().map_err(|error| Error::io("the archive cannot be read", &error))?.len();
    let mut gathered = Gathered::new(folder, under, limits, packed)?;
    match format {
        ArchiveFormat::Tar => tar::read(archive, &mut gathered)?,
        ArchiveFormat::TarGz => tar::read(flate2::read::MultiGzDecoder::new(archive), &mut gathered)?,
        ArchiveFormat::Zip => zip::read(archive, &mut gathered)?,
    }
    Ok(gathered)
}

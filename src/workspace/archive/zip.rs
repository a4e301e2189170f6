//! Reading zip.

use std::{
    fs::File,
    io::{BufReader, Read as _},
};

use rustix::fs::FileType;
use zip::{ZipArchive, read::ZipFile, result::ZipError};

use super::gather::{Gathered, refused};
use crate::workspace::{Error, operations::TARGET_MAX};

/// Reads all of it.
pub(super) fn read(archive: File, gathered: &mut Gathered) -> Result<(), Error> {
    let damaged = |error: ZipError| Error::Archive(error.to_string());
    let mut archive = ZipArchive::new(BufReader::new(archive)).map_err(damaged)?;
    // Honest archives have every byte once; others make much of little.
    if archive.has_overlapping_entries().map_err(damaged)? {
        return Err(Error::Archive("its entries overlap".to_owned()));
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name_raw().to_vec();
        let path = Gathered::path(&name)?;
        if entry.encrypted() {
            return Err(refused(&String::from_utf8_lossy(&name), "is encrypted"));
        }
        let (mode, sort) = mode(&entry);
        let is_directory = entry.is_dir();
        let Some(path) = path else {
            if is_directory {
                continue;
            }
            return Err(refused(&String::from_utf8_lossy(&name), "has no name"));
        };
        if is_directory {
            gathered.directory(&path, mode.unwrap_or(0o755))?;
            continue;
        }
        drop(entry);
        // Here the method is looked at: one that is not built in is refused.
        entry = archive.by_index(index).map_err(|error| refused(&path, &format!("cannot be read: {error}")))?;
        match sort {
            FileType::Symlink => {
                let mut target = Vec::new();
                let read = (&mut entry).take(TARGET_MAX as u64 + 1).read_to_end(&mut target);
                read.map_err(|error| refused(&path, &error.to_string()))?;
                gathered.link(&path, &target)?;
            }
            FileType::RegularFile => gathered.file(&path, mode.unwrap_or(0o644), &mut entry)?,
            FileType::Directory
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => return Err(refused(&path, "is neither a file nor a link nor a directory")),
        }
    }
    Ok(())
}

/// The permission bits, where a system with such bits packed it, and what sort of entry it says it is.
fn mode(entry: &ZipFile<'_, impl std::io::Read>) -> (Option<u32>, FileType) {
    match entry.unix_mode() {
        // Some packers tell permissions and no sort.
        Some(mode) if mode & 0o170_000 == 0 => (Some(mode).filter(|mode| *mode != 0), FileType::RegularFile),
        Some(mode) => (Some(mode), FileType::from_raw_mode(mode)),
        None => (None, FileType::RegularFile),
    }
}

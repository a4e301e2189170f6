//! Reading tar. Long names are read here and not by the crate, which would take any length into memory.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use tar::{Archive, EntryType, PaxExtensions};

use super::gather::{Gathered, refused};
use crate::workspace::Error;

/// Longest header that belongs to the next entry: names, times, attributes.
const EXTENSION_MAX: u64 = 1024 * 1024;

/// Reads all of it.
pub(super) fn read(stream: impl Read, gathered: &mut Gathered) -> Result<(), Error> {
    let mut archive = Archive::new(stream);
    let damaged = |error: io::Error| Error::Archive(error.to_string());
    let mut next = Extended::default();
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let sort = entry.header().entry_type();
        if sort.is_gnu_longname() || sort.is_gnu_longlink() || sort.is_pax_local_extensions() {
            let bytes = extension(&mut entry)?;
            next.take(sort, &bytes)?;
            continue;
        }
        if sort.is_pax_global_extensions() {
            // The commit of a repository that was archived, and such.
            extension(&mut entry)?;
            continue;
        }
        let Extended { path, link } = std::mem::take(&mut next);
        let raw = path.unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let target = link.or_else(|| entry.header().link_name_bytes().map(Cow::into_owned)).unwrap_or_default();
        let mode = entry.header().mode().map_err(damaged)?;
        // Old archives mark directories by their name alone.
        let is_directory = sort == EntryType::Directory || sort == EntryType::Regular && raw.ends_with(b"/");
        let Some(path) = Gathered::path(&raw)? else {
            if is_directory {
                continue;
            }
            return Err(refused(&String::from_utf8_lossy(&raw), "has no name"));
        };
        if is_directory {
            gathered.directory(&path, mode)?;
            continue;
        }
        match sort {
            EntryType::Regular | EntryType::Continuous => gathered.file(&path, mode, &mut entry)?,
            EntryType::Symlink => gathered.link(&path, &target)?,
            EntryType::Link => gathered.hard_link(&path, &target)?,
            EntryType::GNUSparse => return Err(sparse(&path)),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                return Err(refused(&path, "is a device or a pipe"));
            }
            // Of a crate that may learn more sorts.
            _ => return Err(refused(&path, "is of a sort that is not known here")),
        }
    }
    if next != Extended::default() {
        return Err(Error::Archive("it ends before an entry that it announces".to_owned()));
    }
    // To the end, so that a compressed stream is checked whole; it was announced to hold nothing more.
    let rest = io::copy(&mut archive.into_inner().take(EXTENSION_MAX), &mut io::sink()).map_err(damaged)?;
    if rest == EXTENSION_MAX {
        return Err(Error::Archive("it goes on behind its end".to_owned()));
    }
    Ok(())
}

/// What was said of the next entry before it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Extended {
    fn take(&mut self, sort: EntryType, bytes: &[u8]) -> Result<(), Error> {
        if !sort.is_pax_local_extensions() {
            let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
            let place = if sort.is_gnu_longname() { &mut self.path } else { &mut self.link };
            *place = Some(name);
            return Ok(());
        }
        for extension in PaxExtensions::new(bytes) {
            let extension = extension.map_err(|error| Error::Archive(error.to_string()))?;
            let value = || extension.value_bytes().to_vec();
            match extension.key_bytes() {
                b"path" => self.path = Some(value()),
                b"linkpath" => self.link = Some(value()),
                b"size" => return Err(Error::Archive("it tells the size of an entry in two places".to_owned())),
                key if key.starts_with(b"GNU.sparse.") => return Err(sparse("")),
                // Times, owners, attributes: not taken over.
                _ => {}
            }
        }
        Ok(())
    }
}

fn extension(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, Error> {
    let size = entry.size();
    if size > EXTENSION_MAX {
        return Err(Error::Archive(format!("it has a header of {size} bytes")));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| Error::Archive(error.to_string()))?;
    Ok(bytes)
}

fn sparse(path: &str) -> Error {
    refused(path, "is a sparse file: pack it as a plain one")
}

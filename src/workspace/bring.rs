//! The start of a workspace from somewhere else: put together where nobody looks, then moved into a folder that is empty.

use std::ffi::{CStr, CString};

use rustix::{
    fs::{AtFlags, Dir, RenameFlags, renameat_with, unlinkat},
    io::Errno,
};

use super::{Error, Folder, folder::Links};

/// Refuses a folder that holds something already.
///
/// # Errors
/// [`Error::Source`], which names what it holds.
pub fn must_be_empty(folder: &Folder) -> Result<(), Error> {
    match names(folder)?.first() {
        None => Ok(()),
        Some(name) => Err(Error::Source(format!("the workspace is not empty: it holds {:?}", name.to_string_lossy()))),
    }
}

/// Moves everything that was put together into the folder.
pub(super) fn bring(folder: &Folder, gathered: &Folder) -> Result<(), Error> {
    must_be_empty(folder)?;
    let mut brought: Vec<CString> = Vec::new();
    for name in names(gathered)? {
        let moved = renameat_with(gathered.root(), &name, folder.root(), &name, RenameFlags::NOREPLACE);
        if let Err(errno) = moved {
            for name in brought.iter().rev() {
                take_back(folder, gathered, name);
            }
            return Err(Error::of(&name.to_string_lossy(), errno));
        }
        brought.push(name);
    }
    Ok(())
}

fn take_back(folder: &Folder, gathered: &Folder, name: &CStr) {
    let back = renameat_with(folder.root(), name, gathered.root(), name, RenameFlags::NOREPLACE);
    let gone = back.or_else(|_| match unlinkat(folder.root(), name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    });
    if let Err(errno) = gone {
        tracing::warn!(%errno, "a source that could not be brought in left something behind");
    }
}

/// The names of everything that lies in the folder itself.
///
/// # Errors
/// [`Error::Io`].
pub fn top(folder: &Folder) -> Result<Vec<String>, Error> {
    Ok(names(folder)?.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

/// Everything in a directory but itself and the one above.
pub(super) fn names(folder: &Folder) -> Result<Vec<CString>, Error> {
    let failed = |errno: Errno| Error::io("a folder cannot be listed", &errno.into());
    let listing = folder.listing("", Links::Refused).map_err(failed)?;
    let mut names = Vec::new();
    for entry in Dir::new(listing).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

//! The highest epoch that a sandbox has seen, in a file: it outlives supervisors, and counts also while none runs. Nobody
//! keeps it in memory, so nobody can be behind.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
};

use rustix::fs::{FlockOperation, flock};

use super::folder::Folder;

/// Digits of a number, filled up so that a longer one never leaves a rest of itself.
const WIDTH: usize = 20;

/// Notes the epoch of a command. Returns the highest seen: when that is higher, the command must not be carried out.
///
/// # Errors
/// Of the file system.
pub fn see(folder: &Folder, given: i64) -> io::Result<i64> {
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(folder.epoch())?;
    let seen = read(&mut file)?;
    if given > seen {
        file.write_all_at(format!("{given:<WIDTH$}").as_bytes(), 0)?;
    }
    Ok(seen.max(given))
}

/// The highest seen. Makes no file: who only looks must not be in the way of one who removes the folder.
///
/// # Errors
/// Of the file system.
pub fn highest(folder: &Folder) -> io::Result<i64> {
    match File::open(folder.epoch()) {
        Ok(mut file) => read(&mut file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(i64::MIN),
        Err(error) => Err(error),
    }
}

/// Locks the file until it is closed.
fn read(file: &mut File) -> io::Result<i64> {
    flock(&*file, FlockOperation::LockExclusive)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // An empty file is one that was just made.
    let text = text.trim();
    if text.is_empty() { Ok(i64::MIN) } else { text.parse().map_err(io::Error::other) }
}

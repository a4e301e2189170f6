//! Where things are put together before they are moved to where they belong, and where they are moved to be removed. It
//! lies outside the folder, so neither a scan nor a program in it ever sees anything half done. What an earlier process
//! left here is told by its name.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{CWD, renameat};

use super::{Error, Folder};

/// How everything that this process stages is called, and nobody else's.
static RUN: LazyLock<String> = LazyLock::new(|| format!("{:0DIGITS$x}-", rand::random::<u64>()));
const DIGITS: usize = 16;
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A directory for what is not ready.
#[derive(Clone, Debug)]
pub(super) struct Staging(PathBuf);

impl Staging {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// A name that nothing has.
    fn name(&self) -> Result<PathBuf, Error> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|error| Error::io("the staging directory cannot be made", &error))?;
        Ok(self.0.join(format!("{}{}", *RUN, NEXT.fetch_add(1, Ordering::Relaxed))))
    }

    /// A new, empty file.
    pub(super) fn file(&self) -> Result<(Staged, fs::File), Error> {
        let path = self.name()?;
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| Error::io("a file cannot be staged", &error))?;
        Ok((Staged { path, moved: false }, file))
    }

    /// A new, empty folder.
    pub(super) fn folder(&self) -> Result<(Staged, Folder), Error> {
        let path = self.name()?;
        let made = fs::DirBuilder::new().mode(0o755).create(&path);
        made.map_err(|error| Error::io("a folder cannot be staged", &error))?;
        let staged = Staged { path, moved: false };
        let folder = Folder::open(&staged.path, &self.0)?;
        Ok((staged, folder))
    }

    /// A name that something can be moved to.
    pub(super) fn spot(&self) -> Result<Staged, Error> {
        Ok(Staged { path: self.name()?, moved: false })
    }

    /// Removes what processes before this one left. What is called otherwise is none of that, and not ours to remove.
    pub(super) fn clean(&self) {
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| is_staged(name) && !name.starts_with(&**RUN)) {
                discard(&entry.path());
            }
        }
    }
}

/// Whether a process, this one or another, gives such names.
fn is_staged(name: &str) -> bool {
    let Some((run, number)) = name.split_once('-') else { return false };
    run.len() == DIGITS && run.bytes().all(|byte| byte.is_ascii_hexdigit()) && number.parse::<u64>().is_ok()
}

/// A new, empty folder in the directory `staging`, which is made when it is missing and which only this process uses; it goes
/// with all it holds when the first is dropped.
///
/// # Errors
/// [`Error::Io`].
pub fn aside(staging: &Path) -> Result<(Staged, Folder), Error> {
    let staging = Staging::new(staging);
    staging.clean();
    staging.folder()
}

/// Something in the staging directory; removed when it is dropped, unless it was moved away.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    moved: bool,
}

impl Staged {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves it to where it belongs, in place of what is there.
    pub(super) fn move_to(mut self, place: &OwnedFd, name: &str) -> rustix::io::Result<()> {
        renameat(CWD, &self.path, place, name)?;
        self.moved = true;
        Ok(())
    }

    /// Moves something here instead.
    pub(super) fn take(&self, place: &OwnedFd, name: impl rustix::path::Arg) -> rustix::io::Result<()> {
        renameat(place, name, CWD, &self.path)
    }

    /// Moves what was taken back to where it was.
    pub(super) fn give_back(&self, place: &OwnedFd, name: &str) -> rustix::io::Result<()> {
        renameat(CWD, &self.path, place, name)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.moved {
            discard(&self.path);
        }
    }
}

/// Removes whatever it is. Never follows links. What cannot be removed is found again by the next process.
fn discard(path: &Path) {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).or_else(|_| {
            open_up(path)?;
            fs::remove_dir_all(path)
        }),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    if let Err(error) = removed {
        tracing::warn!(path = %path.display(), %error, "what was staged cannot be removed");
    }
}

/// Lets the owner remove what is in directories that even the owner may not write.
fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn only_what_another_process_staged_is_removed() {
        let folder = TempDir::new().expect("a folder");
        let own = Staging::new(folder.path()).file().expect("staged").0;
        let others = format!("{:0DIGITS$x}-7", !0_u64);
        for name in [&*others, "database", "key", "0123456789abcdef-x", "-1"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        let (held, _) = aside(folder.path()).expect("a folder aside");
        let left = |name: &str| folder.path().join(name).exists();
        assert!(own.path().exists() && held.path().exists() && !left(&others));
        assert!(["database", "key", "0123456789abcdef-x", "-1"].iter().all(|name| left(name)));
    }
}

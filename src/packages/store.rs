//! The folder of installed sets: who may add to it now, and how one comes into its place whole.
//!
//! A set that is still being filled has a folder of its own, in use for as long as a file in it is locked. Its installer
//! holds that lock together with the server, so that it stays when the server is killed and the installer runs on.

use std::{
    fs::{self, DirEntry, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;

use super::Error;

/// Begins the names of folders that are still being filled.
const FRESH: &str = ".installing-";

/// In such a folder: locked while it is in use.
const IN_USE: &str = "in-use";

/// In such a folder: what is to become the set.
const SET: &str = "set";

/// A folder to install into. What is left of it goes when this does.
#[derive(Debug)]
pub(super) struct Fresh {
    folder: TempDir,
    in_use: File,
}

impl Fresh {
    /// Where the set is put together.
    pub(super) fn set(&self) -> PathBuf {
        self.folder.path().join(SET)
    }

    /// An input that is empty. As long as a program has it, nobody takes the folder for one that was left.
    pub(super) fn in_use(&self) -> io::Result<Stdio> {
        Ok(self.in_use.try_clone()?.into())
    }
}

/// A folder to install into. What installations left that were killed goes first; what cannot be removed is left to the next
/// one, because it is in nobody's way.
pub(super) async fn fresh(folder: &Path) -> Result<Fresh, Error> {
    let at = folder.to_owned();
    let made = move || {
        fs::create_dir_all(&at)?;
        // Only for a moment: between the making of a folder and its lock nobody may look at it.
        let _lock = lock(&at)?;
        remove_left(&at)?;
        let folder = tempfile::Builder::new().prefix(FRESH).tempdir_in(&at)?;
        fs::create_dir(folder.path().join(SET))?;
        // Opened to be read, because programs get it as their input.
        fs::write(folder.path().join(IN_USE), "")?;
        let in_use = File::open(folder.path().join(IN_USE))?;
        in_use.lock()?;
        Ok(Fresh { folder, in_use })
    };
    blocking(made).await.map_err(Error::io(folder))
}

/// Whoever holds it is alone in adding, using and taking away sets, in all servers that share the folder.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(".lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Removes what installations left that were killed; only under the lock.
pub(super) fn remove_left(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(FRESH)
            && let Err(error) = remove_if_left(&entry)
        {
            tracing::warn!(path = %entry.path().display(), %error, "what an installation left cannot be removed");
        }
    }
    Ok(())
}

/// Takes a set out of its place, whole; it is removed with what this returns, or as what an installation left.
pub(super) fn taken_away(folder: &Path, place: &Path) -> io::Result<TempDir> {
    let gone = tempfile::Builder::new().prefix(FRESH).tempdir_in(folder)?;
    fs::rename(place, gone.path().join(SET))?;
    Ok(gone)
}

fn remove_if_left(entry: &DirEntry) -> io::Result<()> {
    let in_use = match File::open(entry.path().join(IN_USE)) {
        Ok(file) => match file.try_lock() {
            Ok(()) => false,
            Err(fs::TryLockError::WouldBlock) => true,
            Err(fs::TryLockError::Error(error)) => return Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if in_use { Ok(()) } else { fs::remove_dir_all(entry.path()) }
}

/// Puts what was installed into its place. It is on the disk first, so that a place is whole after a power loss too.
pub(super) async fn keep(fresh: Fresh, place: &Path) -> Result<(), Error> {
    let target = place.to_owned();
    let kept = blocking(move || {
        flush(&File::open(fresh.set())?)?;
        match fs::rename(fresh.set(), &target) {
            // Another server that shares the folder was through first: its set is the same.
            Err(_) if target.is_dir() => Ok(()),
            renamed => renamed,
        }
    });
    kept.await.map_err(Error::io(place))
}

/// Writes what the file system of this folder holds in memory.
fn flush(folder: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(folder)?;
    #[cfg(not(target_os = "linux"))]
    folder.sync_all()?;
    Ok(())
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn left(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != ".lock").count()
    }

    #[tokio::test]
    async fn a_folder_that_is_in_use_stays_also_when_only_its_installer_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let one = fresh(folder.path()).await.unwrap();
        // Nobody waits for it, and nobody removes it.
        let two = fresh(folder.path()).await.unwrap();
        assert_eq!(left(folder.path()), 2);
        let mut installer = Command::new("sleep").arg("60").stdin(one.in_use().unwrap()).spawn().unwrap();
        // The server is killed.
        let Fresh { folder: killed, in_use } = one;
        let killed = killed.keep();
        drop((in_use, two));
        drop(fresh(folder.path()).await.unwrap());
        assert!(killed.join(SET).is_dir(), "it was removed under its installer");
        installer.kill().unwrap();
        installer.wait().unwrap();
        drop(fresh(folder.path()).await.unwrap());
        assert_eq!(left(folder.path()), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_removed_keeps_nobody_from_installing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!("{FRESH}file")), "no folder").unwrap();
        let place = folder.path().join("npm-1");
        for _ in 0..2 {
            let fresh = fresh(folder.path()).await.unwrap();
            fs::write(fresh.set().join("one"), "1").unwrap();
            keep(fresh, &place).await.unwrap();
        }
        assert!(place.join("one").is_file());
        assert_eq!(left(folder.path()), 2, "the set, and what cannot be removed");
    }
}

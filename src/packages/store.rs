//! The folder of installed sets: who may add to it now, and how one comes into its place whole.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

use tempfile::TempDir;

use super::Error;

/// Begins the names of folders that are still being filled.
const FRESH: &str = ".installing-";

/// Held while the file is open, by one task of one process at a time; the system lets go of it when the process ends.
pub(super) async fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(".lock");
    let (folder, locked) = (folder.to_owned(), path.clone());
    let lock = move || {
        fs::create_dir_all(&folder)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(locked)?;
        file.lock()?;
        Ok(file)
    };
    blocking(lock).await.map_err(Error::io(path))
}

/// A folder to install into. What an installation left that was killed goes first: nobody else is at it.
pub(super) fn fresh(folder: &Path) -> Result<TempDir, Error> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if entry.file_name().to_string_lossy().starts_with(FRESH) {
            fs::remove_dir_all(entry.path()).map_err(Error::io(entry.path()))?;
        }
    }
    tempfile::Builder::new().prefix(FRESH).tempdir_in(folder).map_err(Error::io(folder))
}

/// Puts what was installed into its place. It is on the disk first, so that a place is whole after a power loss too.
pub(super) async fn keep(fresh: TempDir, place: &Path) -> Result<(), Error> {
    let target = place.to_owned();
    let kept = blocking(move || {
        flush(&File::open(fresh.path())?)?;
        // It is in its place once it has the name, and not a temporary folder any more.
        fs::rename(fresh.path(), &target)?;
        let _ = fresh.keep();
        Ok(())
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

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

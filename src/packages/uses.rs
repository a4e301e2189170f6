//! Who uses which set, and which sets go because nobody has for long.
//!
//! A use is a link to a folder that is there for as long as the user is, below the name of the set. It is noted under the
//! lock of all sets, where they are taken away too, and needs no server: programs run on without one.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{self, Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};

use super::{
    Error,
    store::{blocking, lock, remove_left, taken_away},
};

/// Holds a folder for each set.
const USES: &str = ".uses";

/// In such a folder: changed when the set was last known to be used.
const LAST: &str = "last";

/// Notes that the set of this place is used, by whom `holder` is there for, and tells whether the set is there. One that is
/// not may be put there then, and is not taken away.
pub(super) async fn hold(folder: &Path, place: &Path, holder: Option<&Path>) -> Result<bool, Error> {
    let (at, place, holder) = (folder.to_owned(), place.to_owned(), holder.map(Path::to_owned));
    let held = blocking(move || {
        fs::create_dir_all(&at)?;
        let _lock = lock(&at)?;
        let uses = uses(&at, &place);
        fs::create_dir_all(&uses)?;
        if let Some(holder) = holder {
            let name = format!("{:x}", Sha256::digest(holder.as_os_str().as_encoded_bytes()));
            match symlink(path::absolute(&holder)?, uses.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        touch(&uses)?;
        Ok(place.is_dir())
    });
    held.await.map_err(Error::io(folder))
}

/// Takes away the sets that nobody has used for as long, and what installations left that were killed. Returns their names.
pub(super) async fn clean(folder: &Path, unused_for: Duration) -> Result<Vec<String>, Error> {
    let at = folder.to_owned();
    let cleaned = blocking(move || {
        if !at.is_dir() {
            return Ok(Vec::new());
        }
        let (mut names, mut gone) = (Vec::new(), Vec::new());
        let lock = lock(&at)?;
        remove_left(&at)?;
        for entry in fs::read_dir(&at)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || !entry.file_type()?.is_dir() {
                continue;
            }
            let uses = uses(&at, &entry.path());
            if is_due(&uses, unused_for)? {
                gone.push(taken_away(&at, &entry.path())?);
                fs::remove_dir_all(uses)?;
                names.push(name);
            }
        }
        drop(lock);
        // Many files: nobody waits for that. What a kill leaves of it is removed as what installations left is.
        drop(gone);
        Ok(names)
    });
    cleaned.await.map_err(Error::io(folder))
}

fn uses(folder: &Path, place: &Path) -> PathBuf {
    folder.join(USES).join(place.file_name().unwrap_or_default())
}

/// Nobody uses the set, and nobody has for as long. Of one of which nothing is noted the time is counted from now on.
fn is_due(uses: &Path, unused_for: Duration) -> io::Result<bool> {
    fs::create_dir_all(uses)?;
    let mut last = None;
    for entry in fs::read_dir(uses)? {
        let entry = entry?;
        if entry.file_name() == LAST {
            last = Some(entry.metadata()?.modified()?);
            continue;
        }
        match fs::metadata(entry.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(entry.path())?,
            // It is there, or nobody knows.
            Ok(_) | Err(_) => return touch(uses).map(|()| false),
        }
    }
    match last {
        // A clock that was set back says nothing.
        Some(last) => Ok(last.elapsed().is_ok_and(|unused| unused >= unused_for)),
        None => touch(uses).map(|()| false),
    }
}

fn touch(uses: &Path) -> io::Result<()> {
    File::create(uses.join(LAST))?.set_modified(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tempfile::TempDir;

    use super::*;
    use crate::packages::store;

    const LONG: Duration = Duration::from_hours(1);

    /// A set, and the folder it lies in.
    fn set(name: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join(name);
        fs::create_dir_all(place.join("node_modules")).unwrap();
        (folder, place)
    }

    #[tokio::test]
    async fn a_set_goes_when_nobody_has_used_it_for_long_and_never_before() {
        let (folder, place) = set("npm-1");
        let clean = async |unused_for| clean(folder.path(), unused_for).await.unwrap();
        // Of an earlier build, which noted nothing: counted from now on.
        assert!(clean(Duration::ZERO).await.is_empty());
        let holder = tempfile::tempdir().unwrap();
        assert!(hold(folder.path(), &place, Some(holder.path())).await.unwrap());
        assert!(clean(Duration::ZERO).await.is_empty(), "it is used");
        holder.close().unwrap();
        assert!(clean(LONG).await.is_empty(), "it was used a moment ago");
        assert!(place.is_dir());
        assert_eq!(clean(Duration::ZERO).await, ["npm-1"]);
        assert!(!place.exists());
        assert!(!hold(folder.path(), &place, None).await.unwrap());
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == ".lock" || name == USES), "{left:?}");
    }

    #[tokio::test]
    async fn what_was_killed_in_the_middle_is_gone_on_with() {
        let (folder, place) = set("npm-1");
        // Taken away and not removed yet, with its uses still noted.
        let gone = taken_away(folder.path(), &place).unwrap().keep();
        touch_of(folder.path(), &place);
        assert!(clean(folder.path(), Duration::ZERO).await.unwrap().is_empty());
        assert!(!gone.exists(), "it is left for good");
        // It is installed again, and what was noted before does not take it away from whoever holds it.
        let holder = tempfile::tempdir().unwrap();
        assert!(!hold(folder.path(), &place, Some(holder.path())).await.unwrap());
        fs::create_dir(&place).unwrap();
        assert!(clean(folder.path(), Duration::ZERO).await.unwrap().is_empty());
        assert!(place.is_dir());
    }

    fn touch_of(folder: &Path, place: &Path) {
        let uses = uses(folder, place);
        fs::create_dir_all(&uses).unwrap();
        touch(&uses).unwrap();
    }

    /// Servers that share a folder: one takes away whatever it may, again and again, while another one uses sets.
    #[tokio::test]
    async fn a_set_that_is_held_stays_however_often_others_clean() {
        let (folder, place) = set("npm-1");
        let (at, is_over) = (folder.path(), Cell::new(false));
        let cleaner = async {
            let mut removed = 0;
            while !is_over.get() {
                removed += clean(at, Duration::ZERO).await.unwrap().len();
            }
            removed
        };
        let user = async {
            for _ in 0..200 {
                let holder = tempfile::tempdir().unwrap();
                if !hold(at, &place, Some(holder.path())).await.unwrap() {
                    let fresh = store::fresh(at).await.unwrap();
                    fs::write(fresh.set().join("one"), "1").unwrap();
                    store::keep(fresh, &place).await.unwrap();
                }
                tokio::task::yield_now().await;
                assert!(place.is_dir(), "it was taken away from under its user");
            }
            is_over.set(true);
        };
        let (removed, ()) = tokio::join!(cleaner, user);
        assert!(removed > 0, "nothing was ever taken away");
    }
}

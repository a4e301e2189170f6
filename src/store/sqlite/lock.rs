//! One process owns a database file: a lock on `<db>.lock`, which also tells where the owner serves. The kernel lets go
//! of the lock when the owner ends, however it ends.

use std::{
    ffi::OsString,
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::error::from_io;
use crate::store::Error;

/// Somebody who only asks who owns the database holds a shared lock for an instant, and a program that an owner was just
/// starting when it was killed holds the owner's lock until it runs: then try again, so often.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock of a database.
    pub(super) async fn take(db: &Path) -> Result<Self, Error> {
        let path = lock_path(db);
        let cannot = |error: io::Error| from_io("the lock file", &path, &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(cannot)?;
        let mut owned = false;
        for _ in 0..TRIES {
            if try_flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(cannot)? {
                file.set_len(0).map_err(cannot)?;
                return Ok(Self(file));
            }
            owned = !try_flock(&file, FlockOperation::NonBlockingLockShared).map_err(cannot)?;
            if !owned {
                try_flock(&file, FlockOperation::Unlock).map_err(cannot)?;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if owned {
            return Err(Error::Owned(address(&file)));
        }
        Err(Error::Unavailable(format!("the lock file {} does not come free", path.display())))
    }

    /// Whether it still is the lock of this database, and not that of a file that was there before.
    pub(super) fn is_of(&self, db: &Path) -> bool {
        let same = |own: Metadata, there: Metadata| (own.dev(), own.ino()) == (there.dev(), there.ino());
        self.0.metadata().is_ok_and(|own| lock_path(db).metadata().is_ok_and(|there| same(own, there)))
    }

    /// Tells others where the owner serves.
    pub(super) fn advertise(&self, address: &str) -> io::Result<()> {
        // The line end comes last: without it, a reader takes nothing.
        let line = format!("{address}\n");
        self.0.set_len(0)?;
        self.0.write_all_at(line.as_bytes(), 0)
    }
}

/// Where the owner of a database serves; `None` when nobody owns it, or its owner has not said yet.
#[must_use]
pub fn owner_address(db: &Path) -> Option<String> {
    let file = File::open(lock_path(db)).ok()?;
    match try_flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(false) => address(&file),
        Ok(true) | Err(_) => None,
    }
}

fn lock_path(db: &Path) -> PathBuf {
    let mut name = OsString::from(db);
    name.push(".lock");
    name.into()
}

fn try_flock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn address(mut file: &File) -> Option<String> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    let (line, _) = text.split_once('\n')?;
    (!line.is_empty()).then(|| line.to_owned())
}

//! The socket in the sandbox's folder. A path to it may be longer than a socket's address may be, so it is reached through
//! an open directory, whose path below `/proc` is always short.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, open};
use tokio::net::{UnixListener, UnixStream};

use super::folder::Folder;

const NAME: &str = "supervisor.sock";

/// A socket in a folder, whatever becomes of the folder's name.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) listener: UnixListener,
    dir: OwnedFd,
}

/// Listens, in the place of a supervisor that is gone.
pub(super) fn listen(folder: &Folder) -> io::Result<Listening> {
    let dir = directory(folder.base())?;
    remove(&dir)?;
    // The folder is its owner's alone, so who may connect does not depend on the socket's own mode.
    let listener = UnixListener::bind(through(&dir))?;
    Ok(Listening { listener, dir })
}

impl Listening {
    /// Nobody is let in any more. The folder may have been taken away, and another one stand at its path with a
    /// supervisor of its own: that one's socket is none of ours.
    pub(super) fn forget(self) -> io::Result<()> {
        drop(self.listener);
        remove(&self.dir)
    }
}

/// Connects to the supervisor that listens.
///
/// # Errors
/// Of the socket; [`io::ErrorKind::NotFound`] and [`io::ErrorKind::ConnectionRefused`] when none does.
pub async fn connect(folder: &Folder) -> io::Result<UnixStream> {
    let dir = directory(folder.base())?;
    UnixStream::connect(through(&dir)).await
}

/// Removes the socket; that there is none is no error.
fn remove(dir: &OwnedFd) -> io::Result<()> {
    match fs::remove_file(through(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn through(dir: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(NAME)
}

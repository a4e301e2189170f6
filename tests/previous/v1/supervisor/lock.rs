//! The lock that a supervisor holds for its life: one at a time serves a sandbox. Whoever else does something that none
//! may see, such as removing the folder, holds it meanwhile.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use serde::{Deserialize, Serialize};

use super::{folder::Folder, proc};

/// How often a lock that another holds is tried.
const TRY: Duration = Duration::from_millis(5);

/// The lock of one sandbox, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Which process holds it, so that one that hangs can be ended and no other is.
#[derive(Serialize, Deserialize)]
struct Holder {
    pid: i32,
    start_time: u64,
}

impl Lock {
    /// Takes the lock; `None` when another held it all the while. Blocks.
    ///
    /// # Errors
    /// Of the file system.
    pub fn take(folder: &Folder, patience: Duration) -> io::Result<Option<Self>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(folder.lock())?;
        let deadline = Instant::now() + patience;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self { file })),
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(TRY),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether somebody holds it.
    ///
    /// # Errors
    /// Of the file system; that there is no folder is none.
    pub fn held(folder: &Folder) -> io::Result<bool> {
        match Self::take(folder, Duration::ZERO) {
            Ok(lock) => Ok(lock.is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes down that this process holds it.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn sign(&self) -> io::Result<()> {
        let own = rustix::process::getpid();
        let start_time = proc::start_time(own).unwrap_or_default();
        let text = serde_json::to_vec(&Holder { pid: own.as_raw_nonzero().get(), start_time })?;
        self.file.set_len(0)?;
        std::os::unix::fs::FileExt::write_all_at(&self.file, &text, 0)
    }
}

/// Kills the supervisor that holds the lock, for when it does not answer. That there is none is no error.
///
/// # Errors
/// Of the file system or of the kernel.
pub fn kill_holder(folder: &Folder) -> io::Result<()> {
    // Signed by the one that holds it, or by one that is gone: then its pid with its start time is nobody's.
    let signed = match std::fs::read(folder.lock()) {
        Ok(signed) => signed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let Ok(holder) = serde_json::from_slice::<Holder>(&signed) else { return Ok(()) };
    match Pid::from_raw(holder.pid) {
        Some(pid) if proc::start_time(pid) == Some(holder.start_time) => match kill_process(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Some(_) | None => Ok(()),
    }
}

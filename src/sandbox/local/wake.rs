//! How the plain threads that copy between pipes and files are woken: an event beside the pipe in one `poll`.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::Errno,
};

/// An event that threads wait for beside a file descriptor.
#[derive(Debug)]
pub(super) struct Wake(OwnedFd);

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes whoever waits, and whoever waits later until [`Wake::clear`].
    pub(super) fn raise(&self) {
        // Fails only when 2^64 - 2 raises are pending: then it is raised.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Forgets all raises so far.
    pub(super) fn clear(&self) {
        // Fails only when there is nothing to forget.
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }

    /// Waits until it is raised; says whether it was raised, as opposed to `fd` being ready for `what`.
    pub(super) fn wait(&self, ready: Option<(BorrowedFd<'_>, PollFlags)>) -> io::Result<bool> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        if let Some((fd, what)) = ready {
            fds.push(PollFd::from_borrowed_fd(fd, what));
        }
        loop {
            match poll(&mut fds, None) {
                Ok(_) => return Ok(!fds[0].revents().is_empty()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

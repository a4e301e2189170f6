//! The processes of one program, as something that can be signalled and waited for. It starts nothing.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, kill_process_group, pidfd_open, pidfd_send_signal},
};

use crate::sandbox::Signal;

/// Killing a pid namespace takes the kernel a moment; this long would mean that a process hangs inside the kernel.
const NAMESPACE_END: Duration = Duration::from_secs(5);

/// Whom signals go to. Valid while the leader was not reaped: until then its pid is nobody else's.
#[derive(Debug)]
pub(super) enum Group {
    /// A process group.
    Plain(Pid),
    /// A pid namespace below bubblewrap. The process group that the program lives in is that of the namespace's first
    /// process, which the kernel spares all signals but SIGKILL; bubblewrap's outer process is in another group and so
    /// does not die of a signal that the program handles.
    Namespace {
        /// First process of the namespace, bubblewrap's own; when it is gone, so is everything in there.
        init: Pid,
        /// The same, so that it can be waited for and never be mistaken.
        handle: OwnedFd,
    },
}

impl Group {
    /// The namespace whose first process is `init`.
    pub(super) fn namespace(init: Pid) -> io::Result<Self> {
        Ok(Self::Namespace { init, handle: pidfd_open(init, PidfdFlags::empty())? })
    }

    /// Sends a signal to all of it; that nobody is there any more is no error.
    pub(super) fn send(&self, signal: Signal) {
        let result = match (self, signal) {
            (Self::Plain(leader), _) => kill_process_group(*leader, number(signal)),
            (Self::Namespace { handle, .. }, Signal::Kill) => pidfd_send_signal(handle, number(signal)),
            (Self::Namespace { init, handle }, Signal::Interrupt | Signal::Terminate) => {
                if ended(handle, Duration::ZERO) { Ok(()) } else { kill_process_group(*init, number(signal)) }
            }
        };
        match result {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(?self, ?signal, %error, "a signal was not delivered"),
        }
    }

    /// Kills what the program left behind when it ended, so that nobody writes to the sandbox afterwards.
    pub(super) fn finish(&self) {
        self.send(Signal::Kill);
        match self {
            Self::Plain(_) => {}
            Self::Namespace { handle, .. } => {
                if !ended(handle, NAMESPACE_END) {
                    tracing::warn!(?self, "a pid namespace does not end");
                }
            }
        }
    }
}

fn ended(handle: &OwnedFd, within: Duration) -> bool {
    let within = Timespec::try_from(within).expect("a few seconds fit");
    let mut fds = [PollFd::new(handle, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&within)) {
            Err(Errno::INTR) => {}
            result => return result.is_ok_and(|ready| ready > 0),
        }
    }
}

fn number(signal: Signal) -> rustix::process::Signal {
    match signal {
        Signal::Interrupt => rustix::process::Signal::INT,
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
    }
}

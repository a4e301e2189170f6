//! The processes of one program, as something that can be signalled and waited for. It starts nothing.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};
use tokio::time::{Instant, sleep};

/// Killing a pid namespace takes the kernel a moment; this long would mean that a process hangs inside the kernel.
const NAMESPACE_END: Duration = Duration::from_secs(5);

/// How often to look whether it is gone.
const LOOK: Duration = Duration::from_millis(1);

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
        /// The same, so that it is never mistaken for another.
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
        let result = match self {
            Self::Plain(leader) => kill_process_group(*leader, signal),
            Self::Namespace { handle, .. } if signal == Signal::KILL => pidfd_send_signal(handle, signal),
            // The first process is bubblewrap's to reap, so its pid may be another's; its handle is not.
            Self::Namespace { init, handle } => {
                if ended(handle) {
                    Ok(())
                } else {
                    kill_process_group(*init, signal)
                }
            }
        };
        match result {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(?self, ?signal, %error, "a signal was not delivered"),
        }
    }

    /// Kills what the program left behind when it ended, so that nobody writes to the sandbox afterwards.
    pub(super) async fn finish(&self) {
        self.send(Signal::KILL);
        match self {
            Self::Plain(_) => {}
            Self::Namespace { handle, .. } => {
                let deadline = Instant::now() + NAMESPACE_END;
                while !ended(handle) {
                    if Instant::now() > deadline {
                        tracing::warn!(?self, "a pid namespace does not end");
                        return;
                    }
                    sleep(LOOK).await;
                }
            }
        }
    }
}

fn ended(handle: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // An interrupted look is repeated by who waits.
    poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

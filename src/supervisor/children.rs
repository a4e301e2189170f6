//! This process's children: those it started, each waited for by its own run, and those that programs left behind, which
//! come here to be reaped because the supervisor is their subreaper.

use std::{cell::RefCell, collections::BTreeMap, io, rc::Rc};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use super::proc;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Children {
    /// Those that a run waits for, and how it is told that they have ended.
    claimed: RefCell<BTreeMap<i32, Rc<Notify>>>,
}

impl Children {
    /// A run waits for this one, and reaps it itself. To be said before anything else happens on this thread.
    pub(super) fn claim(&self, pid: Pid) -> Rc<Notify> {
        let ended = Rc::new(Notify::new());
        self.claimed.borrow_mut().insert(pid.as_raw_nonzero().get(), Rc::clone(&ended));
        ended
    }

    /// The run has reaped it.
    pub(super) fn reaped(&self, pid: Pid) {
        self.claimed.borrow_mut().remove(&pid.as_raw_nonzero().get());
    }

    /// How the kernel tells that children have ended.
    pub(super) fn listen() -> io::Result<Signal> {
        signal(SignalKind::child())
    }

    /// Looks after children whenever some have ended, for ever.
    pub(super) async fn watch(&self, mut ends: Signal) {
        while ends.recv().await.is_some() {
            for (pid, ended) in &*self.claimed.borrow() {
                if Pid::from_raw(*pid).is_some_and(has_ended) {
                    ended.notify_one();
                }
            }
            self.reap_others();
        }
    }

    /// Those that runs wait for.
    pub(super) fn claimed(&self) -> Vec<Pid> {
        self.claimed.borrow().keys().filter_map(|pid| Pid::from_raw(*pid)).collect()
    }

    /// Those that nobody waits for.
    pub(super) fn others(&self) -> Vec<Pid> {
        let mut children = proc::children(rustix::process::getpid());
        children.retain(|child| !self.claimed.borrow().contains_key(&child.as_raw_nonzero().get()));
        children
    }

    /// Reaps those that nobody waits for and that have ended.
    pub(super) fn reap_others(&self) {
        for child in self.others() {
            // Still alive, or gone already: both are fine.
            let _ = waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

/// Looks without reaping: until it is reaped, its pid is nobody else's.
fn has_ended(pid: Pid) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    // An error says that it is no child any more.
    !matches!(waitid(WaitId::Pid(pid), look), Ok(None))
}

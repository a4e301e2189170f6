//! What a plain program left behind in sessions of its own, where no signal to its group reaches: it comes to the supervisor,
//! which is its subreaper, and is ended with the program. Whose it is nobody tells, but nothing is older than the program
//! that it comes from.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::{children::Children, proc};

/// A killed process that is not gone by then hangs inside the kernel.
const GONE: Duration = Duration::from_secs(5);

/// How often to look.
const LOOK: Duration = Duration::from_millis(2);

/// Ends what programs left behind that have ended: all that is older than those that run. What is younger may be theirs, and
/// is ended with them. Returns when it is gone.
pub(super) async fn end(children: &Children) {
    let deadline = Instant::now() + GONE;
    loop {
        children.reap_others();
        let found = left(children);
        if found.is_empty() {
            return;
        }
        for pid in &found {
            // Gone between the look and the kill: fine.
            let _ = kill_process(*pid, Signal::KILL);
        }
        if Instant::now() > deadline {
            return tracing::warn!(processes = found.len(), "what a program left behind does not end");
        }
        sleep(LOOK).await;
    }
}

fn left(children: &Children) -> Vec<Pid> {
    let oldest = children.claimed().into_iter().filter_map(proc::start_time).min();
    let is_older = |pid: &Pid| match (oldest, proc::start_time(*pid)) {
        (None, _) => true,
        (Some(oldest), Some(start)) => start < oldest,
        // It is gone.
        (Some(_), None) => false,
    };
    let mut found = children.others();
    found.retain(is_older);
    let mut parents = found.clone();
    while let Some(parent) = parents.pop() {
        let below = proc::children(parent);
        parents.extend(&below);
        found.extend(below);
    }
    found
}

//! Whether a program that bubblewrap starts runs yet. Bubblewrap tells nobody, so this looks at its processes.

use std::time::Duration;

use rustix::process::Pid;

use super::proc;

/// A program that bubblewrap has not started by then never starts.
pub(super) const START: Duration = Duration::from_secs(10);

/// How often to look; it takes bubblewrap a few milliseconds.
pub(super) const LOOK: Duration = Duration::from_millis(1);

/// Enough of standard error to find bubblewrap's complaint in.
pub(super) const COMPLAINT_MAX: usize = 1024;

/// The first process of the pid namespace below bubblewrap's outer process, once the program itself runs in there.
/// Until then, all of them are bubblewrap with the very same arguments.
pub(super) fn entered(outer: Pid) -> Option<Pid> {
    let own = proc::arguments(outer)?;
    let init = proc::children(outer).into_iter().next()?;
    let runs = |child: Pid| proc::arguments(child).is_some_and(|arguments| arguments != own);
    proc::children(init).into_iter().any(runs).then_some(init)
}

/// What bubblewrap says when it cannot run the program.
#[must_use]
pub fn complaint(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    Some(text.strip_prefix("bwrap: ")?.lines().next()?.to_owned())
}

//! A program that is not waited for any more is ended: its session was stopped, or the server leaves, and another attempt begins
//! anew.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::{
    domain::ExecId,
    sandbox::{Epoch, Sandbox, Signal},
};

/// Ends a program when it is dropped, unless it was said that it has ended.
pub(super) struct Ends {
    program: Option<(Arc<dyn Sandbox>, Epoch, ExecId)>,
    tasks: TaskTracker,
}

impl Ends {
    /// A program that is about to be started.
    pub(super) fn new(sandbox: &Arc<dyn Sandbox>, epoch: Epoch, exec: &ExecId, tasks: &TaskTracker) -> Self {
        Self { program: Some((Arc::clone(sandbox), epoch, exec.clone())), tasks: tasks.clone() }
    }

    /// It has ended.
    pub(super) fn ended(mut self) {
        self.program = None;
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let Some((sandbox, epoch, exec)) = self.program.take() else { return };
        self.tasks.spawn(async move {
            // One that was not started yet, or whose sandbox is gone, is ended as well.
            if let Err(error) = sandbox.signal(epoch, &exec, Signal::Kill).await {
                tracing::debug!(%exec, %error, "an installation that is not waited for could not be ended");
            }
        });
    }
}

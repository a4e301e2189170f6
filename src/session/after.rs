//! What is done once a batch is stored, and never before: answers, and everything outside the session.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{
    launch::Program,
    running::{Offsets, maybe},
    shared::Shared,
    turn::Prompt,
};
use crate::{
    domain::{Failure, SandboxId},
    sandbox::{self, Epoch},
    store::{self, StdinRow},
};

/// Tells a caller what became of its command.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// What is done once the batch that caused it is stored.
pub(super) enum After {
    Reply(Answer),
    /// Makes the sandbox ready; with a message, for an agent that is given it.
    Prepare(Option<Prompt>),
    Start(Arc<dyn sandbox::Sandbox>, Box<Program>),
    Write(StdinRow),
    Halt(Halt),
    Leave,
}

/// Ends what runs in a sandbox.
pub(super) struct Halt {
    pub(super) sandbox: Option<Arc<dyn sandbox::Sandbox>>,
    pub(super) destroy: Option<SandboxId>,
    pub(super) reply: Option<Answer>,
}

/// A batch that was submitted.
pub(super) struct InFlight {
    pub(super) outcome: BoxFuture<'static, Result<(), store::Error>>,
    pub(super) read: Offsets,
    pub(super) after: Vec<After>,
}

impl Halt {
    pub(super) async fn carry_out(self, shared: Arc<Shared>, epoch: Epoch) {
        // What is removed need not be ended so that it can be gone on with.
        if let Some(sandbox) = self.sandbox.as_ref().filter(|sandbox| Some(sandbox.id()) != self.destroy.as_ref())
            && let Err(error) = sandbox.terminate(epoch).await
        {
            tracing::warn!(sandbox = %sandbox.id(), %error, "a sandbox could not be stopped");
        }
        if let Some(id) = &self.destroy
            && let Err(error) = shared.config.providers.destroy(id).await
        {
            tracing::warn!(sandbox = %id, %error, "a sandbox could not be removed; the purge tries again");
        }
        if let Some(reply) = self.reply {
            reply(Ok(()));
        }
    }
}

impl InFlight {
    /// Waits until it is known whether the batch is stored.
    pub(super) async fn outcome(in_flight: &mut Option<Self>) -> Result<(), store::Error> {
        maybe(&mut in_flight.as_mut().map(|in_flight| &mut in_flight.outcome)).await
    }
}

//! What is done once a batch is stored, and never before: answers, and everything outside the session.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::time::timeout;

use super::{
    launch::Program,
    running::{Offsets, maybe},
    shared::Shared,
    turn::Prompt,
};
use crate::{
    domain::{Failure, SandboxId},
    sandbox::{self, Epoch, Provider},
    store::{self, StdinRow},
};

/// How long the end of a sandbox that was not reached before is tried, while nothing else is begun in its session.
const SOUGHT_FOR: Duration = Duration::from_secs(5);

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
#[derive(Default)]
pub(super) struct Halt {
    pub(super) sandbox: Option<Arc<dyn sandbox::Sandbox>>,
    /// One that was looked for until now. Nobody waits for its end.
    pub(super) sought: Option<Sought>,
    pub(super) destroy: Option<SandboxId>,
    pub(super) reply: Option<Answer>,
}

/// A sandbox that may not be reached.
pub(super) struct Sought {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) id: SandboxId,
}

/// A batch that was submitted.
pub(super) struct InFlight {
    pub(super) outcome: BoxFuture<'static, Result<(), store::Error>>,
    pub(super) read: Offsets,
    pub(super) after: Vec<After>,
}

impl Halt {
    pub(super) async fn carry_out(self, shared: Arc<Shared>, epoch: Epoch) {
        let Self { sandbox, sought, destroy, reply } = self;
        let Some(sought) = sought else {
            end(&shared, sandbox.as_ref(), destroy.as_ref(), epoch).await;
            return answer(reply);
        };
        // Whether it can be reached now is nothing that its caller waits for.
        answer(reply);
        let ended = timeout(SOUGHT_FOR, sought.end(&shared, destroy.as_ref(), epoch)).await;
        if !matches!(ended, Ok(true)) {
            tracing::warn!(sandbox = %sought.id, "a sandbox that was not reached is ended as soon as it can be");
            shared.reap.notify_one();
        }
    }
}

impl Sought {
    /// Says whether it has ended.
    async fn end(&self, shared: &Shared, destroy: Option<&SandboxId>, epoch: Epoch) -> bool {
        if destroy == Some(&self.id) {
            return end(shared, None, destroy, epoch).await;
        }
        match self.provider.attach(&self.id, epoch).await {
            Ok(sandbox) => end(shared, Some(&sandbox), destroy, epoch).await,
            Err(sandbox::Error::Gone(_)) => end(shared, None, destroy, epoch).await,
            Err(error) => {
                tracing::info!(sandbox = %self.id, %error, "a sandbox that is to be ended cannot be reached");
                false
            }
        }
    }
}

fn answer(reply: Option<Answer>) {
    if let Some(reply) = reply {
        reply(Ok(()));
    }
}

/// Says whether all of it has ended.
async fn end(
    shared: &Shared,
    sandbox: Option<&Arc<dyn sandbox::Sandbox>>,
    destroy: Option<&SandboxId>,
    epoch: Epoch,
) -> bool {
    let mut ended = true;
    // What is removed need not be ended so that it can be gone on with.
    if let Some(sandbox) = sandbox.filter(|sandbox| Some(sandbox.id()) != destroy)
        && let Err(error) = sandbox.terminate(epoch).await
    {
        ended = false;
        tracing::warn!(sandbox = %sandbox.id(), %error, "a sandbox could not be stopped");
    }
    if let Some(id) = destroy
        && let Err(error) = shared.config.providers.destroy(id).await
    {
        ended = false;
        tracing::warn!(sandbox = %id, %error, "a sandbox could not be removed; the purge tries again");
    }
    ended
}

impl InFlight {
    /// Waits until it is known whether the batch is stored.
    pub(super) async fn outcome(in_flight: &mut Option<Self>) -> Result<(), store::Error> {
        maybe(&mut in_flight.as_mut().map(|in_flight| &mut in_flight.outcome)).await
    }
}

//! The life of the sandbox, from the actor's side: it is asked for signs of life, and what they come to is told. How it is left
//! before its provider ends it stands in `carry`.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::Actor;
use crate::{
    domain::{Kind, Sandbox, SandboxId, SandboxStatus, Timestamp},
    sandbox,
    session::{running::maybe, side::Side},
};

/// Time between two signs of life, and until the next one after none.
const CHECK_EVERY: Duration = Duration::from_secs(30);
const CHECK_AGAIN: Duration = Duration::from_secs(5);
/// How long one may take.
const CHECK_PATIENCE: Duration = Duration::from_secs(20);

/// A sign of life, or none.
pub(super) type Checked = (SandboxId, Result<(), sandbox::Error>);

/// See the module.
pub(super) struct Life {
    checking: Option<BoxFuture<'static, Checked>>,
    check_at: Instant,
    /// When an agent has had its time to end what it does, so that the sandbox can be left.
    pub(super) leaves_by: Option<Instant>,
}

impl Default for Life {
    fn default() -> Self {
        Self { checking: None, check_at: Instant::now() + CHECK_EVERY, leaves_by: None }
    }
}

impl Life {
    /// Waits for the answer of a sandbox that was asked. Dropping the future loses nothing.
    pub(super) async fn checked(&mut self) -> Checked {
        let checked = maybe(&mut self.checking).await;
        self.checking = None;
        checked
    }

    /// It is asked at the next moment: what is told of it may be of another server.
    pub(super) fn look_now(&mut self) {
        self.check_at = Instant::now();
    }

    /// Nobody asks any more how the sandbox is: what it answers says nothing of the next one, which may have its id.
    pub(super) fn look_away(&mut self) {
        self.checking = None;
    }
}

impl Actor {
    /// When the sandbox is asked for the next sign of life.
    pub(super) fn check_at(&self) -> Option<Instant> {
        (self.life.checking.is_none() && self.has_files()).then_some(self.life.check_at)
    }

    pub(super) fn check(&mut self) {
        self.life.check_at = Instant::now() + CHECK_EVERY;
        let Some(sandbox) = self.open_sandbox() else { return };
        self.life.checking = Some(Box::pin(async move {
            let checked = timeout(CHECK_PATIENCE, sandbox.check()).await.unwrap_or_else(|_| {
                Err(sandbox::Error::Unavailable(format!("not within {} s", CHECK_PATIENCE.as_secs())))
            });
            (sandbox.id().clone(), checked)
        }));
    }

    /// What it answered is told where it makes a difference.
    pub(super) fn checked(&mut self, (of, checked): Checked) {
        if self.open_sandbox().is_none_or(|sandbox| *sandbox.id() != of) {
            return;
        }
        if checked.is_err() {
            self.life.check_at = Instant::now() + CHECK_AGAIN;
        }
        let (status, message) = match (checked, self.sandbox_status()) {
            (Ok(()), Some(SandboxStatus::Unhealthy)) => (SandboxStatus::Ready, String::new()),
            (Err(error @ sandbox::Error::Gone(_)), _) => return self.died(&error),
            (Err(error), Some(SandboxStatus::Ready)) => (SandboxStatus::Unhealthy, error.to_string()),
            (Ok(()) | Err(_), _) => return,
        };
        tracing::warn!(key = %self.key, sandbox = %of, ?status, message, "the health of a sandbox has changed");
        let sandbox = self.sandbox(status, &message);
        let sandbox = Sandbox { last_health_check_time: Some(Timestamp::now()), ..sandbox };
        self.pending.record_session(None, Kind::SandboxChanged { sandbox });
    }

    /// The sandbox is gone, whatever ran in it.
    fn died(&mut self, error: &sandbox::Error) {
        if matches!(self.side, Side::On(_)) {
            return self.fell(error);
        }
        drop(self.files.unfollow());
        self.files.forget();
        self.sandbox_gone(&error.to_string());
    }

    /// A sandbox that is ready, as its record tells it. `replaces`: it took the place of the one that was recorded, and has what
    /// was kept at this sequence or later.
    pub(super) fn ready(&self, expire_time: Option<Timestamp>, replaces: Option<i64>) -> Sandbox {
        let held = self.sandbox(SandboxStatus::Ready, "");
        let (generation, restored_to_sequence) = match replaces {
            Some(sequence) => (held.generation + 1, sequence),
            None => (held.generation, held.restored_to_sequence),
        };
        let last_health_check_time = Some(Timestamp::now());
        Sandbox { generation, restored_to_sequence, expire_time, last_health_check_time, ..held }
    }
}

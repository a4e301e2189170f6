//! The life of the sandbox, from the actor's side: it is asked for signs of life, and left for another one before its
//! provider ends it.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::{Actor, files::Step};
use crate::{
    domain::{Kind, Sandbox, SandboxId, SandboxStatus, Timestamp},
    sandbox,
    session::{running::maybe, side::Side, turn::Prompt},
};

/// Time between two signs of life.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// How long one may take.
const CHECK_PATIENCE: Duration = Duration::from_secs(20);
/// Bounds of the time before its end at which a sandbox is left, which is a part of its whole life.
const BEFORE: [Duration; 2] = [Duration::from_mins(2), Duration::from_mins(15)];
const PART: u32 = 10;

/// A sign of life, or none.
pub(super) type Checked = (SandboxId, Result<(), sandbox::Error>);

/// See the module.
pub(super) struct Life {
    checking: Option<BoxFuture<'static, Checked>>,
    check_at: Instant,
}

impl Default for Life {
    fn default() -> Self {
        Self { checking: None, check_at: Instant::now() + CHECK_EVERY }
    }
}

impl Life {
    /// Waits for the answer of a sandbox that was asked. Dropping the future loses nothing.
    pub(super) async fn checked(&mut self) -> Checked {
        let checked = maybe(&mut self.checking).await;
        self.checking = None;
        checked
    }
}

/// How long before its end a sandbox is left, of a whole life.
pub(super) fn before_the_end(life: Duration) -> Duration {
    (life / PART).clamp(BEFORE[0], BEFORE[1]).min(life / 2)
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

    /// A sandbox that is ready, as its record tells it.
    pub(super) fn ready(&self, sandbox: &Arc<dyn sandbox::Sandbox>) -> Sandbox {
        Sandbox {
            expire_time: sandbox.expires(),
            last_health_check_time: Some(Timestamp::now()),
            ..self.sandbox(SandboxStatus::Ready, "")
        }
    }

    /// When the sandbox is to be left, where its provider ends it.
    fn leaves_at(&self) -> Option<Timestamp> {
        let session = &self.pending.state().session;
        let expires = session.sandbox.as_ref()?.expire_time?;
        let life = session.sandbox_spec.modal.clone().unwrap_or_default().lifetime();
        let before = i64::try_from(before_the_end(life).as_micros()).unwrap_or(0);
        Some(Timestamp(expires.0.saturating_sub(before)))
    }

    /// Nothing more is to begin in it.
    pub(super) fn is_to_be_left(&self) -> bool {
        self.has_files() && self.leaves_at().is_some_and(|at| at <= Timestamp::now())
    }

    /// When it is left, between turns. A turn that waits for an answer is parked for it.
    pub(super) fn moves_at(&self) -> Option<Instant> {
        let works = self.pending.state().active_turn().is_some() && !self.pending.waits();
        if works || self.pending.has_subagents() || !self.has_files() || !self.files.is_quiet() {
            return None;
        }
        Some(Instant::now() + self.leaves_at()?.since(Timestamp::now()))
    }

    /// What changed in it is saved first; then it is left. The next message finds it again, with its files, as after a long
    /// silence.
    pub(super) fn move_out(&mut self) {
        self.hold(Step::Move);
    }

    /// It was looked at.
    pub(super) fn moved_out(&mut self) {
        if self.pending.state().active_turn().is_some() && !self.pending.park() {
            // A turn began meanwhile. It is left after that.
            return;
        }
        self.shut("its lifetime ends soon; the session goes on in another one");
    }

    /// Gives a prompt to a program in the next sandbox.
    pub(super) fn move_on(&mut self, prompt: Prompt) {
        self.shut("its lifetime ends soon; the session goes on in another one");
        self.give(prompt);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_left_in_good_time() {
        let table = [(24 * 3600, 900), (3600, 360), (1800, 180), (600, 120), (240, 120), (100, 50), (10, 5)];
        for (life, before) in table {
            assert_eq!(before_the_end(Duration::from_secs(life)), Duration::from_secs(before), "a life of {life} s");
        }
    }
}

//! How a sandbox ends: when its program does, when its time is over or nobody uses it, when it is asked to, and when what
//! it runs on fails.

use std::{fs, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{ExitSnapshot, Life, Sandbox, lock};
use crate::{
    dev::modal::{cell::End, error::Error, image::Images, program::State, world},
    modal_wire::client::{GenericResult, generic_result::GenericStatus},
};

/// Exit code that goes with an end by force.
const KILLED: i32 = 137;

/// How long a snapshot at the end is kept.
const KEPT: Duration = Duration::from_hours(30 * 24);

impl Sandbox {
    /// Lives until the end, whatever it is, and clears up. `entered` says whether its program runs; it goes on for
    /// `linger` when it was asked to end; `ended` is called when the end is told.
    pub(in super::super) async fn live(
        self: Arc<Self>,
        entered: Result<(), Error>,
        linger: Duration,
        images: Arc<Images>,
        shutdown: CancellationToken,
        ended: impl FnOnce() + Send,
    ) {
        let result = tokio::select! {
            result = self.own_end(entered) => result,
            () = self.cell.over() => result(GenericStatus::InternalFailure, 1, "the machine of the sandbox has failed"),
            () = self.lifetime() => result(GenericStatus::Timeout, 124, ""),
            () = self.idle() => result(GenericStatus::IdleTimeout, KILLED, ""),
            () = self.asked(linger) => result(GenericStatus::Terminated, KILLED, ""),
            () = shutdown.cancelled() => result(GenericStatus::Terminated, KILLED, ""),
        };
        self.cell.close().await;
        self.life.send_replace(Life::Ended(result, world::now()));
        self.over.cancel();
        ended();
        let wanted = *self.exit_snapshot.borrow() == ExitSnapshot::Pending;
        if wanted && !shutdown.is_cancelled() {
            let kept = images.keep(&self.root(), &self.facts.made, Some(KEPT)).await;
            self.exit_snapshot.send_replace(match kept {
                Ok(image) => ExitSnapshot::Kept(image.id.clone()),
                Err(error) => ExitSnapshot::Failed(error.to_string()),
            });
        }
        if let Err(error) = fs::remove_dir_all(&self.facts.folder) {
            tracing::warn!(%error, sandbox = %self.facts.id, "what an emulated sandbox held cannot be removed");
        }
        lock(&self.execs).clear();
    }

    async fn own_end(&self, entered: Result<(), Error>) -> GenericResult {
        if let Err(error) = entered {
            return result(GenericStatus::InitFailure, 1, &error.to_string());
        }
        let Some(entry) = self.entry.get() else { return std::future::pending().await };
        match entry.ended().await {
            State::Ended(End::Code(0)) => result(GenericStatus::Success, 0, ""),
            State::Ended(End::Code(code)) => result(GenericStatus::Failure, code, ""),
            State::Ended(End::Signal(signal)) => result(GenericStatus::Failure, 128 + signal, ""),
            // The cell went first, and whoever waits for that tells why.
            State::Gone | State::Running => std::future::pending().await,
        }
    }

    async fn lifetime(&self) {
        sleep(Duration::from_secs(u64::from(self.facts.definition.timeout_secs))).await;
    }

    async fn idle(&self) {
        let Some(limit) = self.facts.definition.idle_timeout_secs.filter(|limit| *limit > 0) else {
            return std::future::pending().await;
        };
        let limit = Duration::from_secs(u64::from(limit));
        loop {
            let until = {
                let activity = lock(&self.activity);
                if activity.running > 0 { Instant::now() + limit } else { activity.since + limit }
            };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Whoever asks for the end must wait for it.
    async fn asked(&self, linger: Duration) {
        self.stop.cancelled().await;
        sleep(linger).await;
    }
}

fn result(status: GenericStatus, exitcode: i32, exception: &str) -> GenericResult {
    GenericResult { status: status.into(), exitcode, exception: exception.to_owned(), ..GenericResult::default() }
}

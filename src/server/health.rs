//! Health, as others ask for it: NOT_SERVING while the store takes no transactions, and from the moment the server stops.

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic_health::{ServingStatus, server::HealthReporter};

use super::routes::SERVICES;
use crate::log::{EventLog, Health};

/// Tells what the log knows.
#[derive(Debug)]
pub(super) struct Follower {
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Follower {
    pub(super) fn start(reporter: HealthReporter, log: &EventLog, tasks: &TaskTracker) -> Self {
        let end = CancellationToken::new();
        let task = tasks.spawn(follow(reporter, log.health(), end.clone()));
        Self { end, task }
    }

    /// Says NOT_SERVING for good; returns when that can be asked for.
    pub(super) async fn end(self) {
        self.end.cancel();
        // It does nothing that could fail.
        let _ = self.task.await;
    }
}

async fn follow(reporter: HealthReporter, mut health: watch::Receiver<Health>, end: CancellationToken) {
    loop {
        let status = match &*health.borrow_and_update() {
            Health::Serving => ServingStatus::Serving,
            Health::Failing(_) => ServingStatus::NotServing,
        };
        say(&reporter, status).await;
        if !matches!(end.run_until_cancelled(health.changed()).await, Some(Ok(()))) {
            return say(&reporter, ServingStatus::NotServing).await;
        }
    }
}

async fn say(reporter: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}

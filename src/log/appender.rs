//! The appender: one task that stores what all sessions submit, as many batches in one transaction as wait, and publishes
//! what was stored. The transaction itself is the clock: while one is under way the next one fills.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    health::Monitor,
    hub::{self, Hubs},
    lists::Bells,
    timing::Timing,
};
use crate::store::{self, Batch, Store};

/// Batches in one transaction.
const GROUP: usize = 256;
/// How long a store that takes no transactions is waited for before those who wait are told.
const PATIENCE: Duration = Duration::from_secs(30);

/// A batch and who waits for it.
pub(super) struct Submission {
    pub(super) batch: Batch,
    pub(super) done: oneshot::Sender<Result<(), store::Error>>,
}

/// See the module.
pub(super) struct Appender {
    pub(super) store: Arc<dyn Store>,
    pub(super) hubs: Hubs,
    pub(super) health: Monitor,
    pub(super) bells: Bells,
}

impl Appender {
    /// Runs until the log is closed, and then until all that was submitted is stored.
    pub(super) async fn run(self, mut submissions: mpsc::Receiver<Submission>, closing: CancellationToken) {
        let mut group = Vec::with_capacity(GROUP);
        let timing = Timing::default();
        loop {
            let open = closing.run_until_cancelled(submissions.recv_many(&mut group, GROUP)).await;
            if open.is_none() {
                submissions.close();
                submissions.recv_many(&mut group, GROUP).await;
            }
            if group.is_empty() {
                timing.tell();
                return;
            }
            let (batches, waiting): (Vec<_>, Vec<_>) =
                group.drain(..).map(|submission| (submission.batch, submission.done)).unzip();
            let outcomes = timing.of(self.append(&batches)).await;
            let listed = batches.iter().zip(&outcomes).filter(|(batch, outcome)| outcome.is_ok() && batch.is_listed());
            for tenant in listed.map(|(batch, _)| &batch.key.tenant).collect::<BTreeSet<_>>() {
                self.bells.ring(tenant);
            }
            for ((batch, done), outcome) in batches.into_iter().zip(waiting).zip(outcomes) {
                if outcome.is_ok() {
                    hub::publish(&self.hubs, &batch.key, batch.events);
                }
                // Whoever hung up does not want to know.
                let _ = done.send(outcome);
            }
        }
    }

    /// Stores a group. A submitted batch never changes: it is sent again until its fate is known, each time when the store
    /// was found to take transactions again.
    async fn append(&self, batches: &[Batch]) -> Vec<Result<(), store::Error>> {
        let give_up = Instant::now() + PATIENCE;
        let mut again = false;
        loop {
            match self.health.noted(self.store.append(batches).await) {
                Ok(outcomes) if again => {
                    return outcomes.into_iter().zip(batches).map(|(outcome, batch)| settle(outcome, batch)).collect();
                }
                Ok(outcomes) => return outcomes,
                Err(error) if error.is_of_storage() => {
                    tracing::warn!(%error, batches = batches.len(), "a transaction was not taken; it is sent again");
                    again = true;
                    if tokio::time::timeout_at(give_up, self.health.serving()).await.is_err() {
                        return batches.iter().map(|_| Err(error.clone())).collect();
                    }
                }
                Err(error) => return one_by_one(&*self.store, batches, error).await,
            }
        }
    }
}

/// After a transaction that cannot be stored: the guilty batch fails alone.
async fn one_by_one(store: &dyn Store, batches: &[Batch], error: store::Error) -> Vec<Result<(), store::Error>> {
    if let [_] = batches {
        return vec![Err(error)];
    }
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        let stored = store.append(std::slice::from_ref(batch)).await;
        let outcome = stored.and_then(|mut outcomes| outcomes.pop().unwrap_or(Err(error.clone())));
        outcomes.push(settle(outcome, batch));
    }
    outcomes
}

/// A batch that was sent before and now meets the head it would have left was stored the first time.
fn settle(outcome: Result<(), store::Error>, batch: &Batch) -> Result<(), store::Error> {
    match (outcome, batch.events.last()) {
        (Err(store::Error::Conflict { epoch, head }), Some(last)) if epoch == batch.epoch && head == last.sequence => {
            Ok(())
        }
        (outcome, _) => outcome,
    }
}

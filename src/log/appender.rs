//! The appender: one task that stores what all sessions submit, as many batches in one transaction as wait, and publishes
//! what was stored. The transaction itself is the clock: while one is under way the next one fills.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    hub::{self, Hubs},
    timing::Timing,
};
use crate::store::{self, Batch, Store};

/// Batches in one transaction.
const GROUP: usize = 256;
/// How long a database that does not answer is asked again before those who wait are told.
const PATIENCE: Duration = Duration::from_secs(30);

/// A batch and who waits for it.
pub(super) struct Submission {
    pub(super) batch: Batch,
    pub(super) done: oneshot::Sender<Result<(), store::Error>>,
}

/// Runs until the log is closed, and then until all that was submitted is stored.
pub(super) async fn run(
    store: Arc<dyn Store>,
    mut submissions: mpsc::Receiver<Submission>,
    hubs: Hubs,
    closing: CancellationToken,
) {
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
        let outcomes = timing.of(append(&*store, &batches)).await;
        for ((batch, done), outcome) in batches.into_iter().zip(waiting).zip(outcomes) {
            if outcome.is_ok() {
                hub::publish(&hubs, &batch.key, batch.events);
            }
            // Whoever hung up does not want to know.
            let _ = done.send(outcome);
        }
    }
}

/// Stores a group. A submitted batch never changes: it is sent again until its fate is known.
async fn append(store: &dyn Store, batches: &[Batch]) -> Vec<Result<(), store::Error>> {
    let mut pause = Duration::from_millis(20);
    let give_up = tokio::time::Instant::now() + PATIENCE;
    let mut again = false;
    loop {
        match store.append(batches).await {
            Ok(outcomes) if again => {
                return outcomes.into_iter().zip(batches).map(|(outcome, batch)| settle(outcome, batch)).collect();
            }
            Ok(outcomes) => return outcomes,
            Err(store::Error::Unavailable(cause)) if tokio::time::Instant::now() < give_up => {
                tracing::warn!(
                    cause,
                    batches = batches.len(),
                    "the store did not take a transaction; sending it again"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
                again = true;
            }
            Err(error) => return one_by_one(store, batches, error).await,
        }
    }
}

/// After a transaction that cannot be stored: the guilty batch fails alone.
async fn one_by_one(store: &dyn Store, batches: &[Batch], error: store::Error) -> Vec<Result<(), store::Error>> {
    if batches.len() == 1 || matches!(error, store::Error::Unavailable(_)) {
        return batches.iter().map(|_| Err(error.clone())).collect();
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

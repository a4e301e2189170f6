//! Whether the store takes transactions. Whoever meets that it does not says so here; from then on one task asks the store
//! again and again, until it does.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::refusal;
use crate::{
    domain::Failure,
    store::{self, Store},
};

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether the store takes transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// As far as is known.
    Serving,
    /// Not since this error.
    Failing(store::Error),
}

/// What all who write share.
#[derive(Clone, Debug)]
pub(super) struct Monitor(watch::Sender<Health>);

impl Monitor {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Health::Serving))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }

    /// Passes on what a write came to; takes note where it shows that the store takes none.
    pub(super) fn noted<T>(&self, result: Result<T, store::Error>) -> Result<T, store::Error> {
        if let Err(error) = &result
            && error.is_of_storage()
        {
            self.0.send_if_modified(|health| {
                let news = *health == Health::Serving;
                if news {
                    tracing::error!(%error, "the store takes no transactions; commands are refused until it does");
                    *health = Health::Failing(error.clone());
                }
                news
            });
        }
        result
    }

    /// Refuses where the store takes no transactions.
    pub(super) fn ready(&self) -> Result<(), Failure> {
        match &*self.0.borrow() {
            Health::Serving => Ok(()),
            Health::Failing(error) => Err(refusal(error)),
        }
    }

    /// Waits until the store takes transactions.
    pub(super) async fn serving(&self) {
        // The sender is this one, so the wait ends in no other way.
        let _ = self.watch().wait_for(|health| *health == Health::Serving).await;
    }

    /// Does what may be given up without harm; gives it up when the store is found to take no transactions.
    pub(super) async fn unless_failing<T>(
        &self,
        work: impl Future<Output = Result<T, store::Error>>,
    ) -> Result<T, store::Error> {
        let mut health = self.watch();
        let failing = async {
            let mut error = store::Error::Unavailable(String::new());
            // The sender is this one, so the wait ends in no other way.
            let _ = health
                .wait_for(|health| match health {
                    Health::Serving => false,
                    Health::Failing(cause) => {
                        error = cause.clone();
                        true
                    }
                })
                .await;
            error
        };
        tokio::select! {
            biased;
            result = work => self.noted(result),
            error = failing => Err(error),
        }
    }
}

/// Runs until the log is closed.
pub(super) async fn run(store: Arc<dyn Store>, monitor: Monitor, closing: CancellationToken) {
    let mut health = monitor.watch();
    let probing = async {
        while health.wait_for(|health| *health != Health::Serving).await.is_ok() {
            tokio::time::sleep(PAUSE).await;
            match store.probe().await {
                Ok(()) => {
                    tracing::info!("the store takes transactions again");
                    monitor.0.send_replace(Health::Serving);
                }
                Err(error) => {
                    tracing::debug!(%error, "the store still takes no transactions");
                    if error.is_of_storage() {
                        monitor.0.send_replace(Health::Failing(error));
                    }
                }
            }
        }
    };
    closing.run_until_cancelled(probing).await;
}

//! What sandboxes that are over leave at Modal: images of their files, which are paid for until somebody drops them or their
//! time is over. Each is dropped when there is a newer one, or nobody wants it any more.
//!
//! It must not know where it is written down what is kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status};

use super::{
    control::Control,
    home::Home,
    origin::Witness,
    record::kept_until,
    remote::{Left, Remote},
};
use crate::{
    domain::{LedgerEntry, Timestamp},
    modal_wire::client::ImageDeleteRequest,
};

/// How long whoever removes a sandbox waits for what it leaves, to drop that too.
const WAITED_FOR: Duration = Duration::from_secs(20);

/// Drops what is kept. A clone is the same one.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    control: Arc<Control>,
    home: Arc<Home>,
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Of which sandboxes what they left by themselves is about to be dropped, by Modal's ids.
    leaving: Arc<Mutex<HashMap<String, Leaving>>>,
}

/// What a sandbox left is about to be dropped.
#[derive(Debug)]
struct Leaving {
    spare: CancellationToken,
    done: CancellationToken,
}

impl Kept {
    pub(super) fn new(control: Arc<Control>, home: Arc<Home>) -> Self {
        Self { control, home, tracker: TaskTracker::new(), stop: CancellationToken::new(), leaving: Arc::default() }
    }

    /// Drops an image that nobody needs any more; one that is not there was dropped before, if that is to be believed, and
    /// where none can be dropped it goes when its time is over.
    async fn drop_image(&self, image_id: String, witness: &Witness) -> Result<(), Status> {
        let request = ImageDeleteRequest { image_id };
        let call =
            self.control.change(request, |mut control, request| async move { control.image_delete(request).await });
        match call.await {
            Err(status) if status.code() == Code::NotFound => witness.believe(&self.control).await,
            Err(status) if status.code() != Code::Unimplemented => Err(status),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The same behind everybody's back: what fails is left to its time.
    pub(super) fn drop_image_later(&self, image_id: String) {
        let kept = self.clone();
        self.later(async move { kept.drop_image(image_id, &Witness::default()).await });
    }

    /// Drops what a sandbox left by itself at its end, once it is there. It has left something better.
    pub(super) fn drop_left_later(&self, remote: Remote) {
        let (kept, id) = (self.clone(), remote.sandbox_id().to_owned());
        let (spare, done) = (CancellationToken::new(), CancellationToken::new());
        let leaving = Leaving { spare: spare.clone(), done: done.clone() };
        self.leaving().insert(id.clone(), leaving);
        self.later(async move {
            let _done = done.drop_guard();
            let dropped = spare.run_until_cancelled(kept.drop_left(remote, Witness::default())).await;
            kept.leaving().remove(&id);
            dropped.unwrap_or(Ok(()))
        });
    }

    /// Drops no more of what this sandbox left, because there is nothing better after all. What was dropped before is gone.
    pub(super) async fn spare(&self, sandbox_id: &str) {
        let Some(Leaving { spare, done }) = self.leaving().remove(sandbox_id) else { return };
        spare.cancel();
        done.cancelled().await;
    }

    fn leaving(&self) -> MutexGuard<'_, HashMap<String, Leaving>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all that is kept of a sandbox that is over and that nobody wants.
    pub(super) async fn drop_all(&self, entry: &LedgerEntry) -> Result<(), Status> {
        if entry.facts.end_time.is_some_and(|end| kept_until(end) < Timestamp::now()) {
            return Ok(());
        }
        let witness = Witness::of_files(&self.home, entry);
        if let Some(snapshot) = &entry.facts.snapshot {
            self.drop_image(snapshot.image_id.clone(), &witness).await?;
        }
        if entry.facts.external_id.is_empty() {
            return Ok(());
        }
        self.drop_left(Remote::new(Arc::clone(&self.control), entry.facts.external_id.clone()), witness).await
    }

    /// The same, as long as somebody waits for it. Says whether it was done.
    pub(super) async fn drop_all_soon(&self, entry: &LedgerEntry) -> bool {
        match timeout(WAITED_FOR, self.drop_all(entry)).await {
            Ok(Ok(())) => true,
            Ok(Err(status)) => {
                tracing::info!(sandbox = %entry.id, %status, "what it left could not be dropped; it is tried again");
                false
            }
            Err(_) => {
                tracing::info!(sandbox = %entry.id, "what it leaves is not there yet; it is dropped later");
                false
            }
        }
    }

    /// Gives up what is still to be dropped.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    async fn drop_left(&self, remote: Remote, witness: Witness) -> Result<(), Status> {
        match remote.told_by(witness.clone()).exit_snapshot().await? {
            Left::Image(image_id) => self.drop_image(image_id, &witness).await,
            Left::Nothing => Ok(()),
            Left::NotYet => Err(Status::unavailable("the snapshot that a sandbox leaves does not come")),
        }
    }

    fn later(&self, dropped: impl Future<Output = Result<(), Status>> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            let Some(Err(status)) = stop.run_until_cancelled(dropped).await else { return };
            tracing::debug!(%status, "files that are not needed any more are left to their time");
        });
    }
}

//! Work that is done once for all who want it at the same time, and that goes on as long as any of them is waited for.
//!
//! A lock would be held by whoever began: output that nobody reads at the moment, because its session is busy with something
//! else, would then keep everybody from their work, and that something else too.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};

/// See the module.
pub(super) struct Once<T: Clone>(Mutex<Option<WeakShared<BoxFuture<'static, T>>>>);

impl<T: Clone> Default for Once<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

impl<T: Clone> Once<T> {
    /// Whether somebody is at it.
    pub(super) fn is_at_work(&self) -> bool {
        under_way(self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()).is_some()
    }

    /// What comes of the work that is under way, or that is begun now.
    pub(super) async fn get(&self, begin: impl FnOnce() -> BoxFuture<'static, T>) -> T {
        let work = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            under_way(slot.as_ref()).unwrap_or_else(|| {
                let work = begin().shared();
                *slot = work.downgrade();
                work
            })
        };
        work.await
    }
}

/// What is done is not asked for again, though somebody may not have looked at it yet.
fn under_way<T: Clone>(slot: Option<&WeakShared<BoxFuture<'static, T>>>) -> Option<Shared<BoxFuture<'static, T>>> {
    slot.and_then(WeakShared::upgrade).filter(|work| work.peek().is_none())
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Poll,
    };

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn who_is_not_waited_for_keeps_nobody_waiting() {
        let (once, begun, go) = (Once::default(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move {
                let number = begun.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                number
            }
            .boxed()
        };
        let mut idle = pin!(once.get(work));
        assert_eq!(futures::poll!(&mut idle), Poll::Pending);
        let mut other = pin!(once.get(work));
        assert_eq!(futures::poll!(&mut other), Poll::Pending);
        assert!(once.is_at_work());
        go.notify_one();
        assert_eq!(other.await, 0);
        // The first has not looked yet; what is wanted now is new.
        assert!(!once.is_at_work());
        go.notify_one();
        assert_eq!(once.get(work).await, 1);
        assert_eq!(idle.await, 0);
    }
}

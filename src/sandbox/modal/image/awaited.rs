//! One image, for all who want it at the same time: it is built once, for as long as anybody waits for it, and each who waits is
//! told how far it is.
//!
//! It must not know how images are built.

use std::sync::OnceLock;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::super::shared::Once;
use crate::sandbox::{Error, Progress};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// Its id, once it is there.
    id: OnceLock<String>,
    work: Once<Result<String, Error>>,
    /// The newest word about the build, for all who wait; empty: there is none.
    said: watch::Sender<String>,
}

impl Awaited {
    /// The id of the image. It is built where nobody does that already; one that failed is tried again by who comes next.
    pub(super) async fn get(
        &self,
        build: impl FnOnce(watch::Sender<String>) -> BoxFuture<'static, Result<String, Error>>,
        progress: &Progress,
    ) -> Result<String, Error> {
        if let Some(id) = self.id.get() {
            return Ok(id.clone());
        }
        let begin = || {
            self.said.send_replace(String::new());
            build(self.said.clone())
        };
        let mut heard = self.said.subscribe();
        // Who comes later is told where it stands.
        heard.mark_changed();
        let work = self.work.get(begin);
        tokio::pin!(work);
        let made = loop {
            tokio::select! {
                biased;
                made = &mut work => break made,
                Ok(()) = heard.changed() => {
                    let what = heard.borrow_and_update().clone();
                    if !what.is_empty() {
                        // Nobody need listen.
                        let _ = progress.try_send(what);
                    }
                }
            }
        };
        if let Ok(id) = &made {
            self.id.get_or_init(|| id.clone());
        }
        made
    }
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

    use futures::FutureExt as _;
    use tokio::sync::{Notify, mpsc};

    use super::*;

    /// A build that says something, and then fails once it may.
    fn failing(
        go: &Arc<Notify>,
        begun: &Arc<AtomicUsize>,
    ) -> impl FnOnce(watch::Sender<String>) -> BoxFuture<'static, Result<String, Error>> + use<> {
        let (go, begun) = (Arc::clone(go), Arc::clone(begun));
        move |said| {
            begun.fetch_add(1, Ordering::SeqCst);
            said.send_replace("half".to_owned());
            async move {
                go.notified().await;
                Err(Error::Unavailable("no".to_owned()))
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn all_who_wait_are_told_the_same_and_who_comes_after_a_failure_has_it_tried_again() {
        let (image, go, begun) = (Awaited::default(), Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (first, mut told_first) = mpsc::channel(16);
        let (later, mut told_later) = mpsc::channel(16);
        let mut one = pin!(image.get(failing(&go, &begun), &first));
        assert_eq!(futures::poll!(&mut one), Poll::Pending);
        let mut other = pin!(image.get(failing(&go, &begun), &later));
        assert_eq!(futures::poll!(&mut other), Poll::Pending);
        assert_eq!((told_first.try_recv(), told_later.try_recv()), (Ok("half".to_owned()), Ok("half".to_owned())));
        go.notify_one();
        let failed = Err(Error::Unavailable("no".to_owned()));
        assert_eq!((one.await, other.await), (failed.clone(), failed));
        assert_eq!(begun.load(Ordering::SeqCst), 1, "built once for both");

        let made = |_| async { Ok("im-1".to_owned()) }.boxed();
        assert_eq!(image.get(made, &later).await, Ok("im-1".to_owned()));
        assert!(told_later.try_recv().is_err(), "what is over is not told any more");
        assert_eq!(image.get(failing(&go, &begun), &first).await, Ok("im-1".to_owned()), "it is there");
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }
}

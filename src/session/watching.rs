//! How an actor hears that the files of its sandbox may have changed: by hints, and where there are none, or not of everything, by
//! looking now and then until they can be had again.
//!
//! It must not know how a look is done, nor what has to wait for one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep_until};

use crate::sandbox::{Error, Files, Hints};

/// Without hints a look is due so long after the last one, while the agent is at work.
const EVERY: Duration = Duration::from_secs(2);
/// The same while it waits for a message: only what it left running changes files then.
const AT_REST: Duration = Duration::from_secs(30);
/// And so many times as long after it as it took: what is large or far away is looked at less often.
const SHARE: u32 = 20;
/// But not less often than this.
const SELDOM: Duration = Duration::from_mins(2);
/// A look that failed counts as one that took at least so long.
const FAILED: Duration = Duration::from_secs(1);

/// Hints are asked for again after so long, and after twice as long each time that it is in vain, up to the second.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_AT_MOST: Duration = Duration::from_mins(10);

/// People are told at most so often that files are looked at without hints.
const TOLD_EVERY: Duration = Duration::from_hours(1);

/// What is heard of the files of one sandbox.
pub(super) struct Watching {
    files: Arc<dyn Files>,
    hints: Source,
    /// When hints are asked for again; `None`: everything is told.
    again_at: Option<Instant>,
    /// How often they were in vain, one after the other.
    vain: u32,
    /// When the last look began or ended, and how long it took.
    looked: Instant,
    took: Duration,
}

enum Source {
    Opening(BoxFuture<'static, Result<Hints, Error>>),
    Open(Hints, Instant),
    Over,
}

/// What was heard.
pub(super) enum Heard {
    /// Something may have changed.
    Change,
    /// Not everything is told from now on; something may have changed that was not.
    Blind(Error),
}

impl Watching {
    pub(super) fn new(files: Arc<dyn Files>) -> Self {
        let hints = Source::open(&files);
        Self { files, hints, again_at: None, vain: 0, looked: Instant::now(), took: Duration::ZERO }
    }

    /// Waits until something may have changed that is told. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            let again_at = self.again_at;
            let again = async move {
                match again_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let hint = tokio::select! {
                biased;
                hint = self.hints.next() => hint,
                () = again => {
                    // Those that were had are given up before: the kernel counts them too.
                    self.hints = Source::open(&self.files);
                    self.again_at = Some(Instant::now() + AGAIN_AT_MOST);
                    continue;
                }
            };
            let whole = self.again_at.is_none();
            match hint {
                Some(Ok(Some(hints))) => {
                    if !whole {
                        tracing::debug!("changes of files are told again");
                    }
                    self.hints = Source::Open(hints, Instant::now());
                    self.again_at = None;
                    // Something may have changed before anybody could tell.
                    return Heard::Change;
                }
                Some(Ok(None)) => return Heard::Change,
                Some(Err(error)) => {
                    self.fail();
                    if whole {
                        return Heard::Blind(error);
                    }
                    tracing::debug!(%error, "changes of files are still not told");
                }
                None => {
                    self.hints = Source::Over;
                    if whole {
                        self.fail();
                        return Heard::Blind(Error::Unavailable("there are no more hints".to_owned()));
                    }
                }
            }
        }
    }

    /// Asks again later.
    fn fail(&mut self) {
        if matches!(&self.hints, Source::Open(_, since) if since.elapsed() >= AGAIN_AT_MOST) {
            self.vain = 0;
        }
        if matches!(&self.hints, Source::Opening(_)) {
            self.hints = Source::Over;
        }
        let after = AGAIN.saturating_mul(2_u32.saturating_pow(self.vain)).min(AGAIN_AT_MOST);
        self.again_at = Some(Instant::now() + after);
        self.vain += 1;
    }

    /// When a look is due that nobody hints at, with an agent that is at work or not.
    pub(super) fn look_at(&self, works: bool) -> Option<Instant> {
        self.again_at.map(|_| self.looked + pause(self.took, works))
    }

    /// A look begins, whoever wanted it.
    pub(super) fn begin(&mut self) {
        self.looked = Instant::now();
    }

    /// It has ended.
    pub(super) fn end(&mut self, well: bool) {
        let took = self.looked.elapsed();
        self.took = if well { took } else { took.max(FAILED) };
        self.looked = Instant::now();
    }
}

impl Source {
    fn open(files: &Arc<dyn Files>) -> Self {
        let files = Arc::clone(files);
        Self::Opening(Box::pin(async move { files.hints().await }))
    }

    /// The next hint, or all that follow; `None`: there are no more.
    async fn next(&mut self) -> Option<Result<Option<Hints>, Error>> {
        match self {
            Self::Opening(opening) => Some(opening.await.map(Some)),
            Self::Open(hints, _) => hints.next().await.map(|hint| hint.map(|()| None)),
            Self::Over => std::future::pending().await,
        }
    }
}

/// How long after a look that took so long the next one is due.
fn pause(took: Duration, works: bool) -> Duration {
    let every = if works { EVERY } else { AT_REST };
    every.max(took.saturating_mul(SHARE).min(SELDOM))
}

/// When people were last told, by provider: what befalls one session befalls many, turn for turn.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<String, Instant>>);

impl Told {
    /// Tells them that files are looked at without hints, and why.
    pub(super) fn blind(&self, provider: &str, error: &Error) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A sandbox that is over or another's is told of as that.
        let known = matches!(error, Error::Gone(_) | Error::Stale { .. });
        if known || told.get(provider).is_some_and(|at| at.elapsed() < TOLD_EVERY) {
            tracing::debug!(provider, %error, "changes of files are not all told");
            return;
        }
        told.insert(provider.to_owned(), Instant::now());
        tracing::warn!(provider, %error, "changes of files are not all told: they are looked for now and then");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_looked_at_less_often() {
        for (took, works, expected) in
            [(0, true, 2_000), (100, true, 2_000), (500, true, 10_000), (10_000, true, 120_000)]
        {
            assert_eq!(pause(Duration::from_millis(took), works), Duration::from_millis(expected), "{took}");
        }
        assert_eq!(pause(Duration::from_millis(100), false), AT_REST);
        assert_eq!(pause(Duration::from_secs(3), false), Duration::from_mins(1));
    }
}

//! Streams that go on: when one is opened again, and after how long. What is asked for then, its own file knows.

use std::{collections::VecDeque, time::Duration};

use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Response, Status, Streaming};

use super::{
    Error,
    backoff::Backoff,
    connect::{self, Route, Stub},
};
use crate::proto::session_service_client::SessionServiceClient;

pub(super) type Sessions = SessionServiceClient<Stub>;

/// The server's own default; a stream that is silent for three of them is dead.
pub(super) const BOOKMARK_INTERVAL: Duration = Duration::from_secs(15);

// A stream that lived so long was no failure, even if it brought nothing new.
const SETTLED: Duration = Duration::from_secs(10);

/// What comes over an open stream.
pub(super) type Frames<R> = BoxStream<'static, Result<R, Status>>;

/// What opening a stream comes to.
pub(super) type Opening<R> = BoxFuture<'static, Result<Frames<R>, Status>>;

/// A stream as it was opened.
pub(super) fn frames<R: Send + 'static>(opened: Response<Streaming<R>>) -> Frames<R> {
    opened.into_inner().boxed()
}

/// What can be asked for again where it was cut.
pub(super) trait Resumable: Send + 'static {
    /// What comes over the wire.
    type Response: Send + 'static;
    /// What is given out.
    type Item: Send + 'static;

    /// Asks for what comes after all that was given out.
    fn open(&mut self, sessions: Sessions) -> Opening<Self::Response>;

    /// What a response brings.
    fn take(&mut self, response: Self::Response) -> Vec<Self::Item>;

    /// Moves the cursor over an item that is given out now; whether it is the last.
    ///
    /// # Errors
    /// When the server broke the rule of ranges.
    fn pass(&mut self, item: &Self::Item) -> Result<bool, Error>;

    /// Whether an item that was moved over is given out.
    fn wants(&mut self, _: &Self::Item) -> bool {
        true
    }

    /// Up to where all was given out; `None` before anything was, and while everything comes.
    fn cursor(&self) -> Option<i64>;

    /// Whether what the server refuses can be asked for in another way, which is done from now on.
    fn asks_otherwise(&mut self, refused: &Error) -> bool;
}

/// The items, over as many streams as it takes.
pub(super) fn follow<R: Resumable>(
    route: Route,
    sessions: Sessions,
    what: R,
    silence: Duration,
) -> BoxStream<'static, Result<R::Item, Error>> {
    let (backoff, reached, opened) = (Backoff::default(), what.cursor(), Instant::now());
    let (open, pending, done) = (None, VecDeque::new(), false);
    let resumed = Resumed { route, sessions, what, silence, backoff, reached, open, opened, pending, done };
    stream::unfold(resumed, |mut this| async move { this.next().await.map(|item| (item, this)) }).boxed()
}

struct Resumed<R: Resumable> {
    route: Route,
    sessions: Sessions,
    what: R,
    silence: Duration,
    backoff: Backoff,
    /// The cursor when it last failed.
    reached: Option<i64>,
    open: Option<Frames<R::Response>>,
    opened: Instant,
    pending: VecDeque<R::Item>,
    done: bool,
}

impl<R: Resumable> Resumed<R> {
    async fn next(&mut self) -> Option<Result<R::Item, Error>> {
        while !self.done {
            if let Some(item) = self.pending.pop_front() {
                let passed = self.what.pass(&item);
                self.done = !matches!(passed, Ok(false));
                if passed.is_ok() && !self.what.wants(&item) {
                    continue;
                }
                return Some(passed.map(|_| item));
            }
            let retry_after = match self.read().await {
                Ok(Some(response)) => {
                    self.pending.extend(self.what.take(response));
                    continue;
                }
                // It ended without its last item: the server drains.
                Ok(None) => None,
                Err(error) if self.what.asks_otherwise(&error) => {
                    tracing::info!(%error, "asking otherwise");
                    error.retry_after
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "the stream was cut; opening it again");
                    error.retry_after
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            };
            self.open = None;
            sleep(self.pause(retry_after)).await;
        }
        None
    }

    /// How long to wait before it is opened again. That it answered is not enough for the pauses to begin anew: something
    /// between may cut each stream after its first response.
    fn pause(&mut self, retry_after: Option<Duration>) -> Duration {
        let cursor = self.what.cursor();
        if (cursor.is_some() && cursor != self.reached) || self.opened.elapsed() >= SETTLED {
            self.backoff.reset();
        }
        self.reached = cursor.or(self.reached);
        self.backoff.next(retry_after)
    }

    async fn read(&mut self) -> Result<Option<R::Response>, Error> {
        let mut open = if let Some(open) = self.open.take() {
            open
        } else {
            self.opened = Instant::now();
            match timeout(self.silence, self.what.open(self.sessions.clone())).await {
                Ok(opened) => opened?,
                Err(_) => return Err(self.silent()),
            }
        };
        let Ok(response) = timeout(self.silence, open.next()).await else { return Err(self.silent()) };
        let response = response.transpose()?;
        self.open = Some(open);
        Ok(response)
    }

    /// A connection whose other end forgot it is known as dead only after half a minute: this stream goes on over another.
    fn silent(&mut self) -> Error {
        self.sessions = connect::sessions(self.route.apart());
        Error::local(Code::DeadlineExceeded, "the server has been silent for too long")
    }
}

//! Streams that go on: when one is opened again, and after how long. What is asked for then, its own file knows.

use std::{collections::VecDeque, time::Duration};

use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::time::{sleep, timeout};
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

/// What opening a stream comes to.
pub(super) type Opening<R> = BoxFuture<'static, Result<Response<Streaming<R>>, Status>>;

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

    /// Whether the cursor means nothing to the server any more, so that everything is asked for from now on.
    fn starts_over(&mut self, refused: &Error) -> bool;
}

/// The items, over as many streams as it takes.
pub(super) fn follow<R: Resumable>(
    route: Route,
    sessions: Sessions,
    what: R,
    silence: Duration,
) -> BoxStream<'static, Result<R::Item, Error>> {
    let (open, pending) = (None, VecDeque::new());
    let resumed = Resumed { route, sessions, what, silence, backoff: Backoff::default(), open, pending, done: false };
    stream::unfold(resumed, |mut this| async move { this.next().await.map(|item| (item, this)) }).boxed()
}

struct Resumed<R: Resumable> {
    route: Route,
    sessions: Sessions,
    what: R,
    silence: Duration,
    backoff: Backoff,
    open: Option<Streaming<R::Response>>,
    pending: VecDeque<R::Item>,
    done: bool,
}

impl<R: Resumable> Resumed<R> {
    async fn next(&mut self) -> Option<Result<R::Item, Error>> {
        while !self.done {
            if let Some(item) = self.pending.pop_front() {
                let passed = self.what.pass(&item);
                self.done = !matches!(passed, Ok(false));
                return Some(passed.map(|_| item));
            }
            let wait = match self.read().await {
                Ok(Some(response)) => {
                    self.backoff.reset();
                    self.pending.extend(self.what.take(response));
                    continue;
                }
                // It ended without its last item: the server drains.
                Ok(None) => self.backoff.next(None),
                Err(error) if self.what.starts_over(&error) => {
                    tracing::info!(%error, "starting over");
                    self.backoff.next(error.retry_after)
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "the stream was cut; opening it again");
                    self.backoff.next(error.retry_after)
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            };
            self.open = None;
            sleep(wait).await;
        }
        None
    }

    async fn read(&mut self) -> Result<Option<R::Response>, Error> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => match timeout(self.silence, self.what.open(self.sessions.clone())).await {
                Ok(opened) => opened?.into_inner(),
                Err(_) => return Err(self.silent()),
            },
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

//! Runs helpers through the router: each is a program of its own, fed by a task of ours.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt as _};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    epochs::Epochs,
    helper::{End, Helper, Input, Running, SAID_MAX},
    program::lost,
    router::{Ended, Given, Router, Start},
    scripts,
};
use crate::sandbox::{Error, Output};

/// The variable by which what a program started is found.
pub(super) const MARK: &str = "AGENT_RUNTIME_EXEC";
/// Input is gathered up to so much before it is sent.
const PIECE: usize = 1 << 20;

/// Helpers in one sandbox.
#[derive(Debug)]
pub(super) struct Helpers {
    router: Arc<Router>,
    epochs: Epochs,
    tracker: TaskTracker,
}

/// How the input of a helper came to its end.
enum Fed {
    /// All of it was given, or nobody reads it any more.
    Whole,
    /// It broke off: what was given must not be taken for all.
    Cut,
}

impl Helpers {
    pub(super) fn new(router: Arc<Router>, epochs: Epochs, tracker: TaskTracker) -> Self {
        Self { router, epochs, tracker }
    }
}

#[async_trait]
impl Helper for Helpers {
    async fn start(&self, argv: Vec<String>, input: Input) -> Result<Running, Error> {
        let program = argv.first().cloned().unwrap_or_default();
        let exec_id = Uuid::new_v4().to_string();
        let env = vec![(MARK.to_owned(), exec_id.clone())];
        // Most of them change something, and nobody who may not knows better what they see.
        self.epochs.held(self.epochs.newest())?;
        if let Err(status) = self.router.start(Start { exec_id: exec_id.clone(), argv, env }).await {
            return Err(match status.code() {
                Code::InvalidArgument => Error::Start { program, cause: status.message().to_owned() },
                _ => lost(&self.router, &status).await,
            });
        }
        // Given up when both ends of what is returned are gone; over when the output has ended.
        let (given_up, over) = (CancellationToken::new(), CancellationToken::new());
        let guard = Arc::new(given_up.clone().drop_guard());
        let (router, epochs) = (Arc::clone(&self.router), self.epochs.clone());
        self.tracker.spawn(feed(router, epochs, exec_id.clone(), input, given_up, over.clone()));
        let state = (Arc::clone(&self.router), self.router.read(&exec_id, Output::Stdout, 0), Arc::clone(&guard), over);
        let stdout = stream::unfold(state, |(router, mut printed, held, over)| async move {
            let bytes = match printed.next().await {
                Some(Ok(bytes)) => Ok(bytes),
                Some(Err(status)) => Err(lost(&router, &status).await),
                None => {
                    // Only then: whoever drops the stream before has given up.
                    over.cancel();
                    return None;
                }
            };
            Some((bytes, (router, printed, held, over)))
        });
        let end = end(Arc::clone(&self.router), exec_id, guard);
        Ok(Running { stdout: stdout.boxed(), end: Box::pin(end) })
    }
}

/// Gives a helper its input; one whose input breaks off, or that nobody waits for any more, is killed.
async fn feed(
    router: Arc<Router>,
    epochs: Epochs,
    exec_id: String,
    input: Input,
    given_up: CancellationToken,
    over: CancellationToken,
) {
    let fed = tokio::select! {
        biased;
        () = given_up.cancelled() => Ok(Fed::Cut),
        () = over.cancelled() => Ok(Fed::Whole),
        fed = give_all(&router, &exec_id, input) => fed,
    };
    let cut = match fed {
        Ok(Fed::Cut) => true,
        Err(status) => {
            tracing::debug!(%status, "the input of a helper could not be given");
            true
        }
        // Its output may still be waited for.
        Ok(Fed::Whole) => tokio::select! {
            biased;
            () = over.cancelled() => false,
            () = given_up.cancelled() => true,
        },
    };
    if cut && !over.is_cancelled() && epochs.held(epochs.newest()).is_ok() {
        let kill = Start { exec_id: Uuid::new_v4().to_string(), argv: scripts::kill(&exec_id), env: Vec::new() };
        if let Err(status) = router.start(kill).await {
            tracing::debug!(%status, "a helper that nobody waits for could not be ended");
        }
    }
}

async fn give_all(router: &Router, exec_id: &str, input: Input) -> Result<Fed, Status> {
    let mut offset = 0;
    let mut input = input.ready_chunks(16);
    while let Some(pieces) = input.next().await {
        let mut gathered = BytesMut::new();
        for piece in pieces {
            let Ok(piece) = piece else { return Ok(Fed::Cut) };
            gathered.extend_from_slice(&piece);
            if gathered.len() >= PIECE && !send(router, exec_id, &mut offset, gathered.split().freeze()).await? {
                return Ok(Fed::Whole);
            }
        }
        if !send(router, exec_id, &mut offset, gathered.freeze()).await? {
            return Ok(Fed::Whole);
        }
    }
    router.give(exec_id, offset, Bytes::new(), true).await?;
    Ok(Fed::Whole)
}

/// Whether the helper still reads.
async fn send(router: &Router, exec_id: &str, offset: &mut u64, bytes: Bytes) -> Result<bool, Status> {
    if bytes.is_empty() {
        return Ok(true);
    }
    let length = bytes.len() as u64;
    match router.give(exec_id, *offset, bytes, false).await? {
        Given::Accepted => {
            *offset += length;
            Ok(true)
        }
        Given::Over => Ok(false),
    }
}

async fn end(router: Arc<Router>, exec_id: String, _guard: Arc<DropGuard>) -> Result<End, Error> {
    let code = match router.wait(&exec_id).await {
        Ok(Ended::Code(code)) => code,
        Ok(Ended::Signal(signal)) => 128 + signal,
        Err(status) => return Err(lost(&router, &status).await),
    };
    let mut said = Vec::new();
    let mut stderr = router.read(&exec_id, Output::Stderr, 0);
    while said.len() < SAID_MAX
        && let Some(bytes) = stderr.next().await
    {
        match bytes {
            Ok(bytes) => said.extend_from_slice(&bytes),
            Err(status) => return Err(lost(&router, &status).await),
        }
    }
    said.truncate(SAID_MAX);
    Ok(End { code, stderr: String::from_utf8_lossy(&said).into_owned() })
}

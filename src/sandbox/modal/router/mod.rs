//! The command router's client: one sandbox's programs, by Modal's ids of them. Calls are made again where that helps; all of
//! them may be, because ids and offsets make a second one the same as the first.
//!
//! It must not know what the programs are, nor what stands in their output.

mod access;
mod channels;
mod input;
mod output;
mod patience;
mod waiting;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::{Code, Request, Response, Status, transport::Channel};

use self::access::{Access, Cell};
pub(super) use self::{channels::Channels, input::Given};
use super::{
    attempts::{self, Attempts, Patience},
    remote::{Over, Remote},
};
use crate::modal_wire::{
    MESSAGE_LIMIT, RouterClient,
    client::{CommandRouterAccess, SecretSource, StringMap, secret_source::Source},
    task_command_router::{
        TaskExecPollRequest, TaskExecStartRequest, TaskExecStderrConfig, TaskExecStdoutConfig,
        TaskSnapshotFilesystemRequest, task_exec_poll_response,
    },
};

/// How long a router may take for anything else: a connection that is alive may still bring no answer.
const ANSWERS: Duration = Duration::from_mins(1);
/// How long a snapshot may take: large trees take minutes.
const SNAPSHOT_WITHIN: Duration = Duration::from_mins(10);

/// Speaks to the router of one sandbox.
#[derive(Debug)]
pub(super) struct Router {
    remote: Remote,
    task_id: String,
    access: Cell,
}

/// A program to start.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// A UUID, minted before: starting it again changes nothing.
    pub(super) exec_id: String,
    pub(super) argv: Vec<String>,
    /// Beside what the image and Modal set.
    pub(super) env: Vec<(String, String)>,
}

/// How a program ended, in the router's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Code(i32),
    Signal(i32),
}

impl Router {
    /// The router of a sandbox; what its creation already said of it may be known.
    pub(super) fn new(
        remote: Remote,
        task_id: String,
        channels: Channels,
        known: Option<CommandRouterAccess>,
    ) -> Result<Self, Status> {
        let access = Cell::new(channels, known, &remote)?;
        Ok(Self { remote, task_id, access })
    }

    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Starts a program. One that is there under this id already is the same one: ids are ours.
    pub(super) async fn start(&self, start: Start) -> Result<(), Status> {
        let contents = start.env.into_iter().collect();
        let request = TaskExecStartRequest {
            task_id: self.task_id.clone(),
            exec_id: start.exec_id,
            command_args: start.argv,
            stdout_config: TaskExecStdoutConfig::Pipe.into(),
            stderr_config: TaskExecStderrConfig::Pipe.into(),
            secret_sources: vec![SecretSource { source: Some(Source::Env(StringMap { contents })) }],
            ..TaskExecStartRequest::default()
        };
        let start = self.change(request, attempts::ROUTER, None, |mut router, request| async move {
            router.task_exec_start(request).await
        });
        match start.await {
            Err(status) if status.code() != Code::AlreadyExists => Err(status),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// How a program ended; `None`: it runs.
    pub(super) async fn poll(&self, exec_id: &str) -> Result<Option<Ended>, Status> {
        let request = TaskExecPollRequest { task_id: self.task_id.clone(), exec_id: exec_id.to_owned() };
        let answer =
            self.call(request, |mut router, request| async move { router.task_exec_poll(request).await }).await?;
        Ok(answer.exit_status.map(|status| match status {
            task_exec_poll_response::ExitStatus::Code(code) => Ended::Code(code),
            task_exec_poll_response::ExitStatus::Signal(signal) => Ended::Signal(signal),
        }))
    }

    /// Keeps the file system as an image, for so long. The same `snapshot_id`, a UUID, gives the same image.
    pub(super) async fn snapshot(&self, snapshot_id: String, keep: Duration) -> Result<String, Status> {
        let ttl_seconds = Some(i64::try_from(keep.as_secs()).unwrap_or(i64::MAX));
        let task_id = self.task_id.clone();
        let request = TaskSnapshotFilesystemRequest {
            task_id,
            snapshot_id,
            ttl_seconds,
            ..TaskSnapshotFilesystemRequest::default()
        };
        let until = Some(Instant::now() + SNAPSHOT_WITHIN);
        let answer = self.change(request, attempts::TIMED, until, |mut router, request| async move {
            router.task_snapshot_filesystem(request).await
        });
        Ok(answer.await?.image_id)
    }

    /// Makes a call that only asks, again where it failed in a way that passes.
    async fn call<Q, A, F>(&self, query: Q, send: impl Fn(RouterClient<Channel>, Request<Q>) -> F) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.attempt(query, attempts::ROUTER, None, || Ok(()), send).await
    }

    /// The same for a call that changes something, with what remains until then as the time of each attempt.
    async fn change<Q, A, F>(
        &self,
        query: Q,
        patience: Patience,
        until: Option<Instant>,
        send: impl Fn(RouterClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.attempt(query, patience, until, || self.remote.control().may_change(), send).await
    }

    async fn attempt<Q, A, F>(
        &self,
        query: Q,
        patience: Patience,
        until: Option<Instant>,
        may: impl Fn() -> Result<(), Status>,
        send: impl Fn(RouterClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut attempts = Attempts::new(patience);
        loop {
            let access = self.access.current(self).await?;
            let answered = async {
                let mut request = Request::new(query.clone());
                if let Some(until) = until {
                    request.set_timeout(until.duration_since(Instant::now()));
                }
                access.say(request.metadata_mut(), &attempts)?;
                let client = self.client(&access).await?;
                may()?;
                send(client, request).await
            };
            let within = until.unwrap_or_else(|| Instant::now() + ANSWERS);
            let answered = timeout_at(within, answered).await;
            match answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("the router does not answer"))) {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(failure) => self.overcome(failure, &access, &mut attempts).await?,
            }
        }
    }

    async fn client(&self, access: &Access) -> Result<RouterClient<Channel>, Status> {
        let channel = access.channel(|| self.still_there()).await?;
        Ok(RouterClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
    }

    /// Fails when the sandbox is over: whoever waits for its router then waits for nothing.
    async fn still_there(&self) -> Result<(), Status> {
        match self.remote.over().await {
            Ok(Some(Over(how))) => Err(gone(&how)),
            // What cannot be known is no reason to give up.
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

/// What is said of everything in a sandbox that is over.
pub(super) fn gone(how: &str) -> Status {
    Status::failed_precondition(format!("the sandbox is over: {how}"))
}

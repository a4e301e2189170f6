//! Output, read from an offset on. A stream that breaks is opened again where it stood; each chunk that comes through gives it
//! its whole patience back, so that a long one does not die of many small breaks.
//!
//! What an agent prints is followed: who stands between may end a stream in good order after a time or a size of their own, so one
//! that ends is opened again, and the end is believed when it comes at once and nothing before it. What helpers print is not: it
//! is over soon, and each stream costs a round trip.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::time::{Instant, sleep};
use tonic::{Request, Status, Streaming};

use super::{Access, Router};
use crate::{
    modal_wire::task_command_router::{
        TaskExecStdioFileDescriptor, TaskExecStdioReadRequest, TaskExecStdioReadResponse,
    },
    sandbox::{
        Output,
        modal::attempts::{self, Attempts},
    },
};

/// After so much silence the sandbox is asked about: a router that is gone with it may never end the stream.
const SILENCE: Duration = Duration::from_secs(15);
/// A stream that was open for so long has worked, also when nothing was printed meanwhile.
const LASTED: Duration = Duration::from_secs(5);

struct Reading {
    router: Arc<Router>,
    exec_id: String,
    fd: Output,
    offset: u64,
    open: Option<(Streaming<TaskExecStdioReadResponse>, Access)>,
    opened: Option<Instant>,
    attempts: Attempts,
    /// An end is believed only when it is told twice.
    follows: bool,
    /// Something came since the stream was opened.
    brought: bool,
}

impl Router {
    /// What a program prints from `offset` on, as it comes, to its end.
    pub(in super::super) fn read(
        self: &Arc<Self>,
        exec_id: &str,
        fd: Output,
        offset: u64,
    ) -> BoxStream<'static, Result<Bytes, Status>> {
        self.chunks(exec_id, fd, offset, false)
    }

    /// The same of a program that may run for long and say much: see the module.
    pub(in super::super) fn follow(
        self: &Arc<Self>,
        exec_id: &str,
        fd: Output,
        offset: u64,
    ) -> BoxStream<'static, Result<Bytes, Status>> {
        self.chunks(exec_id, fd, offset, true)
    }

    fn chunks(
        self: &Arc<Self>,
        exec_id: &str,
        fd: Output,
        offset: u64,
        follows: bool,
    ) -> BoxStream<'static, Result<Bytes, Status>> {
        let reading = Reading {
            router: Arc::clone(self),
            exec_id: exec_id.to_owned(),
            fd,
            offset,
            open: None,
            opened: None,
            attempts: Attempts::new(attempts::FOLLOWING),
            follows,
            brought: false,
        };
        let chunks = stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        chunks.boxed()
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let (mut chunks, access) = if let Some(open) = self.open.take() {
                open
            } else {
                let access = self.router.right(&mut self.attempts).await?;
                match self.open(&access).await {
                    Ok(chunks) => (chunks, access),
                    Err(failure) => {
                        self.overcome(failure, &access).await?;
                        continue;
                    }
                }
            };
            match self.chunk(&mut chunks).await {
                Ok(Some(chunk)) => {
                    self.open = Some((chunks, access));
                    if chunk.data.is_empty() {
                        continue;
                    }
                    self.offset += chunk.data.len() as u64;
                    self.attempts.reset();
                    self.brought = true;
                    return Ok(Some(chunk.data));
                }
                Ok(None) if self.may_go_on() => {}
                Ok(None) => return Ok(None),
                Err(failure) => self.overcome(failure, &access).await?,
            }
        }
    }

    /// Whether the end of a stream may not be that of the output.
    fn may_go_on(&self) -> bool {
        let lasted = self.opened.is_some_and(|opened| opened.elapsed() >= LASTED);
        self.follows && (self.brought || lasted)
    }

    async fn overcome(&mut self, failure: Status, access: &Access) -> Result<(), Status> {
        if self.opened.take().is_some_and(|opened| opened.elapsed() >= LASTED) {
            self.attempts.reset();
        }
        self.router.overcome(failure, access, &mut self.attempts).await
    }

    async fn open(&mut self, access: &Access) -> Result<Streaming<TaskExecStdioReadResponse>, Status> {
        let file_descriptor = match self.fd {
            Output::Stdout => TaskExecStdioFileDescriptor::Stdout,
            Output::Stderr => TaskExecStdioFileDescriptor::Stderr,
        };
        let mut request = Request::new(TaskExecStdioReadRequest {
            task_id: self.router.task_id.clone(),
            exec_id: self.exec_id.clone(),
            offset: self.offset,
            file_descriptor: file_descriptor.into(),
        });
        access.say(request.metadata_mut(), &self.attempts)?;
        let opening = async { self.router.client(access).await?.task_exec_stdio_read(request).await };
        let opened = self.while_it_lives(opening).await?.into_inner();
        (self.opened, self.brought) = (Some(Instant::now()), false);
        Ok(opened)
    }

    async fn chunk(
        &self,
        chunks: &mut Streaming<TaskExecStdioReadResponse>,
    ) -> Result<Option<TaskExecStdioReadResponse>, Status> {
        self.while_it_lives(chunks.message()).await
    }

    /// What comes, for as long as the sandbox lives. Whoever is slow to say whether it does holds up nothing that comes.
    async fn while_it_lives<T>(&self, coming: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let over = async {
            loop {
                sleep(SILENCE).await;
                if let Err(over) = self.router.still_there().await {
                    return over;
                }
            }
        };
        tokio::select! {
            biased;
            come = coming => come,
            over = over => Err(over),
        }
    }
}

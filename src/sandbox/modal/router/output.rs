//! Output, read from an offset on. A stream that breaks is opened again where it stood; each chunk that comes through gives it
//! its whole patience back, so that a long one does not die of many small breaks.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::time::timeout;
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
const SILENCE: Duration = Duration::from_secs(30);

struct Reading {
    router: Arc<Router>,
    exec_id: String,
    fd: Output,
    offset: u64,
    open: Option<(Streaming<TaskExecStdioReadResponse>, Access)>,
    attempts: Attempts,
    renewed: bool,
}

impl Router {
    /// What a program prints from `offset` on, as it comes, to its end.
    pub(in super::super) fn read(
        self: &Arc<Self>,
        exec_id: &str,
        fd: Output,
        offset: u64,
    ) -> BoxStream<'static, Result<Bytes, Status>> {
        let reading = Reading {
            router: Arc::clone(self),
            exec_id: exec_id.to_owned(),
            fd,
            offset,
            open: None,
            attempts: Attempts::new(attempts::FOLLOWING),
            renewed: false,
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
                    self.renewed = false;
                    return Ok(Some(chunk.data));
                }
                Ok(None) => return Ok(None),
                Err(failure) => self.overcome(failure, &access).await?,
            }
        }
    }

    async fn overcome(&mut self, failure: Status, access: &Access) -> Result<(), Status> {
        self.router.overcome(failure, access, &mut self.attempts, &mut self.renewed).await
    }

    async fn open(&self, access: &Access) -> Result<Streaming<TaskExecStdioReadResponse>, Status> {
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
        Ok(self.router.client(access).await?.task_exec_stdio_read(request).await?.into_inner())
    }

    /// The next chunk, for as long as the sandbox lives.
    async fn chunk(
        &self,
        chunks: &mut Streaming<TaskExecStdioReadResponse>,
    ) -> Result<Option<TaskExecStdioReadResponse>, Status> {
        let mut message = pin!(chunks.message());
        loop {
            match timeout(SILENCE, &mut message).await {
                Ok(message) => return message,
                Err(_) => self.router.still_there().await?,
            }
        }
    }
}

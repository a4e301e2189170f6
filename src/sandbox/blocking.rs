//! Between tasks and threads that may block.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{Contents, Error};
use crate::workspace;

/// Runs what may block where it may, as a task that the provider waits for when it shuts down.
pub(super) fn blocking<T: Send + 'static>(
    tracker: &TaskTracker,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Error>> {
    let work = tracker.spawn_blocking(work);
    async { work.await.map_err(|error| Error::Unavailable(error.to_string())) }
}

/// Contents as a thread reads them that may block.
pub(super) fn content_of(
    contents: &dyn Contents,
    handle: &Handle,
    sha256: &str,
) -> Result<Box<dyn Read>, workspace::Error> {
    let opened = handle.block_on(contents.open(sha256));
    let stream = opened.map_err(|error| workspace::Error::Content {
        path: String::new(),
        sha256: sha256.to_owned(),
        cause: error.to_string(),
    })?;
    Ok(Box::new(Blocking { handle: handle.clone(), stream, chunk: Bytes::new() }))
}

/// Ends what a call began when nobody waits for it any more.
#[derive(Debug, Default)]
pub(super) struct GiveUp(Arc<AtomicBool>);

impl GiveUp {
    /// Set when nobody waits any more.
    pub(super) fn is_given_up(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream, read by a thread that may block.
struct Blocking {
    handle: Handle,
    stream: BoxStream<'static, Result<Bytes, Error>>,
    chunk: Bytes,
}

impl Read for Blocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.handle.block_on(self.stream.next()) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let taken = buffer.len().min(self.chunk.len());
        buffer[..taken].copy_from_slice(&self.chunk.split_to(taken));
        Ok(taken)
    }
}

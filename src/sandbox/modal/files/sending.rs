//! What goes to helpers: files, and folders of this machine as tar streams, read by threads that may block.

use std::{
    fs::File,
    io::{self, Read as _, Write},
};

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt as _,
    stream::{self},
};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::{
    sandbox::{
        Content,
        modal::helper::{self, Input},
    },
    workspace::{Folder, pack},
};

/// Bytes of one piece.
const PIECE: usize = 256 * 1024;

/// Pieces that wait for the sandbox to take them.
const WAITING: usize = 4;

/// Bytes that were measured.
pub(super) fn content(content: Content) -> Input {
    match content {
        Content::Bytes(bytes) => helper::bytes(bytes),
        Content::File(file) => stream::try_unfold(file, piece).boxed(),
    }
}

async fn piece(file: File) -> io::Result<Option<(Bytes, File)>> {
    // One read of a file of this machine: short, and in its own thread.
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::with_capacity(PIECE);
        (&file).take(PIECE as u64).read_to_end(&mut bytes)?;
        Ok((!bytes.is_empty()).then(|| (Bytes::from(bytes), file)))
    });
    read.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// These bytes, then a folder as a tar stream that ends with `mark`; `held` is kept until all was read.
pub(super) fn packed<T: Send + 'static>(
    tracker: &TaskTracker,
    before: Vec<u8>,
    folder: Folder,
    mark: String,
    held: T,
) -> Input {
    let (send, mut pieces) = mpsc::channel(WAITING);
    tracker.spawn_blocking(move || {
        let mut pipe = Pipe { send: send.clone(), bytes: BytesMut::with_capacity(PIECE) };
        let packed = pack(&folder, &mark, &mut pipe);
        if let Err(error) = packed {
            // Nobody listens any more, or must know that this is not all.
            drop(send.blocking_send(Err(io::Error::other(error))));
        }
        drop((folder, held));
    });
    let rest = stream::poll_fn(move |context| pieces.poll_recv(context));
    helper::bytes(before).chain(rest).boxed()
}

/// The writing end.
struct Pipe {
    send: mpsc::Sender<io::Result<Bytes>>,
    bytes: BytesMut,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = self.bytes.split().freeze();
        if bytes.is_empty() {
            return Ok(());
        }
        self.send.blocking_send(Ok(bytes)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

//! What a program writes, kept in a file until its sandbox ends, so that every byte of it can be read again.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use futures::{Stream, stream};
use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver, sync::watch};
use tokio_util::sync::CancellationToken;

/// Most bytes that are taken out of a pipe at once, and that one message has where nothing else is said.
pub(in super::super) const CHUNK: usize = 64 << 10;

/// Output that is kept.
#[derive(Debug)]
pub(in super::super) struct Spool {
    path: PathBuf,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    size: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// More may come.
    Open,
    /// Whoever could write has closed it.
    Whole,
    /// The sandbox ended, and what was kept went with it.
    Gone,
}

/// The sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Gone;

impl Spool {
    /// A spool that nothing was written to.
    pub(super) fn new(path: PathBuf) -> io::Result<Arc<Self>> {
        File::create(&path)?;
        Ok(Arc::new(Self { path, state: watch::Sender::new(State { size: 0, phase: Phase::Open }) }))
    }

    /// Nothing will be written.
    pub(super) fn close(&self) {
        self.state.send_modify(|state| state.phase = Phase::Whole);
    }

    /// Keeps what comes out of a pipe, until its end or the sandbox's.
    pub(super) async fn fill(self: Arc<Self>, mut pipe: Receiver, over: CancellationToken) {
        let filled = async {
            let mut file = OpenOptions::new().append(true).open(&self.path)?;
            let mut buffer = vec![0; CHUNK];
            loop {
                let got = pipe.read(&mut buffer).await?;
                if got == 0 {
                    return io::Result::Ok(());
                }
                // To the page cache: as quick as a copy in memory.
                file.write_all(&buffer[..got])?;
                self.state.send_modify(|state| state.size += got as u64);
            }
        };
        // The end of the sandbox closes the pipe too, and what came before it is to be read.
        match filled.await {
            Ok(()) => self.close(),
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "output of an emulated sandbox is lost");
                self.close();
            }
        }
        over.cancelled().await;
        self.state.send_modify(|state| state.phase = Phase::Gone);
    }

    /// Everything from an offset on, and what follows as it comes, in pieces of at most so many bytes.
    pub(in super::super) fn read(
        self: Arc<Self>,
        offset: u64,
        most: usize,
    ) -> impl Stream<Item = Result<Bytes, Gone>> + Send + 'static {
        let state = self.state.subscribe();
        stream::unfold(Some((self, state, offset, most)), async |at| {
            let (spool, mut state, offset, most) = at?;
            let now = *state.wait_for(|state| state.size > offset || state.phase != Phase::Open).await.ok()?;
            if now.phase == Phase::Gone {
                return Some((Err(Gone), None));
            }
            if now.size <= offset {
                return None;
            }
            match spool.piece(offset, now.size, most) {
                Ok(piece) => {
                    let next = offset + piece.len() as u64;
                    Some((Ok(piece), Some((spool, state, next, most))))
                }
                // The file goes with the sandbox.
                Err(_) => Some((Err(Gone), None)),
            }
        })
    }

    fn piece(&self, offset: u64, size: u64, most: usize) -> io::Result<Bytes> {
        let wanted = usize::try_from(size - offset).unwrap_or(most).min(most);
        let mut piece = vec![0; wanted];
        File::open(&self.path)?.read_exact_at(&mut piece, offset)?;
        Ok(piece.into())
    }
}

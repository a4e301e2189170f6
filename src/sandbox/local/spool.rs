//! One output of one program: copied from its pipe to a file by a thread of its own, and read from that file at any
//! offset by whoever wants to. It knows nothing of who started the program.
//!
//! The thread is a plain one because a pipe must be emptied whether or not anybody reads, and must never hold up a
//! worker of the runtime.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use rustix::{
    event::PollFlags,
    fs::{FallocateFlags, fallocate},
};
use tokio::sync::watch;

use super::{layout::private_file, wake::Wake};
use crate::sandbox::Error;

/// Most bytes moved at once.
const CHUNK: usize = 64 * 1024;

/// How long a full disk is waited for, and how often it is tried.
const FULL_PATIENCE: Duration = Duration::from_secs(30);
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// File systems free whole blocks; this is a multiple of every usual block size.
const BLOCK: u64 = 4096;

/// An output's file and how far it has come.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Debug)]
struct Progress {
    released: u64,
    length: u64,
    end: Option<End>,
}

#[derive(Clone, Debug)]
enum End {
    /// Nothing will follow.
    Complete,
    /// What followed could not be kept.
    Failed(String),
}

impl Spool {
    /// Makes the file, which must not be there, and returns what [`Spool::fill`] wants.
    pub(super) fn create(path: PathBuf) -> io::Result<(Arc<Self>, File)> {
        let file = private_file(&path)?;
        let (progress, _) = watch::channel(Progress { released: 0, length: 0, end: None });
        Ok((Arc::new(Self { path, progress }), file))
    }

    /// The thread's work: copies until the pipe is closed, or until `ended` is raised and what the program had written
    /// by then is copied. The second matters when something else still holds the pipe open.
    pub(super) fn fill(&self, pipe: OwnedFd, mut file: File, ended: &Wake) {
        let end = match self.copy(pipe, &mut file, ended) {
            Ok(()) => End::Complete,
            Err(error) => End::Failed(format!("output was lost: {}: {error}", self.path.display())),
        };
        self.progress.send_modify(|progress| progress.end = Some(end));
    }

    fn copy(&self, pipe: OwnedFd, file: &mut File, ended: &Wake) -> io::Result<()> {
        let mut pipe = File::from(pipe);
        let mut buffer = vec![0; CHUNK];
        let mut left = None;
        while left != Some(0) {
            if left.is_none() && ended.wait(Some((pipe.as_fd(), PollFlags::IN)))? {
                left = Some(rustix::io::ioctl_fionread(&pipe)?);
                continue;
            }
            // Blocking, but something is there: the poll or the count said so, and nobody else reads this pipe.
            let room = left.map_or(CHUNK, |left| usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK)));
            let got = match pipe.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            keep(file, &buffer[..got])?;
            left = left.map(|left| left - got as u64);
            self.progress.send_modify(|progress| progress.length += got as u64);
        }
        Ok(())
    }

    /// What is there from `offset` on, and what follows.
    pub(super) fn read(&self, offset: u64) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let progress = self.progress.subscribe();
        progress.borrow().check(offset)?;
        let file = File::open(&self.path).map_err(|error| unreadable(&self.path, &error))?;
        let reader = Reader { file, path: self.path.clone(), progress, offset, over: false };
        Ok(stream::unfold(reader, Reader::next).boxed())
    }

    /// Marks everything before `offset` as not needed. Returns what to free, which is slow enough to be done elsewhere.
    pub(super) fn release(&self, offset: u64) -> Result<Hole, Error> {
        let mut from = 0;
        let mut result = Ok(());
        self.progress.send_if_modified(|progress| {
            if offset > progress.length {
                result = progress.check(offset);
                return false;
            }
            from = progress.released;
            progress.released = from.max(offset);
            offset > from
        });
        result.map(|()| Hole { path: self.path.clone(), from, to: offset })
    }

    /// The first bytes, once nothing will follow.
    pub(super) fn head(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        File::open(&self.path)?.take(most as u64).read_to_end(&mut head)?;
        Ok(head)
    }
}

impl Progress {
    fn check(&self, offset: u64) -> Result<(), Error> {
        if (self.released..=self.length).contains(&offset) {
            return Ok(());
        }
        Err(Error::Offset { offset, from: self.released, to: self.length })
    }
}

/// A stretch of an output that nobody needs.
#[derive(Debug)]
pub(super) struct Hole {
    path: PathBuf,
    from: u64,
    to: u64,
}

impl Hole {
    /// Gives its space back where the file system can; the offsets of what follows stay as they are.
    pub(super) fn free(self) {
        let (from, to) = (self.from / BLOCK * BLOCK, self.to / BLOCK * BLOCK);
        if from >= to {
            return;
        }
        let punched = OpenOptions::new().write(true).open(&self.path).and_then(|file| {
            Ok(fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, to - from)?)
        });
        if let Err(error) = punched {
            tracing::debug!(path = %self.path.display(), %error, "released output keeps its space");
        }
    }
}

/// One reader. It owns all it needs, so it can outlast the sandbox.
struct Reader {
    file: File,
    path: PathBuf,
    progress: watch::Receiver<Progress>,
    offset: u64,
    over: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        if self.over {
            return None;
        }
        // A reader that lags far behind would otherwise never give way to other tasks.
        tokio::task::coop::consume_budget().await;
        loop {
            let progress = self.progress.borrow_and_update().clone();
            if self.offset < progress.length {
                let item = self.take(progress.length);
                self.over = item.is_err();
                return Some((item, self));
            }
            match progress.end {
                Some(End::Complete) => return None,
                Some(End::Failed(cause)) => {
                    self.over = true;
                    return Some((Err(Error::Unavailable(cause)), self));
                }
                None => self.progress.changed().await.ok()?,
            }
        }
    }

    /// Reads inline and not on a thread for blocking work: the bytes were written to this machine's page cache a moment
    /// ago, so this is a copy in memory, and handing it over would cost more than it.
    fn take(&mut self, length: u64) -> Result<Bytes, Error> {
        let size = usize::try_from(length - self.offset).map_or(CHUNK, |left| left.min(CHUNK));
        let mut chunk = vec![0; size];
        self.file.read_exact_at(&mut chunk, self.offset).map_err(|error| unreadable(&self.path, &error))?;
        // Checked after the read: space is freed only after `released` has moved, so what was read before is whole.
        self.progress.borrow().check(self.offset)?;
        self.offset += size as u64;
        Ok(Bytes::from(chunk))
    }
}

/// Writes all of it. A disk that is full is waited for: the pipe fills meanwhile, and the program waits too.
fn keep(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    let mut full_since = None;
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                full_since = None;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                if full_since.get_or_insert_with(Instant::now).elapsed() > FULL_PATIENCE {
                    return Err(error);
                }
                std::thread::sleep(FULL_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Unavailable(format!("spooled output cannot be read: {}: {error}", path.display()))
}

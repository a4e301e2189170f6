//! One output of one program: copied from its pipe to a file, and from there, at any offset, to whoever reads. Those who
//! have read all there is get what comes from the pipe in the same turn, without the way through the file. It knows
//! nothing of who started the program.

use std::{
    cell::{Cell, RefCell},
    fs::{File, OpenOptions},
    io::{self, IoSlice, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileExt as _, OpenOptionsExt as _},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    pin::pin,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use rustix::fs::{FallocateFlags, fallocate};
use tokio::{io::AsyncReadExt as _, net::unix::pipe, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{
    folder::private_file,
    frame::before_chunk,
    protocol::{CHUNK_MAX, Outside, Refusal},
};

/// How long a full disk is waited for, and how often it is tried.
const FULL_PATIENCE: Duration = Duration::from_secs(30);
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// File systems free whole blocks; this is a multiple of every usual block size.
const BLOCK: u64 = 4096;

/// An output's file and how far it has come.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    file: File,
    /// Most bytes that are kept and not released; above it the pipe is left alone, and so the program waits.
    cap: u64,
    released: Cell<u64>,
    length: Cell<u64>,
    end: RefCell<Option<End>>,
    live: RefCell<Vec<Weak<Live>>>,
    room: Notify,
}

/// Why nothing will follow.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// Nothing was printed any more.
    Complete,
    /// What followed could not be kept.
    Failed(String),
    /// Nobody knows whether something followed.
    Lost(String),
}

/// What a reader finds at its place.
pub(super) enum Found {
    Bytes(Vec<u8>),
    /// It has all there is.
    Nothing,
    End(End),
}

impl Spool {
    /// Makes the file, which must not be there.
    pub(super) fn create(path: PathBuf, cap: u64) -> io::Result<Rc<Self>> {
        let file = private_file(&path)?;
        Ok(Rc::new(Self::over(path, file, cap)))
    }

    /// What an earlier supervisor kept.
    pub(super) fn open(path: PathBuf, released: u64, end: End) -> io::Result<Rc<Self>> {
        let file = OpenOptions::new().read(true).write(true).mode(0o600).open(&path)?;
        let spool = Self::over(path, file, 0);
        spool.length.set(spool.file.metadata()?.len());
        spool.released.set(released);
        spool.end.replace(Some(end));
        Ok(Rc::new(spool))
    }

    fn over(path: PathBuf, file: File, cap: u64) -> Self {
        let (released, length) = (Cell::new(0), Cell::new(0));
        Self {
            path,
            file,
            cap,
            released,
            length,
            end: RefCell::default(),
            live: RefCell::default(),
            room: Notify::new(),
        }
    }

    /// Copies until the pipe is closed, or until `ended` and what the program had written by then is copied. The second
    /// matters when something else still holds the pipe open.
    pub(super) async fn fill(&self, pipe: OwnedFd, ended: CancellationToken) {
        let end = match self.copy(pipe, &ended).await {
            Ok(()) => End::Complete,
            Err(error) => End::Failed(format!("output was lost: {}: {error}", self.path.display())),
        };
        self.end.replace(Some(end));
        for live in self.live.take() {
            live.upgrade().inspect(|live| live.out.notify_one());
        }
    }

    async fn copy(&self, pipe: OwnedFd, ended: &CancellationToken) -> io::Result<()> {
        let mut pipe = pipe::Receiver::from_owned_fd(pipe)?;
        let mut buffer = vec![0; CHUNK_MAX];
        let mut ended = pin!(ended.cancelled());
        loop {
            let got = tokio::select! {
                biased;
                () = &mut ended => break,
                got = self.next(&mut pipe, &mut buffer) => got?,
            };
            if got == 0 {
                return Ok(());
            }
            self.keep(&buffer[..got]).await?;
        }
        let mut pipe = File::from(pipe.into_blocking_fd()?);
        let mut left = rustix::io::ioctl_fionread(&pipe)?;
        while left > 0 {
            // Blocking, but something is there, and nobody else reads this pipe.
            let room = usize::try_from(left).map_or(CHUNK_MAX, |left| left.min(CHUNK_MAX));
            match pipe.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(got) => {
                    self.keep(&buffer[..got]).await?;
                    left -= got as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What comes next from the pipe, when there is room for it.
    async fn next(&self, pipe: &mut pipe::Receiver, buffer: &mut [u8]) -> io::Result<usize> {
        while self.length.get() - self.released.get() >= self.cap {
            self.room.notified().await;
        }
        pipe.read(buffer).await
    }

    /// Puts bytes into the file, then hands them to all readers that have the rest.
    async fn keep(&self, bytes: &[u8]) -> io::Result<()> {
        write(&self.file, bytes).await?;
        self.length.set(self.length.get() + bytes.len() as u64);
        let mut live = self.live.borrow_mut();
        if !live.is_empty() {
            let head = before_chunk(bytes.len());
            live.retain(|live| live.upgrade().is_some_and(|live| live.push(&head, bytes)));
        }
        Ok(())
    }

    /// What there is at `offset`. Reads inline: the bytes are in this machine's page cache most of the time, so this is a
    /// copy in memory.
    pub(super) fn at(&self, offset: u64) -> Result<Found, Refusal> {
        self.check(offset)?;
        let size = usize::try_from(self.length.get() - offset).map_or(CHUNK_MAX, |left| left.min(CHUNK_MAX));
        if size == 0 {
            return Ok(self.end.borrow().clone().map_or(Found::Nothing, Found::End));
        }
        let mut chunk = vec![0; size];
        self.file.read_exact_at(&mut chunk, offset).map_err(|error| unreadable(&self.path, &error))?;
        Ok(Found::Bytes(chunk))
    }

    /// Hands what comes from now on to a reader that has all there is.
    pub(super) fn follow(&self, stream: UnixStream, offset: u64) -> Rc<Live> {
        debug_assert_eq!(offset, self.length.get());
        let live = Live { stream, offset: Cell::new(offset), rest: RefCell::default(), out: Notify::new() };
        let live = Rc::new(live);
        let mut all = self.live.borrow_mut();
        all.retain(|live| live.strong_count() > 0);
        all.push(Rc::downgrade(&live));
        live
    }

    pub(super) fn check(&self, offset: u64) -> Result<(), Refusal> {
        let (from, to) = (self.released.get(), self.length.get());
        if (from..=to).contains(&offset) {
            return Ok(());
        }
        Err(Refusal::Outside(Outside { offset, from, to }))
    }

    /// Up to where nothing is needed.
    pub(super) fn released(&self) -> u64 {
        self.released.get()
    }

    /// Marks everything before `offset` as not needed. Returns what to free, which is slow enough to be done elsewhere.
    pub(super) fn release(&self, offset: u64) -> Result<Hole, Refusal> {
        let from = self.released.get();
        if offset > self.length.get() {
            self.check(offset)?;
        }
        self.released.set(from.max(offset));
        self.room.notify_one();
        Ok(Hole { path: self.path.clone(), from, to: offset })
    }

    /// The first bytes.
    pub(super) fn head(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        File::open(&self.path)?.take(most as u64).read_to_end(&mut head)?;
        Ok(head)
    }
}

/// A reader that has all there is.
#[derive(Debug)]
pub(super) struct Live {
    /// Written to without asking whether it can be, so that nobody is woken when it can be again.
    stream: UnixStream,
    offset: Cell<u64>,
    /// What its socket did not take of the last it was handed.
    rest: RefCell<Vec<u8>>,
    out: Notify,
}

impl Live {
    /// Waits until it is handed nothing more.
    pub(super) async fn over(&self) {
        self.out.notified().await;
    }

    /// Its socket, what is left to be sent on it, and the offset after that.
    pub(super) fn into_rest(self) -> (UnixStream, Vec<u8>, u64) {
        (self.stream, self.rest.take(), self.offset.get())
    }

    /// Hands it bytes; says whether it took them all. If not, it is on its own.
    fn push(&self, head: &[u8], bytes: &[u8]) -> bool {
        // An error is found again by who sends the rest.
        let took = (&self.stream).write_vectored(&[IoSlice::new(head), IoSlice::new(bytes)]).unwrap_or(0);
        self.offset.set(self.offset.get() + bytes.len() as u64);
        if took == head.len() + bytes.len() {
            return true;
        }
        self.rest.replace([head, bytes].concat().split_off(took));
        self.out.notify_one();
        false
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

/// Writes all of it. A disk that is full is waited for: the pipe fills meanwhile, and the program waits too.
async fn write(mut file: &File, mut bytes: &[u8]) -> io::Result<()> {
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
                tokio::time::sleep(FULL_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    Refusal::Unavailable(format!("spooled output cannot be read: {}: {error}", path.display()))
}

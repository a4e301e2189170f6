//! A cell: one root of its own, with a first process that starts programs in it when it is told to.
//!
//! It knows processes and pipes; it must not know what Modal calls them, or why they run.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::Child,
    sync::oneshot,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) mod init;
mod protocol;
pub(super) mod root;

pub(super) use protocol::{End, Start};
use protocol::{Order, Report};

/// The standard streams of a program, as it gets them.
pub(super) type Streams = [OwnedFd; 3];

/// Why a program does not run.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The program or its directory is not there, or is no program.
    #[error("{0}")]
    Start(String),
    /// Nothing runs here any more.
    #[error("the sandbox has ended")]
    Over,
}

/// A program that was started: tells its end, or that its cell ended first.
pub(super) struct Running {
    pub(super) number: u64,
    pub(super) end: oneshot::Receiver<End>,
}

/// One cell. Everything in it ends when it is closed, and when the emulator ends, however it does.
#[derive(Debug)]
pub(super) struct Cell {
    orders: tokio::sync::Mutex<OwnedWriteHalf>,
    numbers: AtomicU64,
    programs: Mutex<HashMap<u64, Waiting>>,
    over: CancellationToken,
}

#[derive(Debug)]
struct Waiting {
    started: Option<oneshot::Sender<Result<(), Refused>>>,
    ended: Option<oneshot::Sender<End>>,
}

impl Cell {
    /// Opens a cell by a command that ends in the first process of one. Returns when that process listens.
    pub(super) async fn open(mut command: Command, tracker: &TaskTracker) -> io::Result<Arc<Self>> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (mut reports, orders) = UnixStream::from_std(ours)?.into_split();
        command.stdin(OwnedFd::from(theirs)).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        let mut child = command.kill_on_drop(true).spawn()?;
        // The command holds the other end too, and would hide that the process is gone.
        drop(command);
        match next(&mut reports).await {
            Ok(Report::Ready) => {}
            Ok(Report::Started { .. } | Report::Refused { .. } | Report::Ended { .. }) | Err(_) => {
                return Err(complaint(&mut child).await);
            }
        }
        let cell = Arc::new(Self {
            orders: tokio::sync::Mutex::new(orders),
            numbers: AtomicU64::new(0),
            programs: Mutex::default(),
            over: CancellationToken::new(),
        });
        tracker.spawn(Arc::clone(&cell).listen(reports, child));
        Ok(cell)
    }

    /// Starts a program; returns when it runs.
    pub(super) async fn start(&self, start: Start, streams: Streams) -> Result<Running, Refused> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let ((started, starts), (ended, end)) = (oneshot::channel(), oneshot::channel());
        self.programs().insert(number, Waiting { started: Some(started), ended: Some(ended) });
        if self.send(&Order::Start { number, start }, &streams).await.is_err() || self.over.is_cancelled() {
            self.programs().remove(&number);
            return Err(Refused::Over);
        }
        drop(streams);
        match starts.await {
            Ok(Ok(())) => Ok(Running { number, end }),
            Ok(Err(refused)) => Err(refused),
            Err(_) => Err(Refused::Over),
        }
    }

    /// Kills a program and the group it leads; one that ended is none.
    pub(super) async fn kill(&self, number: u64) {
        // When the order does not reach the cell, the program is gone with it.
        let _ = self.send(&Order::Kill { number }, &[]).await;
    }

    /// Ends everything inside.
    pub(super) async fn close(&self) {
        let _ = self.orders.lock().await.shutdown().await;
        self.over.cancelled().await;
    }

    /// Waits until nothing runs inside any more.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    async fn send(&self, order: &Order, streams: &[OwnedFd]) -> io::Result<()> {
        let frame = protocol::frame(order)?;
        let mut orders = self.orders.lock().await;
        let fds: Vec<_> = streams.iter().map(|fd| fd.as_fd()).collect();
        let socket: &UnixStream = orders.as_ref();
        let sent = socket.async_io(Interest::WRITABLE, || protocol::send_with(socket, &frame, &fds)).await?;
        orders.write_all(&frame[sent..]).await
    }

    /// Passes on what the first process reports, until it is gone and with it everything inside.
    async fn listen(self: Arc<Self>, mut reports: OwnedReadHalf, mut child: Child) {
        while let Ok(report) = next(&mut reports).await {
            match report {
                Report::Ready => {}
                Report::Started { number } => self.answer(number, Ok(())),
                Report::Refused { number, cause } => {
                    self.answer(number, Err(Refused::Start(cause)));
                    self.programs().remove(&number);
                }
                Report::Ended { number, end } => {
                    if let Some(sender) = self.programs().remove(&number).and_then(|waiting| waiting.ended) {
                        // Whoever asked may have gone.
                        let _ = sender.send(end);
                    }
                }
            }
        }
        let _ = child.wait().await;
        self.over.cancel();
        self.programs().clear();
    }

    fn answer(&self, number: u64, answer: Result<(), Refused>) {
        if let Some(sender) = self.programs().get_mut(&number).and_then(|waiting| waiting.started.take()) {
            let _ = sender.send(answer);
        }
    }

    fn programs(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        // Each critical section is one call of the map.
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn next(reports: &mut OwnedReadHalf) -> io::Result<Report> {
    let size = reports.read_u32_le().await?;
    let mut text = vec![0; protocol::size(size)?];
    reports.read_exact(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}

/// Why a cell could not be opened, in the words of the command.
async fn complaint(child: &mut Child) -> io::Error {
    let mut said = String::new();
    if let Some(stderr) = &mut child.stderr {
        let _ = stderr.read_to_string(&mut said).await;
    }
    let _ = child.wait().await;
    let said = said.trim();
    io::Error::other(if said.is_empty() { "the first process of a sandbox ended at once" } else { said })
}

//! The chaos proxy: between clients and server, at an address that stays the same when the server comes back at another. What
//! becomes of each connection is drawn from a seed: it is cut after so many bytes, goes silent without a word, is slow, or
//! is left alone.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Spared,
    /// Closed after so many bytes from the server.
    Cut(u64),
    /// Nothing more passes, in neither direction, and nobody is told.
    Silent(u64),
    /// Every piece is late.
    Delayed(Duration),
    /// So many bytes in a millisecond.
    Throttled(usize),
}

/// See the module. Ends when it is dropped.
pub struct Proxy {
    pub addr: String,
    shared: Arc<Shared>,
    over: CancellationToken,
}

struct Shared {
    upstream: Mutex<String>,
    chaos: AtomicBool,
    rng: Mutex<StdRng>,
    /// Cancelled and replaced when all connections are cut at once.
    all: Mutex<CancellationToken>,
}

impl Proxy {
    pub async fn start(seed: u64, tasks: &TaskTracker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound").to_string();
        let shared = Arc::new(Shared {
            upstream: Mutex::default(),
            chaos: AtomicBool::new(false),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            all: Mutex::default(),
        });
        let over = CancellationToken::new();
        let (serving, tracker, end) = (Arc::clone(&shared), tasks.clone(), over.clone());
        tasks.spawn(async move {
            while let Some(Ok((client, _))) = end.run_until_cancelled(listener.accept()).await {
                let shared = Arc::clone(&serving);
                let (cut, end) = (lock(&shared.all).clone(), end.clone());
                tracker.spawn(async move {
                    tokio::select! {
                        _ = pass(client, &shared) => {}
                        () = cut.cancelled() => {}
                        () = end.cancelled() => {}
                    }
                });
            }
        });
        Self { addr, shared, over }
    }

    /// Where new connections go.
    pub fn lead_to(&self, upstream: &str) {
        upstream.clone_into(&mut lock(&self.shared.upstream));
    }

    /// Whether fates are drawn.
    pub fn chaos(&self, on: bool) {
        self.shared.chaos.store(on, Ordering::Relaxed);
    }

    /// Cuts every connection at once.
    pub fn cut_all(&self) {
        std::mem::take(&mut *lock(&self.shared.all)).cancel();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let upstream = lock(&shared.upstream).clone();
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let fate = if shared.chaos.load(Ordering::Relaxed) { draw(&mut lock(&shared.rng)) } else { Fate::Spared };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Silence is for both directions, however it came.
    let silent = CancellationToken::new();
    let up = copy(from_client, to_server, Fate::Spared, &silent);
    let down = copy(from_server, to_client, fate, &silent);
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}

fn draw(rng: &mut StdRng) -> Fate {
    match rng.random_range(0..10) {
        0..4 => Fate::Cut(rng.random_range(50..20_000)),
        4..6 => Fate::Silent(rng.random_range(50..20_000)),
        6 => Fate::Delayed(Duration::from_millis(rng.random_range(1..40))),
        7 => Fate::Throttled(rng.random_range(20..200)),
        _ => Fate::Spared,
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fate: Fate,
    silent: &CancellationToken,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    loop {
        let got = from.read(&mut buffer).await?;
        if got == 0 {
            return Ok(());
        }
        let mut piece = &buffer[..got];
        if silent.is_cancelled() {
            continue;
        }
        match fate {
            Fate::Spared => to.write_all(piece).await?,
            Fate::Delayed(time) => {
                sleep(time).await;
                to.write_all(piece).await?;
            }
            Fate::Throttled(size) => {
                for part in piece.chunks(size) {
                    to.write_all(part).await?;
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Fate::Cut(most) | Fate::Silent(most) => {
                let left = usize::try_from(most - passed).unwrap_or(usize::MAX);
                let last = piece.len() >= left;
                piece = &piece[..piece.len().min(left)];
                to.write_all(piece).await?;
                passed += piece.len() as u64;
                match fate {
                    Fate::Cut(_) if last => return Ok(()),
                    Fate::Silent(_) if last => silent.cancel(),
                    _ => {}
                }
            }
        }
    }
}

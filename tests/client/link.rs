//! The way between a client and a server, at an address that stays: it can be cut, forget what it is given, lose answers, and
//! cut by itself what is silent.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// See the module. Ends when it is dropped.
pub(crate) struct Link {
    pub(crate) addr: String,
    state: Arc<State>,
    _serving: JoinSet<()>,
}

#[derive(Default)]
struct State {
    upstream: Mutex<String>,
    /// Connections that are silent for so long are cut.
    idle: Option<Duration>,
    /// Of the connections there are: cancelled and replaced to reach all at once.
    cut: Mutex<CancellationToken>,
    deaf: Mutex<CancellationToken>,
    loses_answers: AtomicBool,
    answered: AtomicU64,
    open: AtomicUsize,
    silent: AtomicUsize,
}

impl Link {
    pub(crate) async fn to(upstream: &str) -> Self {
        Self::that_cuts(upstream, None).await
    }

    /// One that cuts connections over which nothing comes for so long.
    pub(crate) async fn that_cuts(upstream: &str, idle: Option<Duration>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound").to_string();
        let state = Arc::new(State { upstream: Mutex::new(upstream.to_owned()), idle, ..State::default() });
        let (mut serving, shared) = (JoinSet::new(), Arc::clone(&state));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let (cut, deaf) = (lock(&shared.cut).clone(), lock(&shared.deaf).clone());
                connections.spawn(async move {
                    shared.open.fetch_add(1, SeqCst);
                    // How it ended is the business of its two ends.
                    let _ = cut.run_until_cancelled(pass(client, &shared, &deaf)).await;
                    shared.open.fetch_sub(1, SeqCst);
                });
            }
        });
        Self { addr, state, _serving: serving }
    }

    /// Where new connections go.
    pub(crate) fn lead_to(&self, upstream: &str) {
        upstream.clone_into(&mut lock(&self.state.upstream));
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *lock(&self.state.cut)).cancel();
    }

    /// Nothing more passes over the connections there are, and nobody is told.
    pub(crate) fn forget(&self) {
        std::mem::take(&mut *lock(&self.state.deaf)).cancel();
    }

    /// Whether what the server says is lost.
    pub(crate) fn lose_answers(&self, lose: bool) {
        self.state.loses_answers.store(lose, SeqCst);
    }

    /// Bytes that came from the server.
    pub(crate) fn answered(&self) -> u64 {
        self.state.answered.load(SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.state.open.load(SeqCst)
    }

    /// Connections that were cut because they were silent.
    pub(crate) fn silent(&self) -> usize {
        self.state.silent.load(SeqCst)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(mut client: TcpStream, state: &State, deaf: &CancellationToken) -> io::Result<()> {
    let upstream = lock(&state.upstream).clone();
    let mut server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        // Begins anew with each piece that passes.
        let idle = async {
            match state.idle {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            size = client.read(&mut asked) => match size? {
                0 => return Ok(()),
                _ if deaf.is_cancelled() => {}
                size => server.write_all(&asked[..size]).await?,
            },
            size = server.read(&mut answered) => match size? {
                0 => return Ok(()),
                size => {
                    state.answered.fetch_add(size as u64, SeqCst);
                    if !deaf.is_cancelled() && !state.loses_answers.load(SeqCst) {
                        client.write_all(&answered[..size]).await?;
                    }
                }
            },
            () = idle => {
                state.silent.fetch_add(1, SeqCst);
                return Ok(());
            }
        }
    }
}

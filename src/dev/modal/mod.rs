//! An emulator of Modal on loopback: its control plane and its command router, with real processes in a private root a
//! sandbox. For tests, and for development without an account. What it does otherwise than Modal stands in
//! `ARCHITECTURE.md`.
//!
//! It knows Modal's wire and this machine. It must not know the provider that talks to it, agents, sessions or storage: what
//! it answers comes from what is known of Modal, not from what the provider needs.
//!
//! ```text
//! api      Modal's calls: control plane and router          admin   plain HTTP, for tests
//! world    apps, secrets, names, sandboxes                  faults  calls that fail on purpose
//! sandbox  one sandbox: execs, snapshots, life and end      image   layers by content, snapshots
//! program  a program: output and input by offset, its end   tools   /__modal/.bin/modal-sandbox-fs-tools
//! cell     one root, one pid namespace, one first process that starts programs in it
//! ```

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

mod admin;
mod api;
mod asked;
mod cell;
mod error;
mod faults;
mod ids;
mod image;
mod options;
mod program;
mod sandbox;
mod tls;
mod tokens;
pub mod tools;
mod world;

pub use admin::Shown;
pub use asked::{Asked, Build};
pub use cell::init::{Args as InitArgs, run as init};
pub use faults::Rule;
pub use options::Options;
pub use tls::Certificate;
use tls::Secured;
use world::World;

/// Serves an emulator on a listener, which must be on loopback: what is said on it is not encrypted.
///
/// # Errors
/// When the listener is not on loopback, and when sandboxes cannot be made on this machine; says what is missing.
pub fn serve(listener: TcpListener, options: Options) -> io::Result<Handle> {
    let addr = listener.local_addr()?;
    if !addr.ip().is_loopback() {
        let rule = format!("the emulator listens on loopback only, and {addr} is not; use 127.0.0.1");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, rule));
    }
    let world = World::new(options).map_err(io::Error::other)?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let elsewhere = world.options.router.clone().map(api::Found::At);
    let secured = world.options.tls.as_ref().map(|certificate| Secured::listen(addr, certificate)).transpose()?;
    let url = secured.as_ref().map(|secured| secured.url.clone());
    if let Some(secured) = secured {
        let here = || api::Found::At(secured.url.clone());
        let router = api::router(&world, elsewhere.clone().unwrap_or_else(here));
        tasks.spawn(secured.serve(router, stop.clone()));
    }
    let router = api::router(&world, elsewhere.unwrap_or(api::Found::Plain(addr)));
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
    Ok(Handle { addr, url, stop, tasks, world })
}

/// A running emulator. Dropping it ends it, and all that runs in it soon after; [`Handle::shutdown`] waits for that.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    /// Where it is spoken to by TLS.
    url: Option<String>,
    stop: CancellationToken,
    tasks: JoinSet<io::Result<()>>,
    world: Arc<World>,
}

impl Handle {
    /// Where it listens, in clear text.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a client of Modal needs in its environment to use it, by TLS where it has that.
    #[must_use]
    pub fn env(&self) -> [(&'static str, String); 3] {
        let options = &self.world.options;
        [
            ("MODAL_SERVER_URL", self.url.clone().unwrap_or_else(|| format!("http://{}", self.addr))),
            ("MODAL_TOKEN_ID", options.token_id.clone()),
            ("MODAL_TOKEN_SECRET", options.token_secret.clone()),
        ]
    }

    /// All sandboxes there are and were, in the order they were made.
    #[must_use]
    pub fn sandboxes(&self) -> Vec<Shown> {
        admin::shown(&self.world)
    }

    /// Lets a sandbox die as when the machine below it fails. Says whether there is one.
    pub async fn kill(&self, sandbox: &str) -> bool {
        let Ok(sandbox) = self.world.sandbox(sandbox) else { return false };
        sandbox.fail().await;
        true
    }

    /// All tokens that it gave out have expired.
    pub fn expire_tokens(&self) {
        self.world.tokens.expire();
    }

    /// Replaces the rules by which calls fail.
    pub fn set_faults(&self, rules: Vec<Rule>) {
        self.world.faults.set(rules);
    }

    /// Ends all sandboxes, then all connections, and waits until nothing is left.
    pub async fn shutdown(mut self) {
        self.world.stop.cancel();
        self.world.tracker.close();
        self.world.tracker.wait().await;
        self.stop.cancel();
        self.tasks.shutdown().await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.world.stop.cancel();
        self.stop.cancel();
    }
}

/// Arguments of `modal-emulator`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; loopback only. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Seconds after which tokens expire that it gives out; clients get new ones.
    #[arg(long, default_value_t = 1200, value_name = "SECONDS")]
    pub token_life: u64,
    /// Seconds by which its clock is ahead of this machine's, as creations and tokens tell; below zero: behind.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_name = "SECONDS")]
    pub clock: i64,
    /// Milliseconds that a sandbox still runs after it was asked to end.
    #[arg(long, default_value_t = 150, value_name = "MILLISECONDS")]
    pub linger: u64,
    /// Calls that fail on purpose, with commas between them: `Call=CODE@K*N` fails the call after K messages of its answer,
    /// the first N times; `CODE+S` asks to try again after S seconds; `%P` instead of `*N` fails with probability P. `*` is
    /// any call; `OK+S@0` only holds it back for S seconds, or until there are other rules, `OK@K` ends its answer early and in good
    /// order, and `EXPIRED` in the place of a code lets the call's token expire.
    #[arg(long, default_value = "", value_name = "RULES")]
    pub faults: String,
    /// Makes faults by chance the same ones each time.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Most sandboxes on one page of a list.
    #[arg(long, default_value_t = 100)]
    pub page: usize,
    /// Milliseconds that a sandbox waits for its machine: until then it has no task, and its creation tells nothing but its id.
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    pub placing: u64,
    /// Answers at once whoever waits for an end, whether it has come or not.
    #[arg(long)]
    pub no_holding: bool,
    /// Most bytes of output in one message.
    #[arg(long, default_value_t = 65536, value_name = "BYTES")]
    pub chunk: usize,
    /// Certificate chain for localhost, a PEM file: clients are told of a port that speaks TLS, beside the one in clear text,
    /// which is printed as MODAL_EMULATOR_URL then.
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, a PEM file.
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Where clients are told that the router is, which is here otherwise.
    #[arg(long, value_name = "URL")]
    pub router_url: Option<String>,
}

/// Why the emulator does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is told something it does not understand.
    #[error("--faults: {0}")]
    Faults(String),
    /// It cannot serve there, or make sandboxes.
    #[error("cannot serve on {addr}: {cause}")]
    Serve {
        /// Where.
        addr: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// Its output or its signals fail.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves until it is told to end, by SIGINT or SIGTERM, and ends all sandboxes then. Prints what clients need: `export
/// MODAL_SERVER_URL=…` and the account's token.
///
/// # Errors
/// [`RunError`].
pub async fn run(args: Args, claude: Option<PathBuf>) -> Result<(), RunError> {
    let options = Options {
        claude,
        token_life: Duration::from_secs(args.token_life),
        clock: args.clock,
        linger: Duration::from_millis(args.linger),
        page: args.page,
        placing: Duration::from_millis(args.placing),
        holds: !args.no_holding,
        chunk: args.chunk.max(1),
        tls: args.tls_cert.zip(args.tls_key).map(|(chain, key)| Certificate { chain, key }),
        router: args.router_url,
        faults: admin::rules(&args.faults).map_err(RunError::Faults)?,
        seed: args.seed,
        ..Options::new(std::env::current_exe()?)
    };
    let refused = |cause| RunError::Serve { addr: args.listen, cause };
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let listener = TcpListener::bind(args.listen).await.map_err(refused)?;
    let handle = serve(listener, options).map_err(refused)?;
    {
        let mut out = io::stdout().lock();
        for (name, value) in handle.env() {
            writeln!(out, "export {name}={value}")?;
        }
        if handle.url.is_some() {
            writeln!(out, "export MODAL_EMULATOR_URL=http://{}", handle.addr)?;
        }
        out.flush()?;
    }
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    handle.shutdown().await;
    Ok(())
}

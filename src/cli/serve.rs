//! `serve`: flags to configuration, and the life of the process around the server.

use std::{
    fmt,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, builder::FalseyValueParser};

use super::{
    INTERRUPTED, age,
    connect::Common,
    elsewhere::Elsewhere,
    error::Error,
    signals::{Asked, Signals},
};
use crate::server::{Config, Ending, LeftRunning, Server};

/// Flags of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "AGENT_RUNTIME_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDR")]
    listen: SocketAddr,
    /// Ask nobody for a key.
    #[arg(long, env = "AGENT_RUNTIME_NO_AUTH", value_parser = FalseyValueParser::new())]
    no_auth: bool,
    /// Serve other machines without TLS.
    #[arg(long, env = "AGENT_RUNTIME_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// Certificate chain (PEM); turns TLS on.
    #[arg(long, env = "AGENT_RUNTIME_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate.
    #[arg(long, env = "AGENT_RUNTIME_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Web page origin that browsers may call from; may be repeated.
    #[arg(long = "cors-origin", env = "AGENT_RUNTIME_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    cors_origins: Vec<String>,
    /// The `claude` program, instead of the one that `agents install` put in place.
    #[arg(long, env = "AGENT_RUNTIME_CLAUDE_CODE", value_name = "PATH")]
    claude_code: Option<PathBuf>,
    /// How agents are walled off: by namespaces, as plain processes, or the better of the two that works here.
    #[arg(
        long,
        env = "AGENT_RUNTIME_SANDBOX",
        default_value = "auto",
        value_parser = ["auto", "process", "namespace"],
        hide_possible_values = true,
        value_name = "auto|process|namespace"
    )]
    sandbox: String,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Folder below which workspaces may start from a copy of a folder; may be repeated. Without it none may.
    #[arg(long = "workspace-root", env = "AGENT_RUNTIME_WORKSPACE_ROOT", value_name = "DIR", value_delimiter = ',')]
    workspace_roots: Vec<PathBuf>,
    /// Folder whose files are the secrets that profiles may name, each after its file. Without it there are none.
    #[arg(long, env = "AGENT_RUNTIME_SECRETS", value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// How long pieces of streamed text are gathered into one event, in milliseconds.
    #[arg(long, env = "AGENT_RUNTIME_DELTA_WINDOW", default_value_t = 25, value_name = "MS")]
    delta_window: u64,
    /// How long agents wait for an answer when they ask for permission, for example 1h or 7d: 1 s to 30 days. Then it is
    /// no.
    #[arg(
        long,
        env = "AGENT_RUNTIME_ASK_TIMEOUT",
        default_value = "24h",
        value_name = "AGE",
        value_parser = ask_timeout
    )]
    ask_timeout: Duration,
    /// How long an agent may take to end a turn that was interrupted, in seconds. Then its program is ended.
    #[arg(long, env = "AGENT_RUNTIME_INTERRUPT_GRACE", default_value_t = 10, value_name = "SECONDS")]
    interrupt_grace: u64,
    /// How long the end of a server may take that stops sandboxes at Modal, whose files are kept first, for example 90s or 10m: 5
    /// s to 15 min. What is not ended by then the next server ends. A service manager has to give as much time.
    #[arg(
        long,
        env = "AGENT_RUNTIME_STOP_GRACE",
        default_value = "2m",
        value_name = "AGE",
        value_parser = stop_grace
    )]
    stop_grace: Duration,
    /// Age at which pieces of streamed text are removed from the log, once the whole text stands there, in seconds.
    #[arg(long, env = "AGENT_RUNTIME_COMPACT_AFTER", default_value_t = 60, value_name = "SECONDS")]
    compact_after: u64,
    /// Remove events that are older, for example 30d or 12h: watches can resume no further back. Sessions, blocks and
    /// turns stay. Without it all events are kept.
    #[arg(long, env = "AGENT_RUNTIME_RETAIN_EVENTS", value_name = "AGE", value_parser = age::parse)]
    retain_events: Option<Duration>,
    /// Remove npm and pip packages of profiles that no sandbox has used for as long; who wants them again has them installed
    /// again.
    #[arg(long, env = "AGENT_RUNTIME_KEEP_PACKAGES", default_value = "30d", value_name = "AGE", value_parser = age::parse)]
    keep_packages: Duration,
    /// What SIGTERM does with agents that run: they work on and the next server takes them over, or they are stopped.
    /// SIGINT always stops them.
    #[arg(
        long,
        env = "AGENT_RUNTIME_ON_SHUTDOWN",
        default_value = "detach",
        hide_possible_values = true,
        value_name = "detach|stop"
    )]
    on_shutdown: OnShutdown,
}

/// What SIGTERM does with agents that run.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OnShutdown {
    Detach,
    Stop,
}

impl From<OnShutdown> for Ending {
    fn from(on_shutdown: OnShutdown) -> Self {
        match on_shutdown {
            OnShutdown::Detach => Self::Detach,
            OnShutdown::Stop => Self::Stop,
        }
    }
}

impl Args {
    fn config(self, data: PathBuf) -> Config {
        let Self {
            listen,
            no_auth,
            insecure,
            tls_cert,
            tls_key,
            cors_origins,
            claude_code,
            sandbox,
            elsewhere,
            workspace_roots,
            secrets,
            delta_window,
            ask_timeout,
            interrupt_grace,
            stop_grace,
            compact_after,
            retain_events,
            keep_packages,
            on_shutdown: _,
        } = self;
        Config {
            listen,
            data,
            auth: !no_auth,
            insecure,
            tls: tls_cert.zip(tls_key),
            cors_origins,
            claude_code,
            sandbox,
            default_provider: elsewhere.default_provider.clone(),
            modal: elsewhere.account(),
            workspace_roots,
            secrets,
            delta_window: Duration::from_millis(delta_window),
            ask_timeout,
            interrupt_grace: Duration::from_secs(interrupt_grace),
            stop_grace,
            compact_after: Duration::from_secs(compact_after),
            retain_events,
            keep_packages,
        }
    }
}

/// As the contract bounds it.
fn ask_timeout(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
    age::parse(text).and_then(|age| if allowed.contains(&age) { Ok(age) } else { Err("1s to 30d".to_owned()) })
}

fn stop_grace(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_secs(5)..=Duration::from_mins(15);
    age::parse(text).and_then(|age| if allowed.contains(&age) { Ok(age) } else { Err("5s to 15m".to_owned()) })
}

/// The configuration of a server inside another command: what the environment says, for this process alone.
pub(super) fn embedded(data: PathBuf) -> Result<Config, Error> {
    #[derive(Parser)]
    struct FromEnvironment {
        #[command(flatten)]
        args: Args,
    }

    let parsed = FromEnvironment::try_parse_from(["serve"]).map_err(|error| Error::Other(error.to_string()))?;
    Ok(Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        auth: true,
        insecure: false,
        tls: None,
        cors_origins: Vec::new(),
        ..parsed.args.config(data)
    })
}

/// As it is told: a line each.
struct Left(LeftRunning);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeftRunning { session, turn, until } = &self.0;
        write!(f, "left running: session {session}, ")?;
        match turn {
            Some(turn) => write!(f, "turn {turn}, ")?,
            None => f.write_str("idle, ")?,
        }
        write!(f, "until {}", prost_types::Timestamp::from(*until))
    }
}

/// Serves until SIGINT or SIGTERM, then ends in order; a second signal ends everything at once.
pub(super) async fn run(common: &Common, args: Args) -> Result<ExitCode, Error> {
    let mut signals = Signals::listen()?;
    let on_shutdown = args.on_shutdown;
    let server = Server::start(args.config(common.data()?)).await?;
    {
        let mut out = io::stdout().lock();
        writeln!(out, "listening on {}", server.addr())?;
        out.flush()?;
    }
    let ending = match signals.next().await {
        Asked::Interrupt => Ending::Stop,
        Asked::Terminate => on_shutdown.into(),
    };
    tracing::info!(?ending, "shutting down; once more kills everything");
    let emergency = server.emergency();
    tokio::select! {
        left = server.shutdown(ending) => {
            for left in left {
                writeln!(io::stdout(), "{}", Left(left))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        _ = signals.next() => {
            emergency.kill().await;
            std::process::exit(i32::from(INTERRUPTED))
        }
    }
}

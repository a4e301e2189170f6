//! A model endpoint on loopback: an HTTP server that answers a real agent CLI from a script, in the vendor's wire format.
//!
//! It owns the script format and the servers that speak it; it knows nothing of agents, sessions or storage. Today it
//! speaks the Anthropic Messages API; another vendor's format is another module beside `anthropic` and another route.
//!
//! # The script
//!
//! ```json
//! {"steps": [
//!   {"answer": [{"thinking": "Two files will do."},
//!               {"text": "I will write it.", "chunk": 12, "pace_ms": 5},
//!               {"tool": "Write", "input": {"file_path": "{{cwd}}/a.txt", "content": "a"}}]},
//!   {"answer": [{"text": "Done."}], "usage": {"input_tokens": 1200, "output_tokens": 40}},
//!
//!   {"when": "overloaded", "status": 529, "times": 2},
//!   {"answer": [{"text": "Now it works."}]},
//!
//!   {"when": "cut off", "answer": [{"text": "Half of", "chunk": 4}], "breaks_after": 5, "times": 1},
//!   {"answer": [{"text": "Half of it was said before."}]},
//!
//!   {"when": "count", "answer": [{"count": 1000, "size": 20, "pace_us": 500}]}
//! ]}
//! ```
//!
//! - A step answers one model call, or refuses it. An **answer** is a list of parts: `text`, `thinking`, `tool` (with its
//!   `input`), a `block` with its `deltas` as the wire format has them, or `count` numbered deltas of `size` bytes each
//!   (`00000000000000000001 `, default size 20). `chunk` is the number of characters in a delta (24), `pace_ms` and `pace_us`
//!   the time between two of them (0). `usage` states `input_tokens`, `output_tokens`, `cache_read_tokens`,
//!   `cache_write_tokens`; else they follow from the lengths. `stop` is why the model stops, in the words of the wire format
//!   (`max_tokens`).
//! - A **refusal** has a `status` from 400 to 599, and may have a `message`, `retry_after` in seconds, and `times`: the
//!   step after it answers once the call was refused that often. Without `times` it refuses for good.
//! - An answer with **`breaks_after`** ends after so many events of its stream: with an `error` in it, of that kind
//!   (`overloaded_error`) and with that `message`, or, without one, by a cut connection. `times` as with a refusal.
//! - A step with **`when`** opens a section, which goes on to the next `when`. A prompt goes to the first section whose
//!   `when` it contains, in any case of letters; else to the steps before the first `when`.
//! - Within a section, an answer with a tool is followed by the next step when the tool's result comes. An answer without
//!   a tool ends the turn: the next prompt of that section goes on with the step behind it, and begins again after the
//!   last one.
//! - In texts and inputs, `{{cwd}}` is the agent's working directory, `{{prompt}}` what the user said last, `{{result}}`
//!   what the newest tool returned.
//!
//! Which step comes next is read from the request alone, which carries the whole conversation: several agents can use one
//! endpoint at once, a restarted agent goes on where it was, and side requests (a session's title, counting tokens)
//! consume nothing. Only what fails is counted, per call.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

mod answer;
mod anthropic;
mod journal;
mod script;
mod server;

pub use script::{Error as ScriptError, Script};
pub use server::{Kind, Seen};

/// A key that the endpoint accepts; it accepts any. No word that an agent might say: keys are taken out of what it does.
pub const API_KEY: &str = "sk-loopback-endpoint";

/// The script that is played when none is given: the agent says what it will do, thinks, writes a program, runs it and
/// reports.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "the script is part of the program, and the tests play it")]
pub fn demo_script() -> Script {
    Script::parse(DEMO).expect("the demo script is playable")
}

/// [`demo_script`] as text, to begin one's own with.
pub const DEMO: &str = include_str!("demo.json");

/// Serves a script on a listener, which must be on loopback: the endpoint asks nobody who they are.
///
/// # Errors
/// When the listener is not on loopback, or its address is not known.
pub fn serve(listener: TcpListener, script: Script) -> io::Result<Handle> {
    let addr = listener.local_addr()?;
    if !addr.ip().is_loopback() {
        let rule = format!("the model endpoint listens on loopback only, and {addr} is not; use 127.0.0.1");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, rule));
    }
    let stop = CancellationToken::new();
    let shared = server::Shared::new(script, stop.clone());
    let router = server::router(shared.clone());
    let mut tasks = JoinSet::new();
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
    Ok(Handle { addr, stop, tasks, shared })
}

/// A running endpoint. Dropping it ends it.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<io::Result<()>>,
    shared: std::sync::Arc<server::Shared>,
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What an agent needs in its environment to use it.
    #[must_use]
    pub fn env(&self) -> [(&'static str, String); 2] {
        [("ANTHROPIC_BASE_URL", format!("http://{}", self.addr)), ("ANTHROPIC_API_KEY", API_KEY.to_owned())]
    }

    /// The newest requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.requests()
    }

    /// What agents asked in their newest calls, whole, oldest first: the bodies of those of [`Kind::Call`].
    #[must_use]
    pub fn calls(&self) -> Vec<serde_json::Value> {
        self.shared.calls()
    }

    /// Cuts running answers off and waits until every connection is closed.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Arguments of `model-endpoint`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; loopback only. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Script to play; without one, a demo that writes and runs a program.
    #[arg(long)]
    pub script: Option<PathBuf>,
}

/// Why the endpoint does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The script cannot be played.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// It cannot listen there.
    #[error("cannot listen on {addr}: {cause}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// Its output or its signals fail.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves until it is told to end, by SIGINT or SIGTERM. Prints one line for the shell: `export ANTHROPIC_BASE_URL=…`.
///
/// # Errors
/// [`RunError`].
pub async fn run(args: Args) -> Result<(), RunError> {
    let script = match &args.script {
        Some(path) => Script::load(path)?,
        None => demo_script(),
    };
    let refused = |cause| RunError::Listen { addr: args.listen, cause };
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let listener = TcpListener::bind(args.listen).await.map_err(refused)?;
    let handle = serve(listener, script).map_err(refused)?;
    let exports = handle.env().map(|(name, value)| format!("{name}={value}")).join(" ");
    {
        let mut out = io::stdout().lock();
        writeln!(out, "export {exports}")?;
        out.flush()?;
    }
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    handle.shutdown().await;
    Ok(())
}

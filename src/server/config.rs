//! What a server is started with, and why it may not start.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    domain::Failure,
    sandbox::{self, local::Wanted},
    store,
};

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to serve; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder of the database, the key, the sandboxes and the installed agents.
    pub data: PathBuf,
    /// Ask for a key.
    pub auth: bool,
    /// Serve in clear text where others could listen.
    pub insecure: bool,
    /// Certificate chain and private key, PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Pages of these origins may call; none may by default.
    pub cors_origins: Vec<String>,
    /// The Claude Code program; else it is looked for.
    pub claude_code: Option<PathBuf>,
    /// Isolation of local sandboxes: "auto", "process" or "namespace".
    pub sandbox: String,
    /// Makes the provider "modal" available.
    pub modal: Option<ModalAccount>,
    /// The provider of sessions that name none: "local" or "modal".
    pub default_provider: String,
    /// Folders of this machine below which workspaces may start from a copy.
    pub workspace_roots: Vec<PathBuf>,
    /// Folder whose files are the secrets that profiles may name.
    pub secrets: Option<PathBuf>,
    /// After text that was sent at once, what follows within this time is sent as one.
    pub delta_window: Duration,
    /// How long a request for permission stays open; then it is rejected.
    pub ask_timeout: Duration,
    /// How long an agent may take to end a turn that was interrupted; then its program is ended.
    pub interrupt_grace: Duration,
    /// How long sandboxes elsewhere get to be ended, with their files kept, when the server stops them.
    pub stop_grace: Duration,
    /// Age at which deltas go, once their text was told whole.
    pub compact_after: Duration,
    /// Age at which whole events go; `None`: they stay.
    pub retain_events: Option<Duration>,
    /// Time without a use after which packages of profiles go.
    pub keep_packages: Duration,
}

/// An account at Modal, and what is this server's there. `Debug` shows no secret.
#[derive(Clone)]
pub struct ModalAccount {
    /// Address of its API, or of a stand-in.
    pub server: String,
    /// A PEM file of the roots that alone vouch for it; `None`: the web's.
    pub roots: Option<PathBuf>,
    /// Begins with "ak-".
    pub token_id: String,
    /// Begins with "as-".
    pub token_secret: String,
    /// Of the account; empty: its default.
    pub environment: String,
    /// Holds all sandboxes of this server.
    pub app: String,
    /// Ids of apps in which nothing is any more.
    pub given_up: Vec<String>,
}

impl fmt::Debug for ModalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, roots, token_id, token_secret: _, environment, app, given_up } = self;
        let mut account = f.debug_struct("ModalAccount");
        account.field("server", server).field("roots", roots).field("token_id", token_id);
        account.field("environment", environment).field("app", app).field("given_up", given_up);
        account.finish_non_exhaustive()
    }
}

impl Config {
    /// Refuses what would be open to others.
    pub(super) fn check(&self) -> Result<(), StartError> {
        let loopback = self.listen.ip().is_loopback();
        if !loopback && !self.auth {
            return Err(StartError::OpenToAll(self.listen));
        }
        if !loopback && self.tls.is_none() && !self.insecure {
            return Err(StartError::ClearText(self.listen));
        }
        Ok(())
    }

    pub(super) fn isolation(&self) -> Result<Wanted, StartError> {
        match self.sandbox.as_str() {
            "auto" => Ok(Wanted::Auto),
            "process" => Ok(Wanted::Process),
            "namespace" => Ok(Wanted::Namespace),
            other => Err(StartError::Sandboxes(other.to_owned())),
        }
    }

    pub(super) fn database(&self) -> PathBuf {
        database(&self.data)
    }
}

/// The database of a data folder.
pub(super) fn database(data: &Path) -> PathBuf {
    data.join("agent-runtime.db")
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Anybody could call.
    #[error("{0} can be reached by others, so calls need a key: --no-auth is for loopback addresses only")]
    OpenToAll(SocketAddr),
    /// Anybody could listen.
    #[error(
        "{0} can be reached by others, so it needs --tls-cert and --tls-key; behind a proxy that does TLS, say --insecure"
    )]
    ClearText(SocketAddr),
    /// An unknown word.
    #[error("there is no isolation \"{0}\"; there are auto, process and namespace")]
    Sandboxes(String),
    /// A provider that there is not.
    #[error("there is no provider \"{0}\" here; there is local, and modal with MODAL_TOKEN_ID and MODAL_TOKEN_SECRET")]
    Provider(String),
    /// A file or folder cannot be used.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The key file says nothing.
    #[error("{0} is no key file: it is empty; remove it and a new one is made")]
    Key(PathBuf),
    /// The address cannot be used.
    #[error("cannot listen on {addr}: {error}")]
    Bind {
        /// Which.
        addr: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Sandboxes cannot be made.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// What an earlier server left cannot be looked after.
    #[error("what an earlier server left cannot be looked after: {0}")]
    Recover(Failure),
    /// The certificate cannot be used.
    #[error("the TLS certificate or key cannot be used: {0}")]
    Tls(#[from] tonic::transport::Error),
}

impl StartError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }

    pub(super) fn bind(addr: SocketAddr, error: io::Error) -> Self {
        Self::Bind { addr, error }
    }
}

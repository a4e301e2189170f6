//! Assembly: the only place that names concrete backends and tower layers, and the one that knows the order in which a
//! server starts and stops.

mod auth;
mod backends;
mod config;
mod health;
mod keep;
mod key;
mod ledger;
mod oversize;
mod routes;
mod tls;
mod trace;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::TcpIncoming;

use backends::Backends;
pub use config::{Config, ModalAccount, StartError};
pub use ledger::StoredLedger;

pub use crate::session::{Ending, LeftRunning};

use crate::{
    domain::{Agent, Caller, Principal, PrincipalKind, Profile, ProfileId, ProfileSetup, Scope, TenantId, Timestamp},
    log::EventLog,
    packages::Packages,
    proto,
    sandbox::Providers,
    session::{self, Hidden, Manager, Programs, Secrets},
    store::{self, SqliteStore, Store as _},
    workspace::Copying,
};

/// Calls and watches at once on one connection: a gateway watches many sessions over one.
const MAX_STREAMS: u32 = 1024;
/// How long watches and calls get to end when the server stops.
const CALLS_GRACE: Duration = Duration::from_secs(4);
/// How long sessions get to record the end of their turns.
const SESSIONS_GRACE: Duration = Duration::from_secs(15);
/// How long sandboxes get to end, or to say what runs on in them, after that. Those elsewhere, whose files are to be kept
/// first, get longer: [`Config::stop_grace`].
const SANDBOXES_GRACE: Duration = Duration::from_secs(5);
/// How long everything else gets to end after that. All of it together is less than the 30 s that service managers give, where
/// nothing runs elsewhere.
const TASKS_GRACE: Duration = Duration::from_secs(5);
/// Silence of a session after which its sandbox is stopped.
const IDLE_TIMEOUT: Duration = Duration::from_mins(10);
/// Deltas of a session that nobody watches are gathered for this long.
const UNWATCHED_DELTA_WINDOW: Duration = Duration::from_millis(250);

/// What stands for the server's key where an agent printed it: the variable by which clients are given it.
const KEY_NAME: &str = "AGENT_RUNTIME_KEY";

/// A server that serves.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    key: String,
    manager: Manager,
    backends: Backends,
    store: Arc<SqliteStore>,
    health: health::Follower,
    drain: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    tasks: TaskTracker,
}

/// Kills what runs in sandboxes.
#[derive(Clone, Debug)]
pub struct Emergency(Backends);

impl Emergency {
    /// Kills all of it, and leaves nobody behind.
    pub async fn kill(&self) {
        self.0.kill().await;
    }
}

impl Server {
    /// Opens the database, looks after what an earlier server left, and serves.
    ///
    /// # Errors
    /// What stands in the way, and what to do about it.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        std::fs::create_dir_all(&config.data).map_err(|error| StartError::io(&config.data, error))?;
        let key = key::read_or_create(&config.data)?;
        let store = Arc::new(SqliteStore::open(&config.database()).await?);
        let backends = Backends::new(&config, &store).await?;
        let providers = backends.providers(&config.default_provider)?;

        let tasks = TaskTracker::new();
        let log = EventLog::start(Arc::clone(&store) as Arc<dyn store::Store>, &tasks);
        let manager = Manager::new(log, sessions(&config, providers, &key)?, &tasks);
        default_profile(&store).await?;
        manager.recover().await.map_err(StartError::Recover)?;

        let drain = CancellationToken::new();
        let callers = auth::Keys::new(config.auth.then(|| key.clone()), caller());
        let (reporter, routes) = routes::build(&config, &manager, &callers, &drain).await;
        let listener =
            TcpListener::bind(config.listen).await.map_err(|error| StartError::bind(config.listen, error))?;
        let addr = listener.local_addr().map_err(|error| StartError::bind(config.listen, error))?;
        let mut server = tonic::transport::Server::builder()
            .accept_http1(true)
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .max_concurrent_streams(MAX_STREAMS)
            .tcp_nodelay(true);
        if let Some((certificate, private_key)) = &config.tls {
            server = server.tls_config(tls::identity(certificate, private_key)?)?;
        }
        let ends = drain.clone();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let serving =
            tasks.spawn(server.add_routes(routes).serve_with_incoming_shutdown(incoming, ends.cancelled_owned()));
        keep::start(&config, &manager, &store, &tasks, &drain);
        backends.build_ahead(&tasks, &drain);
        manager.build_ahead(&TenantId::default_tenant());
        let health = health::Follower::start(reporter, manager.log(), &tasks);
        store.advertise(&addr.to_string())?;
        Ok(Self { addr, key, manager, backends, store, health, drain, serving, tasks })
    }

    /// Where it serves.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The key that may do everything.
    #[must_use]
    pub fn key(&self) -> String {
        self.key.clone()
    }

    /// What ends everything that runs in sandboxes at once, also while the server is being shut down.
    #[must_use]
    pub fn emergency(&self) -> Emergency {
        Emergency(self.backends.clone())
    }

    /// Stops serving, in this order: health says so, watches end with a last bookmark, calls finish, agents are stopped
    /// and their turns recorded, or left to work on, the database is closed. Returns what is left running.
    pub async fn shutdown(self, ending: Ending) -> Vec<LeftRunning> {
        let Self { addr: _, key: _, manager, backends, store, health, drain, mut serving, tasks } = self;
        health.end().await;
        drain.cancel();
        let stops_by = Instant::now() + backends.stop_grace(ending);
        let sessions = SESSIONS_GRACE.max(stops_by - Instant::now());
        let (calls, ()) =
            tokio::join!(tokio::time::timeout(CALLS_GRACE, &mut serving), manager.drain(ending, sessions));
        if calls.is_err() {
            tracing::warn!("some calls did not end in time");
            serving.abort();
        }
        manager.log().close();
        let left = backends.end(ending, SANDBOXES_GRACE, stops_by).await;
        let left = manager.left_running(left).await;
        tasks.close();
        if tokio::time::timeout(TASKS_GRACE, tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        store.close().await;
        left
    }
}

/// Address of the server that owns the data folder now.
#[must_use]
pub fn running(data: &Path) -> Option<String> {
    store::owner_address(&config::database(data))
}

/// Says of a data folder, of which no server runs, that a backup was put back there: every log gets another uid. Tells how
/// many there are.
///
/// # Errors
/// There is no database, it is in use, or it cannot be read; then nothing is changed.
pub async fn restored(data: &Path) -> Result<usize, StartError> {
    let database = config::database(data);
    // To open it would make one.
    std::fs::metadata(&database).map_err(|error| StartError::io(&database, error))?;
    let store = SqliteStore::open(&database).await?;
    let renamed = store.rename_logs().await?;
    store.close().await;
    Ok(renamed)
}

/// Where the server of this data folder looks for installed agents.
#[must_use]
pub fn agent_cache(data: &Path) -> PathBuf {
    data.join("cache")
}

/// Where packages of profiles are installed.
fn packages(data: &Path) -> Packages {
    Packages::new(agent_cache(data).join("packages"))
}

/// Recorded output of an agent, as the events it gives.
///
/// # Errors
/// In words for people: an unknown agent, or why its adapter cannot be used.
pub fn replay(agent: &str, output: &[u8]) -> Result<Vec<proto::SessionEvent>, String> {
    let names = || Agent::ALL.map(Agent::as_str).join(", ");
    let agent = Agent::parse(agent).ok_or_else(|| format!("there is no agent \"{agent}\"; there are: {}", names()))?;
    let events = session::replay(agent, output).map_err(|error| error.to_string())?;
    Ok(events.into_iter().map(proto::SessionEvent::from).collect())
}

fn sessions(config: &Config, providers: Providers, key: &str) -> Result<session::Config, StartError> {
    let scripted = std::env::current_exe().map_err(|error| StartError::io(Path::new("/proc/self/exe"), error))?;
    Ok(session::Config {
        providers,
        programs: Programs {
            cache: agent_cache(&config.data),
            configured: config.claude_code.iter().map(|path| (Agent::ClaudeCode, path.clone())).collect(),
            scripted,
        },
        default_agent: Agent::ClaudeCode,
        delta_window: config.delta_window,
        unwatched_delta_window: UNWATCHED_DELTA_WINDOW.max(config.delta_window),
        idle_timeout: IDLE_TIMEOUT,
        copying: Copying {
            roots: config.workspace_roots.clone(),
            hidden: vec![config.data.clone()],
            ..Copying::default()
        },
        spool: config.data.clone(),
        ask_timeout: config.ask_timeout,
        interrupt_grace: config.interrupt_grace,
        // Agents get text only; a variable that is none must not keep the server from starting.
        environment: Hidden(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        ),
        own_secrets: Hidden(own_secrets(config, key)),
        secrets: Secrets::new(config.secrets.clone()),
        packages: packages(&config.data),
    })
}

/// What agents must not say of this server.
fn own_secrets(config: &Config, key: &str) -> Vec<(String, String)> {
    let account = config.modal.iter().map(|account| ("MODAL_TOKEN_SECRET".to_owned(), account.token_secret.clone()));
    [(KEY_NAME.to_owned(), key.to_owned())].into_iter().chain(account).collect()
}

/// Who the key of the data folder speaks for.
fn caller() -> Caller {
    let subject = "local".to_owned();
    Caller {
        tenant: TenantId::default_tenant(),
        principal: Principal { subject, display_name: String::new(), kind: PrincipalKind::Service },
        scopes: Scope::ALL.to_vec(),
    }
}

/// "default" always exists.
async fn default_profile(store: &SqliteStore) -> Result<(), StartError> {
    let (tenant, profile_id) = (TenantId::default_tenant(), ProfileId::default_profile());
    if store.profile(&tenant, &profile_id, 0).await?.is_some() {
        return Ok(());
    }
    let now = Timestamp::now();
    let profile = Profile {
        profile_id,
        revision: 1,
        name: "default".to_owned(),
        description: "What sessions run with that name no other profile.".to_owned(),
        agent: None,
        setup: ProfileSetup::default(),
        created_by: Some(Principal::system()),
        create_time: now,
        update_time: now,
        etag: "1".to_owned(),
    };
    Ok(store.put_profile(&tenant, &profile, None).await?)
}

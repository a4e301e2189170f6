//! Where sandboxes are made: on this machine, and at Modal where the server was given an account. What becomes of them when
//! the server ends is the same for both, as far as each can.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Ending,
    config::{Config, StartError},
    ledger::StoredLedger,
};
use crate::{
    agent::package,
    domain::{Agent, SandboxId, SandboxSpec, Timestamp},
    sandbox::{
        ImageContents, Provider, Providers,
        ledger::Ledger as _,
        local::{self, Local, LocalConfig},
        modal::{Credentials, Modal, ModalConfig},
    },
    store::SqliteStore,
};

/// All of them. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Backends {
    local: Arc<Local>,
    modal: Option<(Arc<Modal>, Arc<StoredLedger>)>,
    stop_grace: Duration,
}

impl Backends {
    /// Makes what the configuration names; nobody is asked yet.
    pub(super) async fn new(config: &Config, store: &Arc<SqliteStore>) -> Result<Self, StartError> {
        let local = Arc::new(Local::new(LocalConfig {
            root: config.data.join("sandboxes"),
            hidden: vec![config.data.clone()],
            shared: vec![super::agent_cache(&config.data)],
            isolation: config.isolation()?,
            supervisor: supervisor(),
            limit: local::LIMIT,
            spool_cap: local::SPOOL_CAP,
        })?);
        let isolation = local.isolation();
        tracing::info!(?isolation, why_not_better = local.why_plain(), "agents run in local sandboxes");
        let stop_grace = config.stop_grace;
        let Some(account) = &config.modal else { return Ok(Self { local, modal: None, stop_grace }) };
        let ledger = Arc::new(StoredLedger::new(Arc::clone(store) as _).await?);
        let credentials =
            Credentials { token_id: account.token_id.clone(), token_secret: account.token_secret.clone() };
        let modal = ModalConfig {
            server: account.server.clone(),
            roots: account.roots.clone(),
            credentials,
            environment: account.environment.clone(),
            app: account.app.clone(),
            given_up: account.given_up.clone(),
            // Whatever else lies in it goes.
            staging: config.data.join("staging"),
        };
        let modal = Arc::new(Modal::new(modal, Arc::clone(&ledger) as _, Arc::clone(&ledger) as _)?);
        tracing::info!(server = account.server, app = account.app, "agents can run in sandboxes at Modal");
        Ok(Self { local, modal: Some((modal, ledger)), stop_grace })
    }

    /// Has the image made that sandboxes elsewhere begin with, so that the first session does not wait for it.
    pub(super) fn build_ahead(&self, tasks: &TaskTracker, drain: &CancellationToken) {
        let Some((modal, _)) = self.modal.clone() else { return };
        let drain = drain.clone();
        tasks.spawn(async move {
            let program = format!("{}@{}", package::CLAUDE_CODE, package::CLAUDE_CODE_VERSION);
            let contents = ImageContents::of(Agent::ClaudeCode, program);
            match drain.run_until_cancelled(modal.build_ahead(&SandboxSpec::default(), &contents)).await {
                Some(Ok(())) => tracing::info!("the image of sandboxes at Modal is there"),
                // Whoever needs it has it built, and is told what is wrong.
                Some(Err(error)) => tracing::warn!(%error, "the image of sandboxes at Modal could not be built ahead"),
                None => {}
            }
        });
    }

    /// By name, the default first.
    pub(super) fn providers(&self, default: &str) -> Result<Providers, StartError> {
        let mut all: Vec<Arc<dyn Provider>> = vec![Arc::clone(&self.local) as _];
        all.extend(self.modal.iter().map(|(modal, _)| Arc::clone(modal) as Arc<dyn Provider>));
        let at = all.iter().position(|provider| provider.name() == default);
        let first = all.remove(at.ok_or_else(|| StartError::Provider(default.to_owned()))?);
        Ok(Providers::new(first, all))
    }

    /// Kills what runs on this machine. What runs elsewhere cannot be reached so quickly: the next server ends what no
    /// session wants.
    pub(super) async fn kill(&self) {
        if let Err(error) = self.local.kill().await {
            tracing::error!(%error, "some programs may have been left behind");
        }
    }

    /// How long the end of what runs elsewhere may take: its files are kept first.
    pub(super) fn stop_grace(&self, ending: Ending) -> Duration {
        match ending {
            Ending::Stop if self.modal.is_some() => self.stop_grace,
            Ending::Stop | Ending::Detach => Duration::ZERO,
        }
    }

    /// Leaves all that runs, or ends it: what runs elsewhere within what is left of its time. Returns those in which programs
    /// run on, and until when they may.
    pub(super) async fn end(&self, ending: Ending, grace: Duration, stops_by: Instant) -> Vec<(SandboxId, SystemTime)> {
        match ending {
            Ending::Detach => {
                let here = async { timeout(grace, self.local.detach()).await.unwrap_or_default() };
                let elsewhere = async { timeout(grace, self.detached()).await.unwrap_or_default() };
                let (mut left, elsewhere) = tokio::join!(here, elsewhere);
                left.extend(elsewhere);
                left
            }
            Ending::Stop => {
                let elsewhere = grace.max(stops_by.saturating_duration_since(Instant::now()));
                tokio::join!(self.stop_here(grace), self.stop_elsewhere(elsewhere));
                Vec::new()
            }
        }
    }

    /// What runs elsewhere runs until its provider ends it.
    async fn detached(&self) -> Vec<(SandboxId, SystemTime)> {
        let Some((modal, ledger)) = &self.modal else { return Vec::new() };
        let mut left = Vec::new();
        for id in modal.detach().await {
            let entry = ledger.find(&id).await.ok().flatten();
            if let Some(Timestamp(micros)) = entry.and_then(|entry| entry.facts.expire_time) {
                left.push((id, SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))));
            }
        }
        left
    }

    async fn stop_here(&self, grace: Duration) {
        let stopped = timeout(grace, self.local.shutdown()).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::warn!(?stopped, "some sandboxes did not end in time, and are killed");
            self.kill().await;
        }
    }

    async fn stop_elsewhere(&self, grace: Duration) {
        let Some((modal, _)) = &self.modal else { return };
        let stopped = timeout(grace, modal.shutdown()).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::warn!(?stopped, "some sandboxes elsewhere did not end in time; the next server ends them");
        }
    }
}

/// The program that supervises sandboxes: this one, also after another was installed over it. Tests put others in its place.
fn supervisor() -> PathBuf {
    std::env::var_os("AGENT_RUNTIME_SUPERVISOR").map_or_else(|| PathBuf::from("/proc/self/exe"), PathBuf::from)
}

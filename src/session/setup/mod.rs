//! A profile takes effect: what its sessions begin with, and all that must lie ready before their agent is started.
//!
//! A session is pinned to one revision, which is read again at every start: what it says is put into a home that is new or
//! was brought back, and into one that is still there it is put over what the agent made of it.

mod bundles;
mod contents;
mod defaults;
mod environment;
mod home;
mod packages;
mod refuse;
mod secrets;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;

pub(super) use self::{
    contents::{contents, contents_of},
    defaults::merge,
    refuse::refuse,
};
pub use secrets::Secrets;

use super::{launch, shared::Shared};
use crate::{
    agent::HomeFile,
    domain::{Failure, ProfileSetup, Reason, Session, SessionKey},
    log::unavailable,
    sandbox::{Epoch, Progress, Sandbox},
};

/// What a profile brings, ready for an agent to be started with.
#[derive(Debug)]
pub(super) struct Ready {
    /// What it says; every secret is a value.
    pub(super) profile: ProfileSetup,
    /// Where the projects of bundled tool servers lie, as programs in the sandbox see it.
    pub(super) bundles: BTreeMap<String, String>,
    /// For the agent and all that it starts; wins over everything else.
    pub(super) env: Vec<(String, String)>,
    /// Folders of this machine that the agent must be able to read.
    pub(super) readable: Vec<PathBuf>,
    /// One of them, which it must find as the `node_modules` above its folders.
    pub(super) modules: Option<PathBuf>,
}

/// Makes ready what the session's profile says. `readable` is what the agent's program needs anyhow.
pub(super) async fn ready(
    shared: &Arc<Shared>,
    key: &SessionKey,
    epoch: Epoch,
    session: &Session,
    sandbox: &Arc<dyn Sandbox>,
    mut readable: Vec<PathBuf>,
    progress: &Progress,
) -> Result<Ready, Failure> {
    let profile = pinned(shared, key, session).await?;
    let profile = shared.config.secrets.resolve(profile)?;
    let provider = shared.config.providers.of(session);
    // Elsewhere they came with the image.
    let installed = if provider.shares_machine() {
        packages::install(&shared.config, &*provider, &profile, &readable, sandbox.folder(), progress).await?
    } else {
        Vec::new()
    };
    readable.extend(installed.iter().map(|installed| installed.folder.clone()));
    let modules = installed.iter().find_map(|installed| installed.above.clone());
    let env = environment::of(&*provider, &profile, &installed, &readable);
    let bundles = bundles::Bundles {
        config: &shared.config,
        shares_machine: provider.shares_machine(),
        sandbox,
        epoch,
        env: &env,
        secrets: &profile.environment,
        readable: &readable,
        modules: modules.as_deref(),
        progress,
        tasks: &shared.tasks,
    };
    let bundles = bundles.install(&profile).await?;
    Ok(Ready { profile, bundles, env, readable, modules })
}

async fn pinned(shared: &Shared, key: &SessionKey, session: &Session) -> Result<ProfileSetup, Failure> {
    let (id, revision) = (&session.profile_id, session.profile_revision);
    let found = shared.log.store().profile(&key.tenant, id, revision).await.map_err(|error| unavailable(&error))?;
    let gone = || {
        let message = format!("revision {revision} of the profile {id}, which the session was created with, is gone");
        Failure::new(Reason::ProfileNotFound, message).with("profile_id", id).with("revision", revision)
    };
    Ok(found.ok_or_else(gone)?.setup)
}

/// Puts files into the home.
pub(super) async fn put(sandbox: &Arc<dyn Sandbox>, files: Vec<HomeFile>) -> Result<(), Failure> {
    let place = sandbox.files();
    for HomeFile { path, mode, content } in files {
        let written = home::put(&*place, &path, mode, Bytes::from(content)).await;
        written.map_err(|error| launch::failure(sandbox.provider(), sandbox.id(), &error))?;
    }
    Ok(())
}

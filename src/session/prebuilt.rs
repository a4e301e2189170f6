//! Images of profiles, built before a session wants them: of all profiles when a server starts, and of each that is created or
//! changed. A session that wants one meanwhile waits for the same build.
//!
//! It must not know how images are built. Nobody waits here: what fails is told, and tried again by the session that needs it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::{Notify, mpsc};

use super::{Config, Manager, setup, shared::Shared};
use crate::domain::{Profile, ProfileId, TenantId};

/// How many are built at once.
const AT_ONCE: usize = 2;
/// Profiles that are read at once.
const PAGE: usize = 100;

/// Whose image.
type Whose = (TenantId, ProfileId);

/// What is to be built, and what could not be.
#[derive(Debug, Default)]
pub(super) struct Prebuilt {
    state: Mutex<State>,
    rings: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they came, each once.
    wanted: VecDeque<Whose>,
    /// The revision, and why, until somebody was told.
    failed: HashMap<Whose, (i64, String)>,
}

impl Prebuilt {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(&self, whose: Whose) {
        let mut state = self.state();
        if !state.wanted.contains(&whose) {
            state.wanted.push_back(whose);
        }
        drop(state);
        self.rings.notify_one();
    }

    fn next(&self) -> Option<Whose> {
        self.state().wanted.pop_front()
    }

    /// Why the image of a revision could not be built ahead. Told once: the session that is told tries it again, and is told
    /// what comes of that.
    pub(super) fn trouble(&self, tenant: &TenantId, profile: &Profile) -> Option<String> {
        let mut state = self.state();
        let whose = (tenant.clone(), profile.profile_id.clone());
        let (revision, why) = state.failed.remove(&whose)?;
        (revision == profile.revision).then_some(why)
    }
}

impl Manager {
    /// Has images built ahead from now on, where sandboxes have any: those of this tenant's profiles, then those of all that
    /// are created or changed. Ends with the server.
    pub fn build_ahead(&self, tenant: &TenantId) {
        if !makes_images(self.config()) {
            return;
        }
        let (shared, tenant) = (Arc::clone(&self.shared), tenant.clone());
        self.shared.tasks.spawn(async move {
            let drain = shared.drain.clone();
            // What a stop cuts short Modal goes on with, or the next server.
            let _ = drain.run_until_cancelled(run(&shared, &tenant)).await;
        });
    }

    /// Has the image of a profile built, which was created or changed.
    pub(super) fn prebuild(&self, tenant: &TenantId, profile: &ProfileId) {
        if makes_images(self.config()) {
            self.shared.prebuilt.want((tenant.clone(), profile.clone()));
        }
    }
}

fn makes_images(config: &Config) -> bool {
    config.providers.all().any(|provider| !provider.shares_machine())
}

async fn run(shared: &Shared, tenant: &TenantId) {
    let mut building = FuturesUnordered::new();
    all(shared, tenant).await;
    loop {
        while building.len() < AT_ONCE
            && let Some(whose) = shared.prebuilt.next()
        {
            building.push(build(shared, whose));
        }
        tokio::select! {
            Some(()) = building.next() => {}
            () = shared.prebuilt.rings.notified() => {}
        }
    }
}

/// Wants those of all profiles that there are.
async fn all(shared: &Shared, tenant: &TenantId) {
    let mut after: Option<(String, ProfileId)> = None;
    loop {
        let page = match shared.log.store().profiles(tenant, after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => {
                return tracing::warn!(%error, "profiles cannot be read, so their images are not built ahead");
            }
        };
        after = page.last().map(|profile| (profile.name.clone(), profile.profile_id.clone()));
        let last = page.len() < PAGE;
        for profile in page {
            shared.prebuilt.want((tenant.clone(), profile.profile_id));
        }
        if last {
            return;
        }
    }
}

/// Builds the image of a profile as it is now.
async fn build(shared: &Shared, whose: Whose) {
    let (tenant, id) = &whose;
    let profile = match shared.log.store().profile(tenant, id, 0).await {
        Ok(Some(profile)) => profile,
        // It was deleted meanwhile.
        Ok(None) => return,
        Err(error) => return tracing::warn!(profile = %id, %error, "a profile cannot be read to build its image ahead"),
    };
    let revision = profile.revision;
    match build_one(&shared.config, profile).await {
        Ok(()) => {
            tracing::debug!(profile = %id, revision, "the image of a profile's sandboxes is there");
            shared.prebuilt.state().failed.remove(&whose);
        }
        Err(why) => {
            tracing::warn!(profile = %id, revision, why, "the image of a profile could not be built ahead; the next session tries it again");
            shared.prebuilt.state().failed.insert(whose, (revision, why));
        }
    }
}

async fn build_one(config: &Config, profile: Profile) -> Result<(), String> {
    let spec = profile.setup.sandbox.clone().unwrap_or_default();
    let provider = config.providers.get(&spec.provider).filter(|provider| !provider.shares_machine());
    // One that is not there a session is told of that names it.
    let Some(provider) = provider else { return Ok(()) };
    let agent = profile.agent.unwrap_or(config.default_agent);
    let (progress, _) = mpsc::channel(1);
    let contents = setup::contents_of(config, agent, &profile.setup, &**provider, &progress).await;
    let contents = contents.map_err(|failure| failure.to_string())?;
    provider.build_ahead(&spec, &contents).await.map_err(|error| error.to_string())
}

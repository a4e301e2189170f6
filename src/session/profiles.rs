//! Profiles: what sessions are created from.

use ulid::Ulid;

use super::Manager;
use crate::{
    domain::{
        Agent, Caller, Failure, FirstAnswer, Profile, ProfileId, ProfileSetup, Reason, Remembered, Request, TenantId,
        Timestamp,
    },
    log::unavailable,
};

/// A profile to create, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewProfile {
    /// For people, never empty.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// `None`: the server's default.
    pub agent: Option<Agent>,
    /// What it sets up.
    pub setup: ProfileSetup,
    /// The call that asks for it, where that may be repeated.
    pub request: Option<Request>,
}

impl Manager {
    /// Stores a profile as revision 1.
    ///
    /// # Errors
    /// [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn create_profile(&self, caller: &Caller, new: NewProfile) -> Result<Profile, Failure> {
        let (manager, by, request) = (self.clone(), caller.clone(), new.request.clone());
        let create = async move { manager.create_profile_now(&by, new).await };
        self.once(&caller.tenant, request, create).await
    }

    async fn create_profile_now(&self, caller: &Caller, new: NewProfile) -> Result<Profile, Failure> {
        self.open()?;
        let NewProfile { name, description, agent, setup, request } = new;
        let now = Timestamp::now();
        let profile = Profile {
            profile_id: ProfileId::mint(),
            revision: 1,
            name,
            description,
            agent,
            setup,
            created_by: Some(caller.principal.clone()),
            create_time: now,
            update_time: now,
            etag: Ulid::new().to_string(),
        };
        let answer = || FirstAnswer::Profile { profile: Box::new(profile.clone()) };
        let call = request.map(|request| Remembered::now(request, answer()));
        let stored = self.log().noted(self.log().store().put_profile(&caller.tenant, &profile, call.as_ref()).await);
        stored.map_err(|error| unavailable(&error))?;
        Ok(profile)
    }

    /// A revision of a profile; 0: the newest; no id: "default".
    ///
    /// # Errors
    /// [`Reason::ProfileNotFound`], [`Reason::StorageUnavailable`].
    pub async fn profile(&self, tenant: &TenantId, id: Option<&ProfileId>, revision: i64) -> Result<Profile, Failure> {
        let default = ProfileId::new("default");
        let id = id.unwrap_or(&default);
        let found = self.log().store().profile(tenant, id, revision).await.map_err(|error| unavailable(&error))?;
        found.ok_or_else(|| {
            let message = match revision {
                0 => format!("there is no profile {id}"),
                revision => format!("there is no revision {revision} of a profile {id}"),
            };
            Failure::new(Reason::ProfileNotFound, message).with("profile_id", id).with("revision", revision)
        })
    }

    /// The newest revisions of a tenant's profiles, by name, after the one given.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`].
    pub async fn profiles(
        &self,
        tenant: &TenantId,
        after: Option<&(String, ProfileId)>,
        limit: usize,
    ) -> Result<Vec<Profile>, Failure> {
        self.log().store().profiles(tenant, after, limit).await.map_err(|error| unavailable(&error))
    }

    /// Number of a tenant's sessions whose sandbox runs.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`].
    pub async fn active_sessions(&self, tenant: &TenantId) -> Result<i64, Failure> {
        self.log().store().active_sessions(tenant).await.map_err(|error| unavailable(&error))
    }
}

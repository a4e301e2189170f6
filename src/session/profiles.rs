//! Profiles: what sessions are created from.

use std::path::Path;

use ulid::Ulid;

use super::Manager;
use crate::{
    domain::{
        Agent, Caller, Failure, FirstAnswer, McpTransport, Profile, ProfileChange, ProfileId, ProfileSetup, Reason,
        Remembered, Request, TenantId, Timestamp,
    },
    log::unavailable,
    store::Error,
    workspace,
};

/// How often a change is made again to what somebody else made meanwhile.
const ATTEMPTS: usize = 8;

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

/// A profile to change, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateProfile {
    /// Which.
    pub profile_id: ProfileId,
    /// Must match, when there is one.
    pub etag: Option<String>,
    /// What is replaced.
    pub change: ProfileChange,
    /// The call that asks for it, where that may be repeated.
    pub request: Option<Request>,
}

/// A profile to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteProfile {
    /// Which.
    pub profile_id: ProfileId,
    /// Must match, when there is one.
    pub etag: Option<String>,
    /// The call that asks for it, where that may be repeated.
    pub request: Option<Request>,
}

impl Manager {
    /// Stores a profile as revision 1.
    ///
    /// # Errors
    /// [`Reason::InvalidField`], [`Reason::MessageTooLarge`], [`Reason::RequestIdReused`],
    /// [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn create_profile(&self, caller: &Caller, new: NewProfile) -> Result<Profile, Failure> {
        let (manager, by, request) = (self.clone(), caller.clone(), new.request.clone());
        let create = async move { manager.create_profile_now(&by, new).await };
        self.once(&caller.tenant, request, create).await
    }

    async fn create_profile_now(&self, caller: &Caller, new: NewProfile) -> Result<Profile, Failure> {
        self.open()?;
        let NewProfile { name, description, agent, setup, request } = new;
        setup.check()?;
        self.bundles_are_allowed(&setup)?;
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
        let stored = self.put_profile(&caller.tenant, &profile, request).await;
        stored.map_err(|error| unavailable(&error))?;
        self.prebuild(&caller.tenant, &profile.profile_id);
        Ok(profile)
    }

    /// Stores the revision that a change makes; a change that changes nothing makes none.
    ///
    /// # Errors
    /// [`Reason::ProfileNotFound`], [`Reason::EtagMismatch`], [`Reason::InvalidField`], [`Reason::MessageTooLarge`],
    /// [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn update_profile(&self, caller: &Caller, update: UpdateProfile) -> Result<Profile, Failure> {
        let (manager, by, request) = (self.clone(), caller.clone(), update.request.clone());
        let update = async move { manager.update_profile_now(&by, update).await };
        self.once(&caller.tenant, request, update).await
    }

    async fn update_profile_now(&self, caller: &Caller, update: UpdateProfile) -> Result<Profile, Failure> {
        self.open()?;
        let UpdateProfile { profile_id, etag, change, request } = update;
        for _ in 0..ATTEMPTS {
            let newest = self.profile_as_read(&caller.tenant, &profile_id, etag.as_deref()).await?;
            let changed = change.clone().apply(&newest)?;
            if changed == newest {
                if let Some(request) = request {
                    let call = Remembered::now(request, answer(&newest));
                    let stored = self.log().noted(self.log().store().remember(&caller.tenant, &call).await);
                    stored.map_err(|error| unavailable(&error))?;
                }
                return Ok(newest);
            }
            if changed.setup.mcp_servers != newest.setup.mcp_servers {
                self.bundles_are_allowed(&changed.setup)?;
            }
            let next = Profile {
                revision: newest.revision + 1,
                created_by: Some(caller.principal.clone()),
                update_time: Timestamp::now(),
                etag: Ulid::new().to_string(),
                ..changed
            };
            match self.put_profile(&caller.tenant, &next, request.clone()).await {
                Ok(()) => {
                    self.prebuild(&caller.tenant, &profile_id);
                    return Ok(next);
                }
                // Somebody else was first. What they made is looked at, and the change made to that.
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(busy(&profile_id))
    }

    /// Makes a profile unusable for new sessions.
    ///
    /// # Errors
    /// [`Reason::ProfileNotFound`], [`Reason::EtagMismatch`], [`Reason::RequestIdReused`],
    /// [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn delete_profile(&self, caller: &Caller, delete: DeleteProfile) -> Result<(), Failure> {
        let (manager, tenant, request) = (self.clone(), caller.tenant.clone(), delete.request.clone());
        let delete = async move { manager.delete_profile_now(&tenant, delete).await };
        self.once(&caller.tenant, request, delete).await
    }

    async fn delete_profile_now(&self, tenant: &TenantId, delete: DeleteProfile) -> Result<(), Failure> {
        self.open()?;
        let DeleteProfile { profile_id, etag, request } = delete;
        for _ in 0..ATTEMPTS {
            let newest = self.profile_as_read(tenant, &profile_id, etag.as_deref()).await?;
            let call = request.clone().map(|request| Remembered::now(request, FirstAnswer::Deleted));
            let store = self.log().store();
            match self.log().noted(store.delete_profile(tenant, &profile_id, newest.revision, call.as_ref()).await) {
                Ok(()) => return Ok(()),
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(busy(&profile_id))
    }

    /// A revision of a profile; 0: the newest; no id: "default".
    ///
    /// # Errors
    /// [`Reason::ProfileNotFound`], [`Reason::StorageUnavailable`].
    pub async fn profile(&self, tenant: &TenantId, id: Option<&ProfileId>, revision: i64) -> Result<Profile, Failure> {
        let default = ProfileId::default_profile();
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

    /// The newest revision, if it is the one that the caller has read.
    async fn profile_as_read(&self, tenant: &TenantId, id: &ProfileId, etag: Option<&str>) -> Result<Profile, Failure> {
        let newest = self.profile(tenant, Some(id), 0).await?;
        if etag.is_some_and(|etag| etag != newest.etag) {
            let message = format!("profile {id} changed since it was read; read it again");
            return Err(Failure::new(Reason::EtagMismatch, message).with("etag", newest.etag));
        }
        Ok(newest)
    }

    async fn put_profile(&self, tenant: &TenantId, profile: &Profile, request: Option<Request>) -> Result<(), Error> {
        let call = request.map(|request| Remembered::now(request, answer(profile)));
        self.log().noted(self.log().store().put_profile(tenant, profile, call.as_ref()).await)
    }

    /// Folders of this machine that go into sandboxes lie where its owner allows it. They are looked at again when they
    /// are copied.
    fn bundles_are_allowed(&self, setup: &ProfileSetup) -> Result<(), Failure> {
        for (at, server) in setup.mcp_servers.iter().enumerate() {
            match &server.transport {
                McpTransport::Bundle { project_path, .. } => {
                    workspace::allowed(Path::new(project_path), &self.config().copying).map_err(|error| {
                        let field = format!("profile.mcp_servers[{at}].bundle.project_path");
                        Failure::invalid(field, error.to_string())
                    })?;
                }
                McpTransport::Stdio { .. } | McpTransport::Http { .. } => {}
            }
        }
        Ok(())
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

/// What is remembered of a call: all that its answer shows. Values of secrets stand in one row, that of their revision.
fn answer(profile: &Profile) -> FirstAnswer {
    FirstAnswer::Profile { profile: Box::new(profile.clone().without_values()) }
}

fn busy(id: &ProfileId) -> Failure {
    Failure::new(Reason::StorageUnavailable, format!("profile {id} is being changed by others all the time; try again"))
}

//! Profiles.

use super::{MAX_DESCRIPTION, check::Check, policy::policy, request};
use crate::{
    domain::{Failure, Profile, ProfileId, ProfileSetup},
    grpc::page,
    proto,
    session::NewProfile,
};

/// A revision of a profile to return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetProfile {
    /// Which profile.
    pub profile_id: ProfileId,
    /// 0: the newest.
    pub revision: i64,
}

/// A page of profiles to list.
#[derive(Clone, Debug)]
pub struct ListProfiles {
    /// The last one of the page before.
    pub after: Option<(String, ProfileId)>,
    /// How many to ask the store for: one more than the page holds.
    pub limit: usize,
    size: usize,
    page: page::Query,
}

impl ListProfiles {
    /// The page, of what the store has after [`Self::after`]: of each profile what lists show.
    #[must_use]
    pub fn respond(&self, profiles: Vec<Profile>) -> proto::ListProfilesResponse {
        let items = profiles.into_iter().map(|profile| {
            let position = (profile.name.clone(), profile.profile_id.clone());
            (summary(profile.into()), position)
        });
        let (profiles, last) = page::cut(items.collect(), self.size);
        let next_page_token = last.map(|position| self.page.token(&position)).unwrap_or_default();
        proto::ListProfilesResponse { profiles, next_page_token }
    }
}

fn summary(profile: proto::AgentProfile) -> proto::AgentProfile {
    proto::AgentProfile {
        profile_id: profile.profile_id,
        revision: profile.revision,
        name: profile.name,
        description: profile.description,
        agent: profile.agent,
        create_time: profile.create_time,
        update_time: profile.update_time,
        ..proto::AgentProfile::default()
    }
}

/// Checks a `CreateProfile` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`] with all fields at fault.
pub fn create_profile(mut request: proto::CreateProfileRequest) -> Result<NewProfile, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "ProfileService/CreateProfile", id, &request);
    let proto::CreateProfileRequest { profile, request_id: _ } = request;
    let Some(profile) = profile else {
        check.refuse("profile", "required");
        return check.finish(NewProfile::default());
    };
    let proto::AgentProfile {
        profile_id,
        revision,
        name,
        description,
        agent,
        acp_command,
        system_prompt,
        memory_file,
        tools,
        skills,
        subagents,
        commands,
        mcp_servers,
        default_options,
        permission_policy,
        sandbox,
        environment,
        npm_dependencies,
        pip_dependencies,
        default_workspace_files,
        created_by,
        create_time,
        update_time,
        etag,
    } = profile;
    check.output_only("profile.profile_id", !profile_id.is_empty());
    check.output_only("profile.revision", revision != 0);
    check.output_only("profile.created_by", created_by.is_some());
    check.output_only("profile.create_time", create_time.is_some());
    check.output_only("profile.update_time", update_time.is_some());
    check.output_only("profile.etag", !etag.is_empty());
    check.not_applied("profile.acp_command", !acp_command.is_empty());
    check.not_applied("profile.system_prompt", !system_prompt.is_empty());
    check.not_applied("profile.memory_file", !memory_file.is_empty());
    check.not_applied("profile.tools", !tools.is_empty());
    check.not_applied("profile.skills", !skills.is_empty());
    check.not_applied("profile.subagents", !subagents.is_empty());
    check.not_applied("profile.commands", !commands.is_empty());
    check.not_applied("profile.mcp_servers", !mcp_servers.is_empty());
    check.not_applied("profile.default_options", default_options.is_some());
    check.not_applied("profile.sandbox", sandbox.is_some());
    check.not_applied("profile.environment", !environment.is_empty());
    check.not_applied("profile.npm_dependencies", !npm_dependencies.is_empty());
    check.not_applied("profile.pip_dependencies", !pip_dependencies.is_empty());
    check.not_applied("profile.default_workspace_files", !default_workspace_files.is_empty());
    if name.is_empty() {
        check.refuse("profile.name", "required");
    }
    let permission_policy =
        permission_policy.map(|wire| policy(&mut check, "profile.permission_policy", wire)).unwrap_or_default();
    let profile = NewProfile {
        setup: ProfileSetup { permission_policy, ..ProfileSetup::default() },
        name: check.name("profile.name", name),
        description: check.text("profile.description", description, MAX_DESCRIPTION),
        agent: check.agent("profile.agent", &agent),
        request: call,
    };
    check.finish(profile)
}

/// Checks a `GetProfile` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn get_profile(request: proto::GetProfileRequest) -> Result<GetProfile, Failure> {
    let proto::GetProfileRequest { profile_id, revision } = request;
    let mut check = Check::default();
    let profile_id = ProfileId::new(check.id("profile_id", profile_id));
    if revision < 0 {
        check.refuse("revision", "must not be negative");
    }
    check.finish(GetProfile { profile_id, revision })
}

/// Checks a `ListProfiles` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn list_profiles(request: proto::ListProfilesRequest) -> Result<ListProfiles, Failure> {
    let proto::ListProfilesRequest { page_size, page_token } = request;
    let mut check = Check::default();
    let size = check.page_size(page_size);
    let page = page::Query::new("profiles", &());
    let after = check.take(page.position(&page_token));
    check.finish(ListProfiles { after, limit: size + 1, size, page })
}

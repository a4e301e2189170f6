//! Profiles.

mod content;
mod mask;
mod mcp;
mod names;
mod packages;
mod record;
mod secrets;
mod skills;

use record::Record;

use super::{MAX_ID, check::Check, request};
use crate::{
    domain::{Failure, Profile, ProfileChange, ProfileField, ProfileId},
    grpc::page,
    proto,
    session::{DeleteProfile, NewProfile, UpdateProfile},
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
/// [`crate::domain::Reason::InvalidField`] with all fields at fault, [`crate::domain::Reason::MessageTooLarge`],
/// [`crate::domain::Reason::WorkspacePath`].
pub fn create_profile(mut request: proto::CreateProfileRequest) -> Result<NewProfile, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "ProfileService/CreateProfile", id, &request);
    let proto::CreateProfileRequest { profile, request_id: _ } = request;
    let Some(profile) = profile else {
        check.refuse("profile", "required");
        return check.finish(NewProfile::default());
    };
    record::named(&mut check, &profile.name);
    let Record { name, description, agent, setup, keep } = record::record(&mut check, profile);
    for kept in keep {
        check.refuse(kept.field, "value or ref is required: nothing is stored yet");
    }
    check.finish(NewProfile { name, description, agent, setup, request: call })
}

/// Checks an `UpdateProfile` request.
///
/// # Errors
/// As [`create_profile`].
pub fn update_profile(mut request: proto::UpdateProfileRequest) -> Result<UpdateProfile, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "ProfileService/UpdateProfile", id, &request);
    let proto::UpdateProfileRequest { profile, update_mask, request_id: _ } = request;
    if profile.is_none() {
        check.refuse("profile", "required");
    }
    let mut profile = profile.unwrap_or_default();
    let profile_id = ProfileId::new(check.id("profile.profile_id", std::mem::take(&mut profile.profile_id)));
    let etag = etag(&mut check, "profile.etag", std::mem::take(&mut profile.etag));
    let fields = mask::fields(&mut check, update_mask);
    if fields.contains(&ProfileField::Name) {
        record::named(&mut check, &profile.name);
    }
    let Record { name, description, agent, setup, keep } = record::record(&mut check, mask::only(&fields, profile));
    let change = ProfileChange { fields, name, description, agent, setup, keep };
    check.finish(UpdateProfile { profile_id, etag, change, request: call })
}

/// Checks a `DeleteProfile` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn delete_profile(mut request: proto::DeleteProfileRequest) -> Result<DeleteProfile, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "ProfileService/DeleteProfile", id, &request);
    let proto::DeleteProfileRequest { profile_id, etag: held, request_id: _ } = request;
    let profile_id = ProfileId::new(check.id("profile_id", profile_id));
    if profile_id == ProfileId::default_profile() {
        check.refuse("profile_id", "the default profile always exists; change it instead");
    }
    let etag = etag(&mut check, "etag", held);
    check.finish(DeleteProfile { profile_id, etag, request: call })
}

/// Empty: any.
fn etag(check: &mut Check, field: &str, etag: String) -> Option<String> {
    Some(check.text(field, etag, MAX_ID)).filter(|etag| !etag.is_empty())
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

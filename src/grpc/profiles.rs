//! `ProfileService`.

use tonic::{Request, Response, Status, async_trait};

use super::{caller, validate};
use crate::{
    proto::{self, profile_service_server::ProfileService},
    session::Manager,
};

/// Serves profiles.
#[derive(Debug)]
pub(super) struct Profiles {
    manager: Manager,
}

impl Profiles {
    pub(super) fn new(manager: Manager) -> Self {
        Self { manager }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl ProfileService for Profiles {
    async fn create_profile(
        &self,
        request: Request<proto::CreateProfileRequest>,
    ) -> Answer<proto::CreateProfileResponse> {
        let caller = caller(request.extensions())?;
        let profile = self.manager.create_profile(&caller, validate::create_profile(request.into_inner())?).await?;
        Ok(Response::new(proto::CreateProfileResponse { profile: Some(profile.into()) }))
    }

    async fn get_profile(&self, request: Request<proto::GetProfileRequest>) -> Answer<proto::GetProfileResponse> {
        let caller = caller(request.extensions())?;
        let get = validate::get_profile(request.into_inner())?;
        let profile = self.manager.profile(&caller.tenant, Some(&get.profile_id), get.revision).await?;
        Ok(Response::new(proto::GetProfileResponse { profile: Some(profile.into()) }))
    }

    async fn list_profiles(&self, request: Request<proto::ListProfilesRequest>) -> Answer<proto::ListProfilesResponse> {
        let caller = caller(request.extensions())?;
        let list = validate::list_profiles(request.into_inner())?;
        let profiles = self.manager.profiles(&caller.tenant, list.after.as_ref(), list.limit).await?;
        Ok(Response::new(list.respond(profiles)))
    }

    async fn update_profile(
        &self,
        request: Request<proto::UpdateProfileRequest>,
    ) -> Answer<proto::UpdateProfileResponse> {
        let caller = caller(request.extensions())?;
        let profile = self.manager.update_profile(&caller, validate::update_profile(request.into_inner())?).await?;
        Ok(Response::new(proto::UpdateProfileResponse { profile: Some(profile.into()) }))
    }

    async fn delete_profile(
        &self,
        request: Request<proto::DeleteProfileRequest>,
    ) -> Answer<proto::DeleteProfileResponse> {
        let caller = caller(request.extensions())?;
        self.manager.delete_profile(&caller, validate::delete_profile(request.into_inner())?).await?;
        Ok(Response::new(proto::DeleteProfileResponse {}))
    }
}

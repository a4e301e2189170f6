//! The control plane, call by call: who may make it, and which piece of this room answers it.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use tonic::{Request, Response, Status};

use super::{ACCOUNT, Found, Needs, caller, images, listing, making, sandboxes};
use crate::{
    dev::modal::{sandbox::Version, world::World},
    modal_wire::{
        Control,
        client::{
            AppGetOrCreateRequest, AppGetOrCreateResponse, AuthTokenGetRequest, AuthTokenGetResponse,
            ClientHelloResponse, EnvironmentGetOrCreateRequest, EnvironmentGetOrCreateResponse, ImageDeleteRequest,
            ImageFromIdRequest, ImageFromIdResponse, ImageGetOrCreateRequest, ImageGetOrCreateResponse,
            ImageJoinStreamingRequest, ImageJoinStreamingResponse, SandboxCreateRequest, SandboxCreateResponse,
            SandboxCreateV2Request, SandboxCreateV2Response, SandboxGetCommandRouterAccessRequest,
            SandboxGetCommandRouterAccessResponse, SandboxGetExitSnapshotRequest, SandboxGetExitSnapshotResponse,
            SandboxGetFromNameRequest, SandboxGetFromNameResponse, SandboxGetTaskIdRequest, SandboxGetTaskIdResponse,
            SandboxGetTunnelsRequest, SandboxGetTunnelsResponse, SandboxListRequest, SandboxListResponse,
            SandboxTagsGetRequest, SandboxTagsGetResponse, SandboxTagsSetRequest, SandboxTerminateRequest,
            SandboxTerminateResponse, SandboxWaitRequest, SandboxWaitResponse, SecretGetOrCreateRequest,
            SecretGetOrCreateResponse, TaskGetCommandRouterAccessRequest, TaskGetCommandRouterAccessResponse,
        },
    },
};

/// Answers for the control plane.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) world: Arc<World>,
    pub(super) found: Found,
}

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// The request, if its caller may make it.
    fn admit<T>(&self, request: Request<T>, needs: Needs) -> Result<T, Status> {
        caller(&self.world, request.metadata(), needs)?;
        Ok(request.into_inner())
    }

    /// The same, with where this caller finds the router.
    fn admit_to_router<T>(&self, request: Request<T>, needs: Needs) -> Result<(T, String), Status> {
        let scheme = caller(&self.world, request.metadata(), needs)?;
        let url = match &self.found {
            Found::Plain(addr) => format!("{scheme}://{addr}"),
            Found::At(url) => url.clone(),
        };
        Ok((request.into_inner(), url))
    }
}

#[tonic::async_trait]
impl Control for Service {
    async fn app_get_or_create(&self, request: Request<AppGetOrCreateRequest>) -> Answer<AppGetOrCreateResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(making::app(&self.world, &request)?))
    }

    async fn auth_token_get(&self, request: Request<AuthTokenGetRequest>) -> Answer<AuthTokenGetResponse> {
        self.admit(request, Needs::Token)?;
        Ok(Response::new(AuthTokenGetResponse { token: self.world.tokens.issue(ACCOUNT) }))
    }

    async fn client_hello(&self, request: Request<()>) -> Answer<ClientHelloResponse> {
        self.admit(request, Needs::Token)?;
        let image_builder_version = making::BUILDER.to_owned();
        Ok(Response::new(ClientHelloResponse { warning: String::new(), image_builder_version }))
    }

    async fn environment_get_or_create(
        &self,
        request: Request<EnvironmentGetOrCreateRequest>,
    ) -> Answer<EnvironmentGetOrCreateResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(making::environment(request)))
    }

    async fn secret_get_or_create(
        &self,
        request: Request<SecretGetOrCreateRequest>,
    ) -> Answer<SecretGetOrCreateResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(making::secret(&self.world, request)?))
    }

    async fn image_get_or_create(&self, request: Request<ImageGetOrCreateRequest>) -> Answer<ImageGetOrCreateResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(images::get_or_create(&self.world, request)?))
    }

    type ImageJoinStreamingStream = Messages<ImageJoinStreamingResponse>;

    async fn image_join_streaming(
        &self,
        request: Request<ImageJoinStreamingRequest>,
    ) -> Answer<Self::ImageJoinStreamingStream> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(Box::pin(images::join(&self.world, &request)?)))
    }

    async fn image_from_id(&self, request: Request<ImageFromIdRequest>) -> Answer<ImageFromIdResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(images::from_id(&self.world, &request)?))
    }

    async fn image_delete(&self, request: Request<ImageDeleteRequest>) -> Answer<()> {
        let request = self.admit(request, Needs::Token)?;
        self.world.images.get(&request.image_id)?;
        self.world.images.remove(&request.image_id);
        Ok(Response::new(()))
    }

    async fn sandbox_create(&self, request: Request<SandboxCreateRequest>) -> Answer<SandboxCreateResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(making::v1(&self.world, request).await?))
    }

    async fn sandbox_create_v2(&self, request: Request<SandboxCreateV2Request>) -> Answer<SandboxCreateV2Response> {
        let (request, url) = self.admit_to_router(request, Needs::AuthToken)?;
        Ok(Response::new(making::v2(&self.world, request, url).await?))
    }

    async fn sandbox_get_task_id(&self, request: Request<SandboxGetTaskIdRequest>) -> Answer<SandboxGetTaskIdResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(sandboxes::task_id(&self.world, Version::V1, &request)?))
    }

    async fn sandbox_get_task_id_v2(
        &self,
        request: Request<SandboxGetTaskIdRequest>,
    ) -> Answer<SandboxGetTaskIdResponse> {
        let request = self.admit(request, Needs::AuthToken)?;
        Ok(Response::new(sandboxes::task_id(&self.world, Version::V2, &request)?))
    }

    async fn sandbox_get_command_router_access(
        &self,
        request: Request<SandboxGetCommandRouterAccessRequest>,
    ) -> Answer<SandboxGetCommandRouterAccessResponse> {
        let (request, url) = self.admit_to_router(request, Needs::AuthToken)?;
        Ok(Response::new(sandboxes::access(&self.world, &request, url)?))
    }

    async fn task_get_command_router_access(
        &self,
        request: Request<TaskGetCommandRouterAccessRequest>,
    ) -> Answer<TaskGetCommandRouterAccessResponse> {
        let (request, url) = self.admit_to_router(request, Needs::Token)?;
        Ok(Response::new(sandboxes::task_access(&self.world, &request.task_id, url)?))
    }

    async fn sandbox_wait(&self, request: Request<SandboxWaitRequest>) -> Answer<SandboxWaitResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(sandboxes::wait(&self.world, Version::V1, &request).await?))
    }

    async fn sandbox_wait_v2(&self, request: Request<SandboxWaitRequest>) -> Answer<SandboxWaitResponse> {
        let request = self.admit(request, Needs::AuthToken)?;
        Ok(Response::new(sandboxes::wait(&self.world, Version::V2, &request).await?))
    }

    async fn sandbox_terminate(&self, request: Request<SandboxTerminateRequest>) -> Answer<SandboxTerminateResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(sandboxes::terminate(&self.world, Version::V1, &request)?))
    }

    async fn sandbox_terminate_v2(
        &self,
        request: Request<SandboxTerminateRequest>,
    ) -> Answer<SandboxTerminateResponse> {
        let request = self.admit(request, Needs::AuthToken)?;
        Ok(Response::new(sandboxes::terminate(&self.world, Version::V2, &request)?))
    }

    async fn sandbox_list(&self, request: Request<SandboxListRequest>) -> Answer<SandboxListResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(listing::list(&self.world, Version::V1, &request)))
    }

    async fn sandbox_list_v2(&self, request: Request<SandboxListRequest>) -> Answer<SandboxListResponse> {
        let request = self.admit(request, Needs::AuthToken)?;
        Ok(Response::new(listing::list(&self.world, Version::V2, &request)))
    }

    async fn sandbox_get_from_name(
        &self,
        request: Request<SandboxGetFromNameRequest>,
    ) -> Answer<SandboxGetFromNameResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(listing::from_name(&self.world, Version::V1, &request)?))
    }

    async fn sandbox_get_from_name_v2(
        &self,
        request: Request<SandboxGetFromNameRequest>,
    ) -> Answer<SandboxGetFromNameResponse> {
        let request = self.admit(request, Needs::AuthToken)?;
        Ok(Response::new(listing::from_name(&self.world, Version::V2, &request)?))
    }

    async fn sandbox_tags_get(&self, request: Request<SandboxTagsGetRequest>) -> Answer<SandboxTagsGetResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(sandboxes::tags(&self.world, Version::V1, &request)?))
    }

    async fn sandbox_tags_get_v2(&self, request: Request<SandboxTagsGetRequest>) -> Answer<SandboxTagsGetResponse> {
        let request = self.admit(request, Needs::AuthToken)?;
        Ok(Response::new(sandboxes::tags(&self.world, Version::V2, &request)?))
    }

    async fn sandbox_tags_set(&self, request: Request<SandboxTagsSetRequest>) -> Answer<()> {
        let request = self.admit(request, Needs::Token)?;
        sandboxes::set_tags(&self.world, Version::V1, request)?;
        Ok(Response::new(()))
    }

    async fn sandbox_tags_set_v2(&self, request: Request<SandboxTagsSetRequest>) -> Answer<()> {
        let request = self.admit(request, Needs::AuthToken)?;
        sandboxes::set_tags(&self.world, Version::V2, request)?;
        Ok(Response::new(()))
    }

    async fn sandbox_get_tunnels(
        &self,
        request: Request<SandboxGetTunnelsRequest>,
    ) -> Answer<SandboxGetTunnelsResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(sandboxes::tunnels(&self.world, Version::V1, &request)?))
    }

    async fn sandbox_get_tunnels_v2(
        &self,
        request: Request<SandboxGetTunnelsRequest>,
    ) -> Answer<SandboxGetTunnelsResponse> {
        let request = self.admit(request, Needs::AuthToken)?;
        Ok(Response::new(sandboxes::tunnels(&self.world, Version::V2, &request)?))
    }

    async fn sandbox_get_exit_snapshot(
        &self,
        request: Request<SandboxGetExitSnapshotRequest>,
    ) -> Answer<SandboxGetExitSnapshotResponse> {
        let request = self.admit(request, Needs::Token)?;
        Ok(Response::new(sandboxes::exit_snapshot(&self.world, Version::V1, &request).await?))
    }

    async fn sandbox_get_exit_snapshot_v2(
        &self,
        request: Request<SandboxGetExitSnapshotRequest>,
    ) -> Answer<SandboxGetExitSnapshotResponse> {
        let request = self.admit(request, Needs::AuthToken)?;
        Ok(Response::new(sandboxes::exit_snapshot(&self.world, Version::V2, &request).await?))
    }
}

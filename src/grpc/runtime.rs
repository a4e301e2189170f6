//! `RuntimeService`.

use tonic::{Request, Response, Status, async_trait};

use super::{MAX_REQUEST_BYTES, caller, convert, page, status::not_implemented, validate};
use crate::{
    domain::{Agent, REQUEST_RETENTION, Timestamp},
    proto::{self, runtime_service_server::RuntimeService},
    session::{MAX_INLINE_BLOCK_BYTES, MAX_QUEUED_TURNS, Manager},
};

/// Tells what the server is.
#[derive(Debug)]
pub(super) struct Runtime {
    manager: Manager,
    start_time: Timestamp,
}

impl Runtime {
    pub(super) fn new(manager: Manager) -> Self {
        Self { manager, start_time: Timestamp::now() }
    }

    fn agent(&self, agent: Agent) -> proto::AgentInfo {
        let programs = &self.manager.config().programs;
        proto::AgentInfo {
            agent: agent.to_string(),
            aliases: agent.aliases().iter().map(ToString::to_string).collect(),
            version: programs.version(agent).unwrap_or_default(),
            unavailable_reason: programs.locate(agent).err().map(|failure| failure.message).unwrap_or_default(),
            permission_modes: agent.permission_modes().iter().map(ToString::to_string).collect(),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl RuntimeService for Runtime {
    async fn get_runtime_info(
        &self,
        request: Request<proto::GetRuntimeInfoRequest>,
    ) -> Answer<proto::GetRuntimeInfoResponse> {
        let caller = caller(request.extensions())?;
        validate::get_runtime_info(request.into_inner())?;
        let providers = &self.manager.config().providers;
        let active = self.manager.active_sessions(&caller.tenant).await?;
        let infos = providers.all().map(|provider| proto::SandboxProviderInfo {
            provider: provider.name().to_owned(),
            isolation: proto::Isolation::from(provider.isolation()).into(),
        });
        Ok(Response::new(proto::GetRuntimeInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agents: Agent::ALL.into_iter().map(|agent| self.agent(agent)).collect(),
            default_sandbox_provider: providers.default().name().to_owned(),
            sandbox_providers: infos.collect(),
            start_time: Some(convert::timestamp(self.start_time)),
            active_sessions: i32::try_from(active).unwrap_or(i32::MAX),
            limits: Some(limits()),
            scopes: caller.scopes.iter().map(|scope| proto::Scope::from(*scope).into()).collect(),
            caller: Some(caller.principal.into()),
            tenant_id: caller.tenant.to_string(),
        }))
    }

    async fn list_sandboxes(
        &self,
        request: Request<proto::ListSandboxesRequest>,
    ) -> Answer<proto::ListSandboxesResponse> {
        let caller = caller(request.extensions())?;
        let list = validate::list_sandboxes(request.into_inner())?;
        let entries = self.manager.sandboxes(&list.query(&caller.tenant)).await?;
        Ok(Response::new(list.respond(entries, Timestamp::now())))
    }

    async fn create_api_key(&self, _: Request<proto::CreateApiKeyRequest>) -> Answer<proto::CreateApiKeyResponse> {
        Err(not_implemented("RuntimeService/CreateApiKey"))
    }

    async fn list_api_keys(&self, _: Request<proto::ListApiKeysRequest>) -> Answer<proto::ListApiKeysResponse> {
        Err(not_implemented("RuntimeService/ListApiKeys"))
    }

    async fn revoke_api_key(&self, _: Request<proto::RevokeApiKeyRequest>) -> Answer<proto::RevokeApiKeyResponse> {
        Err(not_implemented("RuntimeService/RevokeApiKey"))
    }
}

/// What this version takes; 0 where it has nothing that the limit could be of.
fn limits() -> proto::Limits {
    let bytes = |bytes: usize| i64::try_from(bytes).expect("limits are small");
    proto::Limits {
        max_message_bytes: bytes(MAX_REQUEST_BYTES / 2),
        max_write_file_bytes: bytes(validate::MAX_WRITE_FILE),
        max_upload_bytes: i64::try_from(validate::MAX_UPLOAD).expect("limits are small"),
        max_inline_block_bytes: bytes(MAX_INLINE_BLOCK_BYTES),
        max_event_bytes: bytes(2 * MAX_INLINE_BLOCK_BYTES),
        max_page_size: i32::try_from(page::MAX_SIZE).expect("a page is small"),
        max_queued_turns: i32::try_from(MAX_QUEUED_TURNS).expect("limits are small"),
        max_watches: 0,
        request_id_retention: Some(convert::duration(REQUEST_RETENTION)),
    }
}

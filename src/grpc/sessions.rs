//! `SessionService`.

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use super::{
    caller, lists,
    status::not_implemented,
    validate,
    watch::{self, Until},
};
use crate::{
    domain::{Failure, SessionId, SessionKey, TenantId},
    log::{Start, failure},
    proto::{self, session_service_server::SessionService},
    session::Manager,
};

type Stream<T> = BoxStream<'static, Result<T, Status>>;
type Answer<T> = Result<Response<T>, Status>;

/// Serves sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    manager: Manager,
    drain: CancellationToken,
}

impl Sessions {
    pub(super) fn new(manager: Manager, drain: CancellationToken) -> Self {
        Self { manager, drain }
    }
}

fn key(tenant: TenantId, session: SessionId) -> SessionKey {
    SessionKey { tenant, session }
}

#[async_trait]
impl SessionService for Sessions {
    type RunTurnStream = Stream<proto::RunTurnResponse>;
    type WatchSessionStream = Stream<proto::WatchSessionResponse>;
    type WatchSessionsStream = Stream<proto::WatchSessionsResponse>;
    type ReadBlockContentStream = Stream<proto::ReadBlockContentResponse>;
    type ReadBlobStream = Stream<proto::ReadBlobResponse>;
    type ExportTranscriptStream = Stream<proto::ExportTranscriptResponse>;

    async fn create_session(
        &self,
        request: Request<proto::CreateSessionRequest>,
    ) -> Answer<proto::CreateSessionResponse> {
        let caller = caller(request.extensions())?;
        let created = self.manager.create(&caller, validate::create_session(request.into_inner())?).await?;
        Ok(Response::new(created.into()))
    }

    async fn get_session(&self, request: Request<proto::GetSessionRequest>) -> Answer<proto::GetSessionResponse> {
        let caller = caller(request.extensions())?;
        let id = validate::get_session(request.into_inner())?;
        Ok(Response::new(self.manager.view(&key(caller.tenant, id)).await?.into()))
    }

    async fn list_sessions(&self, request: Request<proto::ListSessionsRequest>) -> Answer<proto::ListSessionsResponse> {
        let caller = caller(request.extensions())?;
        let list = validate::list_sessions(request.into_inner())?;
        let (views, revision) = self.manager.sessions(&caller.tenant, &list.query, list.revision).await?;
        Ok(Response::new(list.respond(views, revision)))
    }

    async fn stop_session(&self, request: Request<proto::StopSessionRequest>) -> Answer<proto::StopSessionResponse> {
        let caller = caller(request.extensions())?;
        let id = validate::stop_session(request.into_inner())?;
        let session = self.manager.stop(&caller, &id).await?;
        Ok(Response::new(proto::StopSessionResponse { session: Some(session.into()) }))
    }

    async fn delete_session(
        &self,
        request: Request<proto::DeleteSessionRequest>,
    ) -> Answer<proto::DeleteSessionResponse> {
        let caller = caller(request.extensions())?;
        let delete = validate::delete_session(request.into_inner())?;
        self.manager.delete(&caller, &delete.session_id, delete.etag.as_deref()).await?;
        Ok(Response::new(proto::DeleteSessionResponse {}))
    }

    async fn send_message(&self, request: Request<proto::SendMessageRequest>) -> Answer<proto::SendMessageResponse> {
        let caller = caller(request.extensions())?;
        let message = validate::send_message(request.into_inner())?;
        let accepted = self.manager.send(&caller, &message.session_id, &message.parts).await?;
        let (turn, sequence) = (Some(accepted.turn.into()), accepted.sequence);
        Ok(Response::new(proto::SendMessageResponse { turn, sequence }))
    }

    async fn run_turn(&self, request: Request<proto::RunTurnRequest>) -> Answer<Self::RunTurnStream> {
        let caller = caller(request.extensions())?;
        let message = validate::run_turn(request.into_inner())?;
        let accepted = self.manager.send(&caller, &message.session_id, &message.parts).await?;
        let start = Start { after: Some(accepted.sequence), ..Start::default() };
        let session_id = message.session_id.to_string();
        let opened = self.manager.log().watch(&key(caller.tenant, message.session_id), start).await?;
        let until = Until::EndOf(accepted.turn.turn_id.clone());
        let first = proto::RunTurnResponse {
            events: Vec::new(),
            session_id: session_id.clone(),
            turn: Some(accepted.turn.into()),
            sequence: accepted.sequence,
        };
        let events = watch::events(opened, validate::LONGEST_SILENCE, until, self.drain.clone());
        let rest = events.map(move |events| {
            Ok(proto::RunTurnResponse { events: events?, session_id: session_id.clone(), ..Default::default() })
        });
        Ok(Response::new(stream::iter([Ok(first)]).chain(rest).boxed()))
    }

    async fn watch_session(&self, request: Request<proto::WatchSessionRequest>) -> Answer<Self::WatchSessionStream> {
        let caller = caller(request.extensions())?;
        let wanted = validate::watch_session(request.into_inner())?;
        let start = Start { after: wanted.after, uid: wanted.expected_uid, or_snapshot: wanted.snapshot_if_truncated };
        let session_id = wanted.session_id.to_string();
        let opened = self.manager.log().watch(&key(caller.tenant, wanted.session_id), start).await?;
        let mut uid = opened.uid.to_string();
        let events = watch::events(opened, wanted.bookmark_interval, Until::Deleted, self.drain.clone());
        let responses = events.map(move |events| {
            let (session_id, uid) = (session_id.clone(), std::mem::take(&mut uid));
            Ok(proto::WatchSessionResponse { events: events?, session_id, uid })
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn watch_sessions(&self, request: Request<proto::WatchSessionsRequest>) -> Answer<Self::WatchSessionsStream> {
        let caller = caller(request.extensions())?;
        let wanted = validate::watch_sessions(request.into_inner())?;
        let watch = self.manager.log().watch_list(&caller.tenant, wanted.filter, wanted.after).await?;
        Ok(Response::new(lists::responses(watch, self.drain.clone()).boxed()))
    }

    async fn list_blocks(&self, request: Request<proto::ListBlocksRequest>) -> Answer<proto::ListBlocksResponse> {
        let caller = caller(request.extensions())?;
        let list = validate::list_blocks(request.into_inner())?;
        let key = key(caller.tenant, list.session_id.clone());
        let page = self.manager.log().store().blocks(&key, &list.query).await;
        let page = page.map_err(|error| failure(error, &key))?;
        let page = page.ok_or_else(|| Failure::session_not_found(&key.session))?;
        Ok(Response::new(list.respond(page)))
    }

    async fn update_session(&self, _: Request<proto::UpdateSessionRequest>) -> Answer<proto::UpdateSessionResponse> {
        Err(not_implemented("SessionService/UpdateSession"))
    }

    async fn sync_session(&self, _: Request<proto::SyncSessionRequest>) -> Answer<proto::SyncSessionResponse> {
        Err(not_implemented("SessionService/SyncSession"))
    }

    async fn get_turn(&self, _: Request<proto::GetTurnRequest>) -> Answer<proto::GetTurnResponse> {
        Err(not_implemented("SessionService/GetTurn"))
    }

    async fn list_turns(&self, _: Request<proto::ListTurnsRequest>) -> Answer<proto::ListTurnsResponse> {
        Err(not_implemented("SessionService/ListTurns"))
    }

    async fn interrupt_turn(&self, _: Request<proto::InterruptTurnRequest>) -> Answer<proto::InterruptTurnResponse> {
        Err(not_implemented("SessionService/InterruptTurn"))
    }

    async fn cancel_turn(&self, _: Request<proto::CancelTurnRequest>) -> Answer<proto::CancelTurnResponse> {
        Err(not_implemented("SessionService/CancelTurn"))
    }

    async fn resolve_permission(
        &self,
        _: Request<proto::ResolvePermissionRequest>,
    ) -> Answer<proto::ResolvePermissionResponse> {
        Err(not_implemented("SessionService/ResolvePermission"))
    }

    async fn answer_question(&self, _: Request<proto::AnswerQuestionRequest>) -> Answer<proto::AnswerQuestionResponse> {
        Err(not_implemented("SessionService/AnswerQuestion"))
    }

    async fn list_permission_rules(
        &self,
        _: Request<proto::ListPermissionRulesRequest>,
    ) -> Answer<proto::ListPermissionRulesResponse> {
        Err(not_implemented("SessionService/ListPermissionRules"))
    }

    async fn delete_permission_rule(
        &self,
        _: Request<proto::DeletePermissionRuleRequest>,
    ) -> Answer<proto::DeletePermissionRuleResponse> {
        Err(not_implemented("SessionService/DeletePermissionRule"))
    }

    async fn read_block_content(
        &self,
        _: Request<proto::ReadBlockContentRequest>,
    ) -> Answer<Self::ReadBlockContentStream> {
        Err(not_implemented("SessionService/ReadBlockContent"))
    }

    async fn read_blob(&self, _: Request<proto::ReadBlobRequest>) -> Answer<Self::ReadBlobStream> {
        Err(not_implemented("SessionService/ReadBlob"))
    }

    async fn export_transcript(
        &self,
        _: Request<proto::ExportTranscriptRequest>,
    ) -> Answer<Self::ExportTranscriptStream> {
        Err(not_implemented("SessionService/ExportTranscript"))
    }
}

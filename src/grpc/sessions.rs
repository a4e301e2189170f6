//! `SessionService`.

use std::time::Duration;

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use super::{
    caller, content,
    convert::list,
    frame::Frame,
    lists,
    status::not_implemented,
    validate,
    watch::{self, Rest, Terms, Until},
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

    fn terms(&self, bookmark_interval: Duration, batch_delay: Duration, until: Until) -> Terms {
        Terms { bookmark_interval, batch_delay, until, drain: self.drain.clone() }
    }
}

fn key(tenant: TenantId, session: SessionId) -> SessionKey {
    SessionKey { tenant, session }
}

#[async_trait]
impl SessionService for Sessions {
    type RunTurnStream = Stream<proto::Encoded>;
    type WatchSessionStream = Stream<proto::Encoded>;
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
        let stop = validate::stop_session(request.into_inner())?;
        let session = self.manager.stop(&caller, &stop.session_id, stop.request).await?;
        Ok(Response::new(proto::StopSessionResponse { session: Some(session.into()) }))
    }

    async fn delete_session(
        &self,
        request: Request<proto::DeleteSessionRequest>,
    ) -> Answer<proto::DeleteSessionResponse> {
        let caller = caller(request.extensions())?;
        let delete = validate::delete_session(request.into_inner())?;
        self.manager.delete(&caller, &delete.session_id, delete.etag, delete.request).await?;
        Ok(Response::new(proto::DeleteSessionResponse {}))
    }

    async fn send_message(&self, request: Request<proto::SendMessageRequest>) -> Answer<proto::SendMessageResponse> {
        let caller = caller(request.extensions())?;
        let message = validate::send_message(request.into_inner())?;
        let validate::SendMessage { session_id, parts, busy, request } = message;
        let accepted = self.manager.send(&caller, &session_id, parts, busy, request).await?;
        let (turn, sequence) = (Some(accepted.turn.into()), accepted.sequence);
        Ok(Response::new(proto::SendMessageResponse { turn, sequence }))
    }

    async fn run_turn(&self, request: Request<proto::RunTurnRequest>) -> Answer<Self::RunTurnStream> {
        let caller = caller(request.extensions())?;
        let validate::RunTurn { message, after, omit_deltas } = validate::run_turn(request.into_inner())?;
        let (cursor, call) = after.map(|resume| (resume.sequence, resume.request)).unzip();
        let accepted = match call {
            None => {
                let validate::SendMessage { session_id, parts, busy, request } = message.clone();
                self.manager.send(&caller, &session_id, parts, busy, request).await?
            }
            Some(call) => self.manager.sent(&caller, call).await?,
        };
        let session_id = message.session_id.to_string();
        let key = key(caller.tenant, message.session_id);
        let opened = self.manager.follow(&key, &accepted, cursor, omit_deltas).await?;
        let each = proto::RunTurnResponse { session_id, ..Default::default() };
        let first = proto::RunTurnResponse {
            turn: Some(accepted.turn.clone().into()),
            sequence: cursor.unwrap_or(accepted.sequence),
            ..each.clone()
        };
        let terms = self.terms(validate::LONGEST_SILENCE, Duration::ZERO, Until::EndOf(accepted.turn.turn_id));
        let events = opened.map(|opened| watch::responses(opened, terms, Rest::new(&each, &each)));
        let first = stream::iter([Ok(Frame::new(first.encode_to_vec().into()).finish())]);
        Ok(Response::new(first.chain(stream::iter(events).flatten()).boxed()))
    }

    async fn watch_session(&self, request: Request<proto::WatchSessionRequest>) -> Answer<Self::WatchSessionStream> {
        let caller = caller(request.extensions())?;
        let wanted = validate::watch_session(request.into_inner())?;
        let (after, uid, or_snapshot) = (wanted.after, wanted.expected_uid, wanted.snapshot_if_truncated);
        let start = Start { after, uid, or_snapshot, filter: wanted.filter };
        let session_id = wanted.session_id.to_string();
        let opened = self.manager.log().watch(&key(caller.tenant, wanted.session_id), start).await?;
        let terms = self.terms(wanted.bookmark_interval, wanted.max_batch_delay, Until::Deleted);
        let each = proto::WatchSessionResponse { session_id, ..Default::default() };
        let first = proto::WatchSessionResponse { uid: opened.uid.to_string(), ..each.clone() };
        let responses = watch::responses(opened, terms, Rest::new(&first, &each));
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

    async fn update_session(
        &self,
        request: Request<proto::UpdateSessionRequest>,
    ) -> Answer<proto::UpdateSessionResponse> {
        let caller = caller(request.extensions())?;
        let validate::UpdateSession { session_id, update, request } = validate::update_session(request.into_inner())?;
        let session = self.manager.update(&caller, &session_id, update, request).await?;
        Ok(Response::new(proto::UpdateSessionResponse { session: Some(session.into()) }))
    }

    async fn sync_session(&self, request: Request<proto::SyncSessionRequest>) -> Answer<proto::SyncSessionResponse> {
        let caller = caller(request.extensions())?;
        let sync = validate::sync_session(request.into_inner())?;
        let session = self.manager.sync(&caller, &sync.session_id, sync.request).await?;
        Ok(Response::new(proto::SyncSessionResponse { session: Some(session.into()) }))
    }

    async fn get_turn(&self, request: Request<proto::GetTurnRequest>) -> Answer<proto::GetTurnResponse> {
        let caller = caller(request.extensions())?;
        let validate::GetTurn { session_id, turn_id } = validate::get_turn(request.into_inner())?;
        let turn = self.manager.turn(&key(caller.tenant, session_id), &turn_id).await?;
        Ok(Response::new(proto::GetTurnResponse { turn: Some(turn.into()) }))
    }

    async fn list_turns(&self, request: Request<proto::ListTurnsRequest>) -> Answer<proto::ListTurnsResponse> {
        let caller = caller(request.extensions())?;
        let list = validate::list_turns(request.into_inner())?;
        let page = self.manager.turns(&key(caller.tenant, list.session_id.clone()), &list.query).await?;
        Ok(Response::new(list.respond(page)))
    }

    async fn interrupt_turn(
        &self,
        request: Request<proto::InterruptTurnRequest>,
    ) -> Answer<proto::InterruptTurnResponse> {
        let caller = caller(request.extensions())?;
        let wanted = validate::interrupt_turn(request.into_inner())?;
        let turn = self.manager.interrupt(&caller, &wanted.session_id, wanted.turn_id, wanted.request).await?;
        Ok(Response::new(proto::InterruptTurnResponse { turn: turn.map(Into::into) }))
    }

    async fn cancel_turn(&self, request: Request<proto::CancelTurnRequest>) -> Answer<proto::CancelTurnResponse> {
        let caller = caller(request.extensions())?;
        let wanted = validate::cancel_turn(request.into_inner())?;
        let turn = self.manager.cancel(&caller, &wanted.session_id, wanted.turn_id, wanted.request).await?;
        Ok(Response::new(proto::CancelTurnResponse { turn: Some(turn.into()) }))
    }

    async fn resolve_permission(
        &self,
        request: Request<proto::ResolvePermissionRequest>,
    ) -> Answer<proto::ResolvePermissionResponse> {
        let caller = caller(request.extensions())?;
        let validate::ResolvePermission { session_id, permission_id, decision, request } =
            validate::resolve_permission(request.into_inner())?;
        let resolved = self.manager.resolve_permission(&caller, &session_id, permission_id, decision, request).await?;
        Ok(Response::new(resolved.into()))
    }

    async fn answer_question(
        &self,
        request: Request<proto::AnswerQuestionRequest>,
    ) -> Answer<proto::AnswerQuestionResponse> {
        let caller = caller(request.extensions())?;
        let validate::AnswerQuestion { session_id, question_id, reaction, request } =
            validate::answer_question(request.into_inner())?;
        let question = self.manager.answer_question(&caller, &session_id, question_id, reaction, request).await?;
        Ok(Response::new(proto::AnswerQuestionResponse { question: Some(question.into()) }))
    }

    async fn list_permission_rules(
        &self,
        request: Request<proto::ListPermissionRulesRequest>,
    ) -> Answer<proto::ListPermissionRulesResponse> {
        let caller = caller(request.extensions())?;
        let id = validate::list_permission_rules(request.into_inner())?;
        let rules = self.manager.permission_rules(&key(caller.tenant, id)).await?;
        Ok(Response::new(proto::ListPermissionRulesResponse { rules: list(rules) }))
    }

    async fn delete_permission_rule(
        &self,
        request: Request<proto::DeletePermissionRuleRequest>,
    ) -> Answer<proto::DeletePermissionRuleResponse> {
        let caller = caller(request.extensions())?;
        let validate::DeletePermissionRule { session_id, rule_id, request } =
            validate::delete_permission_rule(request.into_inner())?;
        self.manager.delete_permission_rule(&caller, &session_id, rule_id, request).await?;
        Ok(Response::new(proto::DeletePermissionRuleResponse {}))
    }

    async fn read_block_content(
        &self,
        request: Request<proto::ReadBlockContentRequest>,
    ) -> Answer<Self::ReadBlockContentStream> {
        let caller = caller(request.extensions())?;
        let wanted = validate::read_block_content(request.into_inner())?;
        Ok(Response::new(content::block(self.manager.log().clone(), caller.tenant, wanted).await?))
    }

    async fn read_blob(&self, request: Request<proto::ReadBlobRequest>) -> Answer<Self::ReadBlobStream> {
        let caller = caller(request.extensions())?;
        let wanted = validate::read_blob(request.into_inner())?;
        Ok(Response::new(content::blob(self.manager.log().clone(), caller.tenant, wanted).await?))
    }

    async fn export_transcript(
        &self,
        _: Request<proto::ExportTranscriptRequest>,
    ) -> Answer<Self::ExportTranscriptStream> {
        Err(not_implemented("SessionService/ExportTranscript"))
    }
}

//! Sessions: create, find, list, stop, delete.

use super::{
    MAX_ID,
    check::Check,
    message, metadata,
    options::session_options,
    request,
    sandbox::sandbox_spec,
    source::{self, Seeds},
};
use crate::{
    domain::{Failure, ProfileId, Request, SessionId, SessionStatus, Timestamp},
    grpc::page,
    proto,
    session::NewSession,
    store::{SessionFilter, SessionQuery, SessionView},
};

/// A session to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopSession {
    /// Which one.
    pub session_id: SessionId,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// A session to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteSession {
    /// Which one.
    pub session_id: SessionId,
    /// Must match, when there is one.
    pub etag: Option<String>,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// A page of sessions to list.
#[derive(Clone, Debug)]
pub struct ListSessions {
    /// What to ask the store for: one more than the page holds, which tells whether another page follows.
    pub query: SessionQuery,
    /// Of the list at the first page; `None`: this is the first.
    pub revision: Option<i64>,
    size: usize,
    page: page::Query,
}

impl ListSessions {
    /// The page, of what the store answered to [`Self::query`].
    #[must_use]
    pub fn respond(&self, views: Vec<SessionView>, revision: i64) -> proto::ListSessionsResponse {
        let items = views.into_iter().map(|view| {
            let position = (view.session.create_time, view.session.session_id.clone(), revision);
            (proto::Session::from(view), position)
        });
        let (sessions, last) = page::cut(items.collect(), self.size);
        let next_page_token = last.map(|position| self.page.token(&position)).unwrap_or_default();
        proto::ListSessionsResponse { sessions, next_page_token, revision }
    }
}

/// Checks a `CreateSession` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`] with all fields at fault, [`crate::domain::Reason::MessageTooLarge`].
pub fn create_session(mut request: proto::CreateSessionRequest) -> Result<NewSession, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/CreateSession", id, &request);
    let proto::CreateSessionRequest {
        profile_id,
        agent,
        external_id,
        name,
        options,
        labels,
        metadata: own,
        sandbox,
        workspace_source,
        workspace_files,
        start_sandbox,
        initial_message,
        request_id: _,
    } = request;
    let mut seeds = Seeds::default();
    let workspace = workspace_source.and_then(|from| source::source(&mut check, &mut seeds, from));
    let seed_files = source::files(&mut check, &mut seeds, workspace_files);
    let session = NewSession {
        profile_id: Some(check.text("profile_id", profile_id, MAX_ID)).filter(|id| !id.is_empty()).map(ProfileId::new),
        agent: check.agent("agent", &agent),
        external_id: check.external_id(external_id),
        name: check.name("name", name),
        options: options.map(|options| session_options(&mut check, "options", options)).unwrap_or_default(),
        labels: check.labels(labels),
        metadata: metadata::metadata(&mut check, own),
        sandbox: sandbox.map(|spec| sandbox_spec(&mut check, "sandbox", spec)),
        workspace,
        seed_files,
        seeds: seeds.blobs,
        start_sandbox,
        message: initial_message.map(|message| message::initial(&mut check, message)),
        request: call,
    };
    check.finish(session)
}

/// Checks a `GetSession` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn get_session(request: proto::GetSessionRequest) -> Result<SessionId, Failure> {
    let proto::GetSessionRequest { session_id } = request;
    let mut check = Check::default();
    let session_id = check.id("session_id", session_id);
    check.finish(SessionId::new(session_id))
}

/// Checks a `StopSession` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn stop_session(mut request: proto::StopSessionRequest) -> Result<StopSession, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/StopSession", id, &request);
    let proto::StopSessionRequest { session_id, request_id: _ } = request;
    let session_id = SessionId::new(check.id("session_id", session_id));
    check.finish(StopSession { session_id, request: call })
}

/// Checks a `DeleteSession` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn delete_session(mut request: proto::DeleteSessionRequest) -> Result<DeleteSession, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/DeleteSession", id, &request);
    let proto::DeleteSessionRequest { session_id, etag, request_id: _ } = request;
    let session_id = SessionId::new(check.id("session_id", session_id));
    let etag = Some(check.text("etag", etag, MAX_ID)).filter(|etag| !etag.is_empty());
    check.finish(DeleteSession { session_id, etag, request: call })
}

/// Checks a `ListSessions` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn list_sessions(request: proto::ListSessionsRequest) -> Result<ListSessions, Failure> {
    let proto::ListSessionsRequest { page_size, page_token, status, profile_id, external_id, labels } = request;
    let mut check = Check::default();
    let size = check.page_size(page_size);
    let profile_id = check.text("profile_id", profile_id, MAX_ID);
    let external_id = check.external_id(external_id);
    let labels = check.labels(labels);
    let page = page::Query::new("sessions", &(status, &profile_id, &external_id, &labels));
    let position = check.take(page.position::<(Timestamp, SessionId, i64)>(&page_token));
    let (before, revision) = position.map(|(time, id, revision)| ((time, id), revision)).unzip();
    let query = SessionQuery {
        status: session_status(&mut check, status),
        profile_id: Some(profile_id).filter(|id| !id.is_empty()).map(ProfileId::new),
        external_id: Some(external_id).filter(|id| !id.is_empty()),
        labels,
        as_of: None,
        before,
        limit: size + 1,
    };
    check.finish(ListSessions { query, revision, size, page })
}

/// A list of sessions to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSessions {
    /// Which sessions.
    pub filter: SessionFilter,
    /// Only what changed after this revision.
    pub after: Option<i64>,
}

/// Checks a `WatchSessions` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn watch_sessions(request: proto::WatchSessionsRequest) -> Result<WatchSessions, Failure> {
    let proto::WatchSessionsRequest { after_revision: after, status, profile_id, labels } = request;
    let mut check = Check::default();
    if after.is_some_and(|after| after < 0) {
        check.refuse("after_revision", "must not be negative");
    }
    let profile_id = Some(check.text("profile_id", profile_id, MAX_ID)).filter(|id| !id.is_empty());
    let filter = SessionFilter {
        status: session_status(&mut check, status),
        profile_id: profile_id.map(ProfileId::new),
        labels: check.labels(labels),
    };
    check.finish(WatchSessions { filter, after })
}

fn session_status(check: &mut Check, number: i32) -> Option<SessionStatus> {
    match check.known("status", number, "SessionStatus")? {
        proto::SessionStatus::Unspecified => None,
        proto::SessionStatus::Idle => Some(SessionStatus::Idle),
        proto::SessionStatus::Running => Some(SessionStatus::Running),
        proto::SessionStatus::AwaitingInput => Some(SessionStatus::AwaitingInput),
        proto::SessionStatus::Stopped => Some(SessionStatus::Stopped),
        proto::SessionStatus::Failed => Some(SessionStatus::Failed),
        proto::SessionStatus::Deleted => Some(SessionStatus::Deleted),
    }
}

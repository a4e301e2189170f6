//! The Rust client: a thin layer over the generated stubs.
//!
//! Owns connecting, the credential, one decoded [`Error`], streams that resume by themselves, and the wire's fold
//! ([`State`]). It knows the contract and nothing of the server behind it.
//!
//! ```no_run
//! # async fn example() -> Result<(), agent_runtime::client::Error> {
//! use agent_runtime::client::{Client, State, Target};
//! use futures::TryStreamExt as _;
//!
//! let target = Target { addr: "127.0.0.1:50051".into(), key: "what stands in DIR/key".into() };
//! let client = Client::connect(target).await?;
//! let session = client.create("claude-code").await?;
//! println!("{}", client.ask(&session.session_id, "Which files are there?").await?);
//!
//! // Everything since the first event, then live; over cuts, silence and restarts of the server.
//! let (mut events, mut state) = (client.watch(&session.session_id, Some(0)), State::default());
//! while let Some(event) = events.try_next().await? {
//!     state.apply(&event);
//!     println!("{} blocks", state.as_proto().blocks.len());
//! }
//! # Ok(())
//! # }
//! ```

use std::{future::Future, time::Duration};

use futures::stream::BoxStream;
use tokio::time::timeout;

use crate::proto::{
    AnswerQuestionRequest, AnswerQuestionResponse, CancelTurnRequest, CancelTurnResponse, CreateProfileRequest,
    CreateProfileResponse, CreateSessionRequest, CreateSessionResponse, DeleteFileRequest, DeleteFileResponse,
    DeletePermissionRuleRequest, DeletePermissionRuleResponse, DeleteProfileRequest, DeleteProfileResponse,
    DeleteSessionRequest, DeleteSessionResponse, GetProfileRequest, GetProfileResponse, GetRuntimeInfoRequest,
    GetRuntimeInfoResponse, GetSessionRequest, GetSessionResponse, GetTurnRequest, GetTurnResponse,
    InterruptTurnRequest, InterruptTurnResponse, ListBlocksRequest, ListBlocksResponse, ListFilesRequest,
    ListFilesResponse, ListPermissionRulesRequest, ListPermissionRulesResponse, ListProfilesRequest,
    ListProfilesResponse, ListSandboxesRequest, ListSandboxesResponse, ListSessionsRequest, ListSessionsResponse,
    ListTurnsRequest, ListTurnsResponse, ResolvePermissionRequest, ResolvePermissionResponse, RunTurnRequest,
    SendMessageRequest, SendMessageResponse, SessionEvent, StopSessionRequest, StopSessionResponse, SyncSessionRequest,
    SyncSessionResponse, UpdateProfileRequest, UpdateProfileResponse, UpdateSessionRequest, UpdateSessionResponse,
    WatchSessionRequest, WatchSessionsRequest, WatchSessionsResponse, WriteFileRequest, WriteFileResponse,
    profile_service_client::ProfileServiceClient, runtime_service_client::RuntimeServiceClient,
    session_service_client::SessionServiceClient, workspace_service_client::WorkspaceServiceClient,
};

mod backoff;
mod connect;
mod error;
mod events;
mod files;
mod listing;
mod once;
mod pages;
mod resume;
mod run;
mod show;
mod state;
mod turn;

pub use connect::{Bearer, Target};
pub use error::{Error, FieldViolation};
pub use files::FileBytes;
pub use pages::Items;
pub use run::Blocks;
pub use show::{kind_of, words_of};
pub use state::State;
pub use tonic::Code;

use connect::{MAX_RESPONSE, Route, Stub};
use events::Watch;
use listing::Listing;
use resume::{BOOKMARK_INTERVAL, Resumable};
use turn::Run;

/// Events of a session. Ends only when there is nothing more to come, or with an error that a retry cannot help.
pub type Events = BoxStream<'static, Result<SessionEvent, Error>>;

/// Changes of the list of sessions. Ends only with an error that a retry cannot help.
pub type Changes = BoxStream<'static, Result<WatchSessionsResponse, Error>>;

/// A connection to a server. Cloning it is cheap and shares the connection.
#[derive(Clone, Debug)]
pub struct Client {
    route: Route,
    limit: Option<Duration>,
    sessions: SessionServiceClient<Stub>,
    workspace: WorkspaceServiceClient<Stub>,
    profiles: ProfileServiceClient<Stub>,
    runtime: RuntimeServiceClient<Stub>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the address or key cannot be one, and when nothing answers.
    pub async fn connect(target: Target) -> Result<Self, Error> {
        Self::connect_trusting(target, None).await
    }

    /// Connects over TLS to a server whose certificate one of these (PEM) signed. Without them, an `https` address is
    /// trusted as browsers would, and one that does not say is spoken to in the clear.
    ///
    /// # Errors
    /// As [`Client::connect`], and certificates for an `http://` address.
    pub async fn connect_trusting(target: Target, ca: Option<&[u8]>) -> Result<Self, Error> {
        let route = Route::to(target, ca)?;
        let stub = route.connect().await?;
        Ok(Self {
            sessions: connect::sessions(stub.clone()),
            workspace: WorkspaceServiceClient::new(stub.clone()).max_decoding_message_size(MAX_RESPONSE),
            profiles: ProfileServiceClient::new(stub.clone()).max_decoding_message_size(MAX_RESPONSE),
            runtime: RuntimeServiceClient::new(stub),
            limit: None,
            route,
        })
    }

    /// The same connection, over which a call has to be answered within this time, all its attempts together; else it fails
    /// with [`Code::DeadlineExceeded`]. Streams, and what is made of them, are as long as they are.
    ///
    /// ```no_run
    /// # async fn example(client: agent_runtime::client::Client) -> Result<(), agent_runtime::client::Error> {
    /// use std::time::Duration;
    ///
    /// let session = client.within(Duration::from_secs(2)).create("scripted").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self.clone() }
    }

    /// Waits for an answer as long as it may take.
    async fn bounded<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Some(limit) = self.limit else { return call.await };
        let late = |_| Error::local(Code::DeadlineExceeded, format!("no answer came within {limit:?}"));
        timeout(limit, call).await.map_err(late)?
    }

    /// Gives the agent a message, once, and streams what it does about it. Survives cut connections and restarts of the
    /// server; hanging up does not cancel the turn.
    #[must_use]
    pub fn run_turn(&self, request: RunTurnRequest) -> Events {
        self.follow(Run::new(request), BOOKMARK_INTERVAL * 3)
    }

    /// Streams a session: everything after a sequence, or a snapshot first, then live. Survives cut connections and
    /// restarts of the server; ends after the session was deleted.
    #[must_use]
    pub fn watch(&self, session_id: &str, after: Option<i64>) -> Events {
        self.watch_session(WatchSessionRequest {
            session_id: session_id.to_owned(),
            after_sequence: after,
            ..WatchSessionRequest::default()
        })
    }

    /// As [`Client::watch`], with everything a watch can be asked for.
    #[must_use]
    pub fn watch_session(&self, request: WatchSessionRequest) -> Events {
        let watch = Watch::new(request);
        let silence = watch.silence();
        self.follow(watch, silence)
    }

    /// Streams how the list of sessions changes: all of it first, or what changed after a revision, then live. Survives what
    /// [`Client::watch`] survives. Where the list has to come anew, what went away meanwhile is told as `REMOVED` before it
    /// is synced again; but a revision of the caller's that the server no longer knows is an error, for only the caller knows
    /// what it has.
    ///
    /// ```no_run
    /// # async fn example(client: agent_runtime::client::Client) -> Result<(), agent_runtime::client::Error> {
    /// use agent_runtime::proto::{SessionChangeKind, WatchSessionsRequest};
    /// use futures::TryStreamExt as _;
    ///
    /// let mut list = std::collections::BTreeMap::new();
    /// let mut changes = client.watch_sessions(WatchSessionsRequest::default());
    /// while let Some(response) = changes.try_next().await? {
    ///     for change in response.changes {
    ///         let (kind, session) = (change.kind(), change.session.unwrap_or_default());
    ///         if kind == SessionChangeKind::Removed {
    ///             list.remove(&session.session_id);
    ///         } else {
    ///             list.insert(session.session_id.clone(), session);
    ///         }
    ///     }
    ///     println!("{} sessions", list.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn watch_sessions(&self, request: WatchSessionsRequest) -> Changes {
        self.follow(Listing::new(request), BOOKMARK_INTERVAL * 3)
    }

    fn follow<R: Resumable>(&self, what: R, silence: Duration) -> BoxStream<'static, Result<R::Item, Error>> {
        resume::follow(self.route.clone(), self.sessions.clone(), what, silence)
    }
}

/// Calls with one request and one response, named as in the contract. They are made again when they are cut; those that
/// change something under one request id, the caller's or a new one.
macro_rules! calls {
    (@make $self:ident $service:ident.$call:ident($request:ident)) => {
        calls!(@make again $self $service.$call($request))
    };
    (@make $how:ident $self:ident $service:ident.$call:ident($request:ident)) => {
        once::$how($request, |request| {
            let mut stub = $self.$service.clone();
            async move { stub.$call(request).await }
        })
    };
    ($($(#[$doc:meta])* $([$once:ident])? $service:ident.$call:ident($request:ident) -> $response:ident;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// What the server refuses, or the connection's failure.
                pub async fn $call(&self, request: $request) -> Result<$response, Error> {
                    // On the heap: a request is moved through here more than once.
                    self.bounded(Box::pin(calls!(@make $($once)? self $service.$call(request)))).await
                }
            )*
        }
    };
}

calls! {
    /// Stores a session.
    [once] sessions.create_session(CreateSessionRequest) -> CreateSessionResponse;
    /// One session, and what it waits for.
    sessions.get_session(GetSessionRequest) -> GetSessionResponse;
    /// One page of sessions, newest first.
    sessions.list_sessions(ListSessionsRequest) -> ListSessionsResponse;
    /// Changes name, labels, metadata or options of a session; new options count from the next turn on.
    [once] sessions.update_session(UpdateSessionRequest) -> UpdateSessionResponse;
    /// Saves workspace and agent state now.
    [once] sessions.sync_session(SyncSessionRequest) -> SyncSessionResponse;
    /// Ends the session's turns and its sandbox; the next message starts it again.
    [once] sessions.stop_session(StopSessionRequest) -> StopSessionResponse;
    /// Stops the session and deletes all that is stored of it.
    [once] sessions.delete_session(DeleteSessionRequest) -> DeleteSessionResponse;
    /// Gives the agent a message, and returns when it is accepted.
    [once] sessions.send_message(SendMessageRequest) -> SendMessageResponse;
    /// One turn, also long after it ended.
    sessions.get_turn(GetTurnRequest) -> GetTurnResponse;
    /// One page of a session's turns.
    sessions.list_turns(ListTurnsRequest) -> ListTurnsResponse;
    /// One page of a conversation's blocks.
    sessions.list_blocks(ListBlocksRequest) -> ListBlocksResponse;
    /// Ends a turn, or whichever is active; its end follows.
    [once] sessions.interrupt_turn(InterruptTurnRequest) -> InterruptTurnResponse;
    /// Takes a turn out of the queue.
    [once] sessions.cancel_turn(CancelTurnRequest) -> CancelTurnResponse;
    /// One page of a workspace's files, by path.
    workspace.list_files(ListFilesRequest) -> ListFilesResponse;
    /// Writes a small file.
    [once] workspace.write_file(WriteFileRequest) -> WriteFileResponse;
    /// Deletes a file, a link or an empty folder.
    [once] workspace.delete_file(DeleteFileRequest) -> DeleteFileResponse;
    /// Answers a permission request; the first answer wins.
    [once] sessions.resolve_permission(ResolvePermissionRequest) -> ResolvePermissionResponse;
    /// Answers a question; the first answer wins.
    [once] sessions.answer_question(AnswerQuestionRequest) -> AnswerQuestionResponse;
    /// The standing answers of a session.
    sessions.list_permission_rules(ListPermissionRulesRequest) -> ListPermissionRulesResponse;
    /// Takes one of them back.
    [once] sessions.delete_permission_rule(DeletePermissionRuleRequest) -> DeletePermissionRuleResponse;
    /// Stores a profile.
    [once] profiles.create_profile(CreateProfileRequest) -> CreateProfileResponse;
    /// Replaces fields of a profile.
    [once] profiles.update_profile(UpdateProfileRequest) -> UpdateProfileResponse;
    /// Makes a profile unusable for new sessions.
    [once] profiles.delete_profile(DeleteProfileRequest) -> DeleteProfileResponse;
    /// One revision of a profile.
    profiles.get_profile(GetProfileRequest) -> GetProfileResponse;
    /// One page of profiles, by name.
    profiles.list_profiles(ListProfilesRequest) -> ListProfilesResponse;
    /// What the server is and can do, and who the caller is to it.
    runtime.get_runtime_info(GetRuntimeInfoRequest) -> GetRuntimeInfoResponse;
    runtime.list_sandboxes(ListSandboxesRequest) -> ListSandboxesResponse;
}

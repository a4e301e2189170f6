//! The Rust client: a thin layer over the generated stubs.
//!
//! Owns connecting, the credential, one decoded [`Error`], streams that resume by themselves, and the wire's fold
//! ([`State`]). It knows the contract and nothing of the server behind it.

use std::time::Duration;

use futures::stream::BoxStream;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

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
    WatchSessionRequest, WriteFileRequest, WriteFileResponse, profile_service_client::ProfileServiceClient,
    runtime_service_client::RuntimeServiceClient, session_service_client::SessionServiceClient,
    workspace_service_client::WorkspaceServiceClient,
};

mod backoff;
mod error;
mod files;
mod once;
mod pages;
mod resume;
mod run;
mod show;
mod state;

pub use error::{Error, FieldViolation};
pub use files::FileBytes;
pub use pages::Items;
pub use run::Blocks;
pub use show::{kind_of, words_of};
pub use state::State;
pub use tonic::Code;

/// No response is larger than 4 MiB; the rest is for what wraps it.
const MAX_RESPONSE: usize = 5 << 20;

/// Where a server is, and who calls.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `HOST:PORT`, or a whole `http://` or `https://` address.
    pub addr: String,
    /// What goes after "Bearer "; empty for a server without authentication.
    pub key: String,
}

/// Events of a session. Ends only when there is nothing more to come, or with an error that a retry cannot help.
pub type Events = BoxStream<'static, Result<SessionEvent, Error>>;

/// A connection to a server. Cloning it is cheap and shares the connection.
#[derive(Clone, Debug)]
pub struct Client {
    sessions: SessionServiceClient<InterceptedService<Channel, Bearer>>,
    workspace: WorkspaceServiceClient<InterceptedService<Channel, Bearer>>,
    profiles: ProfileServiceClient<InterceptedService<Channel, Bearer>>,
    runtime: RuntimeServiceClient<InterceptedService<Channel, Bearer>>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the address or key cannot be one, and when nothing answers.
    pub async fn connect(target: Target) -> Result<Self, Error> {
        Self::connect_trusting(target, None).await
    }

    /// Connects, over TLS where the address says `https`, to a server whose certificate one of these (PEM) signed.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_trusting(target: Target, ca: Option<&[u8]>) -> Result<Self, Error> {
        let invalid = |what: &str| Error::local(Code::InvalidArgument, format!("{what} is not valid"));
        let address = if target.addr.contains("://") { target.addr } else { format!("http://{}", target.addr) };
        let mut endpoint = Endpoint::from_shared(address.clone())
            .map_err(|_| invalid("the server address"))?
            .connect_timeout(Duration::from_secs(10))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if address.starts_with("https://") {
            let ca = ca.ok_or_else(|| {
                Error::local(Code::InvalidArgument, "an https address needs the certificate to trust (--ca FILE)")
            })?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            endpoint = endpoint.tls_config(tls).map_err(|_| invalid("the certificate"))?;
        }
        let channel = endpoint.connect().await.map_err(|cause| {
            Error::local(Code::Unavailable, format!("no server answers at {address}: {}", root_cause(&cause)))
        })?;
        let bearer = if target.key.is_empty() {
            Bearer(None)
        } else {
            let mut value: MetadataValue<Ascii> =
                format!("Bearer {}", target.key).parse().map_err(|_| invalid("the key"))?;
            value.set_sensitive(true);
            Bearer(Some(value))
        };
        Ok(Self {
            sessions: SessionServiceClient::with_interceptor(channel.clone(), bearer.clone())
                .max_decoding_message_size(MAX_RESPONSE),
            workspace: WorkspaceServiceClient::with_interceptor(channel.clone(), bearer.clone())
                .max_decoding_message_size(MAX_RESPONSE),
            profiles: ProfileServiceClient::with_interceptor(channel.clone(), bearer.clone())
                .max_decoding_message_size(MAX_RESPONSE),
            runtime: RuntimeServiceClient::with_interceptor(channel, bearer),
        })
    }

    /// Gives the agent a message, once, and streams what it does about it. Survives cut connections and restarts of the
    /// server; hanging up does not cancel the turn.
    #[must_use]
    pub fn run_turn(&self, request: RunTurnRequest) -> Events {
        resume::run_turn(self.sessions.clone(), request)
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
        resume::watch(self.sessions.clone(), request)
    }
}

/// Calls with one request and one response, named as in the contract. Those that change something are made again when they
/// are cut, under one request id: the caller's, or a new one.
macro_rules! calls {
    (@make $self:ident $service:ident.$call:ident($request:ident)) => {
        Ok($self.$service.clone().$call($request).await?.into_inner())
    };
    (@make once $self:ident $service:ident.$call:ident($request:ident)) => {
        once::once($request, |request| {
            let mut stub = $self.$service.clone();
            async move { stub.$call(request).await }
        })
        .await
    };
    ($($(#[$doc:meta])* $([$once:ident])? $service:ident.$call:ident($request:ident) -> $response:ident;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// What the server refuses, or the connection's failure.
                pub async fn $call(&self, request: $request) -> Result<$response, Error> {
                    calls!(@make $($once)? self $service.$call(request))
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

/// Puts the credential on every call.
#[derive(Clone, Debug)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// The transport's own words are only "transport error"; what happened stands at the end of its chain.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

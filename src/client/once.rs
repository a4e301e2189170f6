//! Calls that are made again while what went wrong may pass. One that changes something carries a request id, so that nothing
//! is done twice.

use std::future::Future;

use tokio::time::sleep;
use tonic::{Response, Status};
use ulid::Ulid;

use super::{Error, backoff::Backoff};
use crate::proto::{
    AnswerQuestionRequest, CancelTurnRequest, CreateProfileRequest, CreateSessionRequest, DeleteFileRequest,
    DeletePermissionRuleRequest, DeleteProfileRequest, DeleteSessionRequest, InterruptTurnRequest,
    ResolvePermissionRequest, RunTurnRequest, SendMessageRequest, StopSessionRequest, SyncSessionRequest,
    UpdateProfileRequest, UpdateSessionRequest, UploadFileHeader, WriteFileRequest,
};

/// How often a call is made before its caller is told that it failed: two to three seconds of pauses.
const ATTEMPTS: usize = 6;

/// A request that changes something.
pub(super) trait Changes: Clone {
    /// Where its id stands.
    fn request_id(&mut self) -> &mut String;

    /// The same request with an id: its own, or a new one.
    fn named(mut self) -> Self {
        let id = self.request_id();
        if id.is_empty() {
            *id = Ulid::new().to_string();
        }
        self
    }
}

macro_rules! changes {
    ($($request:ident,)*) => {
        $(impl Changes for $request {
            fn request_id(&mut self) -> &mut String {
                &mut self.request_id
            }
        })*
    };
}

changes! {
    CreateSessionRequest,
    UpdateSessionRequest,
    SyncSessionRequest,
    StopSessionRequest,
    DeleteSessionRequest,
    SendMessageRequest,
    InterruptTurnRequest,
    CancelTurnRequest,
    ResolvePermissionRequest,
    AnswerQuestionRequest,
    DeletePermissionRuleRequest,
    RunTurnRequest,
    WriteFileRequest,
    UploadFileHeader,
    DeleteFileRequest,
    CreateProfileRequest,
    UpdateProfileRequest,
    DeleteProfileRequest,
}

/// Makes a call that changes something, under one id.
pub(super) async fn once<Q: Changes, A, F: Future<Output = Result<Response<A>, Status>>>(
    request: Q,
    call: impl Fn(Q) -> F,
) -> Result<A, Error> {
    again(request.named(), call).await
}

/// Makes a call, and makes it again while what went wrong may pass.
pub(super) async fn again<Q: Clone, A, F: Future<Output = Result<Response<A>, Status>>>(
    request: Q,
    call: impl Fn(Q) -> F,
) -> Result<A, Error> {
    let mut backoff = Backoff::default();
    for _ in 1..ATTEMPTS {
        match call(request.clone()).await.map_err(Error::from) {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "the call was cut; making it again");
                sleep(backoff.next(error.retry_after)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(call(request).await?.into_inner())
}

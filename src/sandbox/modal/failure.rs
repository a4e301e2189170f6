//! What a refusal of Modal's means for whoever asked for a sandbox: the one map from its statuses to our errors.

use tonic::{Code, Status};

use crate::sandbox::Error;

/// A call about a sandbox failed.
pub(super) fn of(status: &Status) -> Error {
    match status.code() {
        Code::NotFound | Code::FailedPrecondition => Error::Gone(said(status)),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => unavailable(status),
    }
}

/// A call failed that is about no sandbox in particular, or whose failure says nothing of one.
pub(super) fn unavailable(status: &Status) -> Error {
    Error::Unavailable(said(status))
}

fn said(status: &Status) -> String {
    if status.message().is_empty() {
        format!("Modal: {}", status.code())
    } else {
        format!("Modal: {}", status.message())
    }
}

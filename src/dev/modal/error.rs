//! Why the emulator does not do what it is asked, each with the status that Modal is known or thought to answer.

use tonic::{Code, Status};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// There is no such thing, or not any more.
    #[error("{0}")]
    NotFound(String),
    /// The request says something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// There is one already.
    #[error("{0}")]
    Exists(String),
    /// Not in the state that things are in.
    #[error("{0}")]
    State(String),
    /// Somebody else is at it.
    #[error("{0}")]
    Aborted(String),
    /// Who asks is not who they must be.
    #[error("{0}")]
    Unauthenticated(String),
    /// Modal can do it and the emulator cannot.
    #[error("the emulator does not have {0}")]
    NotEmulated(&'static str),
    /// The emulator's machine fails.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// Something of this machine failed.
    pub(super) fn internal(what: &str, error: impl std::fmt::Display) -> Self {
        Self::Internal(format!("{what}: {error}"))
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::NotFound(_) => Code::NotFound,
            Error::Invalid(_) => Code::InvalidArgument,
            Error::Exists(_) => Code::AlreadyExists,
            Error::State(_) => Code::FailedPrecondition,
            Error::Aborted(_) => Code::Aborted,
            Error::Unauthenticated(_) => Code::Unauthenticated,
            Error::NotEmulated(_) => Code::Unimplemented,
            Error::Internal(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

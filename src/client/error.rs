//! The one error of the client: what the server said, decoded.

use std::{collections::BTreeMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::proto::{ErrorReason, Turn};

/// Why a call, a stream or a turn failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}{}{}", Hint(reason), Fields(field_violations))]
pub struct Error {
    /// The gRPC code.
    pub code: Code,
    /// `ErrorInfo.reason`, as `ErrorReason` spells it without its prefix; empty when the answer is not the server's own.
    pub reason: String,
    /// For people.
    pub message: String,
    /// What the reason tells beside itself; the keys stand at each `ErrorReason`.
    pub metadata: BTreeMap<String, String>,
    /// Every field that was refused, and why.
    pub field_violations: Vec<FieldViolation>,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// A field that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Its path in the request.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// An error found on this side.
    pub(super) fn local(code: Code, message: impl Into<String>) -> Self {
        let (reason, metadata, field_violations) = (String::new(), BTreeMap::new(), Vec::new());
        Self { code, reason, message: message.into(), metadata, field_violations, retry_after: None }
    }

    /// The server sent what the contract does not allow.
    pub(super) fn odd(what: &str) -> Self {
        Self::local(Code::Internal, format!("the server sent {what}"))
    }

    /// Why a turn did not complete.
    pub(super) fn of_turn(turn: &Turn) -> Self {
        let status = turn.status().as_str_name().trim_start_matches("TURN_STATUS_");
        let mut error = Self::local(Code::Aborted, format!("the turn ended as {status}"));
        if let Some(told) = &turn.error {
            if !told.message.is_empty() {
                error.message = format!("{}: {}", error.message, told.message);
            }
            if told.reason() != ErrorReason::Unspecified {
                error.reason = told.reason().as_str_name().trim_start_matches("ERROR_REASON_").into();
            }
            error.metadata.extend(told.metadata.clone());
        }
        error
    }

    /// Whether the same stream, opened again, may go on: the server said so, or it was the connection that failed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.reason.as_str() {
            "" => {
                self.retry_after.is_some()
                    || matches!(
                        self.code,
                        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded
                    )
            }
            "RATE_LIMITED" | "TOO_MANY_WATCHERS" => true,
            _ => self.code == Code::Unavailable || self.retry_after.is_some(),
        }
    }

    /// Whether the cursor means nothing to this log any more, so that only a snapshot helps.
    pub(super) fn wants_snapshot(&self) -> bool {
        self.code == Code::OutOfRange && matches!(self.reason.as_str(), "SEQUENCE_TRUNCATED" | "SESSION_REPLACED")
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        Self {
            code: status.code(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            message: if status.message().is_empty() {
                status.code().description().to_owned()
            } else {
                status.message().to_owned()
            },
            metadata: details.error_info().map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default(),
            field_violations: violations
                .iter()
                .map(|violation| FieldViolation {
                    field: violation.field.clone(),
                    description: violation.description.clone(),
                })
                .collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

struct Hint<'a>(&'a str);

impl std::fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " [{}]", self.0) }
    }
}

struct Fields<'a>(&'a [FieldViolation]);

impl std::fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|violation| write!(f, "\n  {}: {}", violation.field, violation.description))
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn details_are_decoded() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_FIELD", "agentruntime.v1", std::collections::HashMap::new())
            .set_retry_info(Some(Duration::from_millis(800)))
            .add_bad_request_violation("options.model", "at most 128 characters");
        let error = Error::from(Status::with_error_details(Code::InvalidArgument, "no", details));
        assert_eq!((error.code, error.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
        assert_eq!(error.retry_after, Some(Duration::from_millis(800)));
        assert_eq!(error.to_string(), "no [INVALID_FIELD]\n  options.model: at most 128 characters");
    }

    #[test]
    fn only_what_may_pass_is_transient() {
        assert!(Error::from(Status::unavailable("gone")).is_transient());
        assert!(!Error::from(Status::not_found("no")).is_transient());
        let mut details = ErrorDetails::new();
        details.set_error_info("SEQUENCE_AHEAD", "agentruntime.v1", std::collections::HashMap::new());
        let ahead = Error::from(Status::with_error_details(Code::OutOfRange, "ahead", details));
        assert!(!ahead.is_transient() && !ahead.wants_snapshot());
        let mut details = ErrorDetails::new();
        details.set_error_info("AGENT_FAILED", "agentruntime.v1", std::collections::HashMap::new());
        assert!(!Error::from(Status::with_error_details(Code::Internal, "agent", details)).is_transient());
    }
}

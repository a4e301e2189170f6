//! How failures leave the server: the only place that turns a [`Failure`] into a [`Status`].
//!
//! Statuses travel in trailers, which many clients limit to 8 KiB, so everything a failure says is cut to fit.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::fields::UNBUILT;
use crate::{
    domain::{Failure, Reason},
    proto::ERROR_DOMAIN,
};

/// Longest message, in bytes.
const MESSAGE: usize = 512;
/// Longest value of metadata, in bytes.
const VALUE: usize = 256;
/// Longest field path, in bytes.
const FIELD: usize = 128;
/// All violations together, in bytes.
const VIOLATIONS: usize = 2000;

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let Failure { reason, message, metadata, violations } = failure;
        let retry = retry_after(reason, metadata.get("retry_after_ms").map(String::as_str));
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(key, value)| (key.to_owned(), clip(&value, VALUE).to_owned())).collect();
        let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, metadata);
        let mut left = VIOLATIONS;
        for violation in &violations {
            let (field, rule) = (clip(&violation.field, FIELD), clip(&violation.rule, VALUE));
            let Some(rest) = left.checked_sub(field.len() + rule.len()) else { break };
            left = rest;
            details.add_bad_request_violation(field, rule);
        }
        if let Some(delay) = retry {
            details.set_retry_info(Some(delay));
        }
        Self::with_error_details(code(reason).unwrap_or(Code::Internal), clip(&message, MESSAGE), details)
    }
}

/// The code that the contract names at each reason. `None`: it is told in a turn's error and never refuses a call.
#[must_use]
pub fn code(reason: Reason) -> Option<Code> {
    match reason {
        Reason::InvalidField | Reason::WorkspacePath => Some(Code::InvalidArgument),
        Reason::NotImplemented => Some(Code::Unimplemented),
        Reason::RequestIdReused | Reason::ExternalIdInUse => Some(Code::AlreadyExists),
        Reason::EtagMismatch => Some(Code::Aborted),
        Reason::AuthMissing | Reason::AuthInvalid => Some(Code::Unauthenticated),
        Reason::AccessDenied => Some(Code::PermissionDenied),
        Reason::SessionNotFound
        | Reason::TurnNotFound
        | Reason::PermissionNotFound
        | Reason::PermissionRuleNotFound
        | Reason::QuestionNotFound
        | Reason::BlockNotFound
        | Reason::BlobNotFound
        | Reason::FileNotFound
        | Reason::ProfileNotFound
        | Reason::ApiKeyNotFound => Some(Code::NotFound),
        Reason::SessionBusy
        | Reason::TurnStarted
        | Reason::TurnFinished
        | Reason::AlreadyResolved
        | Reason::AgentUnavailable
        | Reason::SandboxUnsuitable
        | Reason::SandboxOutOfReach => Some(Code::FailedPrecondition),
        Reason::SequenceTruncated | Reason::SequenceAhead | Reason::SessionReplaced => Some(Code::OutOfRange),
        Reason::MessageTooLarge
        | Reason::QuotaExceeded
        | Reason::RateLimited
        | Reason::QueueFull
        | Reason::BudgetExhausted
        | Reason::TooManyWatchers
        | Reason::ModelProviderLimit
        | Reason::StorageFull => Some(Code::ResourceExhausted),
        Reason::AgentFailed => Some(Code::Internal),
        Reason::SandboxFailed | Reason::StorageUnavailable | Reason::ShuttingDown | Reason::SecondServer => {
            Some(Code::Unavailable)
        }
        Reason::TurnCancelled | Reason::TurnLost | Reason::BlockTooLarge => None,
    }
}

/// When to come back: for what passes by itself or by what others do. `told` is what the failure itself knows.
fn retry_after(reason: Reason, told: Option<&str>) -> Option<Duration> {
    let usual = match reason {
        Reason::ShuttingDown => Duration::from_millis(500),
        Reason::StorageUnavailable | Reason::SecondServer | Reason::RateLimited => Duration::from_secs(1),
        Reason::SandboxFailed | Reason::QueueFull | Reason::TooManyWatchers | Reason::StorageFull => {
            Duration::from_secs(2)
        }
        Reason::QuotaExceeded | Reason::ModelProviderLimit => Duration::from_secs(10),
        Reason::InvalidField
        | Reason::NotImplemented
        | Reason::MessageTooLarge
        | Reason::WorkspacePath
        | Reason::RequestIdReused
        | Reason::ExternalIdInUse
        | Reason::EtagMismatch
        | Reason::AuthMissing
        | Reason::AuthInvalid
        | Reason::AccessDenied
        | Reason::SessionNotFound
        | Reason::TurnNotFound
        | Reason::PermissionNotFound
        | Reason::PermissionRuleNotFound
        | Reason::QuestionNotFound
        | Reason::BlockNotFound
        | Reason::BlobNotFound
        | Reason::FileNotFound
        | Reason::ProfileNotFound
        | Reason::ApiKeyNotFound
        | Reason::SessionBusy
        | Reason::TurnStarted
        | Reason::TurnFinished
        | Reason::AlreadyResolved
        | Reason::BudgetExhausted
        | Reason::TurnCancelled
        | Reason::TurnLost
        | Reason::SequenceTruncated
        | Reason::SequenceAhead
        | Reason::SessionReplaced
        | Reason::AgentUnavailable
        | Reason::AgentFailed
        | Reason::SandboxUnsuitable
        | Reason::SandboxOutOfReach
        | Reason::BlockTooLarge => return None,
    };
    Some(told.and_then(|millis| millis.parse().ok()).map_or(usual, Duration::from_millis))
}

/// What a request gets that is larger than the server reads at all: tonic says `OUT_OF_RANGE` then, which the contract
/// keeps for sequences.
#[must_use]
pub fn oversize(limit: usize) -> Status {
    Failure::new(Reason::MessageTooLarge, format!("a request is at most {limit} bytes; send less"))
        .with("field", "")
        .with("limit_bytes", limit)
        .into()
}

/// What a call gets that is not built, by its name in [`super::fields::UNBUILT`].
#[must_use]
pub fn not_implemented(method: &str) -> Status {
    Failure::new(Reason::NotImplemented, format!("{method} is not built in this version")).with("method", method).into()
}

/// Refuses a call that is not built.
pub(super) fn built(method: &str) -> Result<(), Status> {
    if UNBUILT.contains(&method) { Err(not_implemented(method)) } else { Ok(()) }
}

/// At most `limit` bytes, cut at a character.
fn clip(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::{Failure, Reason, Status, oversize};
    use crate::domain::Violation;

    #[test]
    fn a_refused_field_is_told_twice() {
        let status = Status::from(Failure::invalid("options.model", "at most 128 characters"));
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "options.model: at most 128 characters"));
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_FIELD", "agentruntime.v1"));
        assert_eq!(info.metadata["field"], "options.model");
        assert_eq!(details.bad_request().unwrap().field_violations.len(), 1);
        assert!(details.retry_info().is_none());
    }

    #[test]
    fn what_passes_says_when_to_come_back() {
        let delay = |failure: Failure| Status::from(failure).get_details_retry_info().and_then(|info| info.retry_delay);
        let limited = Failure::new(Reason::RateLimited, "slow down").with("retry_after_ms", 800);
        assert_eq!(delay(limited), Some(Duration::from_millis(800)));
        for reason in Reason::ALL {
            let told = delay(Failure::new(*reason, "")).is_some();
            let code = super::code(*reason);
            assert!(told || code != Some(Code::Unavailable), "{reason:?} is unavailable: say for how long");
            assert!(!told || matches!(code, Some(Code::Unavailable | Code::ResourceExhausted)), "{reason:?}");
        }
    }

    #[test]
    fn a_status_fits_into_trailers_whatever_is_said() {
        let long = "\u{e4}".repeat(5000);
        let mut failure = Failure::invalid(&long, &long).with("size_bytes", &long).with("limit_bytes", &long);
        failure.violations = vec![Violation { field: long.clone(), rule: long.clone() }; 100];
        let status = Status::from(failure);
        let details = status.details().len() * 4 / 3;
        assert!(details + status.message().len() * 3 < 8000, "{details}");
        assert!(status.get_error_details().bad_request().unwrap().field_violations.len() > 3);
    }

    #[test]
    fn an_oversized_request_is_not_out_of_range() {
        let status = oversize(8 << 20);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.get_details_error_info().unwrap().metadata["limit_bytes"], "8388608");
        assert!(status.get_details_retry_info().is_none());
    }
}

//! Errors that events and records tell. Those that refuse a call are `status`'s.

use super::number;
use crate::{
    domain::{Reason, SessionError},
    proto,
};

impl From<SessionError> for proto::SessionError {
    fn from(error: SessionError) -> Self {
        let SessionError { reason, message, retryable, metadata } = error;
        Self { reason: number::<_, proto::ErrorReason>(reason), message, retryable, metadata }
    }
}

impl From<Reason> for proto::ErrorReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::InvalidField => Self::InvalidField,
            Reason::NotImplemented => Self::NotImplemented,
            Reason::MessageTooLarge => Self::MessageTooLarge,
            Reason::WorkspacePath => Self::WorkspacePath,
            Reason::RequestIdReused => Self::RequestIdReused,
            Reason::ExternalIdInUse => Self::ExternalIdInUse,
            Reason::EtagMismatch => Self::EtagMismatch,
            Reason::AuthMissing => Self::AuthMissing,
            Reason::AuthInvalid => Self::AuthInvalid,
            Reason::AccessDenied => Self::AccessDenied,
            Reason::QuotaExceeded => Self::QuotaExceeded,
            Reason::RateLimited => Self::RateLimited,
            Reason::SessionNotFound => Self::SessionNotFound,
            Reason::TurnNotFound => Self::TurnNotFound,
            Reason::PermissionNotFound => Self::PermissionNotFound,
            Reason::PermissionRuleNotFound => Self::PermissionRuleNotFound,
            Reason::QuestionNotFound => Self::QuestionNotFound,
            Reason::BlockNotFound => Self::BlockNotFound,
            Reason::BlobNotFound => Self::BlobNotFound,
            Reason::FileNotFound => Self::FileNotFound,
            Reason::ProfileNotFound => Self::ProfileNotFound,
            Reason::ApiKeyNotFound => Self::ApiKeyNotFound,
            Reason::SessionBusy => Self::SessionBusy,
            Reason::QueueFull => Self::QueueFull,
            Reason::TurnStarted => Self::TurnStarted,
            Reason::TurnFinished => Self::TurnFinished,
            Reason::AlreadyResolved => Self::AlreadyResolved,
            Reason::BudgetExhausted => Self::BudgetExhausted,
            Reason::TurnCancelled => Self::TurnCancelled,
            Reason::TurnLost => Self::TurnLost,
            Reason::SequenceTruncated => Self::SequenceTruncated,
            Reason::SequenceAhead => Self::SequenceAhead,
            Reason::SessionReplaced => Self::SessionReplaced,
            Reason::TooManyWatchers => Self::TooManyWatchers,
            Reason::AgentUnavailable => Self::AgentUnavailable,
            Reason::AgentFailed => Self::AgentFailed,
            Reason::ModelProviderLimit => Self::ModelProviderLimit,
            Reason::SandboxUnsuitable => Self::SandboxUnsuitable,
            Reason::SandboxFailed => Self::SandboxFailed,
            Reason::SandboxOutOfReach => Self::SandboxOutOfReach,
            Reason::BlockTooLarge => Self::BlockTooLarge,
            Reason::StorageUnavailable => Self::StorageUnavailable,
            Reason::ShuttingDown => Self::ShuttingDown,
            Reason::SecondServer => Self::SecondServer,
            Reason::StorageFull => Self::StorageFull,
        }
    }
}

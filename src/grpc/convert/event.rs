//! Events.

use super::{duration, list, metadata, number, timestamp};
use crate::{
    domain::{BlockId, BlockPatch, Event, Kind, LogLevel, SessionUpdate},
    proto::{self, session_event},
};

impl From<Event> for proto::SessionEvent {
    fn from(event: Event) -> Self {
        let Event { sequence, first_sequence, conversation_id, time, actor, kind } = event;
        Self {
            sequence,
            // An event that stands for itself alone says nothing.
            first_sequence: if first_sequence == sequence { 0 } else { first_sequence },
            conversation_id: conversation_id.to_string(),
            event_time: Some(timestamp(time)),
            actor: actor.map(Into::into),
            kind: Some(kind.into()),
        }
    }
}

impl From<Kind> for session_event::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::BlockStart { block } => Self::BlockStart(Box::new(proto::BlockStart { block: Some(block.into()) })),
            Kind::BlockDelta { block_id, delta, offset } => {
                Self::BlockDelta(proto::BlockDelta { block_id: block_id.to_string(), delta, offset })
            }
            Kind::BlockUpdate { block_id, patch } => Self::BlockUpdate(Box::new(block_update(&block_id, patch))),
            Kind::BlockComplete { block } => {
                Self::BlockComplete(Box::new(proto::BlockComplete { block: Some(block.into()) }))
            }
            Kind::TurnUpdated { turn } => Self::TurnUpdated(Box::new(proto::TurnUpdated { turn: Some(turn.into()) })),
            Kind::TurnQueued { turn } => Self::TurnQueued(Box::new(proto::TurnQueued { turn: Some(turn.into()) })),
            Kind::ConversationUpdated { conversation, session_usage } => {
                Self::ConversationUpdated(Box::new(proto::ConversationUpdated {
                    conversation: Some(conversation.into()),
                    session_usage: Some(session_usage.into()),
                }))
            }
            Kind::SessionCreated { session } => {
                Self::SessionCreated(Box::new(proto::SessionCreated { session: Some((*session).into()) }))
            }
            Kind::SessionUpdated(update) => Self::SessionUpdated(Box::new(update.into())),
            Kind::StatusChanged { status, reason, error } => Self::StatusChanged(Box::new(proto::StatusChanged {
                status: number::<_, proto::SessionStatus>(status),
                reason,
                error: error.map(Into::into),
            })),
            Kind::SandboxChanged { sandbox } => {
                Self::SandboxChanged(Box::new(proto::SandboxChanged { sandbox: Some(sandbox.into()) }))
            }
            Kind::PermissionRequested { permission } => {
                Self::PermissionRequested(Box::new(proto::PermissionRequested { permission: Some(permission.into()) }))
            }
            Kind::PermissionResolved { permission_id, resolution } => {
                Self::PermissionResolved(Box::new(proto::PermissionResolved {
                    permission_id,
                    resolution: Some(resolution.into()),
                }))
            }
            Kind::PermissionRulesChanged { rules } => {
                Self::PermissionRulesChanged(proto::PermissionRulesChanged { rules: list(rules) })
            }
            Kind::QuestionRequested { question } => {
                Self::QuestionRequested(Box::new(proto::QuestionRequested { question: Some(question.into()) }))
            }
            Kind::QuestionResolved { question_id, resolution } => {
                Self::QuestionResolved(Box::new(proto::QuestionResolved {
                    question_id,
                    resolution: Some(resolution.into()),
                }))
            }
            Kind::FilesChanged { changes, more } => {
                Self::FilesChanged(proto::FilesChanged { changes: list(changes), more })
            }
            Kind::ErrorOccurred { error } => Self::Error(proto::ErrorOccurred { error: Some(error.into()) }),
            Kind::Log { level, message } => {
                Self::Log(proto::LogEntry { level: number::<_, proto::LogLevel>(level), message })
            }
            Kind::UnparsedOutput { raw, truncated_bytes } => {
                Self::UnparsedOutput(proto::UnparsedOutput { raw: raw.into(), truncated_bytes })
            }
        }
    }
}

fn block_update(block_id: &BlockId, patch: BlockPatch) -> proto::BlockUpdate {
    let BlockPatch {
        status,
        input_json,
        truncated_bytes,
        duration: took,
        display_name,
        description,
        summary,
        output,
        exit_code,
    } = patch;
    proto::BlockUpdate {
        block_id: block_id.to_string(),
        status: status.map(number::<_, proto::ExecutionStatus>),
        input_json,
        truncated_bytes,
        duration: took.map(duration),
        display_name,
        description,
        summary,
        output,
        exit_code,
    }
}

impl From<SessionUpdate> for proto::SessionUpdated {
    fn from(update: SessionUpdate) -> Self {
        let SessionUpdate { name, labels, metadata: own, options, etag } = update;
        Self { name, labels, metadata: own.map(metadata), options: Some(options.into()), etag }
    }
}

impl From<LogLevel> for proto::LogLevel {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warn,
            LogLevel::Error => Self::Error,
        }
    }
}

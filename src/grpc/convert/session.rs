//! The record of a session, and the state that its events fold to.

use super::{duration, list, metadata, number, text, timestamp};
use crate::{
    domain::{Budget, Conversation, Session, SessionOptions, SessionState, SessionStatus, Turn},
    proto,
    session::Created,
    store::{ListChange, ListedChange, SessionView},
};

/// A session as calls show it: the record, the turn that holds it, and those that wait, next first.
#[must_use]
pub fn session(
    record: Session,
    oldest_sequence: i64,
    active_turn: Option<Turn>,
    queued_turns: Vec<Turn>,
) -> proto::Session {
    proto::Session {
        oldest_sequence,
        active_turn: active_turn.map(|turn| Box::new(turn.into())),
        queued_turns: list(queued_turns),
        ..record.into()
    }
}

/// The record alone, as events and states hold it: `oldest_sequence` and the turns are unset.
impl From<Session> for proto::Session {
    fn from(session: Session) -> Self {
        let Session {
            session_id,
            uid,
            external_id,
            agent,
            name,
            status,
            profile_id,
            profile_revision,
            sequence,
            sandbox,
            // How to start the next sandbox, and with what, is the server's affair.
            sandbox_spec: _,
            workspace: _,
            seed_files: _,
            options,
            usage,
            labels,
            metadata: own,
            created_by,
            create_time,
            last_activity_time,
            etag,
            error,
        } = session;
        Self {
            session_id: session_id.to_string(),
            uid: uid.to_string(),
            external_id,
            agent: agent.to_string(),
            name,
            status: number::<_, proto::SessionStatus>(status),
            profile_id: profile_id.to_string(),
            profile_revision,
            sequence,
            oldest_sequence: 0,
            active_turn: None,
            queued_turns: Vec::new(),
            sandbox: sandbox.map(Into::into),
            options: Some(options.into()),
            usage: Some(usage.into()),
            labels,
            metadata: own.map(metadata),
            created_by: Some(created_by.into()),
            create_time: Some(timestamp(create_time)),
            last_activity_time: Some(timestamp(last_activity_time)),
            etag,
            error: error.map(Into::into),
        }
    }
}

impl From<SessionView> for proto::Session {
    fn from(view: SessionView) -> Self {
        let SessionView {
            session: record,
            oldest_sequence,
            active_turn,
            queued_turns,
            open_permissions: _,
            open_questions: _,
        } = view;
        session(record, oldest_sequence, active_turn, queued_turns)
    }
}

/// As lists that are watched show it: without what changes all the time.
fn basic(view: SessionView) -> proto::Session {
    let mut session = proto::Session {
        sequence: 0,
        oldest_sequence: 0,
        usage: None,
        last_activity_time: None,
        ..proto::Session::from(view)
    };
    for turn in session.active_turn.as_deref_mut().into_iter().chain(&mut session.queued_turns) {
        turn.usage = None;
    }
    session
}

impl From<ListedChange> for proto::SessionChange {
    fn from(listed: ListedChange) -> Self {
        let ListedChange { revision: _, change, view } = listed;
        let session = match change {
            ListChange::Added | ListChange::Modified => basic(view),
            ListChange::Removed => proto::Session {
                session_id: view.session.session_id.to_string(),
                uid: view.session.uid.to_string(),
                status: number::<_, proto::SessionStatus>(view.session.status),
                ..proto::Session::default()
            },
        };
        Self { kind: number::<_, proto::SessionChangeKind>(change), session: Some(session) }
    }
}

impl From<ListChange> for proto::SessionChangeKind {
    fn from(change: ListChange) -> Self {
        match change {
            ListChange::Added => Self::Added,
            ListChange::Modified => Self::Modified,
            ListChange::Removed => Self::Removed,
        }
    }
}

impl From<Created> for proto::CreateSessionResponse {
    fn from(created: Created) -> Self {
        let Created { view, turn, sequence } = created;
        Self { session: Some(view.into()), turn: turn.map(Into::into), sequence }
    }
}

impl From<SessionView> for proto::GetSessionResponse {
    fn from(view: SessionView) -> Self {
        let SessionView {
            session: record,
            oldest_sequence,
            active_turn,
            queued_turns,
            open_permissions,
            open_questions,
        } = view;
        Self {
            session: Some(session(record, oldest_sequence, active_turn, queued_turns)),
            open_permissions: list(open_permissions),
            open_questions: list(open_questions),
        }
    }
}

impl From<SessionState> for proto::SessionState {
    fn from(state: SessionState) -> Self {
        let active_turn = state.active_turn().cloned();
        let SessionState {
            session: record,
            turns,
            conversations,
            permissions,
            questions,
            permission_rules,
            files,
            blocks,
        } = state;
        let queued = Turn::queue(&turns).into_iter().cloned().collect();
        Self {
            session: Some(proto::Session {
                active_turn: active_turn.map(|turn| Box::new(turn.into())),
                queued_turns: list(queued),
                ..record.into()
            }),
            turns: list(turns),
            conversations: list(conversations),
            permissions: list(permissions),
            questions: list(questions),
            permission_rules: list(permission_rules),
            files: list(files),
            blocks: list(blocks),
        }
    }
}

impl From<SessionStatus> for proto::SessionStatus {
    fn from(status: SessionStatus) -> Self {
        match status {
            SessionStatus::Idle => Self::Idle,
            SessionStatus::Running => Self::Running,
            SessionStatus::AwaitingInput => Self::AwaitingInput,
            SessionStatus::Stopped => Self::Stopped,
            SessionStatus::Failed => Self::Failed,
            SessionStatus::Deleted => Self::Deleted,
        }
    }
}

impl From<Conversation> for proto::Conversation {
    fn from(conversation: Conversation) -> Self {
        let Conversation { conversation_id, parent_conversation_id, name, status, tool_use_id, model, usage } =
            conversation;
        Self {
            conversation_id: conversation_id.to_string(),
            parent_conversation_id: text(parent_conversation_id),
            name,
            status: status.map(number::<_, proto::ExecutionStatus>).unwrap_or_default(),
            tool_use_id,
            model,
            usage: Some(usage.into()),
        }
    }
}

impl From<SessionOptions> for proto::SessionOptions {
    fn from(options: SessionOptions) -> Self {
        let SessionOptions { model, permission_mode, budget, idle_timeout } = options;
        Self { model, permission_mode, budget: budget.map(Into::into), idle_timeout: idle_timeout.map(duration) }
    }
}

impl From<Budget> for proto::Budget {
    fn from(budget: Budget) -> Self {
        let Budget { session_cost_micro_usd, turn_cost_micro_usd, turn_steps, turn_duration } = budget;
        Self { session_cost_micro_usd, turn_cost_micro_usd, turn_steps, turn_duration: turn_duration.map(duration) }
    }
}

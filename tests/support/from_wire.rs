//! Messages back to the domain: the other direction of `grpc::convert`, which the server never needs. It trusts that the
//! server wrote them, and panics where it did not.

use std::time::Duration;

use agent_runtime::{
    domain::{
        Agent, Blob, Block, BlockId, BlockPatch, BlockState, Budget, Content, ContentPart, Conversation,
        ConversationId, Event, ExecutionStatus, FileChange, FileChangeKind, FileChangeOrigin, FileType, InputOutcome,
        InputResolution, Isolation, Kind, LogLevel, LogUid, Metadata, Meter, NoticeKind, PermissionEffect,
        PermissionOption, PermissionOptionKind, PermissionRequest, PermissionRule, Principal, PrincipalKind, ProfileId,
        Question, QuestionAnswer, QuestionChoice, QuestionItem, Reason, Sandbox, SandboxId, SandboxSpec, SandboxStatus,
        Session, SessionError, SessionId, SessionOptions, SessionState, SessionStatus, SessionUpdate, SubagentCall,
        Timestamp, ToolOutput, ToolResult, ToolUse, Turn, TurnId, TurnOrigin, TurnStatus, Usage, UserMessage,
        WorkspaceFile,
    },
    proto::{self, block, content_part, session_event, tool_result},
};

pub fn event(wire: proto::SessionEvent) -> Event {
    Event {
        sequence: wire.sequence,
        first_sequence: if wire.first_sequence == 0 { wire.sequence } else { wire.first_sequence },
        conversation_id: ConversationId::new(wire.conversation_id),
        time: time(wire.event_time.unwrap()),
        actor: wire.actor.map(principal),
        kind: kind(wire.kind.unwrap()),
    }
}

pub fn state(wire: proto::SessionState) -> SessionState {
    SessionState {
        session: session(wire.session.unwrap()),
        turns: list(wire.turns, turn),
        conversations: list(wire.conversations, conversation),
        permissions: list(wire.permissions, permission),
        questions: list(wire.questions, question),
        permission_rules: list(wire.permission_rules, rule),
        files: list(wire.files, file),
        blocks: list(wire.blocks, block),
    }
}

fn kind(wire: session_event::Kind) -> Kind {
    use session_event::Kind as Wire;

    match wire {
        Wire::BlockStart(e) => Kind::BlockStart { block: block(e.block.unwrap()) },
        Wire::BlockDelta(e) => {
            Kind::BlockDelta { block_id: BlockId::new(e.block_id), delta: e.delta, offset: e.offset }
        }
        Wire::BlockUpdate(e) => Kind::BlockUpdate {
            block_id: BlockId::new(e.block_id.clone()),
            patch: BlockPatch {
                status: e.status.map(execution),
                input_json: e.input_json,
                truncated_bytes: e.truncated_bytes,
                duration: e.duration.map(duration),
                display_name: e.display_name,
                description: e.description,
                summary: e.summary,
                output: e.output,
                exit_code: e.exit_code,
            },
        },
        Wire::BlockComplete(e) => Kind::BlockComplete { block: block(e.block.unwrap()) },
        Wire::TurnUpdated(e) => Kind::TurnUpdated { turn: turn(e.turn.unwrap()) },
        Wire::TurnQueued(e) => Kind::TurnQueued { turn: turn(e.turn.unwrap()) },
        Wire::ConversationUpdated(e) => Kind::ConversationUpdated {
            conversation: conversation(e.conversation.unwrap()),
            session_usage: usage(e.session_usage.unwrap()),
        },
        Wire::SessionCreated(e) => Kind::SessionCreated { session: Box::new(session(e.session.unwrap())) },
        Wire::SessionUpdated(e) => Kind::SessionUpdated(SessionUpdate {
            name: e.name,
            labels: e.labels,
            metadata: e.metadata.map(metadata),
            options: options(e.options.unwrap()),
            etag: e.etag,
        }),
        Wire::StatusChanged(e) => Kind::StatusChanged {
            status: session_status(e.status()),
            reason: e.reason.clone(),
            error: e.error.map(error),
        },
        Wire::SandboxChanged(e) => Kind::SandboxChanged { sandbox: sandbox(e.sandbox.unwrap()) },
        Wire::PermissionRequested(e) => Kind::PermissionRequested { permission: permission(e.permission.unwrap()) },
        Wire::PermissionResolved(e) => {
            Kind::PermissionResolved { permission_id: e.permission_id, resolution: resolution(e.resolution.unwrap()) }
        }
        Wire::PermissionRulesChanged(e) => Kind::PermissionRulesChanged { rules: list(e.rules, rule) },
        Wire::QuestionRequested(e) => Kind::QuestionRequested { question: question(e.question.unwrap()) },
        Wire::QuestionResolved(e) => {
            Kind::QuestionResolved { question_id: e.question_id, resolution: resolution(e.resolution.unwrap()) }
        }
        Wire::FilesChanged(e) => Kind::FilesChanged { changes: list(e.changes, file_change), more: e.more },
        Wire::Error(e) => Kind::ErrorOccurred { error: error(e.error.unwrap()) },
        Wire::Log(e) => Kind::Log {
            level: match e.level() {
                proto::LogLevel::Debug => LogLevel::Debug,
                proto::LogLevel::Info => LogLevel::Info,
                proto::LogLevel::Warn => LogLevel::Warn,
                proto::LogLevel::Error => LogLevel::Error,
                proto::LogLevel::Unspecified => panic!("unset"),
            },
            message: e.message,
        },
        Wire::UnparsedOutput(e) => Kind::UnparsedOutput { raw: e.raw.to_vec(), truncated_bytes: e.truncated_bytes },
        Wire::SnapshotStart(_) | Wire::SnapshotChunk(_) | Wire::SnapshotComplete(_) | Wire::Bookmark(_) => {
            panic!("a frame of a watch is no event")
        }
    }
}

fn block(wire: proto::Block) -> Block {
    Block {
        state: match wire.state() {
            proto::BlockState::Streaming => BlockState::Streaming,
            proto::BlockState::Complete => BlockState::Complete,
            proto::BlockState::Interrupted => BlockState::Interrupted,
            proto::BlockState::Unspecified => panic!("unset"),
        },
        block_id: BlockId::new(wire.block_id),
        conversation_id: ConversationId::new(wire.conversation_id),
        turn_id: set(wire.turn_id).map(TurnId::new),
        create_time: time(wire.create_time.unwrap()),
        complete_time: wire.complete_time.map(time),
        truncated_bytes: wire.truncated_bytes,
        content: content(wire.content.unwrap()),
    }
}

fn content(wire: block::Content) -> Content {
    use block::Content as Wire;

    match wire {
        Wire::UserMessage(c) => Content::UserMessage(message(c)),
        Wire::AssistantText(c) => Content::AssistantText { text: c.text, model: c.model },
        Wire::ToolUse(c) => Content::ToolUse(ToolUse {
            status: execution(c.status),
            tool_use_id: c.tool_use_id,
            tool_name: c.tool_name,
            input_json: c.input_json,
            display_name: c.display_name,
            description: c.description,
        }),
        Wire::ToolResult(c) => Content::ToolResult(ToolResult {
            tool_use_id: c.tool_use_id,
            is_error: c.is_error,
            output: c.output.map(|output| match output {
                tool_result::Output::Text(text) => ToolOutput::Text(text),
                tool_result::Output::OutputJson(json) => ToolOutput::Json(json),
                tool_result::Output::Parts(parts) => ToolOutput::Parts(list(parts.parts, part)),
            }),
            duration: c.duration.map(duration),
            markdown: c.markdown,
            exit_code: c.exit_code,
        }),
        Wire::Thinking(c) => Content::Thinking { text: c.text, summary: c.summary },
        Wire::System(c) => Content::System {
            kind: match c.kind() {
                proto::SystemNoticeKind::SessionStart => NoticeKind::SessionStart,
                proto::SystemNoticeKind::SessionEnd => NoticeKind::SessionEnd,
                proto::SystemNoticeKind::Error => NoticeKind::Error,
                proto::SystemNoticeKind::Status => NoticeKind::Status,
                proto::SystemNoticeKind::HookResponse => NoticeKind::HookResponse,
                proto::SystemNoticeKind::AuthStatus => NoticeKind::AuthStatus,
                proto::SystemNoticeKind::Compaction => NoticeKind::Compaction,
                proto::SystemNoticeKind::Restore => NoticeKind::Restore,
                proto::SystemNoticeKind::Continuation => NoticeKind::Continuation,
                proto::SystemNoticeKind::Unspecified => panic!("unset"),
            },
            message: c.message,
            metadata_json: c.metadata_json,
        },
        Wire::Subagent(c) => Content::Subagent(SubagentCall {
            status: execution(c.status),
            subagent_id: ConversationId::new(c.subagent_id),
            name: c.name,
            input: c.input,
            output: c.output,
            duration: c.duration.map(duration),
            tool_use_id: c.tool_use_id,
        }),
        Wire::Error(c) => Content::Error { code: c.code, message: c.message },
    }
}

fn message(wire: proto::UserMessage) -> UserMessage {
    UserMessage { parts: list(wire.parts, part), created_by: wire.created_by.map(principal) }
}

fn part(wire: proto::ContentPart) -> ContentPart {
    use content_part::Part;

    let blob = |b: proto::Blob| Blob {
        sha256: b.sha256,
        size_bytes: b.size_bytes,
        media_type: b.media_type,
        name: b.name,
        data: agent_runtime::domain::BlobData::default(),
    };
    match wire.part.unwrap() {
        Part::Text(text) => ContentPart::Text(text),
        Part::Image(image) => ContentPart::Image(blob(image)),
        Part::Attachment(file) => ContentPart::Attachment(blob(file)),
        Part::ImageUri(uri) => ContentPart::ImageUri(uri),
        Part::FilePath(path) => ContentPart::FilePath(path),
    }
}

fn execution(number: i32) -> ExecutionStatus {
    match proto::ExecutionStatus::try_from(number).unwrap() {
        proto::ExecutionStatus::Pending => ExecutionStatus::Pending,
        proto::ExecutionStatus::Running => ExecutionStatus::Running,
        proto::ExecutionStatus::Succeeded => ExecutionStatus::Succeeded,
        proto::ExecutionStatus::Failed => ExecutionStatus::Failed,
        proto::ExecutionStatus::Unspecified => panic!("unset"),
    }
}

fn turn(wire: proto::Turn) -> Turn {
    Turn {
        status: match wire.status() {
            proto::TurnStatus::Queued => TurnStatus::Queued,
            proto::TurnStatus::Running => TurnStatus::Running,
            proto::TurnStatus::AwaitingInput => TurnStatus::AwaitingInput,
            proto::TurnStatus::Parked => TurnStatus::Parked,
            proto::TurnStatus::Completed => TurnStatus::Completed,
            proto::TurnStatus::Interrupted => TurnStatus::Interrupted,
            proto::TurnStatus::Cancelled => TurnStatus::Cancelled,
            proto::TurnStatus::Failed => TurnStatus::Failed,
            proto::TurnStatus::BudgetExhausted => TurnStatus::BudgetExhausted,
            proto::TurnStatus::Lost => TurnStatus::Lost,
            proto::TurnStatus::Unspecified => panic!("unset"),
        },
        origin: match wire.origin() {
            proto::TurnOrigin::User => TurnOrigin::User,
            proto::TurnOrigin::Agent => TurnOrigin::Agent,
            proto::TurnOrigin::Continuation => TurnOrigin::Continuation,
            proto::TurnOrigin::Schedule | proto::TurnOrigin::Unspecified => panic!("not sent"),
        },
        turn_id: TurnId::new(wire.turn_id),
        block_id: set(wire.block_id).map(BlockId::new),
        message: wire.message.map(message),
        created_by: principal(wire.created_by.unwrap()),
        create_time: time(wire.create_time.unwrap()),
        start_time: wire.start_time.map(time),
        end_time: wire.end_time.map(time),
        usage: usage(wire.usage.unwrap()),
        error: wire.error.map(error),
        goes_first: wire.goes_first,
        interrupt_time: None,
        carried: Vec::new(),
        moving: None,
        meter: Meter::default(),
    }
}

fn conversation(wire: proto::Conversation) -> Conversation {
    Conversation {
        status: (wire.status != 0).then(|| execution(wire.status)),
        conversation_id: ConversationId::new(wire.conversation_id),
        parent_conversation_id: set(wire.parent_conversation_id).map(ConversationId::new),
        name: wire.name,
        tool_use_id: wire.tool_use_id,
        model: wire.model,
        usage: usage(wire.usage.unwrap()),
    }
}

fn session(wire: proto::Session) -> Session {
    Session {
        status: session_status(wire.status()),
        session_id: SessionId::new(wire.session_id),
        uid: LogUid::new(wire.uid),
        external_id: wire.external_id,
        agent: Agent::parse(&wire.agent).unwrap(),
        name: wire.name,
        profile_id: ProfileId::new(wire.profile_id),
        profile_revision: wire.profile_revision,
        sequence: wire.sequence,
        sandbox: wire.sandbox.map(sandbox),
        sandbox_spec: SandboxSpec::default(),
        workspace: None,
        seed_files: Vec::new(),
        options: options(wire.options.unwrap()),
        usage: usage(wire.usage.unwrap()),
        labels: wire.labels,
        metadata: wire.metadata.map(metadata),
        created_by: principal(wire.created_by.unwrap()),
        create_time: time(wire.create_time.unwrap()),
        last_activity_time: time(wire.last_activity_time.unwrap()),
        etag: wire.etag,
        error: wire.error.map(error),
    }
}

fn session_status(wire: proto::SessionStatus) -> SessionStatus {
    match wire {
        proto::SessionStatus::Idle => SessionStatus::Idle,
        proto::SessionStatus::Running => SessionStatus::Running,
        proto::SessionStatus::AwaitingInput => SessionStatus::AwaitingInput,
        proto::SessionStatus::Stopped => SessionStatus::Stopped,
        proto::SessionStatus::Failed => SessionStatus::Failed,
        proto::SessionStatus::Deleted => SessionStatus::Deleted,
        proto::SessionStatus::Unspecified => panic!("unset"),
    }
}

fn options(wire: proto::SessionOptions) -> SessionOptions {
    SessionOptions {
        model: wire.model,
        permission_mode: wire.permission_mode,
        budget: wire.budget.map(|budget| Budget {
            session_cost_micro_usd: budget.session_cost_micro_usd,
            turn_cost_micro_usd: budget.turn_cost_micro_usd,
            turn_steps: budget.turn_steps,
            turn_duration: budget.turn_duration.map(duration),
        }),
        idle_timeout: wire.idle_timeout.map(duration),
    }
}

fn sandbox(wire: proto::Sandbox) -> Sandbox {
    Sandbox {
        status: match wire.status() {
            proto::SandboxStatus::Starting => SandboxStatus::Starting,
            proto::SandboxStatus::Ready => SandboxStatus::Ready,
            proto::SandboxStatus::Unhealthy => SandboxStatus::Unhealthy,
            proto::SandboxStatus::Terminated => SandboxStatus::Terminated,
            proto::SandboxStatus::Unspecified => panic!("unset"),
        },
        isolation: match wire.isolation() {
            proto::Isolation::Process => Isolation::Process,
            proto::Isolation::Namespace => Isolation::Namespace,
            proto::Isolation::Remote => Isolation::Remote,
            proto::Isolation::Unspecified => panic!("unset"),
        },
        sandbox_id: set(wire.sandbox_id).map(SandboxId::new),
        provider: wire.provider,
        status_message: wire.status_message,
        generation: wire.generation,
        restored_to_sequence: wire.restored_to_sequence,
        not_applied: wire.not_applied,
        expire_time: wire.expire_time.map(time),
        last_health_check_time: wire.last_health_check_time.map(time),
    }
}

fn permission(wire: proto::PermissionRequest) -> PermissionRequest {
    PermissionRequest {
        permission_id: wire.permission_id,
        conversation_id: ConversationId::new(wire.conversation_id),
        turn_id: TurnId::new(wire.turn_id),
        tool_use_id: wire.tool_use_id,
        tool_name: wire.tool_name,
        input_json: wire.input_json,
        title: wire.title,
        options: list(wire.options, |option| PermissionOption {
            kind: match option.kind() {
                proto::PermissionOptionKind::AllowOnce => PermissionOptionKind::AllowOnce,
                proto::PermissionOptionKind::AllowAlways => PermissionOptionKind::AllowAlways,
                proto::PermissionOptionKind::RejectOnce => PermissionOptionKind::RejectOnce,
                proto::PermissionOptionKind::RejectAlways => PermissionOptionKind::RejectAlways,
                proto::PermissionOptionKind::Unspecified => panic!("unset"),
            },
            option_id: option.option_id,
            name: option.name,
            rule: option.rule.map(|wire| Box::new(rule(wire))),
        }),
        create_time: time(wire.create_time.unwrap()),
        expire_time: wire.expire_time.map(time),
        resolution: wire.resolution.map(resolution),
        asked: None,
    }
}

fn question(wire: proto::Question) -> Question {
    Question {
        question_id: wire.question_id,
        conversation_id: ConversationId::new(wire.conversation_id),
        turn_id: TurnId::new(wire.turn_id),
        tool_use_id: wire.tool_use_id,
        items: list(wire.items, |item| QuestionItem {
            header: item.header,
            text: item.text,
            choices: list(item.choices, |c| QuestionChoice { label: c.label, description: c.description }),
            multiple: item.multiple,
        }),
        create_time: time(wire.create_time.unwrap()),
        expire_time: wire.expire_time.map(time),
        resolution: wire.resolution.map(resolution),
        tool_name: String::new(),
        input_json: String::new(),
        asked: None,
    }
}

fn resolution(wire: proto::InputResolution) -> InputResolution {
    InputResolution {
        effect: effect(wire.effect()),
        outcome: match wire.outcome() {
            proto::InputOutcome::Allowed => InputOutcome::Allowed,
            proto::InputOutcome::Rejected => InputOutcome::Rejected,
            proto::InputOutcome::Answered => InputOutcome::Answered,
            proto::InputOutcome::Expired => InputOutcome::Expired,
            proto::InputOutcome::Withdrawn => InputOutcome::Withdrawn,
            proto::InputOutcome::Interrupted => InputOutcome::Interrupted,
            proto::InputOutcome::Unspecified => panic!("unset"),
        },
        option_id: wire.option_id,
        message: wire.message,
        updated_input_json: wire.updated_input_json,
        answers: list(wire.answers, |answer| QuestionAnswer { choices: answer.choices, text: answer.text }),
        resolved_by: wire.resolved_by.map(principal),
        resolve_time: wire.resolve_time.map(time),
        rule_id: wire.rule_id,
    }
}

fn effect(wire: proto::PermissionEffect) -> Option<PermissionEffect> {
    match wire {
        proto::PermissionEffect::Allow => Some(PermissionEffect::Allow),
        proto::PermissionEffect::Ask => Some(PermissionEffect::Ask),
        proto::PermissionEffect::Reject => Some(PermissionEffect::Reject),
        proto::PermissionEffect::Unspecified => None,
    }
}

fn rule(wire: proto::PermissionRule) -> PermissionRule {
    PermissionRule {
        effect: effect(wire.effect()).expect("set"),
        rule_id: wire.rule_id,
        tool_name: wire.tool_name,
        pattern: wire.pattern,
        created_by: wire.created_by.map(principal),
        create_time: wire.create_time.map(time),
    }
}

fn file(wire: proto::WorkspaceFile) -> WorkspaceFile {
    WorkspaceFile {
        file_type: match wire.r#type() {
            proto::FileType::File => FileType::File,
            proto::FileType::Symlink => FileType::Symlink,
            proto::FileType::Directory => FileType::Directory,
            proto::FileType::Unspecified => panic!("unset"),
        },
        path: wire.path,
        size_bytes: wire.size_bytes,
        sha256: wire.sha256,
        mode: wire.mode,
        modify_time: wire.modify_time.map(time),
        symlink_target: wire.symlink_target,
    }
}

fn file_change(wire: proto::FileChange) -> FileChange {
    FileChange {
        kind: match wire.kind() {
            proto::FileChangeKind::Created => FileChangeKind::Created,
            proto::FileChangeKind::Modified => FileChangeKind::Modified,
            proto::FileChangeKind::Deleted => FileChangeKind::Deleted,
            proto::FileChangeKind::Renamed => FileChangeKind::Renamed,
            proto::FileChangeKind::Unspecified => panic!("unset"),
        },
        origin: match wire.origin() {
            proto::FileChangeOrigin::Agent => FileChangeOrigin::Agent,
            proto::FileChangeOrigin::Client => FileChangeOrigin::Client,
            proto::FileChangeOrigin::Restore => FileChangeOrigin::Restore,
            proto::FileChangeOrigin::Unspecified => panic!("unset"),
        },
        file: file(wire.file.unwrap()),
        previous_path: wire.previous_path,
    }
}

fn error(wire: proto::SessionError) -> SessionError {
    let name = wire.reason().as_str_name();
    SessionError {
        reason: *Reason::ALL.iter().find(|reason| name.ends_with(&format!("REASON_{}", reason.as_str()))).unwrap(),
        message: wire.message,
        retryable: wire.retryable,
        metadata: wire.metadata,
    }
}

fn principal(wire: proto::Principal) -> Principal {
    Principal {
        kind: match wire.kind() {
            proto::PrincipalKind::User => PrincipalKind::User,
            proto::PrincipalKind::Service => PrincipalKind::Service,
            proto::PrincipalKind::Agent => PrincipalKind::Agent,
            proto::PrincipalKind::System => PrincipalKind::System,
            proto::PrincipalKind::Unspecified => panic!("unset"),
        },
        subject: wire.subject,
        display_name: wire.display_name,
    }
}

fn usage(wire: proto::Usage) -> Usage {
    Usage {
        input_tokens: wire.input_tokens,
        output_tokens: wire.output_tokens,
        cache_read_tokens: wire.cache_read_tokens,
        cache_write_tokens: wire.cache_write_tokens,
        thinking_tokens: wire.thinking_tokens,
        cost_micro_usd: wire.cost_micro_usd,
    }
}

fn metadata(wire: prost_types::Struct) -> Metadata {
    wire.fields.into_iter().map(|(key, member)| (key, value(member))).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "whole numbers of the generator are small")]
fn value(wire: prost_types::Value) -> serde_json::Value {
    use prost_types::value::Kind;

    match wire.kind.unwrap() {
        Kind::NullValue(_) => serde_json::Value::Null,
        Kind::BoolValue(value) => value.into(),
        Kind::NumberValue(value) if value.fract() == 0.0 => (value as i64).into(),
        Kind::NumberValue(value) => value.into(),
        Kind::StringValue(value) => value.into(),
        Kind::ListValue(values) => list(values.values, value).into(),
        Kind::StructValue(members) => metadata(members).into(),
    }
}

fn time(wire: prost_types::Timestamp) -> Timestamp {
    Timestamp(wire.seconds * 1_000_000 + i64::from(wire.nanos) / 1000)
}

fn duration(wire: prost_types::Duration) -> Duration {
    Duration::try_from(wire).unwrap()
}

fn list<T, U>(items: Vec<T>, convert: impl Fn(T) -> U) -> Vec<U> {
    items.into_iter().map(convert).collect()
}

/// Empty on the wire is absent.
fn set(id: String) -> Option<String> {
    Some(id).filter(|id| !id.is_empty())
}

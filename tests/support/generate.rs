//! Random values of the domain, out of one seed. Ids come from small pools, so that events meet what is there already.

use std::time::Duration;

use agent_runtime::domain::{
    Agent, Blob, Block, BlockId, BlockPatch, BlockState, Budget, Content, ContentPart, Conversation, ConversationId,
    Event, ExecutionStatus, FileChange, FileChangeKind, FileChangeOrigin, FileType, InputOutcome, InputResolution,
    Isolation, Kind, LogLevel, LogUid, Metadata, Meter, NoticeKind, PermissionEffect, PermissionOption,
    PermissionOptionKind, PermissionRequest, PermissionRule, Principal, PrincipalKind, ProfileId, Question,
    QuestionAnswer, QuestionChoice, QuestionItem, Reason, Sandbox, SandboxId, SandboxSpec, SandboxStatus, Session,
    SessionError, SessionId, SessionOptions, SessionState, SessionStatus, SessionUpdate, SubagentCall, Timestamp,
    ToolOutput, ToolResult, ToolUse, Turn, TurnId, TurnOrigin, TurnStatus, Usage, UserMessage, WorkspaceFile,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

/// How many kinds of event there are.
pub const KINDS: usize = 20;

/// The place of a kind among all of them: does not compile when one is missing.
pub fn index(kind: &Kind) -> usize {
    match kind {
        Kind::BlockStart { .. } => 0,
        Kind::BlockDelta { .. } => 1,
        Kind::BlockUpdate { .. } => 2,
        Kind::BlockComplete { .. } => 3,
        Kind::TurnUpdated { .. } => 4,
        Kind::TurnQueued { .. } => 5,
        Kind::ConversationUpdated { .. } => 6,
        Kind::SessionCreated { .. } => 7,
        Kind::SessionUpdated(_) => 8,
        Kind::StatusChanged { .. } => 9,
        Kind::SandboxChanged { .. } => 10,
        Kind::PermissionRequested { .. } => 11,
        Kind::PermissionResolved { .. } => 12,
        Kind::PermissionRulesChanged { .. } => 13,
        Kind::QuestionRequested { .. } => 14,
        Kind::QuestionResolved { .. } => 15,
        Kind::FilesChanged { .. } => 16,
        Kind::ErrorOccurred { .. } => 17,
        Kind::Log { .. } => 18,
        Kind::UnparsedOutput { .. } => 19,
    }
}

/// A source of values.
pub struct Generator {
    random: StdRng,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    /// The log of a session: dense, beginning with its creation, times never going back.
    pub fn log(&mut self, length: usize) -> Vec<Event> {
        let mut state: Option<SessionState> = None;
        let mut events = Vec::new();
        let mut time = 1_700_000_000_000_000;
        for sequence in 1..=i64::try_from(length).unwrap() {
            time += self.random.random_range(0..2_000_000);
            let kind = match &state {
                None => Kind::SessionCreated { session: Box::new(self.session()) },
                Some(state) => {
                    let which = self.below(KINDS);
                    // Only the first event of a log creates the session; deltas are what there is most of.
                    if which == 7 { self.fitting_delta(state) } else { self.kind(which) }
                }
            };
            let event = Event { sequence, first_sequence: sequence, time: Timestamp(time), ..self.event(kind) };
            match &mut state {
                None => state = SessionState::fold([&event]),
                Some(state) => {
                    state.apply(&event);
                }
            }
            events.push(event);
        }
        events
    }

    /// A delta that continues a block, overlaps with it, or leaves a hole.
    fn fitting_delta(&mut self, state: &SessionState) -> Kind {
        let growing: Vec<_> = state.blocks.iter().filter_map(|block| Some((block, block.content.growing()?))).collect();
        if growing.is_empty() {
            return self.kind(0);
        }
        let (block, text) = growing[self.below(growing.len())];
        let length = i64::try_from(text.len()).unwrap();
        let offset = length + [0, 0, 0, 0, -1, -2, 1][self.below(7)];
        Kind::BlockDelta { block_id: block.block_id.clone(), delta: self.some_text(), offset: offset.max(0) }
    }

    pub fn event(&mut self, kind: Kind) -> Event {
        let sequence = self.random.random_range(1..1_000_000);
        let first_sequence = if self.coin() { sequence } else { self.random.random_range(1..=sequence) };
        Event {
            sequence,
            first_sequence,
            conversation_id: self.pick(&[ConversationId::main(), ConversationId::none(), ConversationId::new("sub_1")]),
            time: self.time(),
            actor: self.maybe(Self::principal),
            kind,
        }
    }

    pub fn kind(&mut self, which: usize) -> Kind {
        match which {
            0 => Kind::BlockStart { block: self.block() },
            1 => Kind::BlockDelta {
                block_id: self.block_id(),
                delta: self.some_text(),
                offset: self.random.random_range(0..8),
            },
            2 => Kind::BlockUpdate { block_id: self.block_id(), patch: self.patch() },
            3 => Kind::BlockComplete { block: self.block() },
            4 => Kind::TurnUpdated { turn: self.turn() },
            5 => Kind::TurnQueued { turn: self.turn() },
            6 => Kind::ConversationUpdated { conversation: self.conversation(), session_usage: self.usage() },
            7 => Kind::SessionCreated { session: Box::new(self.session()) },
            8 => Kind::SessionUpdated(SessionUpdate {
                name: self.text(),
                labels: self.labels(),
                metadata: self.maybe(Self::metadata),
                options: self.options(),
                etag: self.text(),
            }),
            9 => Kind::StatusChanged {
                status: self.session_status(),
                reason: self.text(),
                error: self.maybe(Self::session_error),
            },
            10 => Kind::SandboxChanged { sandbox: self.sandbox() },
            11 => Kind::PermissionRequested { permission: self.permission() },
            12 => Kind::PermissionResolved { permission_id: self.id("perm"), resolution: self.resolution() },
            13 => Kind::PermissionRulesChanged { rules: self.some(Self::rule) },
            14 => Kind::QuestionRequested { question: self.question() },
            15 => Kind::QuestionResolved { question_id: self.id("ques"), resolution: self.resolution() },
            16 => Kind::FilesChanged { changes: self.some(Self::file_change), more: self.coin() },
            17 => Kind::ErrorOccurred { error: self.session_error() },
            18 => Kind::Log {
                level: self.pick(&[LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error]),
                message: self.text(),
            },
            19 => Kind::UnparsedOutput { raw: vec![0, 0xff, b'x'], truncated_bytes: self.number() },
            other => panic!("there is no kind {other}"),
        }
    }

    pub fn block(&mut self) -> Block {
        Block {
            block_id: self.block_id(),
            conversation_id: ConversationId::new(self.id("conv")),
            turn_id: self.maybe(|of| TurnId::new(of.id("turn"))),
            state: self.pick(&[BlockState::Streaming, BlockState::Complete, BlockState::Interrupted]),
            create_time: self.time(),
            complete_time: self.maybe(Self::time),
            truncated_bytes: self.number(),
            content: self.content(),
        }
    }

    fn content(&mut self) -> Content {
        match self.below(8) {
            0 => Content::UserMessage(self.message()),
            1 => Content::AssistantText { text: self.text(), model: self.text() },
            2 => Content::ToolUse(ToolUse {
                tool_use_id: self.text(),
                tool_name: self.text(),
                input_json: self.text(),
                status: self.execution(),
                display_name: self.text(),
                description: self.text(),
            }),
            3 => Content::ToolResult(ToolResult {
                tool_use_id: self.text(),
                is_error: self.coin(),
                output: self.maybe(|of| match of.below(3) {
                    0 => ToolOutput::Text(of.text()),
                    1 => ToolOutput::Json(of.text()),
                    _ => ToolOutput::Parts(of.some(Self::part)),
                }),
                duration: self.maybe(Self::duration),
                markdown: self.coin(),
                exit_code: self.maybe(|of| of.random.random()),
            }),
            4 => Content::Thinking { text: self.text(), summary: self.text() },
            5 => Content::System {
                kind: self.pick(&[
                    NoticeKind::SessionStart,
                    NoticeKind::SessionEnd,
                    NoticeKind::Error,
                    NoticeKind::Status,
                    NoticeKind::HookResponse,
                    NoticeKind::AuthStatus,
                    NoticeKind::Compaction,
                    NoticeKind::Restore,
                    NoticeKind::Continuation,
                ]),
                message: self.text(),
                metadata_json: self.text(),
            },
            6 => Content::Subagent(SubagentCall {
                subagent_id: ConversationId::new(self.id("sub")),
                name: self.text(),
                input: self.text(),
                status: self.execution(),
                output: self.text(),
                duration: self.maybe(Self::duration),
                tool_use_id: self.text(),
            }),
            _ => Content::Error { code: self.text(), message: self.text() },
        }
    }

    fn message(&mut self) -> UserMessage {
        UserMessage { parts: self.some(Self::part), created_by: self.maybe(Self::principal) }
    }

    fn part(&mut self) -> ContentPart {
        let blob = Blob {
            sha256: self.text(),
            size_bytes: self.number(),
            media_type: self.text(),
            name: self.text(),
            data: agent_runtime::domain::BlobData::default(),
        };
        match self.below(5) {
            0 => ContentPart::Text(self.text()),
            1 => ContentPart::Image(blob),
            2 => ContentPart::Attachment(blob),
            3 => ContentPart::ImageUri(self.text()),
            _ => ContentPart::FilePath(self.text()),
        }
    }

    fn patch(&mut self) -> BlockPatch {
        BlockPatch {
            status: self.maybe(Self::execution),
            input_json: self.maybe(Self::text),
            truncated_bytes: self.maybe(Self::number),
            duration: self.maybe(Self::duration),
            display_name: self.maybe(Self::text),
            description: self.maybe(Self::text),
            summary: self.maybe(Self::text),
            output: self.maybe(Self::text),
            exit_code: self.maybe(|of| of.random.random()),
        }
    }

    pub fn turn(&mut self) -> Turn {
        Turn {
            turn_id: TurnId::new(self.id("turn")),
            status: self.pick(&TurnStatus::ALL),
            origin: self.pick(&[TurnOrigin::User, TurnOrigin::Agent, TurnOrigin::Continuation]),
            block_id: self.maybe(Self::block_id),
            message: self.maybe(Self::message),
            created_by: self.principal(),
            create_time: self.time(),
            start_time: self.maybe(Self::time),
            end_time: self.maybe(Self::time),
            usage: self.usage(),
            error: self.maybe(Self::session_error),
            goes_first: self.random.random(),
            interrupt_time: None,
            carried: Vec::new(),
            moving: None,
            meter: Meter::default(),
        }
    }

    fn conversation(&mut self) -> Conversation {
        Conversation {
            conversation_id: ConversationId::new(self.id("conv")),
            parent_conversation_id: self.maybe(|of| ConversationId::new(of.id("conv"))),
            name: self.text(),
            status: self.maybe(Self::execution),
            tool_use_id: self.text(),
            model: self.text(),
            usage: self.usage(),
        }
    }

    pub fn session(&mut self) -> Session {
        Session {
            session_id: SessionId::new(self.id("ses")),
            uid: LogUid::new(self.id("log")),
            external_id: self.text(),
            agent: self.pick(&Agent::ALL),
            name: self.text(),
            status: self.session_status(),
            profile_id: ProfileId::new(self.id("prof")),
            profile_revision: self.number(),
            sequence: self.number(),
            sandbox: self.maybe(Self::sandbox),
            sandbox_spec: SandboxSpec::default(),
            workspace: None,
            seed_files: Vec::new(),
            options: self.options(),
            usage: self.usage(),
            labels: self.labels(),
            metadata: self.maybe(Self::metadata),
            created_by: self.principal(),
            create_time: self.time(),
            last_activity_time: self.time(),
            etag: self.text(),
            error: self.maybe(Self::session_error),
        }
    }

    fn session_status(&mut self) -> SessionStatus {
        self.pick(&[
            SessionStatus::Idle,
            SessionStatus::Running,
            SessionStatus::AwaitingInput,
            SessionStatus::Stopped,
            SessionStatus::Failed,
            SessionStatus::Deleted,
        ])
    }

    fn options(&mut self) -> SessionOptions {
        SessionOptions {
            model: self.text(),
            permission_mode: self.text(),
            budget: self.maybe(|of| Budget {
                session_cost_micro_usd: of.number(),
                turn_cost_micro_usd: of.number(),
                turn_steps: of.random.random(),
                turn_duration: of.maybe(Self::duration),
            }),
            idle_timeout: self.maybe(Self::duration),
        }
    }

    fn sandbox(&mut self) -> Sandbox {
        Sandbox {
            sandbox_id: self.maybe(|of| SandboxId::new(of.id("sbx"))),
            provider: self.text(),
            status: self.pick(&[
                SandboxStatus::Starting,
                SandboxStatus::Ready,
                SandboxStatus::Unhealthy,
                SandboxStatus::Terminated,
            ]),
            status_message: self.text(),
            generation: self.random.random(),
            isolation: self.pick(&[Isolation::Process, Isolation::Namespace, Isolation::Remote]),
            restored_to_sequence: self.number(),
            not_applied: self.some(Self::text),
            expire_time: self.maybe(Self::time),
            last_health_check_time: self.maybe(Self::time),
        }
    }

    fn permission(&mut self) -> PermissionRequest {
        PermissionRequest {
            permission_id: self.id("perm"),
            conversation_id: ConversationId::new(self.id("conv")),
            turn_id: TurnId::new(self.id("turn")),
            tool_use_id: self.text(),
            tool_name: self.text(),
            input_json: self.text(),
            title: self.text(),
            options: self.some(|of| PermissionOption {
                option_id: of.text(),
                name: of.text(),
                kind: of.pick(&[
                    PermissionOptionKind::AllowOnce,
                    PermissionOptionKind::AllowAlways,
                    PermissionOptionKind::RejectOnce,
                    PermissionOptionKind::RejectAlways,
                ]),
                rule: of.maybe(|of| Box::new(of.rule())),
            }),
            create_time: self.time(),
            expire_time: self.maybe(Self::time),
            resolution: self.maybe(Self::resolution),
            asked: None,
        }
    }

    fn question(&mut self) -> Question {
        Question {
            question_id: self.id("ques"),
            conversation_id: ConversationId::new(self.id("conv")),
            turn_id: TurnId::new(self.id("turn")),
            tool_use_id: self.text(),
            items: self.some(|of| QuestionItem {
                header: of.text(),
                text: of.text(),
                choices: of.some(|of| QuestionChoice { label: of.text(), description: of.text() }),
                multiple: of.coin(),
            }),
            create_time: self.time(),
            expire_time: self.maybe(Self::time),
            resolution: self.maybe(Self::resolution),
            tool_name: String::new(),
            input_json: String::new(),
            asked: None,
        }
    }

    fn resolution(&mut self) -> InputResolution {
        InputResolution {
            outcome: self.pick(&[
                InputOutcome::Allowed,
                InputOutcome::Rejected,
                InputOutcome::Answered,
                InputOutcome::Expired,
                InputOutcome::Withdrawn,
                InputOutcome::Interrupted,
            ]),
            option_id: self.text(),
            message: self.text(),
            updated_input_json: self.text(),
            answers: self.some(|of| QuestionAnswer { choices: of.some(Self::text), text: of.text() }),
            resolved_by: self.maybe(Self::principal),
            resolve_time: self.maybe(Self::time),
            rule_id: self.text(),
            effect: self.maybe(|of| of.pick(&[PermissionEffect::Allow, PermissionEffect::Reject])),
        }
    }

    fn rule(&mut self) -> PermissionRule {
        PermissionRule {
            rule_id: self.id("rule"),
            tool_name: self.text(),
            pattern: self.text(),
            effect: self.pick(&[PermissionEffect::Allow, PermissionEffect::Ask, PermissionEffect::Reject]),
            created_by: self.maybe(Self::principal),
            create_time: self.maybe(Self::time),
        }
    }

    fn file_change(&mut self) -> FileChange {
        FileChange {
            kind: self.pick(&[
                FileChangeKind::Created,
                FileChangeKind::Modified,
                FileChangeKind::Deleted,
                FileChangeKind::Renamed,
            ]),
            file: WorkspaceFile {
                path: self.id("path"),
                file_type: self.pick(&[FileType::File, FileType::Symlink, FileType::Directory]),
                size_bytes: self.number(),
                sha256: self.text(),
                mode: self.random.random(),
                modify_time: self.maybe(Self::time),
                symlink_target: self.text(),
            },
            previous_path: self.id("path"),
            origin: self.pick(&[FileChangeOrigin::Agent, FileChangeOrigin::Client, FileChangeOrigin::Restore]),
        }
    }

    fn session_error(&mut self) -> SessionError {
        SessionError {
            reason: self.pick(Reason::ALL),
            message: self.text(),
            retryable: self.coin(),
            metadata: self.labels(),
        }
    }

    fn principal(&mut self) -> Principal {
        Principal {
            subject: self.text(),
            display_name: self.text(),
            kind: self.pick(&[
                PrincipalKind::User,
                PrincipalKind::Service,
                PrincipalKind::Agent,
                PrincipalKind::System,
            ]),
        }
    }

    fn usage(&mut self) -> Usage {
        Usage {
            input_tokens: self.number(),
            output_tokens: self.number(),
            cache_read_tokens: self.number(),
            cache_write_tokens: self.number(),
            thinking_tokens: self.number(),
            cost_micro_usd: self.number(),
        }
    }

    fn metadata(&mut self) -> Metadata {
        let values = [Value::Null, json!(true), json!(-7), json!(0.5), json!("t"), json!([1, "x"]), json!({"in": {}})];
        self.labels().into_keys().map(|key| (key, self.pick(&values))).collect()
    }

    fn labels(&mut self) -> std::collections::BTreeMap<String, String> {
        (0..self.below(3)).map(|_| (self.id("key"), self.text())).collect()
    }

    fn block_id(&mut self) -> BlockId {
        BlockId::new(self.id("blk"))
    }

    fn execution(&mut self) -> ExecutionStatus {
        self.pick(&[
            ExecutionStatus::Pending,
            ExecutionStatus::Running,
            ExecutionStatus::Succeeded,
            ExecutionStatus::Failed,
        ])
    }

    fn time(&mut self) -> Timestamp {
        Timestamp(self.random.random_range(-1_000_000_000_000_000..4_000_000_000_000_000))
    }

    fn duration(&mut self) -> Duration {
        Duration::from_nanos(self.random.random_range(0..1_000_000_000_000))
    }

    fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}_{}", self.below(5))
    }

    /// Often empty, often not of ASCII.
    fn text(&mut self) -> String {
        if self.coin() { String::new() } else { self.some_text() }
    }

    fn some_text(&mut self) -> String {
        (0..=self.below(5)).map(|_| self.pick(&['a', '"', '\n', '\u{e4}', '\u{1f980}'])).collect()
    }

    fn number(&mut self) -> i64 {
        if self.coin() { 0 } else { self.random.random_range(-1_000_000_000..1_000_000_000) }
    }

    fn some<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(3)).map(|_| item(self)).collect()
    }

    fn maybe<T>(&mut self, value: impl Fn(&mut Self) -> T) -> Option<T> {
        self.coin().then(|| value(self))
    }

    fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())].clone()
    }

    fn coin(&mut self) -> bool {
        self.random.random()
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }
}

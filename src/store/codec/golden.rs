//! Everything that is stored, as version 1 writes it: one file for each sort of event and each sort of part.
//!
//! A file that was released is never written again: a format that changes gets a number of its own. For a new sort, run
//! this test once with `WRITE_GOLDEN=1`, which writes the files that are missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::PathBuf,
    time::Duration,
};

use serde::de::DeserializeOwned;

use self::asked::{asked, asked_question, carried, permission, question, resolution, ruled};
use super::{NAMES, Stored, VERSION, decode, encode, kind_name};
use crate::domain::{
    Agent, ArchiveFormat, Blob, Block, BlockId, BlockPatch, BlockState, Budget, Checkpoint, Content, ContentPart,
    Conversation, ConversationId, ExecutionStatus, FileChange, FileChangeKind, FileChangeOrigin, FileType, FirstAnswer,
    InputOutcome, Isolation, Kind, Limit, LogLevel, LogUid, Meter, Moving, NoticeKind, ParserState, PermissionAnswer,
    PermissionEffect, PermissionOptionKind, PermissionRequest, PermissionRule, Principal, PrincipalKind, Profile,
    ProfileId, ProfileSetup, Reason, Sandbox, SandboxId, SandboxSpec, SandboxStatus, SeedFile, Session, SessionError,
    SessionId, SessionOptions, SessionStatus, SessionUpdate, SubagentCall, Timestamp, ToolOutput, ToolResult, ToolUse,
    Turn, TurnId, TurnOrigin, TurnStatus, Usage, UserMessage, WorkspaceFile, WorkspaceSource,
};
use crate::store::Held;

mod asked;
mod elsewhere;
mod profile;

#[test]
fn every_row_of_version_1_is_read_and_written_byte_for_byte() {
    let mut seen = BTreeSet::new();
    for kind in kinds() {
        check(&mut seen, kind_name(&kind), &kind);
    }
    for content in contents() {
        let variant = variant_name(&serde_json::to_value(&content).unwrap()["type"]);
        check(&mut seen, &variant, &block(content));
    }
    check(&mut seen, "", &principal());
    check(&mut seen, "", &session());
    for (variant, source) in sources() {
        check(&mut seen, variant, &seeded(source));
    }
    check(&mut seen, "", &turn());
    let told = Turn { goes_first: true, interrupt_time: Some(Timestamp(4)), ..turn() };
    check(&mut seen, "interrupted", &told);
    check(&mut seen, "carried", &Turn { carried: carried(), ..turn() });
    check(&mut seen, "metered", &Turn { meter: meter(), ..turn() });
    check(&mut seen, "moving", &Turn { moving: Some(Moving::Arriving), ..turn() });
    check(&mut seen, "", &conversation());
    check(&mut seen, "", &permission());
    check(&mut seen, "asked", &PermissionRequest { asked: Some(asked()), ..permission() });
    check(&mut seen, "ruled", &ruled());
    check(&mut seen, "", &question());
    check(&mut seen, "asked", &asked_question());
    check(&mut seen, "", &vec![rule()]);
    check(&mut seen, "", &file());
    check(&mut seen, "", &profile());
    check(&mut seen, "full", &Profile { setup: self::profile::setup(), ..profile() });
    check(&mut seen, "", &checkpoint());
    check(&mut seen, "", &vec![held()]);
    check(&mut seen, "", &elsewhere::ledger());
    check(&mut seen, "origin", &elsewhere::made());
    check(&mut seen, "elsewhere", &elsewhere::asked(session()));
    for answer in answers() {
        let variant = variant_name(&serde_json::to_value(&answer).unwrap()["answer"]);
        check(&mut seen, &variant, &answer);
    }

    for kind in variants::<Kind>("event") {
        assert!(seen.contains(&format!("event.{kind}")), "no golden file for events of the sort {kind}");
    }
    for source in variants::<WorkspaceSource>("source") {
        assert!(seen.contains(&format!("record.{source}")), "no golden file for sessions that start from {source}");
    }
    for content in variants::<Content>("type") {
        assert!(seen.contains(&format!("block.{content}")), "no golden file for blocks of the sort {content}");
    }
    for answer in variants::<FirstAnswer>("answer") {
        assert!(seen.contains(&format!("answer.{answer}")), "no golden file for answers of the sort {answer}");
    }
    for name in NAMES {
        let found = seen.iter().any(|file| file.split('.').next() == Some(name));
        assert!(found, "no golden file for rows of the sort {name}");
    }
}

#[test]
fn the_names_that_values_are_written_with_stay() {
    let all: BTreeMap<&str, Vec<String>> = BTreeMap::from([
        ("Agent", names::<Agent>()),
        ("ArchiveFormat", names::<ArchiveFormat>()),
        ("BlockState", names::<BlockState>()),
        ("Content", variants::<Content>("type")),
        ("ContentPart", names::<ContentPart>()),
        ("ExecutionStatus", names::<ExecutionStatus>()),
        ("FileChangeKind", names::<FileChangeKind>()),
        ("FileChangeOrigin", names::<FileChangeOrigin>()),
        ("FileType", names::<FileType>()),
        ("FirstAnswer", variants::<FirstAnswer>("answer")),
        ("InputOutcome", names::<InputOutcome>()),
        ("Isolation", names::<Isolation>()),
        ("Kind", variants::<Kind>("event")),
        ("Limit", names::<Limit>()),
        ("LogLevel", names::<LogLevel>()),
        ("NoticeKind", names::<NoticeKind>()),
        ("PermissionAnswer", names::<PermissionAnswer>()),
        ("PermissionEffect", names::<PermissionEffect>()),
        ("PermissionOptionKind", names::<PermissionOptionKind>()),
        ("PrincipalKind", names::<PrincipalKind>()),
        ("Reason", names::<Reason>()),
        ("SandboxStatus", names::<SandboxStatus>()),
        ("SessionStatus", names::<SessionStatus>()),
        ("ToolOutput", names::<ToolOutput>()),
        ("TurnOrigin", names::<TurnOrigin>()),
        ("TurnStatus", names::<TurnStatus>()),
        ("WorkspaceSource", variants::<WorkspaceSource>("source")),
    ]);
    let path = golden("names");
    if std::env::var_os("WRITE_GOLDEN").is_some() && !path.exists() {
        fs::write(&path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
    }
    let kept: BTreeMap<String, Vec<String>> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(kept.len(), all.len());
    for (name, known) in all {
        let gone: Vec<_> = kept[name].iter().filter(|kept| !known.contains(kept)).collect();
        assert!(gone.is_empty(), "rows may hold {name} {gone:?}, which this build cannot read");
        assert_eq!(kept[name], known, "add what is new of {name} to {}", path.display());
    }
}

#[test]
fn the_name_of_an_event_is_the_one_in_its_body() {
    for kind in kinds() {
        assert_eq!(variant_name(&serde_json::to_value(&kind).unwrap()["event"]), kind_name(&kind));
    }
}

#[test]
fn what_cannot_be_read_is_corrupt_and_says_where_but_not_what() {
    let place = || format_args!("t/s at 7");
    let cases: [(&[u8], &str); 4] = [
        (b"", "actor of t/s at 7: empty"),
        (b"\x02{}", "actor of t/s at 7: format 2 is not known to this build"),
        (b"\x01{\"subject\":", "actor of t/s at 7: Eof error at line 1, column 11"),
        (b"\x01{\"subject\":{\"secret\":1}}", "actor of t/s at 7: Data error at line 1, column 11"),
    ];
    for (body, said) in cases {
        let error = decode::<Principal>(body, place()).unwrap_err();
        assert_eq!(error, crate::store::Error::Corrupt(said.into()));
    }
}

/// Compares one value with its golden file, both ways.
fn check<T: Stored + PartialEq + fmt::Debug>(seen: &mut BTreeSet<String>, variant: &str, value: &T) {
    let name = if variant.is_empty() { T::NAME.to_owned() } else { format!("{}.{variant}", T::NAME) };
    let path = golden(&name);
    let body = encode(value);
    assert_eq!(body[0], VERSION);
    if !path.exists() && std::env::var_os("WRITE_GOLDEN").is_some() {
        fs::write(&path, [&body[1..], b"\n"].concat()).unwrap();
    }
    let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let golden = golden.strip_suffix(b"\n").unwrap();
    let row = [&[1], golden].concat();
    assert_eq!(
        decode::<T>(&row, format_args!("{name}")).unwrap(),
        *value,
        "{name} is read otherwise than it was written"
    );
    assert_eq!(String::from_utf8_lossy(&body[1..]), String::from_utf8_lossy(golden), "{name} is written otherwise");
    assert!(seen.insert(name.clone()), "{name} comes twice");
}

/// All the names serde knows for an enum with a tag.
fn variants<T: DeserializeOwned + fmt::Debug>(tag: &str) -> Vec<String> {
    listed::<T>(serde_json::json!({ tag: "no such" }))
}

/// All the names serde knows for an enum without one.
fn names<T: DeserializeOwned + fmt::Debug>() -> Vec<String> {
    listed::<T>(serde_json::json!("no such"))
}

/// Serde lists the names it knows when it is given another one.
fn listed<T: DeserializeOwned + fmt::Debug>(other: serde_json::Value) -> Vec<String> {
    let error = serde_json::from_value::<T>(other).unwrap_err().to_string();
    let (_, list) = error.split_once("unknown variant `no such`, expected ").unwrap_or_else(|| panic!("{error}"));
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/golden/store/v1", &format!("{name}.json")].iter().collect()
}

fn variant_name(tag: &serde_json::Value) -> String {
    tag.as_str().unwrap().to_owned()
}

fn answers() -> Vec<FirstAnswer> {
    vec![
        FirstAnswer::Created { session: Box::new(session()), turn: Some(Box::new(turn())), sequence: 2 },
        FirstAnswer::Accepted { turn: Box::new(turn()), sequence: 17 },
        FirstAnswer::Stopped { session: Box::new(session()), oldest_sequence: 7 },
        FirstAnswer::Session { session: Box::new(session()), oldest_sequence: 7, turns: vec![turn()] },
        FirstAnswer::Deleted,
        FirstAnswer::File { file: Box::new(file()) },
        FirstAnswer::Unpacked { files: 3 },
        FirstAnswer::Interrupted { turn: Some(Box::new(turn())) },
        FirstAnswer::Cancelled { turn: Box::new(turn()) },
        FirstAnswer::Resolved { permission: Box::new(permission()), rule: None },
        FirstAnswer::Answered { question: Box::new(question()) },
        FirstAnswer::Profile { profile: Box::new(profile()) },
    ]
}

fn kinds() -> Vec<Kind> {
    let content = contents().remove(1);
    vec![
        Kind::BlockStart { block: block(content.clone()) },
        Kind::BlockDelta { block_id: BlockId::new("blk_1"), delta: "a\0ä\n\"\u{2028}🦀".into(), offset: 17 },
        Kind::BlockUpdate { block_id: BlockId::new("blk_1"), patch: patch() },
        Kind::BlockComplete { block: block(content) },
        Kind::TurnUpdated { turn: turn() },
        Kind::TurnQueued { turn: turn() },
        Kind::ConversationUpdated { conversation: conversation(), session_usage: usage() },
        Kind::SessionCreated { session: Box::new(session()) },
        Kind::SessionUpdated(SessionUpdate {
            name: "renamed".into(),
            labels: labels(),
            metadata: session().metadata,
            options: options(),
            etag: "etag_2".into(),
        }),
        Kind::StatusChanged { status: SessionStatus::AwaitingInput, reason: "asked".into(), error: Some(error()) },
        Kind::SandboxChanged { sandbox: sandbox() },
        Kind::PermissionRequested { permission: permission() },
        Kind::PermissionResolved { permission_id: "perm_1".into(), resolution: resolution() },
        Kind::PermissionRulesChanged { rules: vec![rule()] },
        Kind::QuestionRequested { question: question() },
        Kind::QuestionResolved { question_id: "ques_1".into(), resolution: resolution() },
        Kind::FilesChanged {
            changes: vec![FileChange {
                kind: FileChangeKind::Renamed,
                file: file(),
                previous_path: "old/name.rs".into(),
                origin: FileChangeOrigin::Agent,
            }],
            more: true,
        },
        Kind::ErrorOccurred { error: error() },
        Kind::Log { level: LogLevel::Warn, message: "careful".into() },
        Kind::UnparsedOutput { raw: vec![0, 0xff, b'x'], truncated_bytes: 9 },
    ]
}

fn contents() -> Vec<Content> {
    vec![
        Content::UserMessage(UserMessage { parts: parts(), created_by: Some(principal()) }),
        Content::AssistantText { text: "Hello".into(), model: "a-model".into() },
        Content::ToolUse(ToolUse {
            tool_use_id: "toolu_1".into(),
            tool_name: "Bash".into(),
            input_json: "{\"command\":\"ls\"}".into(),
            status: ExecutionStatus::Running,
            display_name: "List files".into(),
            description: "Lists the files".into(),
        }),
        Content::ToolResult(ToolResult {
            tool_use_id: "toolu_1".into(),
            is_error: true,
            output: Some(ToolOutput::Parts(parts())),
            duration: Some(duration()),
            markdown: true,
            exit_code: Some(-1),
        }),
        Content::Thinking { text: "Hm".into(), summary: "thought".into() },
        Content::System { kind: NoticeKind::Compaction, message: "shortened".into(), metadata_json: "{}".into() },
        Content::Subagent(SubagentCall {
            subagent_id: ConversationId::new("sub_1"),
            name: "searcher".into(),
            input: "find it".into(),
            status: ExecutionStatus::Succeeded,
            output: "found".into(),
            duration: Some(duration()),
            tool_use_id: "toolu_2".into(),
        }),
        Content::Error { code: "overloaded".into(), message: "try later".into() },
    ]
}

fn block(content: Content) -> Block {
    Block {
        block_id: BlockId::new("blk_1"),
        conversation_id: ConversationId::main(),
        turn_id: Some(TurnId::new("turn_1")),
        state: BlockState::Interrupted,
        create_time: Timestamp(1_700_000_000_000_001),
        complete_time: Some(Timestamp(1_700_000_000_000_002)),
        truncated_bytes: 3,
        content,
    }
}

fn patch() -> BlockPatch {
    BlockPatch {
        status: Some(ExecutionStatus::Failed),
        input_json: Some("{}".into()),
        truncated_bytes: Some(4),
        duration: Some(duration()),
        display_name: Some("List".into()),
        description: Some("Lists".into()),
        summary: Some("short".into()),
        output: Some("done".into()),
        exit_code: Some(2),
    }
}

fn parts() -> Vec<ContentPart> {
    let blob = Blob {
        sha256: "00ff".repeat(16),
        size_bytes: 12,
        media_type: "image/png".into(),
        name: "shot.png".into(),
        data: crate::domain::BlobData::default(),
    };
    vec![
        ContentPart::Text("look".into()),
        ContentPart::Image(blob.clone()),
        ContentPart::Attachment(blob),
        ContentPart::ImageUri("https://example.com/a.png".into()),
        ContentPart::FilePath("src/main.rs".into()),
    ]
}

fn turn() -> Turn {
    Turn {
        turn_id: TurnId::new("turn_1"),
        status: TurnStatus::BudgetExhausted,
        origin: TurnOrigin::Continuation,
        block_id: Some(BlockId::new("blk_1")),
        message: Some(UserMessage { parts: parts(), created_by: Some(principal()) }),
        created_by: principal(),
        create_time: Timestamp(1),
        start_time: Some(Timestamp(2)),
        end_time: Some(Timestamp(3)),
        usage: usage(),
        error: Some(error()),
        goes_first: false,
        interrupt_time: None,
        carried: Vec::new(),
        moving: None,
        meter: Meter::default(),
    }
}

fn meter() -> Meter {
    Meter {
        budget: session().options.budget.unwrap(),
        model: "m".into(),
        permission_mode: "plan".into(),
        worked: Duration::from_micros(1_500_001),
        since: Some(Timestamp(4)),
        steps: 2,
        cost_micro_usd: 17,
        reached: Some(Limit::TurnSteps),
    }
}

fn conversation() -> Conversation {
    Conversation {
        conversation_id: ConversationId::new("sub_1"),
        parent_conversation_id: Some(ConversationId::main()),
        name: "searcher".into(),
        status: Some(ExecutionStatus::Pending),
        tool_use_id: "toolu_2".into(),
        model: "a-model".into(),
        usage: usage(),
    }
}

fn rule() -> PermissionRule {
    PermissionRule {
        rule_id: "rule_1".into(),
        tool_name: "Bash".into(),
        pattern: "ls *".into(),
        effect: PermissionEffect::Ask,
        created_by: Some(principal()),
        create_time: Some(Timestamp(9)),
    }
}

fn file() -> WorkspaceFile {
    WorkspaceFile {
        path: "src/main.rs".into(),
        file_type: FileType::Symlink,
        size_bytes: 10,
        sha256: "ab".repeat(32),
        mode: 0o644,
        modify_time: Some(Timestamp(10)),
        symlink_target: "lib.rs".into(),
    }
}

fn held() -> Held {
    Held { block_id: BlockId::new("msg_1/0"), secret: "API_KEY".into(), bytes: 3, check: 7 }
}

fn profile() -> Profile {
    Profile {
        profile_id: ProfileId::new("prof_1"),
        revision: 2,
        name: "careful".into(),
        description: "asks a lot".into(),
        agent: Some(Agent::Scripted),
        setup: ProfileSetup::default(),
        created_by: Some(principal()),
        create_time: Timestamp(11),
        update_time: Timestamp(12),
        etag: "etag_1".into(),
    }
}

fn session() -> Session {
    Session {
        session_id: SessionId::new("ses_1"),
        uid: LogUid::new("log_1"),
        external_id: "mine".into(),
        agent: Agent::ClaudeCode,
        name: "a name".into(),
        status: SessionStatus::Running,
        profile_id: ProfileId::new("prof_1"),
        profile_revision: 2,
        sequence: 42,
        sandbox: Some(sandbox()),
        sandbox_spec: SandboxSpec {
            provider: "local".into(),
            min_isolation: Some(Isolation::Namespace),
            ..SandboxSpec::default()
        },
        workspace: None,
        seed_files: Vec::new(),
        options: options(),
        usage: usage(),
        labels: labels(),
        metadata: Some(serde_json::Map::from_iter([
            ("nested".to_owned(), serde_json::json!({ "list": [1, -2.5, true, null, "x"] })),
            // Read back as written only if numbers are read exactly.
            ("number".to_owned(), serde_json::json!(1.0e-7 / 3.0)),
        ])),
        created_by: principal(),
        create_time: Timestamp(13),
        last_activity_time: Timestamp(14),
        etag: "etag_1".into(),
        error: Some(error()),
    }
}

fn sources() -> [(&'static str, WorkspaceSource); 3] {
    let url = "https://example.com/a.git".into();
    [
        ("git", WorkspaceSource::Git { url, reference: "main".into(), depth: 3 }),
        ("directory", WorkspaceSource::Directory { path: "/srv/a".into() }),
        ("archive", WorkspaceSource::Archive { format: ArchiveFormat::TarGz, sha256: "cd".repeat(32) }),
    ]
}

fn seeded(source: WorkspaceSource) -> Session {
    let file = SeedFile { path: "src/a.rs".into(), sha256: "ab".repeat(32), size: 10, mode: 0o755 };
    Session { workspace: Some(source), seed_files: vec![file], ..session() }
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        turn_id: Some(TurnId::new("turn_1")),
        sequence: 40,
        generation: 2,
        parser: Some(ParserState { version: 3, state: "{\"open\":[]}".into() }),
        manifest: "ef".repeat(32),
        files: 12,
        bytes: 3456,
        create_time: Timestamp(17),
    }
}

fn sandbox() -> Sandbox {
    Sandbox {
        sandbox_id: Some(SandboxId::new("sbx_1")),
        provider: "local".into(),
        status: SandboxStatus::Unhealthy,
        status_message: "slow".into(),
        generation: 2,
        isolation: Isolation::Remote,
        restored_to_sequence: 40,
        not_applied: vec!["cpu".into()],
        expire_time: Some(Timestamp(15)),
        last_health_check_time: Some(Timestamp(16)),
    }
}

fn options() -> SessionOptions {
    SessionOptions {
        model: "a-model".into(),
        permission_mode: "ask".into(),
        budget: Some(Budget {
            session_cost_micro_usd: 1,
            turn_cost_micro_usd: 2,
            turn_steps: 3,
            turn_duration: Some(duration()),
        }),
        idle_timeout: Some(duration()),
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("team".into(), "blue".into()), ("tier".into(), "2".into())])
}

fn usage() -> Usage {
    Usage {
        input_tokens: 1,
        output_tokens: 2,
        cache_read_tokens: 3,
        cache_write_tokens: 4,
        thinking_tokens: 5,
        cost_micro_usd: 6,
    }
}

fn error() -> SessionError {
    SessionError {
        reason: Reason::AgentFailed,
        message: "it ended".into(),
        retryable: true,
        metadata: BTreeMap::from([("exit_code".into(), "1".into())]),
    }
}

fn principal() -> Principal {
    Principal { subject: "ada".into(), display_name: "Ada".into(), kind: PrincipalKind::User }
}

fn duration() -> Duration {
    Duration::new(1, 500_000_000)
}

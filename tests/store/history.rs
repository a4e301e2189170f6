//! Random histories that a session could have, and what the store must make of them.

use std::collections::BTreeMap;

use agent_runtime::{
    domain::{
        Block, BlockId, BlockPatch, BlockState, Content, Conversation, ConversationId, ExecutionStatus, FileChange,
        FileChangeKind, FileChangeOrigin, FileType, InputOutcome, InputResolution, Kind, NoticeKind, PermissionEffect,
        PermissionRule, Reason, SandboxStatus, SessionError, SessionState, SessionStatus, SessionUpdate, SubagentCall,
        Timestamp, ToolOutput, ToolResult, ToolUse, TurnId, TurnStatus, Usage, UserMessage, WorkspaceFile,
    },
    store::{BlockQuery, SnapshotHead, Store},
};

use crate::kept;
use crate::make::{Owner, delta, key, log_line, main_blocks, permission, question, sandbox, turn};

/// What happens next, chosen by numbers, so that a history can be made shorter and simpler.
pub(crate) type Step = (u8, u8, u8);

/// Stores a history in batches of any size, taking the session over now and then, and compares all that can be read.
pub(crate) async fn check(store: &dyn Store, steps: &[Step]) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let mut full = owner.folded();
    let mut pending = Vec::new();
    let mut heads = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let kind = next(&full, number, *step);
        // Legality is judged on the whole state; the owner holds only what is open since it took over.
        let event =
            Owner { log: owner.log.clone(), ..owner.clone() }.batch(pending.iter().cloned().chain([kind.clone()]));
        full.apply(event.events.last().unwrap());
        pending.push(kind);
        if step.2.is_multiple_of(3) {
            owner.append(store, pending.drain(..)).await;
        }
        if step.2.is_multiple_of(16) {
            owner.append(store, pending.drain(..)).await;
            assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), full);
            let acquired = owner.acquire(store).await;
            assert_eq!(acquired.open, open(&full));
            heads.push((store.snapshot_head(&owner.key).await.unwrap().unwrap(), full.clone()));
        }
    }
    owner.append(store, pending).await;
    assert_eq!(owner.folded(), full);
    let snapshot = store.snapshot(&owner.key).await.unwrap().unwrap();
    assert_eq!(snapshot, full);
    heads.push((store.snapshot_head(&owner.key).await.unwrap().unwrap(), full.clone()));
    let mut changed = 0;
    let total = heads.len();
    for (head, expected) in heads {
        // Whatever happened since: the state there was, or the word that a block is another one now.
        match paged(store, &owner, head).await {
            Some(state) => assert_eq!(state, expected),
            None => changed += 1,
        }
    }
    assert!(changed < total, "the newest snapshot at least is whole");
    let view = store.session(&owner.key).await.unwrap().unwrap();
    assert_eq!(view.session, full.session);
    assert_eq!(view.active_turn.as_ref(), full.active_turn());
    assert_eq!(view.open_permissions, open(&full).permissions);

    let page = steps.len() % 7 + 1;
    let mut read = Vec::new();
    while read.len() < owner.log.len() {
        let after = i64::try_from(read.len()).unwrap();
        read.extend(store.events(&owner.key, after, page).await.unwrap().events);
    }
    assert_eq!(read, owner.log);
    for conversation in conversations() {
        let of = |block: &&Block| block.conversation_id == conversation;
        let mut expected: Vec<_> = full.blocks.iter().filter(of).cloned().collect();
        for newest_first in [false, true] {
            for max_bytes in [usize::MAX, 300] {
                let conversation_id = conversation.clone();
                let query = BlockQuery { conversation_id, newest_first, limit: page, max_bytes, ..main_blocks() };
                assert_eq!(all_blocks(store, &owner, query).await, expected);
            }
            expected.reverse();
        }
    }
    // Compacted in two steps, from the middle of the log and from its end.
    for old in [steps.len() / 2, steps.len() + 1] {
        let old = i64::try_from(old).unwrap();
        store.compact(Timestamp(full.session.create_time.0 + old + 1)).await.unwrap();
        kept::resumes(store, &owner, page).await;
        assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), full);
    }
}

/// The state whose head was read some time ago.
async fn paged(store: &dyn Store, owner: &Owner, head: SnapshotHead) -> Option<SessionState> {
    let SnapshotHead { mut state, places } = head;
    let mut streaming: BTreeMap<i64, Block> = places.into_iter().zip(std::mem::take(&mut state.blocks)).collect();
    let mut after = 0;
    loop {
        let page = store.final_blocks(&owner.key, state.session.sequence, after, 300).await.unwrap().unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.iter().map(|placed| placed.place).is_sorted());
        after = last.place;
        for placed in page {
            state.blocks.push(streaming.remove(&placed.place).or(placed.block)?);
        }
    }
    assert!(streaming.is_empty(), "blocks that streamed are not among the pages: {streaming:?}");
    Some(state)
}

async fn all_blocks(store: &dyn Store, owner: &Owner, mut query: BlockQuery) -> Vec<Block> {
    let mut blocks = Vec::new();
    loop {
        let page = store.blocks(&owner.key, &query).await.unwrap().unwrap();
        assert_eq!(page.sequence, owner.head());
        assert!(page.blocks.len() <= query.limit);
        blocks.extend(page.blocks);
        query.after = page.next;
        if page.next.is_none() {
            return blocks;
        }
    }
}

/// What of a state is not over.
fn open(state: &SessionState) -> SessionState {
    let mut open = state.clone();
    open.turns.retain(|turn| !turn.status.is_final());
    open.blocks.retain(|block| block.state == BlockState::Streaming);
    open.permissions.retain(|permission| permission.resolution.is_none());
    open.questions.retain(|question| question.resolution.is_none());
    open.files.clear();
    open
}

fn conversations() -> [ConversationId; 3] {
    [ConversationId::main(), ConversationId::new("sub\0a"), ConversationId::none()]
}

/// An event that is legal in this state; where the one asked for is not, a line of the log.
fn next(state: &SessionState, number: usize, (sort, which, _): Step) -> Kind {
    let which = usize::from(which);
    let streaming: Vec<&Block> = state.blocks.iter().filter(|block| block.state == BlockState::Streaming).collect();
    let pick = |count: usize| (count > 0).then(|| which % count);
    let text = ["a", "ä\0", "🦀\u{2028}", "{\"k\":1}", "line\n", "\u{1}"][which % 6];
    let chosen = match sort % 24 {
        0..=3 => Some(Kind::BlockStart { block: block(&format!("blk_{number}"), which, BlockState::Streaming) }),
        4..=9 => {
            let growing: Vec<_> = streaming.iter().filter(|block| block.content.growing().is_some()).collect();
            pick(growing.len()).map(|at| {
                let held = growing[at].content.growing().unwrap();
                delta(growing[at].block_id.as_str(), &text.repeat(which % 5 + 1), held.len())
            })
        }
        10 => pick(streaming.len())
            .map(|at| Kind::BlockUpdate { block_id: streaming[at].block_id.clone(), patch: patch(which) }),
        11 | 12 => pick(streaming.len()).map(|at| {
            let state = if which.is_multiple_of(2) { BlockState::Complete } else { BlockState::Interrupted };
            let mut block = Block { state, complete_time: Some(Timestamp(9)), ..streaming[at].clone() };
            if let Some(grown) = block.content.growing_mut() {
                grown.push_str("end");
            }
            Kind::BlockComplete { block }
        }),
        13 => Some(Kind::BlockComplete { block: block(&format!("blk_{number}"), which, BlockState::Complete) }),
        // Start inserts; where the block is there already, it replaces.
        14 => pick(state.blocks.len()).map(|at| {
            let id = state.blocks[at].block_id.as_str();
            Kind::BlockStart { block: block(id, which, BlockState::Streaming) }
        }),
        15 => Some(match state.turns.iter().find(|turn| !turn.status.is_final()) {
            Some(held) => {
                let nexts: Vec<_> =
                    TurnStatus::ALL.into_iter().filter(|status| held.status.may_become(*status)).collect();
                let status = nexts[which % nexts.len()];
                Kind::TurnUpdated { turn: agent_runtime::domain::Turn { status, ..held.clone() } }
            }
            None => Kind::TurnUpdated { turn: turn(&format!("turn_{number}"), TurnStatus::Running) },
        }),
        16 => Some(Kind::TurnQueued { turn: turn(&format!("turn_{number}"), TurnStatus::Queued) }),
        17 => Some(Kind::ConversationUpdated { conversation: conversation(which), session_usage: usage(number) }),
        18 => Some(record_change(state, number, which)),
        19 => Some(if which.is_multiple_of(3) {
            Kind::PermissionRulesChanged { rules: (0..which % 4).map(rule).collect() }
        } else {
            Kind::PermissionRequested { permission: permission(&format!("perm_{number}")) }
        }),
        20 => Some(Kind::QuestionRequested { question: question(&format!("ques_{number}")) }),
        21 => {
            let open = open(state);
            let permission_id = pick(open.permissions.len()).map(|at| open.permissions[at].permission_id.clone());
            let question_id = pick(open.questions.len()).map(|at| open.questions[at].question_id.clone());
            let permission =
                permission_id.map(|permission_id| Kind::PermissionResolved { permission_id, resolution: resolution() });
            permission
                .or(question_id.map(|question_id| Kind::QuestionResolved { question_id, resolution: resolution() }))
        }
        22 => Some(files(state, which)),
        _ => None,
    };
    chosen.unwrap_or_else(|| match which % 3 {
        0 => log_line(text),
        1 => Kind::ErrorOccurred { error: error() },
        _ => Kind::UnparsedOutput { raw: vec![0, 255], truncated_bytes: 1 },
    })
}

fn record_change(state: &SessionState, number: usize, which: usize) -> Kind {
    let number = f64::from(u16::try_from(number).unwrap());
    match which % 3 {
        0 => Kind::StatusChanged {
            status: [SessionStatus::Idle, SessionStatus::Running, SessionStatus::Failed][which % 5 % 3],
            reason: "why".into(),
            error: which.is_multiple_of(2).then(error),
        },
        1 => Kind::SandboxChanged {
            sandbox: sandbox("sbx_1", [SandboxStatus::Ready, SandboxStatus::Terminated][which % 2]),
        },
        _ => Kind::SessionUpdated(SessionUpdate {
            name: format!("name {number}"),
            labels: BTreeMap::from([("a".into(), which.to_string())]),
            metadata: Some(serde_json::Map::from_iter([("x".to_owned(), serde_json::json!((number + 1.0) / 3.0e7))])),
            options: state.session.options.clone(),
            etag: which.to_string(),
        }),
    }
}

fn files(state: &SessionState, which: usize) -> Kind {
    let file = |name: usize| WorkspaceFile {
        path: ["b", "a/ü", "a", "a.b", "a/\0"][name % 5].into(),
        file_type: FileType::File,
        size_bytes: i64::try_from(which).unwrap(),
        sha256: String::new(),
        mode: 0o644,
        modify_time: None,
        symlink_target: String::new(),
    };
    let change = |kind, file, previous_path: &str| FileChange {
        kind,
        file,
        previous_path: previous_path.to_owned(),
        origin: FileChangeOrigin::Agent,
    };
    let mut changes = vec![change(FileChangeKind::Modified, file(which), "")];
    if which.is_multiple_of(2) {
        changes.push(change(FileChangeKind::Deleted, file(which / 2), ""));
    }
    if let Some(held) = state.files.first().filter(|_| which.is_multiple_of(3)) {
        changes.push(change(FileChangeKind::Renamed, file(which / 3), &held.path));
    }
    Kind::FilesChanged { changes, more: false }
}

fn block(id: &str, which: usize, state: BlockState) -> Block {
    Block {
        block_id: BlockId::new(id),
        conversation_id: conversations()[which % 7 % 3].clone(),
        turn_id: which.is_multiple_of(2).then(|| TurnId::new("turn_1")),
        state,
        create_time: Timestamp(1),
        complete_time: None,
        truncated_bytes: 0,
        content: content(which),
    }
}

fn content(which: usize) -> Content {
    match which % 8 {
        0 => Content::UserMessage(UserMessage { parts: vec![], created_by: None }),
        1 => Content::ToolUse(ToolUse {
            tool_use_id: "t".into(),
            tool_name: "Bash".into(),
            input_json: String::new(),
            status: ExecutionStatus::Pending,
            display_name: String::new(),
            description: String::new(),
        }),
        2 => Content::ToolResult(ToolResult {
            tool_use_id: "t".into(),
            is_error: false,
            output: [None, Some(ToolOutput::Text("out".into())), Some(ToolOutput::Json("{}".into()))][which % 3]
                .clone(),
            duration: None,
            markdown: false,
            exit_code: None,
        }),
        3 => Content::Thinking { text: "hm".into(), summary: String::new() },
        4 => Content::System { kind: NoticeKind::Status, message: "m".into(), metadata_json: String::new() },
        5 => Content::Subagent(SubagentCall {
            subagent_id: ConversationId::new("sub"),
            name: "s".into(),
            input: "i".into(),
            status: ExecutionStatus::Running,
            output: String::new(),
            duration: None,
            tool_use_id: "t".into(),
        }),
        _ => Content::AssistantText { text: String::new(), model: "m".into() },
    }
}

fn patch(which: usize) -> BlockPatch {
    BlockPatch {
        status: Some(ExecutionStatus::Succeeded),
        // Shorter than what deltas built: later deltas go on from here.
        input_json: which.is_multiple_of(2).then(|| "{}".into()),
        truncated_bytes: Some(i64::try_from(which).unwrap()),
        summary: Some("short".into()),
        output: Some("done".into()),
        exit_code: Some(1),
        ..BlockPatch::default()
    }
}

fn conversation(which: usize) -> Conversation {
    let conversation_id = conversations()[which % 2].clone();
    Conversation { conversation_id, model: which.to_string(), usage: usage(which), ..Conversation::main() }
}

fn usage(tokens: usize) -> Usage {
    Usage { output_tokens: i64::try_from(tokens).unwrap(), ..Usage::default() }
}

fn rule(number: usize) -> PermissionRule {
    PermissionRule {
        rule_id: number.to_string(),
        tool_name: "Bash".into(),
        pattern: String::new(),
        effect: PermissionEffect::Allow,
        created_by: None,
        create_time: None,
    }
}

fn resolution() -> InputResolution {
    InputResolution {
        outcome: InputOutcome::Allowed,
        option_id: String::new(),
        message: String::new(),
        updated_input_json: String::new(),
        answers: Vec::new(),
        resolved_by: None,
        resolve_time: Some(Timestamp(3)),
        rule_id: String::new(),
        effect: None,
    }
}

fn error() -> SessionError {
    SessionError { reason: Reason::AgentFailed, message: "m".into(), retryable: false, metadata: BTreeMap::new() }
}

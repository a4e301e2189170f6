//! The fold again, written from the contract alone and over its messages: what a client in another language would do.
//! Plain and slow on purpose.

use agent_runtime::proto::{
    Block, BlockUpdate, FileChange, FileChangeKind, Session, SessionEvent, SessionState, TurnStatus, block::Content,
    session_event::Kind, tool_result::Output,
};
use prost::Message as _;

/// The state after all these events or frames.
pub fn fold(events: &[SessionEvent]) -> SessionState {
    let mut state = SessionState::default();
    for event in events {
        apply(&mut state, event);
    }
    state
}

/// Folds in one event, or one frame of a watch.
pub fn apply(state: &mut SessionState, event: &SessionEvent) {
    let Some(kind) = &event.kind else {
        stamp(state, event, true);
        return;
    };
    match kind.clone() {
        Kind::BlockStart(e) => put(&mut state.blocks, e.block.unwrap(), |b| b.block_id.clone()),
        Kind::BlockComplete(e) => put(&mut state.blocks, e.block.unwrap(), |b| b.block_id.clone()),
        Kind::BlockDelta(e) => {
            for block in state.blocks.iter_mut().filter(|b| b.block_id == e.block_id) {
                let held = growing(&mut block.clone()).map(|text| i64::try_from(text.len()).unwrap());
                // More than what is held would be a bug of the server; a cut character too.
                if let Some(held) = held.filter(|held| (0..=*held).contains(&e.offset)) {
                    let fresh = e.delta.get(usize::try_from(held - e.offset).unwrap()..).unwrap_or_default();
                    if !fresh.is_empty() {
                        growing(block).unwrap().push_str(fresh);
                    }
                }
            }
        }
        Kind::BlockUpdate(e) => {
            for block in state.blocks.iter_mut().filter(|b| b.block_id == e.block_id) {
                patch(block, &e);
            }
        }
        Kind::TurnQueued(e) => put(&mut state.turns, e.turn.unwrap(), |t| t.turn_id.clone()),
        Kind::TurnUpdated(e) => put(&mut state.turns, e.turn.unwrap(), |t| t.turn_id.clone()),
        Kind::ConversationUpdated(e) => {
            put(&mut state.conversations, e.conversation.unwrap(), |c| c.conversation_id.clone());
            session(state).usage = e.session_usage;
        }
        Kind::SessionCreated(e) => {
            // "Unset inside SessionState."
            let told = e.session.map(|session| Session { oldest_sequence: 0, ..session });
            *state = SessionState { session: told, ..SessionState::default() };
        }
        Kind::SessionUpdated(e) => {
            let session = session(state);
            session.name = e.name;
            session.labels = e.labels;
            session.metadata = e.metadata;
            session.options = e.options;
            session.etag = e.etag;
        }
        Kind::StatusChanged(e) => {
            session(state).status = e.status;
            session(state).error = e.error;
        }
        Kind::SandboxChanged(e) => session(state).sandbox = e.sandbox,
        Kind::PermissionRequested(e) => {
            put(&mut state.permissions, e.permission.unwrap(), |p| p.permission_id.clone());
        }
        Kind::PermissionResolved(e) => {
            for permission in state.permissions.iter_mut().filter(|p| p.permission_id == e.permission_id) {
                permission.resolution.clone_from(&e.resolution);
            }
        }
        Kind::PermissionRulesChanged(e) => state.permission_rules = e.rules,
        Kind::QuestionRequested(e) => put(&mut state.questions, e.question.unwrap(), |q| q.question_id.clone()),
        Kind::QuestionResolved(e) => {
            for question in state.questions.iter_mut().filter(|q| q.question_id == e.question_id) {
                question.resolution.clone_from(&e.resolution);
            }
        }
        Kind::FilesChanged(e) => e.changes.into_iter().for_each(|change| change_file(state, change)),
        Kind::Error(_) | Kind::Log(_) | Kind::UnparsedOutput(_) | Kind::SnapshotComplete(_) | Kind::Bookmark(_) => {}
        Kind::SnapshotStart(_) => *state = SessionState::default(),
        Kind::SnapshotChunk(e) => state.merge(e.state.unwrap().encode_to_vec().as_slice()).unwrap(),
    }
    let active = [TurnStatus::Running, TurnStatus::AwaitingInput, TurnStatus::Parked];
    let turns = state.turns.clone();
    if let Some(session) = &mut state.session {
        session.active_turn = turns.iter().find(|t| active.contains(&t.status())).cloned().map(Box::new);
        let queued = |first: bool| {
            let turns = turns.iter().filter(move |t| t.status() == TurnStatus::Queued && t.goes_first == first);
            turns.cloned().collect::<Vec<_>>()
        };
        session.queued_turns = queued(true).into_iter().rev().chain(queued(false)).collect();
    }
    stamp(state, event, !matches!(kind, Kind::Bookmark(_)));
}

/// The two rules for every event that has a sequence.
fn stamp(state: &mut SessionState, event: &SessionEvent, is_activity: bool) {
    if event.sequence != 0 {
        session(state).sequence = event.sequence;
        if is_activity {
            session(state).last_activity_time = event.event_time;
        }
    }
}

fn session(state: &mut SessionState) -> &mut Session {
    state.session.as_mut().expect("a log begins with session_created, a snapshot with the session")
}

fn put<T>(list: &mut Vec<T>, item: T, id: impl Fn(&T) -> String) {
    match list.iter().position(|held| id(held) == id(&item)) {
        Some(at) => list[at] = item,
        None => list.push(item),
    }
}

fn growing(block: &mut Block) -> Option<&mut String> {
    match block.content.as_mut()? {
        Content::AssistantText(c) => Some(&mut c.text),
        Content::Thinking(c) => Some(&mut c.text),
        Content::ToolUse(c) => Some(&mut c.input_json),
        Content::ToolResult(c) => match c.output.get_or_insert(Output::Text(String::new())) {
            Output::Text(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn patch(block: &mut Block, e: &BlockUpdate) {
    if let Some(truncated) = e.truncated_bytes {
        block.truncated_bytes = truncated;
    }
    match block.content.as_mut().unwrap() {
        Content::ToolUse(c) => {
            c.status = e.status.unwrap_or(c.status);
            c.input_json = e.input_json.clone().unwrap_or(c.input_json.clone());
            c.display_name = e.display_name.clone().unwrap_or(c.display_name.clone());
            c.description = e.description.clone().unwrap_or(c.description.clone());
        }
        Content::ToolResult(c) => {
            c.duration = e.duration.or(c.duration);
            c.exit_code = e.exit_code.or(c.exit_code);
        }
        Content::Thinking(c) => c.summary = e.summary.clone().unwrap_or(c.summary.clone()),
        Content::Subagent(c) => {
            c.status = e.status.unwrap_or(c.status);
            c.output = e.output.clone().unwrap_or(c.output.clone());
            c.duration = e.duration.or(c.duration);
        }
        _ => {}
    }
}

fn change_file(state: &mut SessionState, change: FileChange) {
    let file = change.file.clone().unwrap();
    let gone = match change.kind() {
        FileChangeKind::Renamed => Some(&change.previous_path),
        FileChangeKind::Deleted => Some(&file.path),
        _ => None,
    };
    state.files.retain(|held| Some(&held.path) != gone);
    if change.kind() != FileChangeKind::Deleted {
        state.files.retain(|held| held.path != file.path);
        state.files.push(file);
        state.files.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    }
}

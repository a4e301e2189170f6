//! The wire's fold: a session's state out of its events, by the "Fold:" lines of the contract.
//!
//! Knows only the generated messages. It is deliberately not the server's fold: two of them can disagree, and are
//! compared.

use std::mem;

use prost::Message as _;

use crate::proto::{
    Block, BlockDelta, BlockUpdate, FileChange, FileChangeKind, Session, SessionEvent, SessionState, Turn, TurnStatus,
    WorkspaceFile, block::Content, session_event::Kind, tool_result::Output,
};

/// What there is to show of a session.
///
/// ```
/// use agent_runtime::{
///     client::State,
///     proto::{SessionEvent, from_json},
/// };
///
/// let mut state = State::default();
/// for json in [
///     r#"{"sequence": "1", "sessionCreated": {"session": {"sessionId": "ses_1"}}}"#,
///     r#"{"sequence": "2", "blockStart": {"block": {"blockId": "b", "assistantText": {"text": "Hel"}}}}"#,
///     r#"{"sequence": "3", "blockDelta": {"blockId": "b", "delta": "lo", "offset": "3"}}"#,
/// ] {
///     let event: SessionEvent = from_json("agentruntime.v1.SessionEvent", json)?;
///     state.apply(&event);
/// }
/// assert_eq!(agent_runtime::client::words_of(state.block("b").expect("it began")), "Hello");
/// # Ok::<(), agent_runtime::proto::JsonError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State(SessionState);

impl State {
    /// A state of which only the record is known, for readers that begin in the middle.
    #[must_use]
    pub fn of_record(session: Session) -> Self {
        let turns = session.active_turn.iter().map(|turn| &**turn).chain(&session.queued_turns).cloned().collect();
        Self(SessionState { session: Some(session), turns, ..SessionState::default() })
    }

    /// The state as the contract has it.
    #[must_use]
    pub fn as_proto(&self) -> &SessionState {
        &self.0
    }

    /// Whether no turn is active and none waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.0.turns.iter().any(|turn| is_active(turn) || turn.status() == TurnStatus::Queued)
    }

    /// The block of that id.
    #[must_use]
    pub fn block(&self, id: &str) -> Option<&Block> {
        self.0.blocks.iter().rev().find(|block| block.block_id == id)
    }

    /// Folds one event in.
    pub fn apply(&mut self, event: &SessionEvent) {
        // A kind this client does not know changes nothing but the cursor.
        if let Some(kind) = &event.kind {
            self.apply_kind(kind);
        }
        if event.sequence > 0
            && let Some(session) = &mut self.0.session
        {
            session.sequence = event.sequence;
            if !matches!(event.kind, Some(Kind::Bookmark(_))) {
                session.last_activity_time = event.event_time;
            }
        }
    }

    fn apply_kind(&mut self, kind: &Kind) {
        let state = &mut self.0;
        match kind {
            Kind::BlockStart(start) => put_block(&mut state.blocks, start.block.as_ref()),
            Kind::BlockComplete(complete) => put_block(&mut state.blocks, complete.block.as_ref()),
            Kind::BlockDelta(delta) => {
                if let Some(block) = block_mut(&mut state.blocks, &delta.block_id) {
                    grow(block, delta);
                }
            }
            Kind::BlockUpdate(update) => {
                if let Some(block) = block_mut(&mut state.blocks, &update.block_id) {
                    patch(block, update);
                }
            }
            Kind::TurnQueued(queued) => self.put_turn(queued.turn.as_ref()),
            Kind::TurnUpdated(updated) => self.put_turn(updated.turn.as_ref()),
            Kind::ConversationUpdated(updated) => {
                if let Some(new) = &updated.conversation {
                    put(&mut state.conversations, new, |held| held.conversation_id == new.conversation_id);
                }
                with(&mut state.session, |session| session.usage = updated.session_usage);
            }
            Kind::SessionCreated(created) => {
                *state = SessionState { session: created.session.clone(), ..SessionState::default() };
                // Unset inside a state, whatever the record said.
                with(&mut state.session, |session| session.oldest_sequence = 0);
            }
            Kind::SessionUpdated(updated) => with(&mut state.session, |session| {
                session.name.clone_from(&updated.name);
                session.labels.clone_from(&updated.labels);
                session.metadata.clone_from(&updated.metadata);
                session.options.clone_from(&updated.options);
                session.etag.clone_from(&updated.etag);
            }),
            Kind::StatusChanged(changed) => with(&mut state.session, |session| {
                session.status = changed.status;
                session.error.clone_from(&changed.error);
            }),
            Kind::SandboxChanged(changed) => {
                with(&mut state.session, |session| session.sandbox.clone_from(&changed.sandbox));
            }
            Kind::PermissionRequested(requested) => {
                if let Some(new) = &requested.permission {
                    put(&mut state.permissions, new, |held| held.permission_id == new.permission_id);
                }
            }
            Kind::PermissionResolved(resolved) => {
                let held = state.permissions.iter_mut().find(|held| held.permission_id == resolved.permission_id);
                if let Some(held) = held {
                    held.resolution.clone_from(&resolved.resolution);
                }
            }
            Kind::PermissionRulesChanged(changed) => state.permission_rules.clone_from(&changed.rules),
            Kind::QuestionRequested(requested) => {
                if let Some(new) = &requested.question {
                    put(&mut state.questions, new, |held| held.question_id == new.question_id);
                }
            }
            Kind::QuestionResolved(resolved) => {
                if let Some(held) = state.questions.iter_mut().find(|held| held.question_id == resolved.question_id) {
                    held.resolution.clone_from(&resolved.resolution);
                }
            }
            Kind::FilesChanged(changed) => {
                for change in &changed.changes {
                    apply_file_change(&mut state.files, change);
                }
            }
            Kind::SnapshotStart(_) => *state = SessionState::default(),
            Kind::SnapshotChunk(chunk) => {
                if let Some(part) = &chunk.state {
                    state.merge(part.encode_to_vec().as_slice()).expect("what was just encoded can be decoded");
                }
            }
            Kind::Error(_) | Kind::Log(_) | Kind::UnparsedOutput(_) | Kind::SnapshotComplete(_) | Kind::Bookmark(_) => {
            }
        }
    }

    fn put_turn(&mut self, turn: Option<&Turn>) {
        let Some(new) = turn else { return };
        put(&mut self.0.turns, new, |held| held.turn_id == new.turn_id);
        let turns = &self.0.turns;
        with(&mut self.0.session, |session| {
            session.active_turn = turns.iter().find(|turn| is_active(turn)).cloned().map(Box::new);
            let queued = turns.iter().filter(|turn| turn.status() == TurnStatus::Queued).cloned();
            let (mut first, rest): (Vec<_>, Vec<_>) = queued.partition(|turn| turn.goes_first);
            first.reverse();
            session.queued_turns = [first, rest].concat();
        });
    }
}

fn is_active(turn: &Turn) -> bool {
    matches!(turn.status(), TurnStatus::Running | TurnStatus::AwaitingInput | TurnStatus::Parked)
}

fn with(session: &mut Option<Session>, change: impl FnOnce(&mut Session)) {
    if let Some(session) = session {
        change(session);
    }
}

/// `list[id] = item`: replaces, or adds at the end.
fn put<T: Clone>(list: &mut Vec<T>, item: &T, same: impl Fn(&T) -> bool) {
    match list.iter_mut().rev().find(|held| same(held)) {
        Some(held) => held.clone_from(item),
        None => list.push(item.clone()),
    }
}

fn put_block(blocks: &mut Vec<Block>, block: Option<&Block>) {
    if let Some(new) = block {
        put(blocks, new, |held| held.block_id == new.block_id);
    }
}

fn block_mut<'a>(blocks: &'a mut [Block], id: &str) -> Option<&'a mut Block> {
    // What changes is nearly always among the newest.
    blocks.iter_mut().rev().find(|block| block.block_id == id)
}

/// Appends what the block does not hold yet.
fn grow(block: &mut Block, delta: &BlockDelta) {
    let text = match &mut block.content {
        Some(Content::AssistantText(content)) => &mut content.text,
        Some(Content::Thinking(content)) => &mut content.text,
        Some(Content::ToolUse(content)) => &mut content.input_json,
        Some(Content::ToolResult(content)) => match content.output.get_or_insert_with(|| Output::Text(String::new())) {
            Output::Text(text) => text,
            Output::OutputJson(_) | Output::Parts(_) => return,
        },
        Some(Content::UserMessage(_) | Content::System(_) | Content::Subagent(_) | Content::Error(_)) | None => return,
    };
    let known = usize::try_from(delta.offset).ok().and_then(|offset| text.len().checked_sub(offset));
    if let Some(fresh) = known.and_then(|known| delta.delta.get(known..)) {
        text.push_str(fresh);
    }
}

fn patch(block: &mut Block, update: &BlockUpdate) {
    set(&mut block.truncated_bytes, update.truncated_bytes.as_ref());
    match &mut block.content {
        Some(Content::ToolUse(tool)) => {
            set(&mut tool.status, update.status.as_ref());
            set(&mut tool.input_json, update.input_json.as_ref());
            set(&mut tool.display_name, update.display_name.as_ref());
            set(&mut tool.description, update.description.as_ref());
        }
        Some(Content::ToolResult(result)) => {
            result.duration = update.duration.or(result.duration);
            result.exit_code = update.exit_code.or(result.exit_code);
        }
        Some(Content::Thinking(thinking)) => set(&mut thinking.summary, update.summary.as_ref()),
        Some(Content::Subagent(call)) => {
            set(&mut call.status, update.status.as_ref());
            set(&mut call.output, update.output.as_ref());
            call.duration = update.duration.or(call.duration);
        }
        Some(Content::UserMessage(_) | Content::AssistantText(_) | Content::System(_) | Content::Error(_)) | None => {}
    }
}

fn set<T: Clone>(held: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        held.clone_from(new);
    }
}

fn apply_file_change(files: &mut Vec<WorkspaceFile>, change: &FileChange) {
    let Some(file) = &change.file else { return };
    let gone = match change.kind() {
        FileChangeKind::Deleted => Some(&file.path),
        FileChangeKind::Renamed => Some(&change.previous_path),
        FileChangeKind::Created | FileChangeKind::Modified | FileChangeKind::Unspecified => None,
    };
    if let Some(at) = gone.and_then(|path| find(files, path).ok()) {
        files.remove(at);
    }
    if change.kind() != FileChangeKind::Deleted {
        match find(files, &file.path) {
            Ok(at) => drop(mem::replace(&mut files[at], file.clone())),
            Err(at) => files.insert(at, file.clone()),
        }
    }
}

fn find(files: &[WorkspaceFile], path: &str) -> Result<usize, usize> {
    files.binary_search_by(|held| held.path.as_bytes().cmp(path.as_bytes()))
}

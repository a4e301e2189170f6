//! The fold: `state = fold(events)`. Pure, total, and the same in every language; each arm is the "Fold:" line of the
//! contract's event. An event about something that is not there changes nothing.

use super::{
    Block, BlockId, BlockPatch, Content, ConversationId, Event, ExecutionStatus, FileChange, FileChangeKind, Kind,
    SessionState, ToolOutput, TurnId, WorkspaceFile,
};

/// Which part of the state an event changed: what a store has to write beside the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing but the record's sequence and time.
    None,
    /// The record.
    Session,
    /// The text of a block; the log has it, so that nothing else need be written.
    BlockText(BlockId),
    /// A block.
    Block(BlockId),
    /// A turn.
    Turn(TurnId),
    /// A conversation, and the record's usage.
    Conversation(ConversationId),
    /// A permission request.
    Permission(String),
    /// All standing answers.
    PermissionRules,
    /// A question.
    Question(String),
    /// The files at these paths: written where they are in the state, else removed.
    Files(Vec<String>),
}

impl SessionState {
    /// The state after these events, of which the first must be the creation of the session.
    #[must_use]
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<Self> {
        let mut state: Option<Self> = None;
        for event in events {
            match (&mut state, &event.kind) {
                (_, Kind::SessionCreated { session }) => {
                    let mut created = Self::new((**session).clone());
                    created.touch(event);
                    state = Some(created);
                }
                (Some(state), _) => {
                    state.apply(event);
                }
                (None, _) => {}
            }
        }
        state
    }

    /// Folds one event in.
    pub fn apply(&mut self, event: &Event) -> Change {
        let change = self.apply_kind(&event.kind);
        self.touch(event);
        change
    }

    /// Folds in the tail that a delta gained before it was submitted.
    pub fn grow_block(&mut self, block_id: &BlockId, delta: &str, offset: i64) -> bool {
        self.block_mut(block_id).is_some_and(|block| grow(block, delta, offset))
    }

    fn touch(&mut self, event: &Event) {
        self.session.sequence = event.sequence;
        self.session.last_activity_time = event.time;
    }

    fn apply_kind(&mut self, kind: &Kind) -> Change {
        match kind {
            Kind::BlockStart { block } | Kind::BlockComplete { block } => {
                put(&mut self.blocks, block, |held| held.block_id == block.block_id);
                Change::Block(block.block_id.clone())
            }
            Kind::BlockDelta { block_id, delta, offset } => {
                if self.grow_block(block_id, delta, *offset) {
                    Change::BlockText(block_id.clone())
                } else {
                    Change::None
                }
            }
            Kind::BlockUpdate { block_id, patch } => match self.block_mut(block_id) {
                Some(block) => {
                    apply_patch(block, patch);
                    Change::Block(block_id.clone())
                }
                None => Change::None,
            },
            Kind::TurnUpdated { turn } | Kind::TurnQueued { turn } => {
                put(&mut self.turns, turn, |held| held.turn_id == turn.turn_id);
                Change::Turn(turn.turn_id.clone())
            }
            Kind::ConversationUpdated { conversation, session_usage } => {
                let id = &conversation.conversation_id;
                put(&mut self.conversations, conversation, |held| held.conversation_id == *id);
                self.session.usage = *session_usage;
                Change::Conversation(id.clone())
            }
            Kind::SessionCreated { session } => {
                *self = Self::new((**session).clone());
                Change::Session
            }
            Kind::SessionUpdated(update) => {
                let session = &mut self.session;
                session.name.clone_from(&update.name);
                session.labels.clone_from(&update.labels);
                session.metadata.clone_from(&update.metadata);
                session.options.clone_from(&update.options);
                session.etag.clone_from(&update.etag);
                Change::Session
            }
            Kind::StatusChanged { status, reason: _, error } => {
                self.session.status = *status;
                self.session.error.clone_from(error);
                Change::Session
            }
            Kind::SandboxChanged { sandbox } => {
                self.session.sandbox = Some(sandbox.clone());
                Change::Session
            }
            Kind::PermissionRequested { permission } => {
                put(&mut self.permissions, permission, |held| held.permission_id == permission.permission_id);
                Change::Permission(permission.permission_id.clone())
            }
            Kind::PermissionResolved { permission_id, resolution } => {
                match self.permissions.iter_mut().find(|held| held.permission_id == *permission_id) {
                    Some(permission) => {
                        permission.resolution = Some(resolution.clone());
                        Change::Permission(permission_id.clone())
                    }
                    None => Change::None,
                }
            }
            Kind::PermissionRulesChanged { rules } => {
                self.permission_rules.clone_from(rules);
                Change::PermissionRules
            }
            Kind::QuestionRequested { question } => {
                put(&mut self.questions, question, |held| held.question_id == question.question_id);
                Change::Question(question.question_id.clone())
            }
            Kind::QuestionResolved { question_id, resolution } => {
                match self.questions.iter_mut().find(|held| held.question_id == *question_id) {
                    Some(question) => {
                        question.resolution = Some(resolution.clone());
                        Change::Question(question_id.clone())
                    }
                    None => Change::None,
                }
            }
            Kind::FilesChanged { changes, more: _ } => {
                let mut paths = Vec::new();
                for change in changes {
                    apply_file_change(&mut self.files, change, &mut paths);
                }
                Change::Files(paths)
            }
            Kind::ErrorOccurred { .. } | Kind::Log { .. } | Kind::UnparsedOutput { .. } => Change::None,
        }
    }

    fn block_mut(&mut self, id: &BlockId) -> Option<&mut Block> {
        // What changes is nearly always among the newest.
        self.blocks.iter_mut().rev().find(|block| block.block_id == *id)
    }
}

/// `list[id] = item`: replaces, or adds at the end.
fn put<T: Clone>(list: &mut Vec<T>, item: &T, same: impl Fn(&T) -> bool) {
    match list.iter_mut().rev().find(|held| same(held)) {
        Some(held) => *held = item.clone(),
        None => list.push(item.clone()),
    }
}

/// Appends what the block does not hold yet; a delta that was applied before changes nothing.
fn grow(block: &mut Block, delta: &str, offset: i64) -> bool {
    // Looked at first: to be given a text to grow already changes the block.
    let held = block.content.growing().map(str::len);
    let Some(skip) = held.and_then(|held| held.checked_sub(usize::try_from(offset).ok()?)) else { return false };
    let Some(fresh) = delta.get(skip..).filter(|fresh| !fresh.is_empty()) else { return false };
    let Some(text) = block.content.growing_mut() else { return false };
    text.push_str(fresh);
    true
}

fn apply_patch(block: &mut Block, patch: &BlockPatch) {
    let BlockPatch {
        status,
        input_json,
        truncated_bytes,
        duration,
        display_name,
        description,
        summary,
        output,
        exit_code,
    } = patch;
    set(&mut block.truncated_bytes, truncated_bytes.as_ref());
    match &mut block.content {
        Content::ToolUse(tool) => {
            set::<ExecutionStatus>(&mut tool.status, status.as_ref());
            set(&mut tool.input_json, input_json.as_ref());
            set(&mut tool.display_name, display_name.as_ref());
            set(&mut tool.description, description.as_ref());
        }
        Content::ToolResult(result) => {
            result.duration = duration.or(result.duration);
            result.exit_code = exit_code.or(result.exit_code);
        }
        Content::Thinking { summary: held, .. } => set(held, summary.as_ref()),
        Content::Subagent(call) => {
            set(&mut call.status, status.as_ref());
            set(&mut call.output, output.as_ref());
            call.duration = duration.or(call.duration);
        }
        Content::UserMessage(_) | Content::AssistantText { .. } | Content::System { .. } | Content::Error { .. } => {}
    }
}

fn set<T: Clone>(held: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        held.clone_from(new);
    }
}

fn apply_file_change(files: &mut Vec<WorkspaceFile>, change: &FileChange, paths: &mut Vec<String>) {
    match change.kind {
        FileChangeKind::Deleted => remove_file(files, &change.file.path, paths),
        FileChangeKind::Renamed => {
            remove_file(files, &change.previous_path, paths);
            put_file(files, &change.file, paths);
        }
        FileChangeKind::Created | FileChangeKind::Modified => put_file(files, &change.file, paths),
    }
}

fn put_file(files: &mut Vec<WorkspaceFile>, file: &WorkspaceFile, paths: &mut Vec<String>) {
    match files.binary_search_by(|held| held.path.as_bytes().cmp(file.path.as_bytes())) {
        Ok(at) => files[at] = file.clone(),
        Err(at) => files.insert(at, file.clone()),
    }
    paths.push(file.path.clone());
}

fn remove_file(files: &mut Vec<WorkspaceFile>, path: &str, paths: &mut Vec<String>) {
    if let Ok(at) = files.binary_search_by(|held| held.path.as_bytes().cmp(path.as_bytes())) {
        files.remove(at);
    }
    paths.push(path.to_owned());
}

impl ToolOutput {
    /// The text, where it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(_) | Self::Parts(_) => None,
        }
    }
}

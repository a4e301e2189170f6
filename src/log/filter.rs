//! What a watcher does not want to see. What is left out widens the range of what comes next, so that a filter never
//! leaves a hole.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::domain::{BlockId, ConversationId, Event, Kind, SessionState, TurnId};

/// See the module. The default lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only blocks, permission requests and questions of these conversations; empty: of all.
    pub conversations: BTreeSet<ConversationId>,
    /// No text as it streams; it comes with the complete block.
    pub omit_deltas: bool,
    /// No blocks, changes and requests of other turns.
    pub turn: Option<TurnId>,
}

/// A filter at work on one log, from where a watch begins.
#[derive(Debug)]
pub(super) struct Sieve {
    filter: Filter,
    /// Open blocks, and whether they are of other turns, where that matters: what follows of them does not name its turn.
    others: HashMap<BlockId, bool>,
}

impl Sieve {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, others: HashMap::new() }
    }

    /// Nothing is left out.
    pub(super) fn is_open(&self) -> bool {
        let Filter { conversations, omit_deltas, turn } = &self.filter;
        conversations.is_empty() && !omit_deltas && turn.is_none()
    }

    /// The blocks in these events of which it must be known whose they are, and is not: they were begun before the watch.
    pub(super) fn unknown<'e>(&self, events: impl Iterator<Item = &'e Event>) -> Vec<BlockId> {
        if self.filter.turn.is_none() {
            return Vec::new();
        }
        let (mut known, mut unknown) = (HashSet::new(), Vec::new());
        for event in events {
            match &event.kind {
                Kind::BlockStart { block } => {
                    known.insert(&block.block_id);
                }
                Kind::BlockDelta { block_id, .. } | Kind::BlockUpdate { block_id, .. } => {
                    if !self.others.contains_key(block_id) && known.insert(block_id) {
                        unknown.push(block_id.clone());
                    }
                }
                Kind::BlockComplete { .. }
                | Kind::TurnUpdated { .. }
                | Kind::TurnQueued { .. }
                | Kind::PermissionRequested { .. }
                | Kind::PermissionResolved { .. }
                | Kind::QuestionRequested { .. }
                | Kind::QuestionResolved { .. }
                | Kind::ConversationUpdated { .. }
                | Kind::SessionCreated { .. }
                | Kind::SessionUpdated(_)
                | Kind::StatusChanged { .. }
                | Kind::SandboxChanged { .. }
                | Kind::PermissionRulesChanged { .. }
                | Kind::FilesChanged { .. }
                | Kind::ErrorOccurred { .. }
                | Kind::Log { .. }
                | Kind::UnparsedOutput { .. } => {}
            }
        }
        unknown
    }

    /// Takes note of whose such a block is.
    pub(super) fn learn(&mut self, block: BlockId, turn: Option<&TurnId>) {
        let other = self.is_of_other_turn(turn);
        self.others.insert(block, other);
    }

    /// Whether the event is shown; to be asked of each in order, once all [`Self::unknown`] blocks are known.
    pub(super) fn passes(&mut self, event: &Event) -> bool {
        match &event.kind {
            Kind::BlockStart { block } => {
                if self.filter.turn.is_some() {
                    self.learn(block.block_id.clone(), block.turn_id.as_ref());
                }
                !self.is_of_other_turn(block.turn_id.as_ref()) && self.has(&event.conversation_id)
            }
            Kind::BlockDelta { block_id, .. } => {
                !self.filter.omit_deltas && !self.is_hidden(block_id) && self.has(&event.conversation_id)
            }
            Kind::BlockUpdate { block_id, .. } => !self.is_hidden(block_id) && self.has(&event.conversation_id),
            Kind::BlockComplete { block } => {
                self.others.remove(&block.block_id);
                !self.is_of_other_turn(block.turn_id.as_ref()) && self.has(&event.conversation_id)
            }
            Kind::TurnUpdated { turn } | Kind::TurnQueued { turn } => !self.is_of_other_turn(Some(&turn.turn_id)),
            Kind::PermissionRequested { permission } => {
                !self.is_of_other_turn(Some(&permission.turn_id)) && self.has(&event.conversation_id)
            }
            Kind::QuestionRequested { question } => {
                !self.is_of_other_turn(Some(&question.turn_id)) && self.has(&event.conversation_id)
            }
            Kind::PermissionResolved { .. } | Kind::QuestionResolved { .. } => self.has(&event.conversation_id),
            Kind::ConversationUpdated { .. }
            | Kind::SessionCreated { .. }
            | Kind::SessionUpdated(_)
            | Kind::StatusChanged { .. }
            | Kind::SandboxChanged { .. }
            | Kind::PermissionRulesChanged { .. }
            | Kind::FilesChanged { .. }
            | Kind::ErrorOccurred { .. }
            | Kind::Log { .. }
            | Kind::UnparsedOutput { .. } => true,
        }
    }

    /// Leaves out of a state without blocks what its events would not have brought.
    pub(super) fn sift(&self, state: &mut SessionState) {
        state.permissions.retain(|permission| self.has(&permission.conversation_id));
        state.questions.retain(|question| self.has(&question.conversation_id));
    }

    /// Whether what belongs to this conversation is shown.
    pub(super) fn has(&self, conversation: &ConversationId) -> bool {
        self.filter.conversations.is_empty() || self.filter.conversations.contains(conversation)
    }

    /// Whether the block is known to be of another turn.
    fn is_hidden(&self, block: &BlockId) -> bool {
        self.others.get(block).is_some_and(|other| *other)
    }

    fn is_of_other_turn(&self, turn: Option<&TurnId>) -> bool {
        matches!((&self.filter.turn, turn), (Some(wanted), Some(turn)) if wanted != turn)
    }
}

//! What a watcher does not want to see. What is left out widens the range of what comes next, so that a filter never
//! leaves a hole.

use std::collections::{BTreeSet, HashSet};

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
    /// Open blocks of other turns: what follows of them does not name its turn.
    hidden: HashSet<BlockId>,
}

impl Sieve {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, hidden: HashSet::new() }
    }

    /// Nothing is left out.
    pub(super) fn is_open(&self) -> bool {
        let Filter { conversations, omit_deltas, turn } = &self.filter;
        conversations.is_empty() && !omit_deltas && turn.is_none()
    }

    /// Whether the event is shown; to be asked of each in order.
    pub(super) fn passes(&mut self, event: &Event) -> bool {
        match &event.kind {
            Kind::BlockStart { block } => {
                let other = self.is_of_other_turn(block.turn_id.as_ref());
                if other {
                    self.hidden.insert(block.block_id.clone());
                }
                !other && self.has(&event.conversation_id)
            }
            Kind::BlockDelta { block_id, .. } => {
                !self.filter.omit_deltas && !self.hidden.contains(block_id) && self.has(&event.conversation_id)
            }
            Kind::BlockUpdate { block_id, .. } => !self.hidden.contains(block_id) && self.has(&event.conversation_id),
            Kind::BlockComplete { block } => {
                self.hidden.remove(&block.block_id);
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

    fn is_of_other_turn(&self, turn: Option<&TurnId>) -> bool {
        matches!((&self.filter.turn, turn), (Some(wanted), Some(turn)) if wanted != turn)
    }
}

//! Everything there is to show of a session.

use serde::{Deserialize, Serialize};

use super::{Block, Conversation, PermissionRequest, PermissionRule, Question, Session, Turn, WorkspaceFile};

/// The result of folding a session's events. Made and changed only by the fold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    /// The record.
    pub session: Session,
    /// In order of acceptance.
    pub turns: Vec<Turn>,
    /// In order of appearance.
    pub conversations: Vec<Conversation>,
    /// In order of appearance.
    pub permissions: Vec<PermissionRequest>,
    /// In order of appearance.
    pub questions: Vec<Question>,
    /// Oldest first.
    pub permission_rules: Vec<PermissionRule>,
    /// Sorted by the bytes of their path.
    pub files: Vec<WorkspaceFile>,
    /// In order of their start.
    pub blocks: Vec<Block>,
}

impl SessionState {
    /// The state of a session of which nothing else is known.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self {
            session,
            turns: Vec::new(),
            conversations: Vec::new(),
            permissions: Vec::new(),
            questions: Vec::new(),
            permission_rules: Vec::new(),
            files: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// The turn that holds the session.
    #[must_use]
    pub fn active_turn(&self) -> Option<&Turn> {
        self.turns.iter().find(|turn| turn.status.is_active())
    }

    /// The turns that wait, next first.
    #[must_use]
    pub fn queued_turns(&self) -> Vec<&Turn> {
        Turn::queue(&self.turns)
    }

    /// The block of that id.
    #[must_use]
    pub fn block(&self, id: &super::BlockId) -> Option<&Block> {
        self.blocks.iter().rev().find(|block| block.block_id == *id)
    }
}

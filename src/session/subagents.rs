//! Subagents of a session: conversations that begin, get on and end, some of them after the turn in which they began.
//!
//! While one is not at its end, its blocks stay open when a turn is over; when the agent's program is gone, so is it.

use super::{bounds, pending::Pending};
use crate::domain::{Block, BlockState, Content, Conversation, ConversationId, ExecutionStatus, Kind};

/// A conversation, as an agent tells of it.
pub(super) struct Told {
    pub(super) conversation_id: ConversationId,
    pub(super) parent_id: ConversationId,
    /// Empty: unchanged.
    pub(super) name: String,
    pub(super) tool_use_id: String,
    pub(super) status: ExecutionStatus,
}

impl Pending {
    /// Records that a subagent begins or gets on.
    pub(super) fn conversation(&mut self, told: Told) {
        let Told { conversation_id, parent_id, name, tool_use_id, status } = told;
        let held = self.state().conversations.iter().find(|held| held.conversation_id == conversation_id).cloned();
        let mut conversation =
            held.unwrap_or_else(|| Conversation { conversation_id: conversation_id.clone(), ..Conversation::main() });
        conversation.parent_conversation_id = Some(parent_id);
        conversation.status = Some(status);
        conversation.tool_use_id = bounds::clip_text(tool_use_id);
        if !name.is_empty() {
            conversation.name = bounds::clip_text(name);
        }
        self.record_conversation(conversation);
    }

    /// The agent's program is gone, and its subagents with it.
    pub(super) fn end_subagents(&mut self) {
        let running = self.state().conversations.iter().filter(|conversation| runs(conversation));
        let ended: Vec<_> = running.cloned().collect();
        if ended.is_empty() {
            return;
        }
        for conversation in ended {
            self.record_conversation(Conversation { status: Some(ExecutionStatus::Failed), ..conversation });
        }
        self.interrupt_blocks();
    }

    /// A subagent is at work, with a turn or without.
    pub(super) fn has_subagents(&self) -> bool {
        self.state().conversations.iter().any(runs)
    }

    /// Whether the end of a turn leaves the block open.
    pub(super) fn outlives_turn(&self, block: &Block) -> bool {
        let is_running = |id: &ConversationId| {
            self.state()
                .conversations
                .iter()
                .any(|conversation| conversation.conversation_id == *id && runs(conversation))
        };
        let of_subagent = |content: &Content| match content {
            Content::Subagent(call) => is_running(&call.subagent_id),
            Content::UserMessage(_)
            | Content::AssistantText { .. }
            | Content::ToolUse(_)
            | Content::ToolResult(_)
            | Content::Thinking { .. }
            | Content::System { .. }
            | Content::Error { .. } => false,
        };
        block.state == BlockState::Streaming && (is_running(&block.conversation_id) || of_subagent(&block.content))
    }

    fn record_conversation(&mut self, conversation: Conversation) {
        let session_usage = self.state().session.usage;
        let id = conversation.conversation_id.clone();
        self.record(id, None, Kind::ConversationUpdated { conversation, session_usage });
    }
}

fn runs(conversation: &Conversation) -> bool {
    match conversation.status {
        Some(ExecutionStatus::Pending | ExecutionStatus::Running) => true,
        Some(ExecutionStatus::Succeeded | ExecutionStatus::Failed) | None => false,
    }
}

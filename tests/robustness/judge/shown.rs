//! What a filter leaves out, as the contract says it.

use agent_runtime::proto::{
    BlockState, SessionEvent, SessionState, block::Content, session_event::Kind, tool_result::Output,
};

use crate::history::Filter;

/// Whether a watch with this filter brings the event.
pub fn is_shown(filter: &Filter, event: &SessionEvent) -> bool {
    let elsewhere = !filter.conversation_ids.is_empty() && !filter.conversation_ids.contains(&event.conversation_id);
    match &event.kind {
        Some(Kind::BlockDelta(_)) => !filter.omit_deltas && !elsewhere,
        Some(
            Kind::BlockStart(_)
            | Kind::BlockUpdate(_)
            | Kind::BlockComplete(_)
            | Kind::PermissionRequested(_)
            | Kind::PermissionResolved(_)
            | Kind::QuestionRequested(_)
            | Kind::QuestionResolved(_),
        ) => !elsewhere,
        _ => true,
    }
}

/// A state less what the filter leaves out, and less what a client with that filter cannot know.
pub fn reduce(filter: &Filter, mut state: SessionState) -> SessionState {
    if filter.is_none() {
        return state;
    }
    // Of events that were left out the client does not know when they were.
    if let Some(session) = &mut state.session {
        session.last_activity_time = None;
    }
    if !filter.conversation_ids.is_empty() {
        let wanted = |id: &String| filter.conversation_ids.contains(id);
        state.blocks.retain(|block| wanted(&block.conversation_id));
        state.permissions.retain(|permission| wanted(&permission.conversation_id));
        state.questions.retain(|question| wanted(&question.conversation_id));
    }
    if filter.omit_deltas {
        for block in state.blocks.iter_mut().filter(|block| block.state() == BlockState::Streaming) {
            match &mut block.content {
                Some(Content::AssistantText(c)) => c.text.clear(),
                Some(Content::Thinking(c)) => c.text.clear(),
                Some(Content::ToolUse(c)) => c.input_json.clear(),
                Some(Content::ToolResult(c)) => {
                    if let Some(Output::Text(_)) = c.output {
                        c.output = None;
                    }
                }
                _ => {}
            }
        }
    }
    state
}

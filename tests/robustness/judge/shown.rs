//! What a filter leaves out, as the contract says it.

use std::collections::HashSet;

use agent_runtime::proto::{
    BlockState, SessionEvent, SessionState, block::Content, session_event::Kind, tool_result::Output,
};

use super::acknowledged::of_turn;
use crate::{
    case::{Called, Case, Session, Stream},
    history::{Answer, Filter},
};

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

/// What a stream brings of a log.
pub struct View<'a> {
    filter: &'a Filter,
    /// Only this turn's.
    pub turn: Option<&'a str>,
    /// The blocks of other turns.
    others: HashSet<&'a str>,
}

impl<'a> View<'a> {
    pub fn of(case: &'a Case, stream: &'a Stream, session: &'a Session) -> Self {
        let of_call = |called: &&Called| stream.open.of_call == Some(called.call.call);
        let turn = case.calls.iter().find(of_call).and_then(|called| match &called.answer {
            Some((_, Answer::Ok { turn, .. })) => Some(turn.as_str()),
            Some((_, Answer::Err { .. })) | None => None,
        });
        let starts = session.log.iter().filter(|_| turn.is_some()).filter_map(|event| match &event.kind {
            Some(Kind::BlockStart(start)) => start.block.as_ref(),
            _ => None,
        });
        let others = starts.filter(|block| is_other(turn, &block.turn_id)).map(|block| block.block_id.as_str());
        Self { filter: &stream.open.filter, turn, others: others.collect() }
    }

    pub fn shows(&self, event: &SessionEvent) -> bool {
        let elsewhere = match &event.kind {
            Some(Kind::BlockStart(e)) => e.block.as_ref().is_some_and(|block| is_other(self.turn, &block.turn_id)),
            Some(Kind::BlockComplete(e)) => e.block.as_ref().is_some_and(|block| is_other(self.turn, &block.turn_id)),
            Some(Kind::BlockDelta(e)) => self.others.contains(e.block_id.as_str()),
            Some(Kind::BlockUpdate(e)) => self.others.contains(e.block_id.as_str()),
            _ => of_turn(event).is_some_and(|turn| is_other(self.turn, &turn.turn_id)),
        };
        !elsewhere && is_shown(self.filter, event)
    }
}

/// What belongs to no turn is no other's.
fn is_other(wanted: Option<&str>, turn: &str) -> bool {
    wanted.is_some_and(|wanted| wanted != turn && !turn.is_empty())
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

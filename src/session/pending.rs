//! The state as if all that was decided were stored already, and the events that are not submitted yet.
//!
//! It decides what is legal and gives out sequences; it answers nobody. Whatever a caller or a watcher is shown comes from
//! the store, so that nothing is seen that a crash could take back.

use std::{sync::Arc, time::Duration};

use crate::{
    agent::{Action, Draft, Progress},
    domain::{
        Block, BlockId, BlockPatch, BlockState, Change, Content, Conversation, ConversationId, Event, ExecId,
        ExecutionStatus, Kind, LogLevel, Principal, SessionState, Timestamp, Usage,
    },
    store::{Beside, Held},
};

use super::{
    beside::Waiting,
    bounds,
    redact::{Redacted, Redaction, Values},
    subagents::Told,
};

/// Bytes of one delta, after which the next one begins.
const DELTA_BYTES: usize = 4096;
/// How far back an unsubmitted delta of the same block is looked for.
const MERGE_REACH: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Pending {
    state: SessionState,
    events: Vec<Event>,
    changes: Vec<Change>,
    beside: Waiting,
    redaction: Redaction,
    urgent: bool,
    bytes: usize,
    /// Of the active turn, in the process that runs.
    pub(super) progress: Progress,
}

/// Events to submit, and the state's parts that they changed.
#[derive(Debug)]
pub(super) struct Drained {
    pub(super) head: i64,
    pub(super) events: Vec<Event>,
    pub(super) changes: Vec<Change>,
    pub(super) beside: Beside,
}

impl Pending {
    /// From what is stored. Only what is open is needed.
    pub(super) fn new(state: SessionState) -> Self {
        Self {
            state,
            events: Vec::new(),
            changes: Vec::new(),
            beside: Waiting::default(),
            redaction: Redaction::default(),
            urgent: false,
            bytes: 0,
            progress: Progress::default(),
        }
    }

    /// The same of a session that knows these secrets, and whose last owner held this back.
    pub(super) fn hiding(mut self, values: Arc<Values>, held: &[Held]) -> Self {
        let (redaction, unknown) = Redaction::new(values, held);
        self.redaction = redaction;
        for (block_id, placeholder) in unknown {
            if self.open_block(&block_id).is_some() {
                self.delta(&block_id, placeholder);
            }
        }
        self
    }

    /// Hides what the program that starts next knows, too.
    pub(super) fn learn(&mut self, values: &Values) {
        self.redaction.learn(values);
    }

    /// Hides what the program that is gone on with was given, too.
    pub(super) fn recall(&mut self, values: &Values) {
        self.redaction.recall(values);
    }

    /// What is held back now.
    pub(super) fn held(&self) -> Vec<Held> {
        self.redaction.held()
    }

    /// What a parser remembers, which may quote what it read, without the values of secrets.
    pub(super) fn hide(&self, state: &mut String) {
        self.redaction.hide(state);
    }

    /// What an agent's output asks for, without the values of secrets. `None`: nothing of it can be recorded yet.
    pub(super) fn redact(&mut self, action: Action) -> Option<Redacted> {
        let Self { state, redaction, .. } = self;
        let is_open = |id: &BlockId| state.block(id).is_some_and(|block| block.state == BlockState::Streaming);
        redaction.action(action, bounds::block_id, is_open)
    }

    /// The state with everything decided in it.
    pub(super) fn state(&self) -> &SessionState {
        &self.state
    }

    /// Sequence of the newest event that was decided.
    pub(super) fn head(&self) -> i64 {
        self.state.session.sequence
    }

    /// There is nothing to submit.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.beside.is_empty()
    }

    /// Something waits that is not only text, or more text than one delta takes.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent || self.bytes >= DELTA_BYTES || self.beside.is_urgent()
    }

    /// About how many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.beside.bytes()
    }

    /// Takes what waits. What is over is forgotten: the store has it.
    pub(super) fn drain(&mut self) -> Drained {
        let events = std::mem::take(&mut self.events);
        let head = self.head() - i64::try_from(events.len()).expect("a batch is small");
        self.urgent = false;
        self.bytes = 0;
        Drained { head, events, changes: std::mem::take(&mut self.changes), beside: self.beside.drain() }
    }

    /// Forgets what is over and stored with the batch that was drained; call it after the parts were taken.
    pub(super) fn prune(&mut self) {
        self.state.turns.retain(|turn| !turn.status.is_final());
        self.state.blocks.retain(|block| block.state == BlockState::Streaming);
        self.state.permissions.retain(|permission| permission.resolution.is_none());
        self.state.questions.retain(|question| question.resolution.is_none());
        self.state.files.clear();
        let state = &self.state;
        self.beside.prune(|id| state.block(id).is_some());
    }

    /// Records that something happened.
    pub(super) fn record(&mut self, conversation_id: ConversationId, actor: Option<&Principal>, mut kind: Kind) {
        let sequence = self.head() + 1;
        let time = self.time();
        if let Kind::TurnUpdated { turn } = &mut kind {
            self.measure(turn, time);
        }
        let event = Event { sequence, first_sequence: sequence, conversation_id, time, actor: actor.cloned(), kind };
        match self.state.apply(&event) {
            Change::None | Change::BlockText(_) => {}
            change => self.changes.push(change),
        }
        self.bytes += event.weight();
        self.urgent |= !matches!(event.kind, Kind::BlockDelta { .. });
        self.events.push(event);
    }

    /// Records what concerns the whole session.
    pub(super) fn record_session(&mut self, actor: Option<&Principal>, kind: Kind) {
        self.record(ConversationId::none(), actor, kind);
    }

    /// Now, and never before the newest event.
    pub(super) fn time(&self) -> Timestamp {
        Timestamp::now().max(self.state.session.last_activity_time)
    }

    /// Records what an agent's output asks for; returns the bytes that the program is to be given, if it asks for that.
    /// What the program `exec_id` asks stays open as long as the patience lasts.
    pub(super) fn act(&mut self, action: Redacted, exec_id: &ExecId, patience: Duration) -> Option<Vec<u8>> {
        match action.into_action() {
            Action::Emit(draft) => self.draft(draft),
            Action::Write(data) => return Some(data),
            Action::TurnStarted { block_id } => self.turn_started(block_id.as_ref()),
            Action::TurnEnded(end) => self.turn_ended(end),
            Action::Ask(ask) => self.ask(*ask, exec_id.clone(), patience),
            Action::AskWithdrawn { agent_request_id } => self.ask_withdrawn(exec_id, &agent_request_id),
            // What is given again, and to whom, is decided where programs are started.
            Action::Forgotten => {}
        }
        None
    }

    /// Records what an agent said. What makes no sense becomes a log line: the agent must not end the stream.
    fn draft(&mut self, draft: Draft) {
        match draft {
            Draft::Start { conversation_id, block_id, content } => self.start(conversation_id, block_id, content),
            Draft::Delta { block_id, text } => self.delta(&bounds::block_id(block_id), text),
            Draft::Update { block_id, patch } => self.update(bounds::block_id(block_id), patch),
            Draft::Complete { conversation_id, block_id, content } => self.complete(conversation_id, block_id, content),
            Draft::CompleteTool { block_id, status } => self.complete_tool(&bounds::block_id(block_id), status),
            Draft::Conversation { conversation_id, parent_id, name, tool_use_id, status } => {
                self.conversation(Told { conversation_id, parent_id, name, tool_use_id, status });
            }
            Draft::Used { conversation_id, usage, model } => self.used(conversation_id, usage, model),
            Draft::Blob { sha256, data } => self.beside.blob(sha256, data),
            Draft::Error(error) => self.record_session(None, Kind::ErrorOccurred { error }),
            Draft::Log(level, message) => self.log(level, message),
            Draft::Unparsed { raw, truncated_bytes } => {
                self.record_session(None, Kind::UnparsedOutput { raw, truncated_bytes });
            }
        }
    }

    /// Bytes that an event of this batch names.
    pub(super) fn put_blob(&mut self, sha256: String, data: Vec<u8>) {
        self.beside.blob(sha256, data);
    }

    /// Contents that were put ahead, and that an event of this batch names.
    pub(super) fn name(&mut self, names: Vec<String>) {
        self.beside.name(names);
    }

    /// Records a line for people who look after the runtime.
    pub(super) fn log(&mut self, level: LogLevel, message: String) {
        self.record_session(None, Kind::Log { level, message: bounds::clip_text(message) });
    }

    /// Closes the blocks that a turn leaves open, but for those of subagents that go on.
    pub(super) fn interrupt_blocks(&mut self) {
        let left = |block: &&Block| block.state == BlockState::Streaming && !self.outlives_turn(block);
        let open: Vec<_> = self.state.blocks.iter().filter(left).map(|block| block.block_id.clone()).collect();
        for id in open {
            self.give_out(&id);
            let Some(mut block) = self.open_block(&id).cloned() else { continue };
            block.state = BlockState::Interrupted;
            block.complete_time = Some(self.time());
            block.truncated_bytes = self.lost(&block);
            match &mut block.content {
                Content::ToolUse(tool) => tool.status = ExecutionStatus::Failed,
                Content::Subagent(call) => call.status = ExecutionStatus::Failed,
                Content::UserMessage(_)
                | Content::AssistantText { .. }
                | Content::ToolResult(_)
                | Content::Thinking { .. }
                | Content::System { .. }
                | Content::Error { .. } => {}
            }
            self.record(block.conversation_id.clone(), None, Kind::BlockComplete { block });
        }
    }

    /// What was held back of a block that ends is a part of its text after all.
    fn give_out(&mut self, id: &BlockId) {
        if let Some(rest) = self.redaction.rest(id)
            && self.open_block(id).is_some()
        {
            self.delta(id, rest);
        }
    }

    fn open_block(&self, id: &BlockId) -> Option<&Block> {
        self.state.block(id).filter(|block| block.state == BlockState::Streaming)
    }

    fn new_block(&mut self, conversation_id: ConversationId, block_id: BlockId, mut content: Content) -> Block {
        let lost = bounds::content(&mut content);
        let truncated_bytes = bytes(&lost);
        if truncated_bytes > 0 {
            self.beside.put(&block_id, content.text().len(), &lost);
        } else {
            self.beside.forget(&block_id);
        }
        Block {
            block_id,
            conversation_id,
            turn_id: self.state.active_turn().map(|turn| turn.turn_id.clone()),
            state: BlockState::Streaming,
            create_time: self.time(),
            complete_time: None,
            truncated_bytes,
            content,
        }
    }

    fn start(&mut self, conversation_id: ConversationId, block_id: BlockId, content: Content) {
        let block_id = bounds::block_id(block_id);
        if self.open_block(&block_id).is_some() {
            return self.nonsense("starts a block again", &block_id);
        }
        let block = self.new_block(conversation_id.clone(), block_id, content);
        self.record(conversation_id, None, Kind::BlockStart { block });
    }

    fn delta(&mut self, block_id: &BlockId, mut text: String) {
        let Some(block) = self.open_block(block_id) else {
            return self.nonsense("adds to a block that is not open", block_id);
        };
        let Some(held) = block.content.growing().map(str::len) else {
            return self.nonsense("adds to a block that does not grow", block_id);
        };
        let (already_cut, conversation_id) = (self.beside.lost(block), block.conversation_id.clone());
        let room = if already_cut > 0 { 0 } else { bounds::MAX_INLINE_BLOCK_BYTES.saturating_sub(held) };
        let lost = bounds::cut(&mut text, room);
        let inline = held + text.len();
        if !text.is_empty() && !self.merge(block_id, &text) {
            let offset = i64::try_from(held).expect("a block's text is small");
            self.record(
                conversation_id.clone(),
                None,
                Kind::BlockDelta { block_id: block_id.clone(), delta: text, offset },
            );
        }
        if !lost.is_empty() {
            self.beside.grow(block_id, inline, already_cut, &lost);
            if already_cut == 0 {
                // Said once, when the text stops growing; the final number comes with the complete block.
                let patch = BlockPatch { truncated_bytes: Some(bytes(&lost)), ..BlockPatch::default() };
                self.record(conversation_id, None, Kind::BlockUpdate { block_id: block_id.clone(), patch });
            }
        }
    }

    /// Adds text to a delta that waits, where no other event of its block came after it.
    fn merge(&mut self, id: &BlockId, text: &str) -> bool {
        for event in self.events.iter_mut().rev().take(MERGE_REACH) {
            // What is not a delta keeps its place: text never moves before it.
            let Kind::BlockDelta { block_id, delta, offset } = &mut event.kind else { return false };
            if block_id != id {
                continue;
            }
            if delta.len() + text.len() > DELTA_BYTES {
                return false;
            }
            let offset = *offset + i64::try_from(delta.len()).expect("a delta is small");
            delta.push_str(text);
            self.bytes += text.len();
            self.state.grow_block(id, text, offset);
            return true;
        }
        false
    }

    fn update(&mut self, block_id: BlockId, mut patch: BlockPatch) {
        let Some(block) = self.open_block(&block_id) else {
            return self.nonsense("changes a block that is not open", &block_id);
        };
        let (conversation_id, was_cut) = (block.conversation_id.clone(), block.truncated_bytes > 0);
        if let Some(input) = &mut patch.input_json {
            let lost = bounds::cut(input, bounds::MAX_INLINE_BLOCK_BYTES);
            if was_cut || !lost.is_empty() {
                patch.truncated_bytes = Some(bytes(&lost));
                self.beside.put(&block_id, input.len(), &lost);
            }
        }
        for text in [&mut patch.display_name, &mut patch.description, &mut patch.summary, &mut patch.output] {
            *text = text.take().map(bounds::clip_text);
        }
        self.record(conversation_id, None, Kind::BlockUpdate { block_id, patch });
    }

    fn complete(&mut self, conversation_id: ConversationId, block_id: BlockId, content: Option<Content>) {
        let block_id = bounds::block_id(block_id);
        self.give_out(&block_id);
        let now = self.time();
        let Some(open) = self.open_block(&block_id).cloned() else {
            let Some(content) = content else { return self.nonsense("completes a block that is not open", &block_id) };
            let mut block = self.new_block(conversation_id.clone(), block_id, content);
            block.state = BlockState::Complete;
            block.complete_time = Some(now);
            return self.record(conversation_id, None, Kind::BlockStart { block });
        };
        let truncated_bytes = self.lost(&open);
        let mut block = Block { state: BlockState::Complete, complete_time: Some(now), truncated_bytes, ..open };
        if let Some(mut content) = content {
            let mut lost = bounds::content(&mut content);
            let was_cut = block.truncated_bytes > 0;
            // Where deltas were cut the whole text is cut at the same place, so that what was shown stays a prefix.
            if let (true, Some(shown)) = (was_cut, block.content.growing().map(str::len))
                && let Some(text) = content.growing_mut()
            {
                lost.insert_str(0, &bounds::cut(text, shown));
            }
            if was_cut || !lost.is_empty() {
                self.beside.put(&block_id, content.text().len(), &lost);
            }
            block.truncated_bytes = bytes(&lost);
            block.content = content;
        }
        self.record(block.conversation_id.clone(), None, Kind::BlockComplete { block });
    }

    fn complete_tool(&mut self, block_id: &BlockId, status: ExecutionStatus) {
        self.give_out(block_id);
        let now = self.time();
        let Some(mut block) = self.open_block(block_id).cloned() else {
            return self.nonsense("ends a tool call that is not open", block_id);
        };
        if let Content::ToolUse(tool) = &mut block.content {
            tool.status = status;
        }
        block.state = BlockState::Complete;
        block.complete_time = Some(now);
        block.truncated_bytes = self.lost(&block);
        self.record(block.conversation_id.clone(), None, Kind::BlockComplete { block });
    }

    /// Bytes of a block's text that are not inline so far.
    fn lost(&self, block: &Block) -> i64 {
        i64::try_from(self.beside.lost(block)).unwrap_or(i64::MAX)
    }

    fn used(&mut self, conversation_id: ConversationId, usage: Usage, model: String) {
        let held = self.state.conversations.iter().find(|held| held.conversation_id == conversation_id).cloned();
        let mut conversation =
            held.unwrap_or_else(|| Conversation { conversation_id: conversation_id.clone(), ..Conversation::main() });
        conversation.usage += usage;
        if !model.is_empty() {
            conversation.model = bounds::clip_text(model);
        }
        let mut session_usage = self.state.session.usage;
        session_usage += usage;
        self.record(conversation_id, None, Kind::ConversationUpdated { conversation, session_usage });
    }

    fn nonsense(&mut self, what: &str, block_id: &BlockId) {
        self.log(LogLevel::Warn, format!("the agent {what}: {block_id}"));
    }
}

fn bytes(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        Pending,
        bounds::{self, MAX_INLINE_BLOCK_BYTES},
    };
    use crate::{
        agent::Draft,
        domain::{Agent, Block, BlockId, BlockState, Content, ConversationId, Kind, SessionState},
        session::replay,
    };

    fn pending() -> Pending {
        Pending::new(SessionState::new(replay::record(Agent::Scripted)))
    }

    fn text(text: &str) -> Content {
        Content::AssistantText { text: text.to_owned(), model: String::new() }
    }

    fn start(pending: &mut Pending, id: &str) {
        let (conversation_id, block_id) = (ConversationId::main(), BlockId::new(id));
        pending.draft(Draft::Start { conversation_id, block_id, content: text("") });
    }

    fn delta(pending: &mut Pending, id: &str, text: &str) {
        pending.draft(Draft::Delta { block_id: BlockId::new(id), text: text.to_owned() });
    }

    fn complete(pending: &mut Pending, id: &str, content: Option<Content>) {
        let (conversation_id, block_id) = (ConversationId::main(), BlockId::new(id));
        pending.draft(Draft::Complete { conversation_id, block_id, content });
    }

    /// The last whole block that was recorded.
    fn last(pending: &mut Pending) -> Block {
        let events = pending.drain().events;
        let blocks = events.into_iter().filter_map(|event| match event.kind {
            Kind::BlockStart { block } | Kind::BlockComplete { block } => Some(block),
            _ => None,
        });
        blocks.last().expect("a block")
    }

    #[test]
    fn deltas_merge_until_they_are_submitted_and_never_past_another_event_of_their_block() {
        let mut pending = pending();
        start(&mut pending, "a");
        start(&mut pending, "b");
        pending.drain();
        for (id, text) in [("a", "1"), ("b", "x"), ("a", "2"), ("b", "y")] {
            delta(&mut pending, id, text);
        }
        let merged = pending.drain();
        let deltas: Vec<_> = merged.events.iter().map(|event| (event.sequence, &event.kind)).collect();
        let expected =
            |id: &str, delta: &str| Kind::BlockDelta { block_id: BlockId::new(id), delta: delta.into(), offset: 0 };
        assert_eq!(deltas, [(3, &expected("a", "12")), (4, &expected("b", "xy"))]);
        delta(&mut pending, "a", "3");
        complete(&mut pending, "b", None);
        delta(&mut pending, "a", "4");
        // The first was submitted before, and what is not a delta keeps its place.
        let kinds: Vec<_> = pending.drain().events.into_iter().map(|event| event.kind).collect();
        let [Kind::BlockDelta { offset: 2, .. }, Kind::BlockComplete { .. }, Kind::BlockDelta { offset: 3, .. }] =
            &kinds[..]
        else {
            panic!("{kinds:?}")
        };
    }

    #[test]
    fn a_long_text_is_cut_to_the_same_prefix_however_it_comes() {
        let whole = "é".repeat(MAX_INLINE_BLOCK_BYTES / 2 + 700) + "end";
        let lost = i64::try_from(whole.len() - MAX_INLINE_BLOCK_BYTES).expect("small");
        let kept = &whole[..MAX_INLINE_BLOCK_BYTES];
        let check = |block: &Block| {
            assert_eq!(block.content.growing(), Some(kept));
            assert_eq!((block.truncated_bytes, block.state), (lost, BlockState::Complete));
        };
        // By deltas alone.
        let mut pending = pending();
        start(&mut pending, "a");
        let mut rest = whole.as_str();
        while !rest.is_empty() {
            let piece = bounds::prefix(rest, 5001);
            delta(&mut pending, "a", piece);
            rest = &rest[piece.len()..];
        }
        assert_eq!(pending.state().block(&BlockId::new("a")).expect("open").content.growing(), Some(kept));
        complete(&mut pending, "a", None);
        check(&last(&mut pending));
        // By deltas, and whole at the end.
        start(&mut pending, "b");
        delta(&mut pending, "b", &whole);
        complete(&mut pending, "b", Some(text(&whole)));
        check(&last(&mut pending));
        // Whole at once.
        complete(&mut pending, "c", Some(text(&whole)));
        check(&last(&mut pending));
    }

    #[test]
    fn a_turn_that_ends_closes_its_blocks_with_the_text_they_have() {
        let mut pending = pending();
        start(&mut pending, "a");
        delta(&mut pending, "a", "half a sent");
        pending.interrupt_blocks();
        let block = last(&mut pending);
        assert_eq!((block.state, block.content.growing()), (BlockState::Interrupted, Some("half a sent")));
        delta(&mut pending, "a", "ence");
        assert!(matches!(pending.drain().events[..], [ref event] if matches!(event.kind, Kind::Log { .. })));
    }
}

//! Blocks: text, thinking and tool calls, from the events of the model's stream and from whole `assistant` lines.
//!
//! A block that streams is announced, grows, and is told once more by an `assistant` line before it stops. Blocks of
//! subagents come as lines only. Ids are the agent's own, so that they are the same in its transcript.

use serde::Deserialize;

use super::{
    digest::Digest,
    kinds::{BlockKind, DeltaKind, EventKind},
    parser::{Reading, Unreadable},
    state::{Message, Open, Sort, Tool},
    subagents::usage,
    wire::{self, Block, Event, MessageLine, Text},
};
use crate::agent::Draft;
use crate::domain::{BlockId, BlockPatch, Content, ConversationId, ExecutionStatus, ToolUse, Usage};

impl Reading<'_> {
    /// One event of the model's stream.
    #[expect(clippy::match_same_arms, reason = "a table: each kind has its own reason to be nothing")]
    pub(super) fn stream_event(&mut self, event: &Event<'_>, conversation: &ConversationId, prompt: Option<&str>) {
        match EventKind::parse(&event.kind) {
            EventKind::BlockDelta => self.delta(event, conversation),
            EventKind::MessageStart => {
                self.output(conversation, prompt, None);
                self.call_counted();
                let (id, model) = match &event.message {
                    Some(message) => (&*message.id, message.model.as_deref().unwrap_or_default()),
                    None => ("", ""),
                };
                let begun = Message { id: id.to_owned(), model: model.to_owned(), ..Message::default() };
                let model = begun.model.clone();
                self.state.process.messages.insert(conversation.clone(), begun);
                if let Some(message) = &event.message {
                    self.call_began(conversation, message, model);
                }
            }
            EventKind::BlockStart => {
                if let Some(block) = &event.content_block {
                    self.announce(event.index, block, conversation);
                }
            }
            EventKind::BlockStop => self.stop(event.index, conversation),
            // State only: what the turn costs is known anew.
            EventKind::MessageStop => self.call_ended(),
            // Deliberately nothing: tokens are told by the result, and a block ends by itself.
            EventKind::MessageDelta => {}
            // Deliberately nothing: the stream lives.
            EventKind::Ping => {}
            // Deliberately nothing: the CLI tries again or tells the failure by an `assistant` line.
            EventKind::Error => {}
            EventKind::Unknown => self.unknown("stream_event/", &event.kind),
        }
    }

    /// A block of the model, whole; or a failure of the model's API in its place.
    pub(super) fn assistant(
        &mut self,
        line: MessageLine<'_>,
        conversation: &ConversationId,
        prompt: Option<&str>,
    ) -> Result<(), Unreadable> {
        let blocks = match line.message.content {
            Some(content) => wire::blocks(content).map_err(|_| Unreadable)?,
            None => Vec::new(),
        };
        if self.is_repeated(line.uuid.as_ref()) {
            return Ok(());
        }
        self.output(conversation, prompt, line.subagent_type.as_ref());
        if let Some(code) = line.error {
            let message = blocks.iter().filter_map(|block| block.text.as_deref()).collect::<Vec<_>>().join("\n");
            self.failure(String::from(code), message, line.uuid.as_deref(), conversation);
            return Ok(());
        }
        if line.message.id.is_empty() {
            return Ok(());
        }
        let messages = &mut self.state.process.messages;
        if messages.get(conversation).is_none_or(|message| message.id != *line.message.id) {
            // What the CLI itself answers to a command has no model.
            let model = line.message.model.as_deref().filter(|model| *model != "<synthetic>").unwrap_or_default();
            let model = model.to_owned();
            let message = Message { id: line.message.id.to_string(), model: model.clone(), ..Message::default() };
            messages.insert(conversation.clone(), message);
            self.call_began(conversation, &line.message, model);
            // Of subagents nothing streams: a call is heard of when it is over.
            if *conversation != ConversationId::main() {
                self.call_counted();
                self.call_ended();
            }
        }
        for block in blocks {
            self.told(block, conversation, line.aborted);
        }
        Ok(())
    }

    /// A call of the model begins in a conversation. What subagents use is told by nothing else.
    fn call_began(&mut self, conversation: &ConversationId, message: &wire::Message<'_>, model: String) {
        let Some(subagent) = self.subagent(conversation) else { return };
        subagent.share.begin(usage(message.usage));
        let is_news = !model.is_empty() && subagent.model != model;
        if is_news {
            subagent.model.clone_from(&model);
            let (conversation_id, usage) = (conversation.clone(), Usage::default());
            self.emit(Draft::Used { conversation_id, usage, model });
        }
    }

    /// A block begins to stream.
    fn announce(&mut self, index: u32, block: &Block<'_>, conversation: &ConversationId) {
        let Some(message) = self.state.process.messages.get_mut(conversation) else { return };
        let (sort, content) = match BlockKind::parse(&block.kind) {
            BlockKind::Text => (
                Sort::Text,
                Some(Content::AssistantText { text: text(block.text.as_ref()), model: message.model.clone() }),
            ),
            BlockKind::Thinking => (
                Sort::Thinking,
                Some(Content::Thinking { text: text(block.thinking.as_ref()), summary: String::new() }),
            ),
            BlockKind::RedactedThinking => (Sort::Thinking, Some(redacted())),
            BlockKind::ToolUse | BlockKind::ServerToolUse | BlockKind::McpToolUse => {
                let id = text(block.id.as_ref());
                let name = text(block.name.as_ref());
                let tool = tool(&name, conversation);
                self.state.process.tools.insert(id.clone(), tool);
                (Sort::Tool(id.clone()), Some(Content::ToolUse(tool_use(id, name, ExecutionStatus::Pending))))
            }
            // They come whole, and are read from their line.
            BlockKind::ToolResult
            | BlockKind::WebSearchToolResult
            | BlockKind::WebFetchToolResult
            | BlockKind::McpToolResult
            | BlockKind::CodeExecutionToolResult
            | BlockKind::BashCodeExecutionToolResult
            | BlockKind::TextEditorCodeExecutionToolResult
            | BlockKind::ToolSearchToolResult
            | BlockKind::AdvisorToolResult
            | BlockKind::Image
            | BlockKind::Document
            | BlockKind::SearchResult
            | BlockKind::ContainerUpload
            | BlockKind::McpToolListing
            | BlockKind::Compaction
            | BlockKind::Fallback
            | BlockKind::Unknown => (Sort::Hidden, None),
        };
        message.next = message.next.max(index.saturating_add(1));
        let block_id = block_id(&message.id, index, &sort);
        message.blocks.insert(index, Open { sort, told: false, closed: content.is_none() });
        if let Some(content) = content {
            self.emit(Draft::Start { conversation_id: conversation.clone(), block_id, content });
        }
    }

    /// A block grows. There are more of these lines than of all others: it allocates the text and the id.
    fn delta(&mut self, event: &Event<'_>, conversation: &ConversationId) {
        let Some(delta) = &event.delta else { return };
        let piece = match DeltaKind::parse(&delta.kind) {
            DeltaKind::Text => &delta.text,
            DeltaKind::Thinking => &delta.thinking,
            DeltaKind::InputJson => &delta.partial_json,
            // Deliberately nothing: only the model's API can read a signature; citations repeat what is cited; and what
            // the context became is for the model.
            DeltaKind::Signature | DeltaKind::Citations | DeltaKind::Compaction => return,
            DeltaKind::Unknown => return self.unknown("stream_event/content_block_delta/", &delta.kind),
        };
        let Some(piece) = piece.as_deref().filter(|piece| !piece.is_empty()) else { return };
        let process = &mut self.state.process;
        let Some(message) = process.messages.get(conversation) else { return };
        let Some(open) = message.blocks.get(&event.index).filter(|open| !open.closed) else { return };
        if let Sort::Tool(id) = &open.sort
            && let Some(tool) = process.tools.get_mut(id)
        {
            tool.input.add(piece);
        }
        let block_id = block_id(&message.id, event.index, &open.sort);
        self.emit(Draft::Delta { block_id, text: piece.to_owned() });
    }

    /// A block stops. If no line told it whole, it is what streamed. A tool call stays open for its result.
    fn stop(&mut self, index: u32, conversation: &ConversationId) {
        let Some(message) = self.state.process.messages.get_mut(conversation) else { return };
        let Some(open) = message.blocks.get_mut(&index) else { return };
        if open.closed || matches!(open.sort, Sort::Tool(_)) {
            return;
        }
        open.closed = true;
        let block_id = block_id(&message.id, index, &open.sort);
        self.emit(Draft::Complete { conversation_id: conversation.clone(), block_id, content: None });
    }

    /// A whole block. What was interrupted is left open: the end of the turn closes it as interrupted.
    fn told(&mut self, block: Block<'_>, conversation: &ConversationId, aborted: bool) {
        match BlockKind::parse(&block.kind) {
            BlockKind::Text => {
                let text = text(block.text.as_ref());
                let content = |model| Content::AssistantText { text, model };
                self.told_whole(&Sort::Text, content, conversation, aborted);
            }
            BlockKind::Thinking => {
                let thought = Content::Thinking { text: text(block.thinking.as_ref()), summary: String::new() };
                self.told_whole(&Sort::Thinking, |_| thought, conversation, aborted);
            }
            BlockKind::RedactedThinking => self.told_whole(&Sort::Thinking, |_| redacted(), conversation, aborted),
            BlockKind::ToolUse | BlockKind::ServerToolUse | BlockKind::McpToolUse => {
                self.told_tool(block, conversation, aborted);
            }
            BlockKind::ToolResult
            | BlockKind::WebSearchToolResult
            | BlockKind::WebFetchToolResult
            | BlockKind::McpToolResult
            | BlockKind::CodeExecutionToolResult
            | BlockKind::BashCodeExecutionToolResult
            | BlockKind::TextEditorCodeExecutionToolResult
            | BlockKind::ToolSearchToolResult
            | BlockKind::AdvisorToolResult => {
                self.count(&Sort::Hidden, conversation);
                self.tool_result(block, None, conversation);
            }
            // State only, for each counts as a block: what the model was given, and what the provider notes for itself, which
            // a notice tells where people need it.
            BlockKind::Image
            | BlockKind::Document
            | BlockKind::SearchResult
            | BlockKind::ContainerUpload
            | BlockKind::McpToolListing
            | BlockKind::Compaction
            | BlockKind::Fallback => {
                self.count(&Sort::Hidden, conversation);
            }
            BlockKind::Unknown => {
                self.count(&Sort::Hidden, conversation);
                self.unknown("assistant/", &block.kind);
            }
        }
    }

    fn told_whole(
        &mut self,
        sort: &Sort,
        content: impl FnOnce(String) -> Content,
        conversation: &ConversationId,
        aborted: bool,
    ) {
        let Some(place) = self.count(sort, conversation) else { return };
        let (conversation_id, block_id, content) = (conversation.clone(), place.block_id, content(place.model));
        match (place.streamed, aborted) {
            (true, true) => {}
            (false, true) => self.emit(Draft::Start { conversation_id, block_id, content }),
            (true | false, false) => self.emit(Draft::Complete { conversation_id, block_id, content: Some(content) }),
        }
    }

    fn told_tool(&mut self, block: Block<'_>, conversation: &ConversationId, aborted: bool) {
        let id = text(block.id.as_ref());
        let sort = Sort::Tool(id.clone());
        let Some(place) = self.count(&sort, conversation) else { return };
        let input = block.input.map_or("{}", |input| input.get());
        let about = about(input);
        let name = text(block.name.as_ref());
        if let Some(subagent) = self.subagent(conversation) {
            subagent.share.calls_tool();
        }
        if place.streamed {
            let streamed = self.state.process.tools.get(&id).map(|tool| &tool.input);
            let input_json = (streamed != Some(&Digest::of(input))).then(|| input.to_owned());
            if !aborted {
                let patch = BlockPatch {
                    status: Some(ExecutionStatus::Running),
                    input_json,
                    description: about,
                    ..BlockPatch::default()
                };
                self.emit(Draft::Update { block_id: place.block_id, patch });
                self.called(&id, &name, input, conversation);
            }
            return;
        }
        self.state.process.tools.insert(id.clone(), tool(&name, conversation));
        let status = if aborted { ExecutionStatus::Pending } else { ExecutionStatus::Running };
        let call = ToolUse {
            input_json: input.to_owned(),
            description: about.unwrap_or_default(),
            ..tool_use(id.clone(), name.clone(), status)
        };
        let content = Content::ToolUse(call);
        self.emit(Draft::Start { conversation_id: conversation.clone(), block_id: place.block_id, content });
        if !aborted {
            self.called(&id, &name, input, conversation);
        }
    }

    /// Finds the block that a line tells of: the first announced one of that sort without a line, else a new one.
    /// `None` when it is final already.
    fn count(&mut self, sort: &Sort, conversation: &ConversationId) -> Option<Place> {
        let message = self.state.process.messages.get_mut(conversation)?;
        let model = message.model.clone();
        let announced = message.blocks.iter_mut().find(|(_, open)| !open.told && open.sort == *sort);
        if let Some((index, open)) = announced {
            let closed = open.closed;
            open.told = true;
            // A tool call is closed by its result.
            open.closed = !matches!(sort, Sort::Tool(_));
            let block_id = block_id(&message.id, *index, sort);
            return (!closed).then_some(Place { block_id, model, streamed: true });
        }
        let index = message.next;
        message.next = index.saturating_add(1);
        Some(Place { block_id: block_id(&message.id, index, sort), model, streamed: false })
    }
}

/// A thought that the provider keeps to itself: that there was one can be seen.
fn redacted() -> Content {
    Content::Thinking { text: String::new(), summary: "not shown by the model's provider".to_owned() }
}

/// Where a block that a line tells of belongs.
struct Place {
    block_id: BlockId,
    model: String,
    /// It was announced before.
    streamed: bool,
}

fn block_id(message: &str, index: u32, sort: &Sort) -> BlockId {
    match sort {
        Sort::Tool(id) => BlockId::new(id.as_str()),
        Sort::Text | Sort::Thinking | Sort::Hidden => BlockId::new(format!("{message}/{index}")),
    }
}

fn tool(name: &str, conversation: &ConversationId) -> Tool {
    let conversation = (*conversation != ConversationId::main()).then(|| conversation.clone());
    Tool { shell: is_shell(name), conversation, input: Digest::default() }
}

fn tool_use(id: String, name: String, status: ExecutionStatus) -> ToolUse {
    ToolUse {
        tool_use_id: id,
        tool_name: name,
        input_json: String::new(),
        status,
        display_name: String::new(),
        description: String::new(),
    }
}

/// What a call is for, in the agent's words, where the tool has a field for that.
fn about(input: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Input<'a> {
        #[serde(borrow)]
        description: Text<'a>,
    }
    serde_json::from_str::<Input<'_>>(input).ok().map(|input| input.description.into())
}

fn is_shell(name: &str) -> bool {
    matches!(name, "Bash" | "PowerShell")
}

fn text(text: Option<&Text<'_>>) -> String {
    text.map(|text| text.to_string()).unwrap_or_default()
}

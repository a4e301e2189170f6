//! Tool results, and the end of the calls they answer.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{
    hand_back,
    kinds::BlockKind,
    parser::{Reading, Unreadable},
    subagents::Answer,
    wire::{self, Block, MessageLine, ToolOutcome},
};
use crate::agent::Draft;
use crate::domain::{
    Blob, BlobData, BlockId, Content, ContentPart, ConversationId, ExecutionStatus, NoticeKind, ToolOutput, ToolResult,
};

/// How the CLI begins what a local command printed, which it says as if the user had.
const LOCAL_OUTPUT: [(&str, &str); 2] =
    [("<local-command-stdout>", "</local-command-stdout>"), ("<local-command-stderr>", "</local-command-stderr>")];

/// How the result of a call begins whose subagent goes on in the background.
const LAUNCHED: &str = "Async agent launched";
/// How a part begins that older versions put behind a subagent's answer, for the model alone.
const NOTE: &str = "agentId: ";

impl Reading<'_> {
    /// A `user` line: tool results, a message that is taken up, or what the CLI says in the user's name.
    #[expect(clippy::match_same_arms, reason = "a table: each kind has its own reason to be nothing")]
    pub(super) fn user(&mut self, line: &MessageLine<'_>, conversation: &ConversationId) -> Result<(), Unreadable> {
        let blocks = match line.message.content {
            Some(content) => wire::blocks(content).map_err(|_| Unreadable)?,
            None => Vec::new(),
        };
        if line.is_replay {
            self.replayed(line, &blocks);
            return Ok(());
        }
        if self.is_repeated(line.uuid.as_ref()) {
            return Ok(());
        }
        for block in blocks {
            match BlockKind::parse(&block.kind) {
                BlockKind::ToolResult
                | BlockKind::WebSearchToolResult
                | BlockKind::WebFetchToolResult
                | BlockKind::McpToolResult
                | BlockKind::CodeExecutionToolResult
                | BlockKind::BashCodeExecutionToolResult
                | BlockKind::TextEditorCodeExecutionToolResult
                | BlockKind::ToolSearchToolResult
                | BlockKind::AdvisorToolResult => self.tool_result(block, line.tool_use_result, conversation),
                // Deliberately nothing: the CLI says that the user interrupted, which the end of the turn tells, or
                // gives a subagent the task that stands in the input of the call that spawned it.
                BlockKind::Text | BlockKind::Image | BlockKind::Document | BlockKind::SearchResult => {}
                // Deliberately nothing: blocks of the model, never in a user line.
                BlockKind::Thinking
                | BlockKind::RedactedThinking
                | BlockKind::ToolUse
                | BlockKind::ServerToolUse
                | BlockKind::McpToolUse
                | BlockKind::ContainerUpload
                | BlockKind::McpToolListing
                | BlockKind::Compaction
                | BlockKind::Fallback => {}
                BlockKind::Unknown => self.unknown("user/", &block.kind),
            }
        }
        Ok(())
    }

    /// One result. It ends its call, if that is open.
    pub(super) fn tool_result(&mut self, block: Block<'_>, outcome: Option<&RawValue>, conversation: &ConversationId) {
        let Some(id) = block.tool_use_id.map(String::from) else { return };
        let is_error = block.is_error.unwrap_or(false);
        // Each tool has its own shape here, some have a string: what does not fit tells nothing.
        let outcome: ToolOutcome<'_> =
            outcome.and_then(|outcome| serde_json::from_str(outcome.get()).ok()).unwrap_or_default();
        let tool = self.state.process.tools.remove(&id);
        if tool.is_some() {
            let status = if is_error { ExecutionStatus::Failed } else { ExecutionStatus::Succeeded };
            self.emit(Draft::CompleteTool { block_id: BlockId::new(id.as_str()), status });
        }
        let mut images = Vec::new();
        let subagent = outcome.agent_id.is_some() || self.subagent(&ConversationId::new(id.as_str())).is_some();
        let (output, answer) = if subagent {
            answered(block.content, &outcome, &mut images)
        } else {
            (block.content.and_then(|content| output(content, &mut images)), Answer::Said(None))
        };
        for (sha256, data) in images {
            self.emit(Draft::Blob { sha256, data });
        }
        let shell = tool.is_some_and(|tool| tool.shell);
        let duration = outcome.total_duration_ms.or(outcome.duration_ms).and_then(milliseconds);
        let exit_code = if shell { exit_code(is_error, output.as_ref(), &outcome) } else { None };
        let content = Content::ToolResult(ToolResult {
            tool_use_id: id.clone(),
            is_error,
            output,
            duration,
            markdown: subagent,
            exit_code,
        });
        self.emit(Draft::Complete {
            conversation_id: conversation.clone(),
            block_id: BlockId::new(format!("result:{id}")),
            content: Some(content),
        });
        self.returned(&id, is_error, &outcome, answer, duration);
    }

    /// A message is taken up, or a command that the CLI runs itself printed something.
    fn replayed(&mut self, line: &MessageLine<'_>, blocks: &[Block<'_>]) {
        let uuid = line.uuid.as_deref();
        let first = blocks.first().and_then(|block| block.text.as_deref()).unwrap_or_default();
        for (begin, end) in LOCAL_OUTPUT {
            if let Some(printed) = first.strip_prefix(begin) {
                let printed = printed.strip_suffix(end).unwrap_or(printed);
                if !self.is_repeated(line.uuid.as_ref()) {
                    self.notice(uuid, NoticeKind::Status, printed.to_owned(), String::new());
                }
                return;
            }
        }
        if let Some(uuid) = uuid {
            self.taken_up(uuid);
        }
    }
}

/// The result of a call for a subagent: what it answers, without the notes of the CLI and the frame around it.
fn answered(result: Option<&RawValue>, outcome: &ToolOutcome<'_>, images: &mut Images) -> (Option<ToolOutput>, Answer) {
    let output = match outcome.content {
        Some(content) => without_notes(output(content, images), outcome),
        None => unframed(result.and_then(|result| output(result, images))),
    };
    let said = output.as_ref().and_then(text_of);
    let goes_on = match outcome.status {
        Some(status) => status.get() != "\"completed\"",
        None => said.as_deref().is_some_and(|said| said.starts_with(LAUNCHED)),
    };
    (output, if goes_on { Answer::GoesOn } else { Answer::Said(said) })
}

fn without_notes(output: Option<ToolOutput>, outcome: &ToolOutcome<'_>) -> Option<ToolOutput> {
    let mut parts = match output {
        Some(ToolOutput::Parts(parts)) => parts,
        other @ (Some(ToolOutput::Text(_) | ToolOutput::Json(_)) | None) => return other,
    };
    parts.truncate(parts.len().saturating_sub(outcome.harness_tail_count));
    parts.drain(..outcome.harness_note_count.min(parts.len()));
    whole(parts)
}

/// Where the outcome is not told there is only what the model is told.
fn unframed(output: Option<ToolOutput>) -> Option<ToolOutput> {
    if let Some(report) = output.as_ref().and_then(text_of).as_deref().and_then(hand_back::report) {
        return (!report.is_empty()).then_some(ToolOutput::Text(report));
    }
    match output {
        Some(ToolOutput::Parts(mut parts)) => {
            parts.retain(|part| !matches!(part, ContentPart::Text(text) if text.starts_with(NOTE)));
            whole(parts)
        }
        other @ (Some(ToolOutput::Text(_) | ToolOutput::Json(_)) | None) => other,
    }
}

/// The texts of an output, one after the other.
fn text_of(output: &ToolOutput) -> Option<String> {
    match output {
        ToolOutput::Text(text) => Some(text.clone()),
        ToolOutput::Json(_) => None,
        ToolOutput::Parts(parts) => {
            let texts = parts.iter().filter_map(|part| match part {
                ContentPart::Text(text) => Some(text.as_str()),
                ContentPart::Image(_)
                | ContentPart::Attachment(_)
                | ContentPart::ImageUri(_)
                | ContentPart::FilePath(_) => None,
            });
            Some(texts.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// The bytes of images and documents, by their hash.
type Images = Vec<(String, Vec<u8>)>;

/// What the content of a result is: text, parts, or JSON where it is neither.
fn output(content: &RawValue, images: &mut Images) -> Option<ToolOutput> {
    let Ok(blocks) = wire::blocks(content) else { return Some(ToolOutput::Json(content.get().to_owned())) };
    let mut parts = Vec::with_capacity(blocks.len());
    for block in &blocks {
        match (BlockKind::parse(&block.kind), &block.text) {
            (BlockKind::Text, Some(text)) => parts.push(ContentPart::Text(text.to_string())),
            (BlockKind::Image, _) => parts.push(image(block, images)),
            (BlockKind::Document, _) => match bytes(block, images) {
                Some(blob) => parts.push(ContentPart::Attachment(blob)),
                None => return Some(ToolOutput::Json(content.get().to_owned())),
            },
            _ => return Some(ToolOutput::Json(content.get().to_owned())),
        }
    }
    whole(parts)
}

fn whole(mut parts: Vec<ContentPart>) -> Option<ToolOutput> {
    match parts.as_mut_slice() {
        [] => None,
        [ContentPart::Text(text)] => Some(ToolOutput::Text(std::mem::take(text))),
        [..] => Some(ToolOutput::Parts(parts)),
    }
}

/// An image by its address or the hash of its bytes, or in its place what it was: bytes that cannot be read have no name.
fn image(block: &Block<'_>, images: &mut Images) -> ContentPart {
    let source = block.source.as_ref();
    if let Some(url) = source.and_then(|source| source.url.as_deref()) {
        return ContentPart::ImageUri(url.to_owned());
    }
    if let Some(blob) = bytes(block, images) {
        return ContentPart::Image(blob);
    }
    let media_type = source.and_then(|source| source.media_type.as_deref()).unwrap_or("image");
    let encoded = source.and_then(|source| source.data.as_deref()).unwrap_or_default();
    ContentPart::Text(format!("[{media_type}, {} characters, not kept]", encoded.len()))
}

/// The bytes of an image or a document, where they stand in it and can be read.
fn bytes(block: &Block<'_>, images: &mut Images) -> Option<Blob> {
    let source = block.source.as_ref()?;
    let data = STANDARD.decode(source.data.as_deref()?).ok().filter(|data| !data.is_empty())?;
    let sha256 = format!("{:x}", Sha256::digest(&data));
    let size_bytes = i64::try_from(data.len()).unwrap_or(i64::MAX);
    let media_type = source.media_type.as_deref().unwrap_or("application/octet-stream").to_owned();
    images.push((sha256.clone(), data));
    Some(Blob { sha256, size_bytes, media_type, name: String::new(), data: BlobData::default() })
}

/// The exit status of a shell command, where the CLI lets it be known.
fn exit_code(is_error: bool, output: Option<&ToolOutput>, outcome: &ToolOutcome<'_>) -> Option<i32> {
    if is_error {
        let code = output?.as_text()?.strip_prefix("Exit code ")?;
        return code.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    }
    let ended = outcome.stdout.is_some() && outcome.background_task_id.is_none() && !outcome.interrupted;
    (ended && outcome.return_code_interpretation.is_none()).then_some(0)
}

pub(super) fn milliseconds(ms: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(ms / 1000.0).ok()
}

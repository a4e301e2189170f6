//! Bounds on what an agent can make the log hold: whatever it prints, no event grows past what a client can receive.

use sha2::{Digest, Sha256};

use crate::domain::{BlockId, Content, ContentPart, ToolOutput};

/// Growing text kept in one block, in bytes of UTF-8.
pub const MAX_INLINE_BLOCK_BYTES: usize = 256 * 1024;
/// Any other text an agent gives.
const MAX_TEXT_BYTES: usize = 64 * 1024;
/// An id an agent gives; a longer one is replaced by its hash.
const MAX_ID_BYTES: usize = 256;

/// The longest prefix of at most `max` bytes that ends at a character.
pub(super) fn prefix(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Cuts a text, and returns how many bytes it lost.
pub(super) fn clip(text: &mut String, max: usize) -> usize {
    let keep = prefix(text, max).len();
    let lost = text.len() - keep;
    text.truncate(keep);
    lost
}

/// Cuts text that is not a block's growing one.
pub(super) fn clip_text(mut text: String) -> String {
    clip(&mut text, MAX_TEXT_BYTES);
    text
}

/// The id, or what stands for it.
pub(super) fn block_id(id: BlockId) -> BlockId {
    if id.as_str().len() <= MAX_ID_BYTES {
        return id;
    }
    BlockId::new(format!("{:x}", Sha256::digest(id.as_str().as_bytes())))
}

/// Cuts a block's content and returns how many bytes of its growing text were cut off.
pub(super) fn content(content: &mut Content) -> i64 {
    let lost = match content {
        Content::AssistantText { text, model } => {
            clip(model, MAX_TEXT_BYTES);
            clip(text, MAX_INLINE_BLOCK_BYTES)
        }
        Content::Thinking { text, summary } => {
            clip(summary, MAX_TEXT_BYTES);
            clip(text, MAX_INLINE_BLOCK_BYTES)
        }
        Content::ToolUse(tool) => {
            for text in [&mut tool.tool_use_id, &mut tool.tool_name, &mut tool.display_name, &mut tool.description] {
                clip(text, MAX_TEXT_BYTES);
            }
            clip(&mut tool.input_json, MAX_INLINE_BLOCK_BYTES)
        }
        Content::ToolResult(result) => {
            clip(&mut result.tool_use_id, MAX_TEXT_BYTES);
            result.output.as_mut().map_or(0, tool_output)
        }
        Content::UserMessage(_) => 0,
        Content::System { message, metadata_json, .. } => {
            clip(message, MAX_TEXT_BYTES);
            if metadata_json.len() > MAX_TEXT_BYTES {
                // Half a JSON text is none.
                metadata_json.clear();
            }
            0
        }
        Content::Subagent(call) => {
            for text in [&mut call.name, &mut call.input, &mut call.output, &mut call.tool_use_id] {
                clip(text, MAX_TEXT_BYTES);
            }
            0
        }
        Content::Error { code, message } => {
            clip(code, MAX_TEXT_BYTES);
            clip(message, MAX_TEXT_BYTES);
            0
        }
    };
    i64::try_from(lost).unwrap_or(i64::MAX)
}

fn tool_output(output: &mut ToolOutput) -> usize {
    match output {
        ToolOutput::Text(text) => clip(text, MAX_INLINE_BLOCK_BYTES),
        ToolOutput::Json(json) if json.len() > MAX_INLINE_BLOCK_BYTES => {
            // Half a JSON text is only text.
            let mut text = std::mem::take(json);
            let lost = clip(&mut text, MAX_INLINE_BLOCK_BYTES);
            *output = ToolOutput::Text(text);
            lost
        }
        ToolOutput::Json(_) => 0,
        ToolOutput::Parts(parts) => {
            let mut room = MAX_INLINE_BLOCK_BYTES;
            let mut lost = 0;
            for part in parts {
                match part {
                    ContentPart::Text(text) | ContentPart::ImageUri(text) | ContentPart::FilePath(text) => {
                        lost += clip(text, room);
                        room -= text.len();
                    }
                    ContentPart::Image(_) | ContentPart::Attachment(_) => {}
                }
            }
            lost
        }
    }
}

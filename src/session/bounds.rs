//! Bounds on what an agent can make the log hold: whatever it prints, no event grows past what a client can receive.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::{BlockId, Content, ContentPart, ToolOutput};

/// Growing text kept in one block, in bytes of UTF-8.
pub const MAX_INLINE_BLOCK_BYTES: usize = 256 * 1024;
/// Output of an agent that cannot be read, in one event.
pub(super) const MAX_RAW_BYTES: usize = 64 * 1024;
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

/// Cuts a text, and returns what it lost.
pub(super) fn cut(text: &mut String, max: usize) -> String {
    let keep = prefix(text, max).len();
    text.split_off(keep)
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

/// Shortens the texts of a JSON value, so that it is one still and small enough. The whole of it stands elsewhere.
pub(super) fn json(json: String) -> String {
    if json.len() <= MAX_INLINE_BLOCK_BYTES {
        return json;
    }
    let Ok(value) = serde_json::from_str::<Value>(&json) else { return clip_text(json) };
    for limit in [64 << 10, 4 << 10, 256] {
        let mut value = value.clone();
        shorten(&mut value, limit);
        let shorter = value.to_string();
        if shorter.len() <= MAX_INLINE_BLOCK_BYTES {
            return shorter;
        }
    }
    "{}".to_owned()
}

fn shorten(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => {
            let lost = clip(text, limit);
            if lost > 0 {
                text.push_str("… [");
                text.push_str(&lost.to_string());
                text.push_str(" more bytes]");
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| shorten(value, limit)),
        Value::Object(fields) => fields.values_mut().for_each(|value| shorten(value, limit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cuts a block's content and returns what of its text was cut off.
pub(super) fn content(content: &mut Content) -> String {
    match content {
        Content::AssistantText { text, model } => {
            clip(model, MAX_TEXT_BYTES);
            cut(text, MAX_INLINE_BLOCK_BYTES)
        }
        Content::Thinking { text, summary } => {
            clip(summary, MAX_TEXT_BYTES);
            cut(text, MAX_INLINE_BLOCK_BYTES)
        }
        Content::ToolUse(tool) => {
            for text in [&mut tool.tool_use_id, &mut tool.tool_name, &mut tool.display_name, &mut tool.description] {
                clip(text, MAX_TEXT_BYTES);
            }
            cut(&mut tool.input_json, MAX_INLINE_BLOCK_BYTES)
        }
        Content::ToolResult(result) => {
            clip(&mut result.tool_use_id, MAX_TEXT_BYTES);
            result.output.as_mut().map_or_else(String::new, tool_output)
        }
        Content::UserMessage(_) => String::new(),
        Content::System { message, metadata_json, .. } => {
            clip(message, MAX_TEXT_BYTES);
            if metadata_json.len() > MAX_TEXT_BYTES {
                // Half a JSON text is none.
                metadata_json.clear();
            }
            String::new()
        }
        Content::Subagent(call) => {
            for text in [&mut call.name, &mut call.input, &mut call.output, &mut call.tool_use_id] {
                clip(text, MAX_TEXT_BYTES);
            }
            String::new()
        }
        Content::Error { code, message } => {
            clip(code, MAX_TEXT_BYTES);
            clip(message, MAX_TEXT_BYTES);
            String::new()
        }
    }
}

fn tool_output(output: &mut ToolOutput) -> String {
    match output {
        ToolOutput::Text(text) => cut(text, MAX_INLINE_BLOCK_BYTES),
        ToolOutput::Json(json) if json.len() > MAX_INLINE_BLOCK_BYTES => {
            // Half a JSON text is only text.
            let mut text = std::mem::take(json);
            let lost = cut(&mut text, MAX_INLINE_BLOCK_BYTES);
            *output = ToolOutput::Text(text);
            lost
        }
        ToolOutput::Json(_) => String::new(),
        ToolOutput::Parts(parts) => {
            let mut room = MAX_INLINE_BLOCK_BYTES;
            let mut lost = String::new();
            for part in parts {
                match part {
                    ContentPart::Text(text) | ContentPart::ImageUri(text) | ContentPart::FilePath(text) => {
                        lost.push_str(&cut(text, room));
                        // What is kept is a prefix: after the first cut nothing more is.
                        room = if lost.is_empty() { room - text.len() } else { 0 };
                    }
                    ContentPart::Image(blob) | ContentPart::Attachment(blob) => {
                        clip(&mut blob.media_type, MAX_ID_BYTES);
                        clip(&mut blob.name, MAX_ID_BYTES);
                    }
                }
            }
            lost
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{MAX_INLINE_BLOCK_BYTES, json as shortened};

    #[test]
    fn json_that_is_too_long_stays_json_and_says_what_it_lost() {
        let short = r#"{ "a": 1 }"#.to_owned();
        assert_eq!(shortened(short.clone()), short, "what fits is left as it is");
        for count in [1, 8, 200] {
            let long = "\u{e4}".repeat(MAX_INLINE_BLOCK_BYTES);
            let value = json!({ "path": "a", "parts": vec![json!({ "text": long }); count], "n": 7 });
            let shorter = shortened(value.to_string());
            assert!(shorter.len() <= MAX_INLINE_BLOCK_BYTES);
            let shorter: Value = serde_json::from_str(&shorter).expect("JSON");
            assert_eq!((&shorter["path"], &shorter["n"]), (&json!("a"), &json!(7)));
            assert_eq!(shorter["parts"].as_array().expect("a list").len(), count);
            let text = shorter["parts"][0]["text"].as_str().expect("text");
            let (kept, said) = text.split_once('…').expect("it says so");
            let lost = long.len() - kept.len();
            assert_eq!(said, format!(" [{lost} more bytes]"));
        }
        assert_eq!(shortened(json!(vec![1_000_000; MAX_INLINE_BLOCK_BYTES]).to_string()), "{}");
    }
}

//! The line that gives the CLI a message, with the images and documents in it.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::domain::{Blob, BlockId, ContentPart};

#[derive(Serialize)]
struct Line<'a> {
    r#type: &'a str,
    uuid: &'a str,
    session_id: &'a str,
    parent_tool_use_id: Option<&'a str>,
    message: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: Cow<'a, str> },
    Image { source: Source<'a> },
    Document { source: Source<'a> },
}

#[derive(Serialize)]
struct Source<'a> {
    r#type: &'a str,
    media_type: &'a str,
    data: String,
}

/// The line. The block's id is a UUID, for the CLI stores the message under it.
pub(in crate::agent) fn prompt(block_id: &BlockId, parts: &[ContentPart]) -> Vec<u8> {
    let line = Line {
        r#type: "user",
        uuid: block_id.as_str(),
        // Required and not looked at: a process has one session.
        session_id: "",
        parent_tool_use_id: None,
        message: Message { role: "user", content: content(parts) },
    };
    let mut bytes = serde_json::to_vec(&line).expect("a struct of strings is JSON");
    bytes.push(b'\n');
    bytes
}

/// Texts that follow each other are one: the CLI looks for commands in a message of one text.
fn content(parts: &[ContentPart]) -> Vec<Part<'_>> {
    let mut content: Vec<Part<'_>> = Vec::new();
    for part in parts {
        let text = match part {
            ContentPart::Text(text) | ContentPart::ImageUri(text) | ContentPart::FilePath(text) => text,
            ContentPart::Image(blob) => {
                content.push(Part::Image { source: source(blob) });
                continue;
            }
            ContentPart::Attachment(blob) => {
                content.push(Part::Document { source: source(blob) });
                continue;
            }
        };
        match content.last_mut() {
            Some(Part::Text { text: before }) => {
                let before = before.to_mut();
                before.push_str("\n\n");
                before.push_str(text);
            }
            Some(Part::Image { .. } | Part::Document { .. }) | None => {
                content.push(Part::Text { text: Cow::Borrowed(text) });
            }
        }
    }
    content
}

fn source(blob: &Blob) -> Source<'_> {
    let data = STANDARD.encode(blob.data.bytes().unwrap_or_default());
    Source { r#type: "base64", media_type: &blob.media_type, data }
}

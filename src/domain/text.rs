//! The text of a block as one.

use std::borrow::Cow;

use super::{Content, ContentPart, ToolOutput};

impl Content {
    /// The text that `truncated_bytes` counts the rest of: the one that grows; of a tool's other output its JSON, or the
    /// texts of its parts one after the other, as of a message. What nothing is ever cut from has none.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::AssistantText { text, .. } | Self::Thinking { text, .. } => text.into(),
            Self::ToolUse(tool) => (&tool.input_json).into(),
            Self::ToolResult(result) => match &result.output {
                None => "".into(),
                Some(ToolOutput::Text(text) | ToolOutput::Json(text)) => text.into(),
                Some(ToolOutput::Parts(parts)) => joined(parts).into(),
            },
            Self::UserMessage(message) => joined(&message.parts).into(),
            Self::System { .. } | Self::Subagent(_) | Self::Error { .. } => "".into(),
        }
    }
}

fn joined(parts: &[ContentPart]) -> String {
    let texts = parts.iter().map(|part| match part {
        ContentPart::Text(text) | ContentPart::ImageUri(text) | ContentPart::FilePath(text) => text.as_str(),
        ContentPart::Image(_) | ContentPart::Attachment(_) => "",
    });
    texts.collect()
}

//! A block in one line: what it is, and what it says.

use std::borrow::Cow;

use crate::proto::{Block, ContentPart, block::Content, content_part::Part, tool_result::Output};

/// What the block is, as the contract spells it: `assistant_text`, `tool_use` and so on; empty for a kind newer than this
/// client.
#[must_use]
pub fn kind_of(block: &Block) -> &'static str {
    match &block.content {
        Some(Content::UserMessage(_)) => "user_message",
        Some(Content::AssistantText(_)) => "assistant_text",
        Some(Content::ToolUse(_)) => "tool_use",
        Some(Content::ToolResult(_)) => "tool_result",
        Some(Content::Thinking(_)) => "thinking",
        Some(Content::System(_)) => "system",
        Some(Content::Subagent(_)) => "subagent",
        Some(Content::Error(_)) => "error",
        None => "",
    }
}

/// What the block says, as far as it is inline: its text, its message, or the name of the tool or subagent that is called.
/// [`super::Client::text`] has all of a text that is too long to be inline.
#[must_use]
pub fn words_of(block: &Block) -> Cow<'_, str> {
    match &block.content {
        Some(Content::UserMessage(message)) => texts(&message.parts).into(),
        Some(Content::AssistantText(content)) => content.text.as_str().into(),
        Some(Content::ToolUse(call)) => call.tool_name.as_str().into(),
        Some(Content::ToolResult(result)) => match &result.output {
            Some(Output::Text(text) | Output::OutputJson(text)) => text.as_str().into(),
            Some(Output::Parts(list)) => texts(&list.parts).into(),
            None => "".into(),
        },
        Some(Content::Thinking(content)) => content.text.as_str().into(),
        Some(Content::System(notice)) => notice.message.as_str().into(),
        Some(Content::Subagent(call)) => call.name.as_str().into(),
        Some(Content::Error(error)) => error.message.as_str().into(),
        None => "".into(),
    }
}

/// The texts among these parts, one after the other.
fn texts(parts: &[ContentPart]) -> String {
    parts
        .iter()
        .map(|part| match &part.part {
            Some(Part::Text(text)) => text.as_str(),
            Some(Part::Image(_) | Part::Attachment(_) | Part::ImageUri(_) | Part::FilePath(_)) | None => "",
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_told_in_one_line() {
        for (json, kind, words) in [
            (r#"{"userMessage":{"parts":[{"text":"a"},{"imageUri":"https://x"},{"text":"b"}]}}"#, "user_message", "ab"),
            (r#"{"assistantText":{"text":"hello","model":"m"}}"#, "assistant_text", "hello"),
            (r#"{"thinking":{"text":"hm","summary":"s"}}"#, "thinking", "hm"),
            (r#"{"toolUse":{"toolName":"Bash","displayName":"List","inputJson":"{}"}}"#, "tool_use", "Bash"),
            (r#"{"toolResult":{"text":"1\n"}}"#, "tool_result", "1\n"),
            (r#"{"toolResult":{"outputJson":"[1]"}}"#, "tool_result", "[1]"),
            (r#"{"toolResult":{"parts":{"parts":[{"text":"p"}]}}}"#, "tool_result", "p"),
            (r#"{"toolResult":{}}"#, "tool_result", ""),
            (r#"{"system":{"message":"note"}}"#, "system", "note"),
            (r#"{"subagent":{"name":"reviewer","output":"ok"}}"#, "subagent", "reviewer"),
            (r#"{"error":{"message":"broken"}}"#, "error", "broken"),
            ("{}", "", ""),
        ] {
            let block: Block = crate::proto::from_json("agentruntime.v1.Block", json).unwrap();
            assert_eq!((kind_of(&block), &*words_of(&block)), (kind, words), "{json}");
        }
    }
}

//! Blocks and what they hold.

use super::{duration, list, number, text, timestamp};
use crate::{
    domain::{
        Blob, Block, BlockState, Content, ContentPart, ExecutionStatus, NoticeKind, SubagentCall, ToolOutput,
        ToolResult, ToolUse, UserMessage,
    },
    proto,
};

impl From<Block> for proto::Block {
    fn from(block: Block) -> Self {
        let Block { block_id, conversation_id, turn_id, state, create_time, complete_time, truncated_bytes, content } =
            block;
        Self {
            block_id: block_id.to_string(),
            conversation_id: conversation_id.to_string(),
            turn_id: text(turn_id),
            state: number::<_, proto::BlockState>(state),
            create_time: Some(timestamp(create_time)),
            complete_time: complete_time.map(timestamp),
            truncated_bytes,
            content: Some(content.into()),
        }
    }
}

impl From<BlockState> for proto::BlockState {
    fn from(state: BlockState) -> Self {
        match state {
            BlockState::Streaming => Self::Streaming,
            BlockState::Complete => Self::Complete,
            BlockState::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Content> for proto::block::Content {
    fn from(content: Content) -> Self {
        match content {
            Content::UserMessage(message) => Self::UserMessage(message.into()),
            Content::AssistantText { text, model } => Self::AssistantText(proto::AssistantText { text, model }),
            Content::ToolUse(tool) => Self::ToolUse(tool.into()),
            Content::ToolResult(result) => Self::ToolResult(result.into()),
            Content::Thinking { text, summary } => Self::Thinking(proto::Thinking { text, summary }),
            Content::System { kind, message, metadata_json } => Self::System(proto::SystemNotice {
                kind: number::<_, proto::SystemNoticeKind>(kind),
                message,
                metadata_json,
            }),
            Content::Subagent(call) => Self::Subagent(call.into()),
            Content::Error { code, message } => Self::Error(proto::BlockError { code, message }),
        }
    }
}

impl From<UserMessage> for proto::UserMessage {
    fn from(message: UserMessage) -> Self {
        let UserMessage { parts, created_by } = message;
        Self { parts: list(parts), created_by: created_by.map(Into::into) }
    }
}

impl From<ContentPart> for proto::ContentPart {
    fn from(part: ContentPart) -> Self {
        use proto::content_part::Part;

        let part = match part {
            ContentPart::Text(text) => Part::Text(text),
            ContentPart::Image(blob) => Part::Image(blob.into()),
            ContentPart::Attachment(blob) => Part::Attachment(blob.into()),
            ContentPart::ImageUri(uri) => Part::ImageUri(uri),
            ContentPart::FilePath(path) => Part::FilePath(path),
        };
        Self { part: Some(part) }
    }
}

impl From<Blob> for proto::Blob {
    fn from(blob: Blob) -> Self {
        let Blob { sha256, size_bytes, media_type, name, data: _ } = blob;
        // The bytes themselves only ever come in.
        Self { sha256, size_bytes, media_type, name, data: bytes::Bytes::new() }
    }
}

impl From<ToolUse> for proto::ToolUse {
    fn from(tool: ToolUse) -> Self {
        let ToolUse { tool_use_id, tool_name, input_json, status, display_name, description } = tool;
        Self {
            tool_use_id,
            tool_name,
            input_json,
            status: number::<_, proto::ExecutionStatus>(status),
            display_name,
            description,
        }
    }
}

impl From<ExecutionStatus> for proto::ExecutionStatus {
    fn from(status: ExecutionStatus) -> Self {
        match status {
            ExecutionStatus::Pending => Self::Pending,
            ExecutionStatus::Running => Self::Running,
            ExecutionStatus::Succeeded => Self::Succeeded,
            ExecutionStatus::Failed => Self::Failed,
        }
    }
}

impl From<ToolResult> for proto::ToolResult {
    fn from(result: ToolResult) -> Self {
        let ToolResult { tool_use_id, is_error, output, duration: took, markdown, exit_code } = result;
        Self {
            tool_use_id,
            is_error,
            output: output.map(Into::into),
            duration: took.map(duration),
            markdown,
            exit_code,
        }
    }
}

impl From<ToolOutput> for proto::tool_result::Output {
    fn from(output: ToolOutput) -> Self {
        match output {
            ToolOutput::Text(text) => Self::Text(text),
            ToolOutput::Json(json) => Self::OutputJson(json),
            ToolOutput::Parts(parts) => Self::Parts(proto::ContentParts { parts: list(parts) }),
        }
    }
}

impl From<NoticeKind> for proto::SystemNoticeKind {
    fn from(kind: NoticeKind) -> Self {
        match kind {
            NoticeKind::SessionStart => Self::SessionStart,
            NoticeKind::SessionEnd => Self::SessionEnd,
            NoticeKind::Error => Self::Error,
            NoticeKind::Status => Self::Status,
            NoticeKind::HookResponse => Self::HookResponse,
            NoticeKind::AuthStatus => Self::AuthStatus,
            NoticeKind::Compaction => Self::Compaction,
            NoticeKind::Restore => Self::Restore,
            NoticeKind::Continuation => Self::Continuation,
        }
    }
}

impl From<SubagentCall> for proto::SubagentCall {
    fn from(call: SubagentCall) -> Self {
        let SubagentCall { subagent_id, name, input, status, output, duration: took, tool_use_id } = call;
        Self {
            subagent_id: subagent_id.to_string(),
            name,
            input,
            status: number::<_, proto::ExecutionStatus>(status),
            output,
            duration: took.map(duration),
            tool_use_id,
        }
    }
}

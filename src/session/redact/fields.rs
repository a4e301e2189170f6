//! Where an agent's words stand in what it asks for: every field is named, so that a new one is not forgotten. Ids are what
//! they are: what belongs together is found by them. What a block grows by is looked at in its place in the block's text.

use sha2::{Digest as _, Sha256};

use super::{Redacted, Redaction};
use crate::{
    agent::{Action, Ask, Draft, Outcome, TurnEnd},
    domain::{
        Blob, BlobData, BlockId, BlockPatch, Content, ContentPart, Principal, QuestionChoice, QuestionItem,
        SessionError, SubagentCall, ToolOutput, ToolResult, ToolUse, UserMessage,
    },
    session::bounds,
};

impl Redaction {
    /// What an agent asks for, without values. `None`: nothing of it is sure yet. `is_open`: a block that grows; `id`: the
    /// name under which a block is known.
    pub(in crate::session) fn action(
        &mut self,
        mut action: Action,
        id: impl Fn(BlockId) -> BlockId,
        is_open: impl Fn(&BlockId) -> bool,
    ) -> Option<Redacted> {
        if self.values.is_empty() {
            return Some(Redacted(action));
        }
        match &mut action {
            Action::Emit(Draft::Delta { block_id, text }) => {
                let block_id = id(block_id.clone());
                let grown = std::mem::take(text);
                // What belongs to no block is told of, and not shown.
                *text = if is_open(&block_id) { self.grow(&block_id, grown) } else { self.without(grown) };
                if text.is_empty() {
                    return None;
                }
            }
            Action::Emit(draft) => self.draft(draft, id, is_open),
            Action::Ask(ask) => self.ask(ask),
            Action::TurnEnded(TurnEnd { outcome, usage: _ }) => match outcome {
                Outcome::Failed(error) => self.error(error),
                Outcome::Completed | Outcome::Interrupted => {}
            },
            // Ids, and the parser's own words for the agent.
            Action::Write(_)
            | Action::TurnStarted { block_id: _ }
            | Action::AskWithdrawn { agent_request_id: _ }
            | Action::Forgotten => {}
        }
        Some(Redacted(action))
    }

    fn draft(&mut self, draft: &mut Draft, id: impl Fn(BlockId) -> BlockId, is_open: impl Fn(&BlockId) -> bool) {
        match draft {
            Draft::Start { conversation_id: _, block_id, content } => {
                let block_id = id(block_id.clone());
                // Its text goes on, so its end is not sure; one that is begun already is told of, and not begun again.
                let begun = !is_open(&block_id) && content.growing().is_some_and(|text| !text.is_empty());
                let text = if begun { content.growing_mut().map(std::mem::take) } else { None };
                self.content(content);
                if let (Some(text), Some(place)) = (text, content.growing_mut().filter(|_| begun)) {
                    *place = self.begin(&block_id, text);
                }
            }
            Draft::Delta { block_id: _, text } => self.text(text),
            Draft::Update { block_id, patch } => {
                let BlockPatch {
                    status: _,
                    input_json,
                    truncated_bytes: _,
                    duration: _,
                    display_name,
                    description,
                    summary,
                    output,
                    exit_code: _,
                } = patch;
                if let Some(input) = input_json {
                    let block_id = id(block_id.clone());
                    let whole = std::mem::take(input);
                    *input = if is_open(&block_id) { self.begin(&block_id, whole) } else { self.without(whole) };
                }
                for text in [display_name, description, summary, output].into_iter().flatten() {
                    self.text(text);
                }
            }
            Draft::Complete { conversation_id: _, block_id: _, content } => {
                if let Some(content) = content {
                    self.content(content);
                }
            }
            Draft::CompleteTool { block_id: _, status: _ } => {}
            Draft::Conversation { conversation_id: _, parent_id: _, name, tool_use_id: _, status: _ } => {
                self.text(name);
            }
            Draft::Used { conversation_id: _, usage: _, model } => self.text(model),
            Draft::Blob { sha256, data } => self.blob(sha256, data),
            Draft::Error(error) => self.error(error),
            Draft::Log(_, message) => self.text(message),
            Draft::Unparsed { raw, truncated_bytes } => {
                let mut lost = 0;
                if self.values.replace_bytes(raw) {
                    // What stands for a value may be longer than the value.
                    lost = raw.len().saturating_sub(bounds::MAX_RAW_BYTES);
                    raw.truncate(bounds::MAX_RAW_BYTES);
                }
                if *truncated_bytes > 0 {
                    lost += self.values.cut_beginning(raw);
                }
                *truncated_bytes = truncated_bytes.saturating_add(i64::try_from(lost).unwrap_or(i64::MAX));
            }
        }
    }

    fn content(&self, content: &mut Content) {
        match content {
            Content::UserMessage(UserMessage { parts, created_by }) => {
                self.parts(parts);
                if let Some(Principal { subject: _, display_name, kind: _ }) = created_by {
                    self.text(display_name);
                }
            }
            Content::AssistantText { text, model } => self.texts([text, model]),
            Content::Thinking { text, summary } => self.texts([text, summary]),
            Content::ToolUse(ToolUse {
                tool_use_id: _,
                tool_name,
                input_json,
                status: _,
                display_name,
                description,
            }) => self.texts([tool_name, input_json, display_name, description]),
            Content::ToolResult(ToolResult {
                tool_use_id: _,
                is_error: _,
                output,
                duration: _,
                markdown: _,
                exit_code: _,
            }) => match output {
                None => {}
                Some(ToolOutput::Text(text) | ToolOutput::Json(text)) => self.text(text),
                Some(ToolOutput::Parts(parts)) => self.parts(parts),
            },
            Content::System { kind: _, message, metadata_json } => self.texts([message, metadata_json]),
            Content::Subagent(SubagentCall {
                subagent_id: _,
                name,
                input,
                status: _,
                output,
                duration: _,
                tool_use_id: _,
            }) => self.texts([name, input, output]),
            Content::Error { code, message } => self.texts([code, message]),
        }
    }

    fn ask(&self, ask: &mut Ask) {
        // Two calls are not the same because they look alike without what is secret.
        ask.given_sha256 = Some(ask.input_sha256());
        let Ask {
            agent_request_id: _,
            conversation_id: _,
            tool_use_id: _,
            tool_name,
            input_json,
            title,
            questions,
            always,
            cwd: _,
            given_sha256: _,
            only_by_rule: _,
        } = ask;
        self.texts([tool_name, input_json, title]);
        if let Some(pattern) = always {
            self.text(pattern);
        }
        for QuestionItem { header, text, choices, multiple: _ } in questions {
            self.texts([header, text]);
            for QuestionChoice { label, description } in choices {
                self.texts([label, description]);
            }
        }
    }

    fn error(&self, error: &mut SessionError) {
        let SessionError { reason: _, message, retryable: _, metadata } = error;
        self.text(message);
        for value in metadata.values_mut() {
            self.text(value);
        }
    }

    fn parts(&self, parts: &mut [ContentPart]) {
        for part in parts {
            match part {
                ContentPart::Text(text) | ContentPart::ImageUri(text) | ContentPart::FilePath(text) => self.text(text),
                ContentPart::Image(blob) | ContentPart::Attachment(blob) => {
                    let Blob { sha256, size_bytes, media_type, name, data: _ } = blob;
                    if let Some(renamed) = self.renamed.get(sha256) {
                        (*sha256, *size_bytes) = (renamed.sha256.clone(), renamed.size_bytes);
                    }
                    self.texts([media_type, name]);
                }
            }
        }
    }

    /// Bytes with a value in them are other bytes without it, under their own hash; the block that names them follows.
    fn blob(&mut self, sha256: &mut String, data: &mut Vec<u8>) {
        if self.values.replace_bytes(data) {
            let size_bytes = i64::try_from(data.len()).unwrap_or(i64::MAX);
            let (media_type, name) = (String::new(), String::new());
            let renamed = Blob {
                sha256: format!("{:x}", Sha256::digest(&*data)),
                size_bytes,
                media_type,
                name,
                data: BlobData::default(),
            };
            let before = std::mem::replace(sha256, renamed.sha256.clone());
            self.renamed.insert(before, renamed);
        }
    }

    fn texts<const N: usize>(&self, texts: [&mut String; N]) {
        for text in texts {
            self.text(text);
        }
    }

    fn text(&self, text: &mut String) {
        self.values.replace(text);
    }

    fn without(&self, mut text: String) -> String {
        self.text(&mut text);
        text
    }
}

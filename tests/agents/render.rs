//! What actions add up to, as a few lines to read: a session in small, which also checks that they are legal.

use std::{collections::BTreeMap, fmt::Write as _};

use agent_runtime::{
    agent::{Action, Draft, Outcome},
    domain::{Content, ContentPart, ExecutionStatus, ToolOutput, Usage},
};

/// A block as it stands.
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) conversation: String,
    pub(crate) state: &'static str,
    pub(crate) content: Content,
}

#[derive(Default)]
pub(crate) struct Transcript {
    lines: Vec<Line>,
    blocks: BTreeMap<String, usize>,
    pub(crate) shown: Vec<Shown>,
    turn: bool,
    pub(crate) turns: Vec<(Option<String>, Option<Outcome>, Usage)>,
    pub(crate) used: BTreeMap<String, Usage>,
    /// Of subagents: the conversation each was called for in, its definition, and how far it is.
    pub(crate) subagents: BTreeMap<String, (String, String, ExecutionStatus)>,
    pub(crate) logs: Vec<String>,
    pub(crate) unparsed: usize,
}

enum Line {
    Text(String),
    Block(usize),
}

impl Transcript {
    pub(crate) fn of(actions: &[Action]) -> Self {
        let mut transcript = Self::default();
        for action in actions {
            transcript.apply(action);
        }
        transcript
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Emit(draft) => self.emit(draft),
            Action::Forgotten => panic!("nothing was forgotten"),
            Action::Ask(ask) => {
                self.text(format!(
                    "? {} {} in {}: {:?}",
                    ask.tool_name, ask.tool_use_id, ask.conversation_id, ask.title
                ));
            }
            Action::AskWithdrawn { agent_request_id } => self.text(format!("? withdrawn {agent_request_id}")),
            Action::Write(bytes) => {
                let line: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                self.text(format!("! {}", line["response"]["response"]));
            }
            Action::TurnStarted { block_id } => {
                assert!(!std::mem::replace(&mut self.turn, true), "a turn starts inside a turn");
                let id = block_id.as_ref().map(ToString::to_string);
                self.text(format!("> {}", id.as_deref().unwrap_or("unasked")));
                self.turns.push((id, None, Usage::default()));
            }
            Action::TurnEnded(end) => {
                assert!(std::mem::replace(&mut self.turn, false), "a turn ends outside a turn");
                let subagents = &self.subagents;
                let runs = |id: &str| {
                    let status = subagents.get(id).map(|(.., status)| *status);
                    matches!(status, Some(ExecutionStatus::Pending | ExecutionStatus::Running))
                };
                for shown in &mut self.shown {
                    let goes_on = match &shown.content {
                        Content::Subagent(call) => runs(call.subagent_id.as_str()),
                        _ => runs(&shown.conversation),
                    };
                    if shown.state == "open" && !goes_on {
                        shown.state = "interrupted";
                    }
                }
                let outcome = match &end.outcome {
                    Outcome::Completed => "completed".to_owned(),
                    Outcome::Interrupted => "interrupted".to_owned(),
                    Outcome::Failed(error) => {
                        let retry = if error.retryable { "retry" } else { "final" };
                        format!("failed {} {retry} {:?} {:?}", error.reason.as_str(), error.metadata, error.message)
                    }
                };
                self.text(format!("< {outcome}{}", usage(&end.usage)));
                let turn = self.turns.last_mut().unwrap();
                (turn.1, turn.2) = (Some(end.outcome.clone()), end.usage);
            }
        }
    }

    fn emit(&mut self, draft: &Draft) {
        match draft {
            Draft::Start { conversation_id, block_id, content } => {
                self.insert(block_id.as_str(), conversation_id.as_str(), "open", content.clone());
            }
            Draft::Delta { block_id, text } => {
                assert!(!text.is_empty(), "an empty delta of {block_id}");
                self.open(block_id.as_str()).content.growing_mut().expect("it grows").push_str(text);
            }
            Draft::Update { block_id, patch } => match &mut self.open(block_id.as_str()).content {
                Content::ToolUse(tool) => {
                    tool.status = patch.status.unwrap_or(tool.status);
                    tool.input_json = patch.input_json.clone().unwrap_or(tool.input_json.clone());
                    tool.description = patch.description.clone().unwrap_or(tool.description.clone());
                }
                Content::Subagent(call) => {
                    call.status = patch.status.unwrap_or(call.status);
                    call.output = patch.output.clone().unwrap_or(std::mem::take(&mut call.output));
                    call.duration = patch.duration.or(call.duration);
                }
                other => panic!("an update of {other:?}"),
            },
            Draft::Complete { conversation_id, block_id, content } => {
                if !self.blocks.contains_key(block_id.as_str()) {
                    let content = content.clone().expect("a block that appears complete has content");
                    self.insert(block_id.as_str(), conversation_id.as_str(), "open", content);
                }
                let shown = self.open(block_id.as_str());
                shown.state = "complete";
                assert_eq!(shown.conversation, conversation_id.as_str());
                if let Some(content) = content {
                    if let (Some(streamed), Some(whole)) = (shown.content.growing(), content.growing()) {
                        assert_eq!(streamed, whole, "what streamed of {block_id} is not what it was");
                    }
                    shown.content = content.clone();
                }
            }
            Draft::CompleteTool { block_id, status } => {
                let shown = self.open(block_id.as_str());
                shown.state = "complete";
                let Content::ToolUse(tool) = &mut shown.content else { panic!("{block_id} is no tool call") };
                tool.status = *status;
            }
            Draft::Conversation { conversation_id, parent_id, name, tool_use_id, status } => {
                let of_workflow = self.blocks.get(tool_use_id).is_some_and(|index| {
                    matches!(&self.shown[*index].content, Content::ToolUse(tool) if tool.tool_name == "Workflow")
                });
                let named = conversation_id.as_str() == tool_use_id || of_workflow;
                assert!(named, "a conversation is named by the call that spawned it");
                let held = self.subagents.entry(conversation_id.to_string());
                let held = held.or_insert((parent_id.to_string(), name.clone(), *status));
                assert_eq!(held.0, parent_id.as_str(), "{conversation_id} has another parent now");
                held.2 = *status;
                let name = if name.is_empty() { String::new() } else { format!(" {name:?}") };
                self.text(format!("conversation {conversation_id} of {parent_id}{name} {}", told(*status)));
            }
            Draft::Used { conversation_id, usage: used, model } => {
                *self.used.entry(conversation_id.to_string()).or_default() += *used;
                let model = if model.is_empty() { String::new() } else { format!(" model={model}") };
                self.text(format!("used {conversation_id}{}{model}", usage(used)));
            }
            Draft::Blob { sha256, data } => self.text(format!("blob {sha256} {}", data.len())),
            Draft::Error(error) => self.text(format!("error {error:?}")),
            Draft::Log(level, message) => {
                self.logs.push(message.clone());
                self.text(format!("log {level:?} {message}"));
            }
            Draft::Unparsed { raw, truncated_bytes } => {
                self.unparsed += 1;
                self.text(format!("unparsed {} {truncated_bytes}", raw.len()));
            }
        }
    }

    fn insert(&mut self, id: &str, conversation: &str, state: &'static str, content: Content) {
        let index = self.shown.len();
        assert!(self.blocks.insert(id.to_owned(), index).is_none(), "two blocks {id}");
        self.shown.push(Shown { id: id.to_owned(), conversation: conversation.to_owned(), state, content });
        self.lines.push(Line::Block(index));
    }

    fn open(&mut self, id: &str) -> &mut Shown {
        let shown = &mut self.shown[*self.blocks.get(id).unwrap_or_else(|| panic!("no block {id}"))];
        assert_eq!(shown.state, "open", "{id} is final");
        shown
    }

    fn text(&mut self, text: String) {
        self.lines.push(Line::Text(text));
    }

    /// One line for each block, in order of appearance and as it stands at the end, between the turns.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Text(line) => writeln!(text, "{line}").unwrap(),
                Line::Block(index) => {
                    let Shown { id, conversation, state, content } = &self.shown[*index];
                    let (sort, about) = describe(content);
                    writeln!(text, "{sort} {id} {conversation} {state} {about}").unwrap();
                }
            }
        }
        text
    }
}

fn describe(content: &Content) -> (&'static str, String) {
    match content {
        Content::UserMessage(_) => ("user_message", String::new()),
        Content::AssistantText { text, model } => ("text", format!("{model} {}", short(text))),
        Content::Thinking { text, summary } => ("thinking", format!("{summary}{}", short(text))),
        Content::ToolUse(tool) => {
            let status = told(tool.status);
            ("tool_use", format!("{status} {} {:?} {}", tool.tool_name, tool.description, tool.input_json))
        }
        Content::ToolResult(result) => {
            let mut about = String::from(if result.is_error { "error" } else { "ok" });
            if let Some(code) = result.exit_code {
                write!(about, " exit={code}").unwrap();
            }
            if let Some(duration) = result.duration {
                write!(about, " {}ms", duration.as_millis()).unwrap();
            }
            let output = match &result.output {
                None => "nothing".to_owned(),
                Some(ToolOutput::Text(text)) => short(text),
                Some(ToolOutput::Json(json)) => format!("json {}", short(json)),
                Some(ToolOutput::Parts(parts)) => parts
                    .iter()
                    .map(|part| match part {
                        ContentPart::Text(text) => short(text),
                        other => format!("{other:?}"),
                    })
                    .collect::<Vec<_>>()
                    .join(" + "),
            };
            ("tool_result", format!("{about} {output}"))
        }
        Content::System { kind, message, .. } => ("system", format!("{kind:?} {message:?}")),
        Content::Subagent(call) => {
            let duration = call.duration.map(|duration| format!(" {}ms", duration.as_millis())).unwrap_or_default();
            let (status, input, output) = (told(call.status), short(&call.input), short(&call.output));
            ("subagent", format!("{} {:?} {status}{duration} {input} -> {output}", call.subagent_id, call.name))
        }
        Content::Error { code, message } => ("error", format!("{code} {}", short(message))),
    }
}

fn told(status: ExecutionStatus) -> &'static str {
    match status {
        ExecutionStatus::Pending => "pending",
        ExecutionStatus::Running => "running",
        ExecutionStatus::Succeeded => "succeeded",
        ExecutionStatus::Failed => "failed",
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{:?}...", &text[..at]),
        None => format!("{text:?}"),
    }
}

fn usage(usage: &Usage) -> String {
    let Usage { input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, thinking_tokens, cost_micro_usd } =
        *usage;
    [
        ("in", input_tokens),
        ("out", output_tokens),
        ("read", cache_read_tokens),
        ("write", cache_write_tokens),
        ("think", thinking_tokens),
        ("cost", cost_micro_usd),
    ]
    .into_iter()
    .filter(|(_, count)| *count != 0)
    .fold(String::new(), |text, (name, count)| format!("{text} {name}={count}"))
}

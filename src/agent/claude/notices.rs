//! Notices: what the CLI has to say besides the conversation. Their id is that of their line.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    parser::Reading,
    wire::{NoticeLine, Text},
};
use crate::agent::Draft;
use crate::domain::{BlockId, Content, ConversationId, LogLevel, NoticeKind, Usage};

/// Lines of those that the CLI kept of its context that are remembered.
const REPEATED: usize = 1000;

impl Reading<'_> {
    /// A turn of the process begins: its session, its model, and once that it started.
    pub(super) fn init(&mut self, line: &NoticeLine<'_>) {
        if let Some(session) = &line.session_id
            && *self.state.session != **session
        {
            self.state.session = session.to_string();
        }
        if let Some(cwd) = line.cwd.as_deref().filter(|cwd| *self.state.process.cwd != **cwd) {
            cwd.clone_into(&mut self.state.process.cwd);
        }
        if !std::mem::replace(&mut self.state.process.announced, true) {
            #[derive(Serialize)]
            struct Metadata<'a> {
                claude_code_version: &'a str,
                permission_mode: &'a str,
                session_id: &'a str,
            }
            let version = line.claude_code_version.as_deref().unwrap_or_default();
            let metadata = json(&Metadata {
                claude_code_version: version,
                permission_mode: line.permission_mode.as_deref().unwrap_or_default(),
                session_id: line.session_id.as_deref().unwrap_or_default(),
            });
            let message = format!("Claude Code {version} started");
            self.notice(line.uuid.as_deref(), NoticeKind::SessionStart, message, metadata);
        }
        if let Some(model) = &line.model
            && *self.state.model != **model
        {
            self.state.model = model.to_string();
            self.emit(Draft::Used {
                conversation_id: ConversationId::main(),
                usage: Usage::default(),
                model: model.to_string(),
            });
        }
    }

    /// The model's API did not answer; the CLI tries again.
    pub(super) fn api_retry(&mut self, line: &NoticeLine<'_>) {
        #[derive(Serialize)]
        struct Metadata<'a> {
            attempt: Option<u64>,
            max_retries: Option<u64>,
            retry_delay_ms: Option<f64>,
            http_status: Option<u16>,
            error: Option<&'a str>,
        }
        let error = line.error.as_deref();
        let why = line.error_status.map(|status| status.to_string()).or_else(|| error.map(str::to_owned));
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        let when = line.retry_delay_ms.map(|ms| format!(" in {:.1} s", ms / 1000.0)).unwrap_or_default();
        let count = match (line.attempt, line.max_retries) {
            (Some(attempt), Some(all)) => format!(", {attempt} of {all}"),
            (Some(attempt), None) => format!(", {attempt}"),
            (None, _) => String::new(),
        };
        let metadata = json(&Metadata {
            attempt: line.attempt,
            max_retries: line.max_retries,
            retry_delay_ms: line.retry_delay_ms,
            http_status: line.error_status,
            error,
        });
        let message = format!("the model did not answer{why}, trying again{when}{count}");
        self.notice(line.uuid.as_deref(), NoticeKind::Status, message, metadata);
    }

    /// The context was shortened.
    pub(super) fn compaction(&mut self, line: &NoticeLine<'_>) {
        #[derive(Default, Deserialize)]
        struct Metadata<'a> {
            #[serde(borrow)]
            trigger: Option<Text<'a>>,
            pre_tokens: Option<u64>,
            #[serde(borrow, default)]
            preserved_messages: Preserved<'a>,
        }
        #[derive(Default, Deserialize)]
        struct Preserved<'a> {
            #[serde(borrow, default)]
            all_uuids: Vec<Text<'a>>,
        }
        let raw = line.compact_metadata.map(RawValue::get);
        let metadata: Metadata<'_> = raw.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        let kept = metadata.preserved_messages.all_uuids.into_iter().take(REPEATED).map(String::from);
        self.state.process.repeated = kept.collect();
        let trigger = metadata.trigger.map(|trigger| format!(" ({})", &*trigger)).unwrap_or_default();
        let before = metadata.pre_tokens.map(|tokens| format!(", it held {tokens} tokens")).unwrap_or_default();
        let message = format!("the context was shortened{trigger}{before}");
        self.notice(line.uuid.as_deref(), NoticeKind::Compaction, message, raw.unwrap_or_default().to_owned());
    }

    /// What a call left at work in the background is over.
    pub(super) fn task_over(&mut self, uuid: Option<&str>, call: &str, status: &str, about: String) {
        #[derive(Serialize)]
        struct Metadata<'a> {
            tool_use_id: &'a str,
            status: &'a str,
        }
        let metadata = json(&Metadata { tool_use_id: call, status });
        let message = match status {
            // Else it says itself how it ended.
            "stopped" | "killed" => format!("what ran in the background was stopped: {about}"),
            _ => about,
        };
        self.notice(uuid, NoticeKind::Status, message, metadata);
    }

    /// Whether this line was printed before: of what the CLI kept when it shortened its context, some lines come again.
    pub(super) fn is_repeated(&self, uuid: Option<&Text<'_>>) -> bool {
        uuid.is_some_and(|uuid| self.state.process.repeated.contains(&**uuid))
    }

    /// The agent begins a new conversation of its own, at the user's word ("/clear") or after a plan.
    pub(super) fn conversation_reset(&mut self, line: &NoticeLine<'_>) {
        #[derive(Serialize)]
        struct Metadata<'a> {
            trigger: &'a str,
        }
        let metadata = json(&Metadata { trigger: line.trigger.as_deref().unwrap_or_default() });
        let message = "the context was cleared: the agent knows nothing of what was said before".to_owned();
        self.notice(line.uuid.as_deref(), NoticeKind::Compaction, message, metadata);
    }

    /// What the CLI does right now. That it asks the model is no news.
    pub(super) fn status(&mut self, line: &NoticeLine<'_>) {
        if line.status.as_deref() == Some("compacting") {
            let message = "the context is being shortened".to_owned();
            self.notice(line.uuid.as_deref(), NoticeKind::Status, message, String::new());
        }
    }

    /// A hook ran.
    pub(super) fn hook_response(&mut self, line: &NoticeLine<'_>) {
        let name = line.hook_name.as_deref().unwrap_or("a hook");
        let event = line.hook_event.as_deref().map(|event| format!(" ({event})")).unwrap_or_default();
        let outcome = line.outcome.as_deref().unwrap_or("done");
        let message = format!("{name}{event}: {outcome}");
        self.notice(line.uuid.as_deref(), NoticeKind::HookResponse, message, String::new());
    }

    /// Words for people.
    pub(super) fn message(&mut self, line: &NoticeLine<'_>) {
        if let Some(message) = line.content.as_deref().or(line.text.as_deref()).filter(|message| !message.is_empty()) {
            self.notice(line.uuid.as_deref(), NoticeKind::Status, message.to_owned(), String::new());
        }
    }

    /// Something is wrong and the agent goes on: in its words, or in ours where it has none.
    pub(super) fn problem(&mut self, line: &NoticeLine<'_>, otherwise: &str) {
        let words = [&line.content, &line.text, &line.message, &line.error].into_iter().flatten();
        let message = words.map(|words| &**words).find(|words| !words.is_empty()).unwrap_or(otherwise);
        self.notice(line.uuid.as_deref(), NoticeKind::Error, message.to_owned(), String::new());
    }

    /// The login to the model changed.
    pub(super) fn auth_status(&mut self, line: &NoticeLine<'_>) {
        let output = line.output.map(|output| serde_json::from_str::<Vec<String>>(output.get()).unwrap_or_default());
        let output = output.unwrap_or_default().join("\n");
        let message = match line.error.as_deref() {
            Some(error) => error.to_owned(),
            None if output.is_empty() => "the login to the model changed".to_owned(),
            None => output,
        };
        self.notice(line.uuid.as_deref(), NoticeKind::AuthStatus, message, String::new());
    }

    /// How near the limit of the model's provider is. That it is far is no news.
    pub(super) fn rate_limit(&mut self, line: &NoticeLine<'_>) {
        #[derive(Default, Deserialize)]
        struct Info<'a> {
            #[serde(borrow)]
            status: Option<Text<'a>>,
        }
        let raw = line.rate_limit_info.map(RawValue::get).unwrap_or_default();
        let info: Info<'_> = serde_json::from_str(raw).unwrap_or_default();
        let message = match info.status.as_deref() {
            None | Some("allowed") => return,
            Some("rejected") => "the limit of the model's provider is reached".to_owned(),
            Some(_) => "the limit of the model's provider is near".to_owned(),
        };
        self.notice(line.uuid.as_deref(), NoticeKind::Status, message, raw.to_owned());
    }

    pub(super) fn notice(&mut self, uuid: Option<&str>, kind: NoticeKind, message: String, metadata_json: String) {
        // Without an id of its own it would not be the same block when it is read again.
        let Some(uuid) = uuid else { return self.emit(Draft::Log(LogLevel::Info, message)) };
        self.emit(Draft::Complete {
            conversation_id: ConversationId::main(),
            block_id: BlockId::new(uuid),
            content: Some(Content::System { kind, message, metadata_json }),
        });
    }
}

fn json(metadata: &impl Serialize) -> String {
    serde_json::to_string(metadata).expect("a struct of strings and numbers is JSON")
}

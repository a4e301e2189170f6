//! Requests of ours to the CLI, which it answers by `control_response`; and the first of them, by which it is told who drives
//! it before it is given a message.

use serde_json::{Value, json};

use super::{parser::Reading, wire::ControlAnswer};
use crate::agent::Draft;
use crate::domain::LogLevel;

/// Names the greeting among the requests of a process.
pub(super) const GREETING: &str = "initialize";

/// The line that comes before the first message. Without it the CLI keeps what subagents say and think to itself; a version
/// that does not know the field takes no notice, where it would refuse a flag.
pub(super) fn greeting() -> Vec<u8> {
    request(GREETING, &json!({ "subtype": "initialize", "forwardSubagentText": true }))
}

/// The line that asks the CLI for something; `id` comes back in its answer.
pub(super) fn request(id: &str, what: &Value) -> Vec<u8> {
    let mut bytes = json!({ "type": "control_request", "request_id": id, "request": what }).to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

impl Reading<'_> {
    /// The CLI answered. What it lists of itself (commands, models, account) is not asked for: models and commands are in the
    /// caller's words, and the account is the server's.
    pub(super) fn greeted(&mut self, answer: &ControlAnswer<'_>) {
        if &*answer.subtype == "error" {
            let why = answer.error.as_deref().unwrap_or("no reason given");
            let message = format!("Claude Code does not tell what its subagents say: {why}");
            self.emit(Draft::Log(LogLevel::Warn, message));
        }
    }
}

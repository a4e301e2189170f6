//! Claude Code: one long-lived process per session that speaks stream-json on stdin and stdout.
//!
//! `wire` and `kinds` know the shape of a line, `parser` what to do with each kind, `blocks`, `tools`, `subagents`,
//! `asks`, `notices` and `turns` what the kinds mean, `control` and `hand_back` what the CLI wraps things in, `state` what must
//! be remembered, `usage`, `shares` and `digest` what that is compared with.

mod asks;
mod blocks;
mod control;
mod digest;
mod hand_back;
mod kinds;
mod notices;
mod parser;
mod prompt;
mod shares;
mod state;
mod subagents;
#[cfg(test)]
mod table;
mod tools;
mod turns;
mod usage;
mod wire;

pub(super) use asks::answer;
pub use parser::Parser;
pub(super) use prompt::prompt;

use self::state::{State, VERSION};
use super::{Plan, Setup, UnknownCheckpoint};

/// Fixed environment: no question about running unattended, no traffic but the model's.
const ENV: [(&str, &str); 5] = [
    // bypassPermissions is refused to root without it.
    ("IS_SANDBOX", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
];

/// When the CLI asks for permission, where nobody says: never, for the sandbox is the boundary.
const MODE: &str = "bypassPermissions";

/// What the CLI reads of credentials, of the model's address, and of the way there.
const PASS_ENV: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_BETAS",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    "CLAUDE_CODE_MAX_RETRIES",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_SUBAGENT_MODEL",
    "MAX_THINKING_TOKENS",
    // Amazon Bedrock.
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_SKIP_BEDROCK_AUTH",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "ANTHROPIC_SMALL_FAST_MODEL_AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    // Google Vertex AI.
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_SKIP_VERTEX_AUTH",
    "ANTHROPIC_VERTEX_BASE_URL",
    "ANTHROPIC_VERTEX_PROJECT_ID",
    "CLOUD_ML_REGION",
    "GOOGLE_APPLICATION_CREDENTIALS",
    // The way there.
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];

/// Where the CLI keeps its transcripts, which `--resume` reads.
pub(super) const KEPT_HOME: &[&str] = &[".claude/projects"];

/// How to start the CLI: a new session of its own, or the one its last process left.
pub(super) fn plan(setup: &Setup) -> Result<Plan, UnknownCheckpoint> {
    let mut state = match &setup.memory {
        Some(memory) => State::from_json(memory, VERSION)?,
        None => State::fresh(&setup.fresh_session),
    };
    let session = if state.resumable {
        state.process = state::Process::default();
        ["--resume".to_owned(), state.session.clone()]
    } else {
        // The CLI knows nothing of the last one, and its id may be taken all the same.
        state = State::fresh(&setup.fresh_session);
        ["--session-id".to_owned(), state.session.clone()]
    };
    let mut argv = vec![setup.program.clone()];
    argv.extend(
        [
            "-p",
            "--input-format",
            "stream-json",
            "--output-format",
            "stream-json",
            "--include-partial-messages",
            "--verbose",
            "--replay-user-messages",
        ]
        .map(str::to_owned),
    );
    let mode = if setup.permission_mode.is_empty() { MODE } else { &setup.permission_mode };
    argv.extend(["--permission-mode".to_owned(), mode.to_owned()]);
    if mode != MODE {
        argv.extend(["--permission-prompt-tool", "stdio"].map(str::to_owned));
    }
    argv.extend(session);
    if !setup.model.is_empty() {
        argv.extend(["--model".to_owned(), setup.model.clone()]);
    }
    Ok(Plan {
        argv,
        env: ENV.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        pass_env: PASS_ENV,
        greeting: control::greeting(),
        parser: super::Parser::Claude(Parser::new(state)),
    })
}

/// The line that ends the turn at work; the CLI stores what it said so far and answers with a result. `id` comes back in
/// its `control_response`.
pub(super) fn interrupt(id: &str) -> Vec<u8> {
    let request = serde_json::json!({
        "type": "control_request",
        "request_id": id,
        "request": { "subtype": "interrupt" },
    });
    let mut bytes = request.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

//! Claude Code: one long-lived process per session that speaks stream-json on stdin and stdout.
//!
//! `wire` and `kinds` know the shape of a line, `parser` what to do with each kind, `blocks`, `tools`, `subagents`,
//! `workflow`, `asks`, `notices`, `options` and `turns` what the kinds mean, `questions` and `rules` what is asked by the CLI and
//! what a rule says of it, `control` and `hand_back` what the CLI wraps things in, `halves` what it cuts in two, `state` what must
//! be remembered, `usage`, `shares` and `digest` what that is compared with, `setup` how a profile is said in its terms,
//! `credentials` which of the server's variables are secret.

mod asks;
mod blocks;
mod control;
mod credentials;
mod digest;
mod halves;
mod hand_back;
mod kinds;
mod notices;
mod options;
mod parser;
mod prompt;
mod questions;
mod rules;
pub(super) mod setup;
mod shares;
mod state;
mod subagents;
#[cfg(test)]
mod table;
mod tools;
mod turns;
mod usage;
mod wire;
mod workflow;

pub(super) use asks::answer;
pub(super) use credentials::credentials;
pub(super) use options::ask_cost;
pub use parser::Parser;
pub(super) use prompt::prompt;
pub(super) use questions::{answered, items};
pub(super) use rules::{covers, covers_shown, pattern};

use self::{
    options::Given,
    state::{State, VERSION},
};
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

/// Variables that a profile cannot set: the fixed ones, and where the CLI looks for its files.
pub(super) const RESERVED: &[&str] = &[
    "IS_SANDBOX",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_AUTOUPDATER",
    "DISABLE_TELEMETRY",
    "DISABLE_ERROR_REPORTING",
    "CLAUDE_CONFIG_DIR",
];

/// When the CLI asks for permission, where nobody says: never, for the sandbox is the boundary. It asks its questions all
/// the same, and for what a rule says must be asked about.
const MODE: &str = ASKS_NOTHING;
/// The mode in which the CLI asks for nothing by itself.
const ASKS_NOTHING: &str = "bypassPermissions";
/// The same where a policy says what becomes of its requests.
const MODE_OF_POLICY: &str = "default";

/// What the CLI reads of credentials, of the model's address, and of the way there. Which of them are secret, `credentials`
/// knows.
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
    let default_mode = if setup.profile.permission_policy.is_empty() { MODE } else { MODE_OF_POLICY };
    let mut given = Given {
        model: setup.model.clone(),
        permission_mode: setup.permission_mode.clone(),
        default_mode: default_mode.to_owned(),
        ..Given::default()
    };
    let rules = given.tell_rules(&setup.strict).unwrap_or_default();
    state.process.given = Some(given);
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
    let mode = match setup.permission_mode.as_str() {
        "" => default_mode,
        mode => mode,
    };
    argv.extend(["--permission-mode".to_owned(), mode.to_owned()]);
    // In every mode, so that a process that runs can be told to go on in any other one.
    argv.extend(["--permission-prompt-tool", "stdio", "--allow-dangerously-skip-permissions"].map(str::to_owned));
    // Those of the profile hold for as long as the process lives, whatever it is told.
    if let Some(settings) = rules::settings(&setup.profile.permission_policy.strict(), false) {
        argv.extend(["--settings".to_owned(), settings.to_string()]);
    }
    argv.extend(session);
    if !setup.model.is_empty() {
        argv.extend(["--model".to_owned(), setup.model.clone()]);
    }
    let setup::Added { argv: flags, env, files } = setup::added(setup);
    argv.extend(flags);
    Ok(Plan {
        argv,
        env: ENV.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).chain(env).collect(),
        pass_env: PASS_ENV,
        files,
        greeting: [control::greeting(), rules].concat(),
        parser: super::Parser::Claude(Parser::new(state)),
    })
}

/// The line that ends the turn at work; the CLI stores what it said so far and answers with a result. `id` comes back in
/// its `control_response`.
pub(super) fn interrupt(id: &str) -> Vec<u8> {
    control::request(id, &serde_json::json!({ "subtype": "interrupt" }))
}

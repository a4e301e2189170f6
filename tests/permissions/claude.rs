//! The real Claude Code CLI asks, against the scripted model.

use std::path::PathBuf;

use agent_runtime::{
    dev::model::{self, Handle, Script},
    proto::{self, ExecutionStatus, InputOutcome, TurnStatus, block::Content},
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    asked::{Asked, resolve, turn_status},
    cli,
    support::{Server, Sessions, fold, get, pid_of, processes_of},
};

/// A model that plays these steps, and how a server's Claude Code finds both. `None`: there is no CLI here.
pub(crate) struct Claude {
    program: PathBuf,
    pub(crate) model: Handle,
}

impl Claude {
    pub(crate) async fn playing(steps: Value) -> Option<Self> {
        let program = cli::installed().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let script = Script::parse(&json!({ "steps": steps }).to_string()).expect("a script");
        Some(Self { program, model: model::serve(listener, script).expect("loopback") })
    }

    /// Starts a server, which finds it.
    pub(crate) fn server(&self, start: impl FnOnce(&[&str], &[(&str, &str)]) -> Server) -> Server {
        let [(name, url), (key_name, key)] = self.model.env();
        let env = [(name, url.as_str()), (key_name, key.as_str()), ("CLAUDE_CODE_MAX_RETRIES", "1")];
        start(&["--claude-code", self.program.to_str().expect("a path")], &env)
    }
}

/// A server whose Claude Code talks to a model that plays these steps. `None`: there is no CLI here.
pub(crate) async fn start(steps: Value) -> Option<(Server, Handle)> {
    let claude = Claude::playing(steps).await?;
    let server = claude.server(Server::start_with);
    Some((server, claude.model))
}

/// The CLI of a new session asks before it uses a tool.
async fn asked(sessions: &mut Sessions) -> Asked {
    let id = session(sessions).await;
    Asked::of(sessions, id, "Make it.").await
}

/// A new session whose CLI asks.
pub(crate) async fn session(sessions: &mut Sessions) -> String {
    let options = proto::SessionOptions { permission_mode: "default".into(), ..Default::default() };
    let request =
        proto::CreateSessionRequest { agent: "claude-code".into(), options: Some(options), ..Default::default() };
    let created = sessions.create_session(request).await.expect("created").into_inner();
    created.session.expect("a session").session_id
}

pub(crate) async fn workspace(server: &Server, sessions: &mut Sessions, id: &str) -> PathBuf {
    let sandbox = get(sessions, id).await.sandbox.expect("a sandbox").sandbox_id;
    server.data().join("sandboxes").join(sandbox).join("workspace")
}

/// The statuses of the tool calls.
fn calls(asked: &Asked) -> Vec<ExecutionStatus> {
    let blocks = fold(&asked.events).blocks.into_iter();
    let status = blocks.filter_map(|block| match block.content {
        Some(Content::ToolUse(tool)) => Some(tool.status()),
        _ => None,
    });
    status.collect()
}

fn make() -> Value {
    json!([
        { "answer": [{ "tool": "Bash", "input": { "command": "echo one > made.txt", "description": "Make it" } }] },
        { "answer": [{ "text": "{{result}}" }] },
    ])
}

#[tokio::test]
async fn the_real_cli_is_allowed_denied_and_given_another_input() {
    let Some((server, model)) = start(make()).await else { return };
    let mut sessions = server.sessions().await;

    let mut allowed = asked(&mut sessions).await;
    let open = &allowed.permission;
    assert_eq!((open.tool_name.as_str(), open.title.as_str()), ("Bash", "Bash: Make it"));
    let input: Value = serde_json::from_str(&open.input_json).expect("JSON");
    assert_eq!(input, json!({ "command": "echo one > made.txt", "description": "Make it" }));
    assert!(!open.tool_use_id.is_empty());
    assert_eq!(calls(&allowed), [ExecutionStatus::Pending]);
    let folder = workspace(&server, &mut sessions, &allowed.id).await;
    assert!(!folder.join("made.txt").exists(), "it ran before it was allowed");
    resolve(&mut sessions, allowed.allow()).await.expect("answered");
    assert_eq!(allowed.end().await.status(), TurnStatus::Completed);
    assert_eq!(std::fs::read_to_string(folder.join("made.txt")).expect("made"), "one\n");
    assert_eq!(calls(&allowed), [ExecutionStatus::Succeeded]);

    let mut denied = asked(&mut sessions).await;
    let folder = workspace(&server, &mut sessions, &denied.id).await;
    resolve(&mut sessions, denied.reject("not on a Friday")).await.expect("answered");
    assert_eq!(denied.end().await.status(), TurnStatus::Completed);
    assert!(!folder.join("made.txt").exists(), "it ran though it was denied");
    assert_eq!(calls(&denied), [ExecutionStatus::Failed]);
    assert!(denied.said().concat().contains("not on a Friday"), "the model is not told why: {:?}", denied.said());
    assert_eq!(denied.outcome(), InputOutcome::Rejected);

    let mut edited = asked(&mut sessions).await;
    let folder = workspace(&server, &mut sessions, &edited.id).await;
    let updated_input_json = json!({ "command": "echo two > other.txt", "description": "Make another" }).to_string();
    let request = proto::ResolvePermissionRequest { updated_input_json, ..edited.allow() };
    resolve(&mut sessions, request).await.expect("answered");
    assert_eq!(edited.end().await.status(), TurnStatus::Completed);
    assert!(!folder.join("made.txt").exists(), "the agent's own input was used");
    assert_eq!(std::fs::read_to_string(folder.join("other.txt")).expect("made"), "two\n");
    model.shutdown().await;
}

#[tokio::test]
async fn an_input_too_long_to_show_is_shown_shortened_and_used_whole() {
    let content = "0123456789abcdef".repeat(25_000);
    let steps = json!([
        { "answer": [{ "tool": "Write", "input": { "file_path": "{{cwd}}/long.txt", "content": content } }] },
        { "answer": [{ "text": "Written." }] },
    ]);
    let Some((server, model)) = start(steps).await else { return };
    let mut sessions = server.sessions().await;
    let mut asked = asked(&mut sessions).await;
    let shown: Value = serde_json::from_str(&asked.permission.input_json).expect("JSON all the same");
    assert!(shown["file_path"].as_str().expect("a path").ends_with("/long.txt"));
    let beginning = shown["content"].as_str().expect("text");
    assert!(beginning.starts_with("0123456789abcdef") && beginning.len() < content.len(), "{}", beginning.len());
    resolve(&mut sessions, asked.allow()).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    let file = workspace(&server, &mut sessions, &asked.id).await.join("long.txt");
    assert_eq!(std::fs::read_to_string(file).expect("written"), content);
    model.shutdown().await;
}

#[tokio::test]
async fn a_cli_that_is_gone_while_it_asks_goes_on_in_another_process() {
    let mut steps = make();
    let again = json!({ "when": "was restarted", "answer": [
        { "tool": "Bash", "input": { "description": "Make it", "command": "echo one > made.txt" } },
    ] });
    steps.as_array_mut().expect("a list").extend([again, json!({ "answer": [{ "text": "Made after all." }] })]);
    let Some((server, model)) = start(steps).await else { return };
    let mut sessions = server.sessions().await;
    let mut asked = asked(&mut sessions).await;
    let of = |argv: &[String]| argv.first().is_some_and(|program| program.ends_with("/claude"));
    for process in processes_of(server.data()).into_iter().filter(|process| of(&process.argv)) {
        kill_process(pid_of(process.pid), Signal::KILL).expect("killed");
    }
    asked.until(|event| turn_status(event) == Some(TurnStatus::Parked)).await;
    resolve(&mut sessions, asked.allow()).await.expect("answered");
    let turn = asked.end().await;
    assert_eq!(turn.status(), TurnStatus::Completed, "{:?}", turn.error);
    assert_eq!(asked.said(), ["Made after all."]);
    let file = workspace(&server, &mut sessions, &asked.id).await.join("made.txt");
    assert_eq!(std::fs::read_to_string(file).expect("made"), "one\n");
    model.shutdown().await;
}

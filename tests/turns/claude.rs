//! The real Claude Code CLI through the service, against the scripted model.

use std::path::{Path, PathBuf};

use agent_runtime::{
    dev::model::{self, Handle, Kind as Asked, Script},
    proto::{self, ErrorReason, SandboxStatus, SessionStatus, TurnStatus, block::Content, session_event::Kind},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    cli,
    support::{Played, Server, Sessions, get, last_turn, play, processes_of, send, stop, until, until_end_of, watch},
};

/// A server whose Claude Code talks to this script. `None`: there is no CLI here.
pub(crate) async fn start(script: Script) -> Option<(Server, Handle)> {
    let program = cli::installed().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let model = model::serve(listener, script).expect("loopback");
    let [(name, url), (key_name, key)] = model.env();
    let env = [(name, url.as_str()), (key_name, key.as_str()), ("CLAUDE_CODE_MAX_RETRIES", "1")];
    let server = Server::start_with(&["--claude-code", program.to_str().expect("a path")], &env);
    Some((server, model))
}

pub(crate) fn script(steps: Value) -> Script {
    Script::parse(&json!({ "steps": steps }).to_string()).expect("a script")
}

pub(crate) async fn session(sessions: &mut Sessions) -> String {
    let request = proto::CreateSessionRequest { agent: "claude-code".into(), ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

/// The folder of the session's sandbox.
pub(crate) async fn sandbox(server: &Server, sessions: &mut Sessions, id: &str) -> PathBuf {
    server.data().join("sandboxes").join(get(sessions, id).await.sandbox.expect("a sandbox").sandbox_id)
}

/// The files of the CLI's own transcripts.
pub(crate) fn transcripts(home: &Path) -> Vec<PathBuf> {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in folder.read_dir().into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "jsonl") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    files(&home.join(".claude/projects"), &mut found);
    found
}

/// The CLI's own transcript, line by line.
fn transcript(home: &Path) -> Vec<Value> {
    let found = transcripts(home);
    assert_eq!(found.len(), 1, "one agent session has one transcript: {found:?}");
    let text = std::fs::read_to_string(&found[0]).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

pub(crate) fn texts(played: &Played) -> Vec<&str> {
    let contents = played.contents().into_iter();
    contents
        .filter_map(|content| if let Content::AssistantText(text) = content { Some(&*text.text) } else { None })
        .collect()
}

pub(crate) fn kinds(played: &Played) -> Vec<&'static str> {
    let kind = |content: &Content| match content {
        Content::UserMessage(_) => Some("user_message"),
        Content::AssistantText(_) => Some("text"),
        Content::ToolUse(_) => Some("tool_use"),
        Content::ToolResult(_) => Some("tool_result"),
        Content::Thinking(_) => Some("thinking"),
        Content::Subagent(_) => Some("subagent"),
        Content::Error(_) => Some("error"),
        // What the program says of itself is as it pleases.
        Content::System(_) => None,
    };
    played.contents().into_iter().filter_map(kind).collect()
}

/// Processes of the CLI itself, not of what walls it off.
pub(crate) fn programs(server: &Server) -> Vec<u32> {
    let of = |argv: &[String]| argv.first().is_some_and(|program| program.ends_with("/claude"));
    processes_of(server.data()).into_iter().filter(|process| of(&process.argv)).map(|process| process.pid).collect()
}

#[tokio::test]
async fn the_demo_runs_through_the_service() {
    let Some((server, model)) = start(model::demo_script()).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let played = play(&mut sessions, &id, "Show me something.").await;

    assert_eq!((played.turn.status(), &played.turn.error), (TurnStatus::Completed, &None));
    let once =
        ["user_message", "thinking", "text", "tool_use", "tool_result", "text", "tool_use", "tool_result", "text"];
    assert_eq!(kinds(&played), once);
    assert!(texts(&played)[2].contains("The squares of 1 to 100 add up to 338350."), "{:?}", texts(&played));
    let sandbox = sandbox(&server, &mut sessions, &id).await;
    let file = std::fs::read_to_string(sandbox.join("workspace/hello.sh")).expect("the agent's file");
    assert!(file.starts_with("#!/bin/sh\n"), "{file}");
    assert!(played.state.blocks.iter().all(|block| block.state() == proto::BlockState::Complete));
    assert!(played.unparsed().is_empty(), "{:?}", played.unparsed());
    let usage = played.turn.usage.expect("usage");
    assert!(usage.input_tokens > 0 && usage.output_tokens > 0 && usage.total_tokens > 0, "{usage:?}");
    assert_eq!(played.state.session.as_ref().expect("a session").usage, Some(usage));

    // Each block that the CLI itself stores has the id it is stored under.
    let lines = transcript(&sandbox.join("home"));
    let stored = |role: &str, kind: &str| -> Vec<Value> {
        let of = lines.iter().filter(|line| line["type"] == role);
        let parts = of.filter_map(|line| line["message"]["content"].as_array()).flatten();
        parts.filter(|part| part["type"] == kind).cloned().collect()
    };
    let user = lines.iter().find(|line| line["type"] == "user").expect("the message");
    assert_eq!(user["uuid"], played.turn.block_id.as_str());
    let calls = stored("assistant", "tool_use");
    let results = stored("user", "tool_result");
    assert_eq!((calls.len(), results.len()), (2, 2));
    let tools: Vec<_> = played
        .contents()
        .into_iter()
        .filter_map(|content| if let Content::ToolUse(tool) = content { Some(tool) } else { None })
        .collect();
    for ((tool, call), result) in tools.iter().zip(&calls).zip(&results) {
        assert_eq!(call["id"], tool.tool_use_id.as_str());
        assert_eq!(call["name"], tool.tool_name.as_str());
        assert_eq!(serde_json::from_str::<Value>(&tool.input_json).expect("JSON"), call["input"]);
        assert_eq!(result["tool_use_id"], tool.tool_use_id.as_str());
        assert_eq!(tool.status(), proto::ExecutionStatus::Succeeded);
    }
    let answered: Vec<_> = played
        .contents()
        .into_iter()
        .filter_map(|content| if let Content::ToolResult(result) = content { Some(result) } else { None })
        .collect();
    for (result, call) in answered.iter().zip(&calls) {
        assert_eq!(call["id"], result.tool_use_id.as_str());
        assert!(!result.is_error);
    }
    let said: Vec<Value> = stored("assistant", "text").iter().map(|part| part["text"].clone()).collect();
    assert_eq!(said, texts(&played));
    let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"]["id"].as_str()).collect();
    for block in &played.state.blocks {
        if let Some(Content::Thinking(_) | Content::AssistantText(_)) = &block.content {
            assert!(messages.iter().any(|id| block.block_id.starts_with(id)), "{} is of no message", block.block_id);
        }
    }

    // The second message goes to the same process, which knows the first.
    let before = programs(&server);
    assert!(!before.is_empty(), "the CLI is not running: {:?}", processes_of(server.data()));
    let again = play(&mut sessions, &id, "And again.").await;
    assert_eq!(again.turn.status(), TurnStatus::Completed);
    assert_eq!(programs(&server), before, "another process answered");
    assert_eq!(kinds(&again), [once, once].concat());
    let mut sum = usage;
    let second = again.turn.usage.expect("usage");
    sum.total_tokens += second.total_tokens;
    assert_eq!(again.state.session.expect("a session").usage.expect("usage").total_tokens, sum.total_tokens);
    model.shutdown().await;
}

#[tokio::test]
async fn after_a_stop_the_agent_goes_on_with_what_it_knew() {
    let script = script(json!([
        { "answer": [{ "text": "I remember {{prompt}}" }] },
        { "answer": [{ "text": "Second answer." }] },
        { "answer": [{ "text": "Third answer." }] },
    ]));
    let Some((server, model)) = start(script).await else { return };
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let first = play(&mut sessions, &id, "the number 17").await;
    assert_eq!(texts(&first), ["I remember the number 17"]);
    assert_eq!(stop(&mut sessions, &id).await.status(), SessionStatus::Stopped);
    assert!(programs(&server).is_empty(), "the CLI runs on after a stop");
    let second = play(&mut sessions, &id, "and now?").await;
    assert_eq!(second.turn.status(), TurnStatus::Completed, "{:?}", second.turn.error);
    // The endpoint reads from the request what was said before: with nothing of it, it would begin again.
    assert_eq!(texts(&second), ["I remember the number 17", "Second answer."]);
    let asked = model.requests();
    let calls: Vec<_> = asked.iter().filter(|seen| seen.kind == Asked::Call).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls[0].session, calls[1].session, "another agent session");
    let argv = processes_of(server.data()).into_iter().map(|process| process.argv);
    assert!(argv.into_iter().any(|argv| argv.contains(&"--resume".to_owned())), "not resumed");
    // One transcript goes on, no second one begins.
    let lines = transcript(&sandbox(&server, &mut sessions, &id).await.join("home"));
    assert_eq!(lines.iter().filter(|line| line["type"] == "user").count(), 2);

    model.shutdown().await;
}

#[tokio::test]
async fn what_the_model_refuses_fails_the_turn_with_its_cause() {
    let steps = json!([
        { "when": "login", "status": 401, "message": "invalid x-api-key" },
        { "when": "busy", "status": 529, "message": "overloaded", "retry_after": 0 },
        { "when": "again", "answer": [{ "text": "Now it works." }] },
    ]);
    let Some((server, model)) = start(script(steps)).await else { return };
    let mut sessions = server.sessions().await;
    for (prompt, reason, status, metadata) in [
        ("try the login", ErrorReason::AgentUnavailable, "401", ("agent", "claude-code")),
        ("are you busy?", ErrorReason::ModelProviderLimit, "529", ("provider", "anthropic")),
    ] {
        let id = session(&mut sessions).await;
        let played = play(&mut sessions, &id, prompt).await;
        assert_eq!(played.turn.status(), TurnStatus::Failed, "{prompt}");
        let error = played.turn.error.clone().expect("a cause");
        assert_eq!(error.reason(), reason, "{error:?}");
        assert_eq!(error.metadata["http_status"], status);
        assert_eq!(error.metadata[metadata.0], metadata.1);
        assert!(!error.message.is_empty());
        assert_eq!(played.state.session.as_ref().expect("a session").status(), SessionStatus::Idle);
        let played = play(&mut sessions, &id, "try again").await;
        assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
        assert_eq!(texts(&played).last(), Some(&"Now it works."));
    }
    model.shutdown().await;
}

/// When a CLI is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    BeforeItStored,
    AfterItStored,
}

#[tokio::test]
async fn a_cli_that_is_killed_fails_its_turn_and_the_session_goes_on() {
    let steps = json!([
        { "answer": [{ "count": 100_000, "pace_us": 5000 }] },
        { "when": "after", "answer": [{ "text": "Here again." }] },
    ]);
    let Some((server, model)) = start(script(steps)).await else { return };
    for killed in [Killed::BeforeItStored, Killed::AfterItStored] {
        kill_and_go_on(&server, &model, killed).await;
    }
    model.shutdown().await;
}

async fn kill_and_go_on(server: &Server, model: &Handle, killed: Killed) {
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let asked_before = model.requests().len();
    let (turn, sequence) = send(&mut sessions, &id, "Count.").await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let mut events = until(&mut stream, |event| matches!(event.kind, Some(Kind::BlockDelta(_)))).await;
    let home = sandbox(server, &mut sessions, &id).await.join("home");
    let stores = || {
        let mut texts = transcripts(&home).into_iter().filter_map(|file| std::fs::read_to_string(file).ok());
        texts.any(|text| text.contains(&turn.block_id))
    };
    if killed == Killed::AfterItStored {
        // It counts on meanwhile, so each delta is a time to look again.
        events.extend(until(&mut stream, |event| matches!(event.kind, Some(Kind::BlockDelta(_))) && stores()).await);
    }
    kill_programs(server);
    events.extend(until_end_of(&mut stream, &turn.turn_id).await);
    let failed = last_turn(&events);
    assert_eq!(failed.status(), TurnStatus::Failed);
    let error = failed.error.expect("a cause");
    assert_eq!((error.reason(), error.metadata["exit_code"].as_str()), (ErrorReason::AgentFailed, "signal 9"));
    if killed == Killed::BeforeItStored && stores() {
        // It was quicker than we were.
        std::fs::remove_dir_all(home.join(".claude/projects")).expect("removed");
    }

    let played = play(&mut sessions, &id, "And after that?").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{killed:?}: {:?}", played.turn.error);
    assert_eq!(texts(&played).last(), Some(&"Here again."));
    let counted = texts(&played)[0];
    assert!(counted.starts_with("0000000000000000001 "), "what was said before is gone: {counted:?}");
    assert_eq!(kinds(&played), ["user_message", "text", "user_message", "text"], "{killed:?}");
    let told =
        |content: &&Content| matches!(content, Content::System(notice) if notice.message.contains("knows nothing"));
    let notices = played.contents().into_iter().filter(|content| told(content)).count();
    let asked: Vec<_> = model.requests().split_off(asked_before);
    let calls: Vec<_> = asked.iter().filter(|seen| seen.kind == Asked::Call).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    let knows = calls[0].session == calls[1].session;
    match killed {
        Killed::BeforeItStored => assert_eq!((knows, notices), (false, 1), "nothing was there to go on from"),
        Killed::AfterItStored => assert_eq!((knows, notices), (true, 0), "it did not go on from what it had stored"),
    }
    let state = played.state.session.expect("a session");
    assert_eq!(state.status(), SessionStatus::Idle);
    assert_eq!(state.sandbox.expect("a sandbox").status(), SandboxStatus::Ready);
    assert_eq!(stop(&mut sessions, &id).await.status(), SessionStatus::Stopped);
}

pub(crate) fn kill_programs(server: &Server) {
    let killed = programs(server);
    assert!(!killed.is_empty());
    for pid in &killed {
        let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).expect("a pid")).expect("a pid");
        // One of them may have ended with the other.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[tokio::test]
async fn a_walled_off_cli_cannot_read_the_data_folder() {
    let Some(program) = cli::installed().await else { return };
    let data = tempfile::tempdir().expect("a folder");
    let key = data.path().join("key").display().to_string();
    let steps = json!([
        { "answer": [{ "tool": "Bash", "input": { "command": format!("cat {key}; env; ls /workspace") } }] },
        { "answer": [{ "text": "It says {{result}}" }] },
    ]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let model = model::serve(listener, script(steps)).expect("loopback");
    let [(_, url), _] = model.env();
    let server = Server::start_on_with(
        data.path(),
        &["--claude-code", program.to_str().expect("a path")],
        &[("ANTHROPIC_BASE_URL", &url), ("ANTHROPIC_API_KEY", model::API_KEY), ("SOMEBODY_S_SECRET", "not for agents")],
    );
    let info = server.runtime().await.get_runtime_info(proto::GetRuntimeInfoRequest {}).await.expect("told");
    if info.into_inner().sandbox_providers[0].isolation() != proto::Isolation::Namespace {
        println!("SKIPPED: agents are not walled off by namespaces on this machine");
        return;
    }
    let mut sessions = server.sessions().await;
    let id = session(&mut sessions).await;
    let played = play(&mut sessions, &id, "What is there?").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
    let told = format!("{:?}", played.events);
    assert!(told.contains("No such file or directory"), "{:?}", texts(&played));
    assert!(!told.contains(&server.key), "the agent read the server's key");
    assert!(!told.contains("not for agents"), "the agent was given what it has no use for");
    model.shutdown().await;
}

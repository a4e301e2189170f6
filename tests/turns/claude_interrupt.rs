//! The real Claude Code CLI is interrupted, wherever it is, and given what waits, against the scripted model.

use std::path::PathBuf;

use agent_runtime::{
    dev::model::{self, Handle, Kind as Asked, Script},
    proto::{
        self, BlockState, BusyPolicy, ExecutionStatus, InputOutcome, TurnStatus, block::Content, session_event::Kind,
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    at_work::{Seen, allow, cancel, interrupt, queue, send_with},
    cli,
    support::{Server, Sessions, check_ranges, get, processes_of, reason, send, stop},
};

/// A server whose Claude Code talks to a model that plays these steps. `None`: there is no CLI here.
async fn start(args: &[&str], steps: Value) -> Option<(Server, Handle)> {
    let program = cli::installed().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let script = Script::parse(&json!({ "steps": steps }).to_string()).expect("a script");
    let model = model::serve(listener, script).expect("loopback");
    let [(name, url), (key_name, key)] = model.env();
    let env = [(name, url.as_str()), (key_name, key.as_str()), ("CLAUDE_CODE_MAX_RETRIES", "1")];
    let args = [&["--claude-code", program.to_str().expect("a path")], args].concat();
    let server = Server::start_with(&args, &env);
    Some((server, model))
}

async fn session(sessions: &mut Sessions, mode: &str) -> Seen {
    let options = proto::SessionOptions { permission_mode: mode.into(), ..Default::default() };
    let request =
        proto::CreateSessionRequest { agent: "claude-code".into(), options: Some(options), ..Default::default() };
    let created = sessions.create_session(request).await.expect("created").into_inner();
    Seen::of(sessions, created.session.expect("a session").session_id).await
}

/// Processes of the CLI itself, not of what walls it off.
fn programs(server: &Server) -> Vec<u32> {
    let of = |argv: &[String]| argv.first().is_some_and(|program| program.ends_with("/claude"));
    processes_of(server.data()).into_iter().filter(|process| of(&process.argv)).map(|process| process.pid).collect()
}

async fn sandbox(server: &Server, sessions: &mut Sessions, id: &str) -> PathBuf {
    server.data().join("sandboxes").join(get(sessions, id).await.sandbox.expect("a sandbox").sandbox_id)
}

/// All that the CLI itself has stored.
fn transcript(home: &std::path::Path) -> String {
    let folders = home.join(".claude/projects").read_dir().into_iter().flatten().filter_map(Result::ok);
    let files = folders.flat_map(|folder| folder.path().read_dir().into_iter().flatten().filter_map(Result::ok));
    files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect()
}

/// Runs a message to its end in the process there is.
async fn goes_on(server: &Server, sessions: &mut Sessions, seen: &mut Seen, programs_before: &[u32]) {
    let (turn, _) = send(sessions, &seen.id, "And after that?").await.expect("accepted");
    let end = seen.end_of(&turn).await;
    assert_eq!(end.status(), TurnStatus::Completed, "{:?}", end.error);
    assert_eq!(seen.said().last().map(String::as_str), Some("Here again."));
    assert_eq!(programs(server), programs_before, "another process answered");
    check_ranges(0, &seen.events);
    assert!(
        !seen.events.iter().any(|event| matches!(event.kind, Some(Kind::UnparsedOutput(_)))),
        "all that it prints is understood"
    );
}

#[tokio::test]
async fn the_real_cli_is_interrupted_in_the_middle_of_a_text() {
    let steps = json!([
        { "answer": [{ "count": 100_000, "pace_us": 5000 }] },
        { "when": "after", "answer": [{ "text": "Here again." }] },
    ]);
    let Some((server, model)) = start(&[], steps).await else { return };
    let mut sessions = server.sessions().await;
    let mut seen = session(&mut sessions, "").await;
    let id = seen.id.clone();
    let (turn, _) = send(&mut sessions, &id, "Count.").await.expect("accepted");
    seen.until(|event| matches!(event.kind, Some(Kind::BlockDelta(_)))).await;
    let before = programs(&server);
    interrupt(&mut sessions, &id, "").await.expect("told").expect("a turn");
    let end = seen.end_of(&turn).await;
    assert_eq!((end.status(), end.error), (TurnStatus::Interrupted, None));
    let blocks = seen.state().blocks;
    let counted: Vec<_> = blocks
        .iter()
        .filter_map(|block| match &block.content {
            Some(Content::AssistantText(text)) => Some((block.state(), text.text.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert!(counted[0].1.starts_with("0000000000000000001 "), "what was said is gone: {counted:?}");
    assert_ne!(counted[0].0, BlockState::Streaming);
    // It knows itself what it said.
    let home = sandbox(&server, &mut sessions, &id).await.join("home");
    assert!(transcript(&home).contains("0000000000000000001 "), "the CLI has not stored what it said");
    goes_on(&server, &mut sessions, &mut seen, &before).await;
    model.shutdown().await;
}

#[tokio::test]
async fn the_real_cli_is_interrupted_in_the_middle_of_a_command() {
    let steps = json!([
        { "answer": [
            { "text": "I wait." },
            { "tool": "Bash", "input": { "command": "echo begun > begun.txt; sleep 600; echo never", "timeout": 600_000 } },
        ] },
        { "answer": [{ "text": "Never." }] },
        { "when": "after", "answer": [{ "text": "Here again." }] },
    ]);
    let Some((server, model)) = start(&[], steps).await else { return };
    let mut sessions = server.sessions().await;
    let mut seen = session(&mut sessions, "").await;
    let id = seen.id.clone();
    let (turn, _) = send(&mut sessions, &id, "Wait.").await.expect("accepted");
    let begun = |event: &proto::SessionEvent| match &event.kind {
        Some(Kind::FilesChanged(changed)) => {
            changed.changes.iter().any(|change| change.file.as_ref().is_some_and(|file| file.path == "begun.txt"))
        }
        _ => false,
    };
    seen.until(begun).await;
    let before = programs(&server);
    interrupt(&mut sessions, &id, "").await.expect("told").expect("a turn");
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    let state = seen.state();
    let calls: Vec<_> = state
        .blocks
        .iter()
        .filter_map(|block| match &block.content {
            Some(Content::ToolUse(tool)) => Some(tool.status()),
            _ => None,
        })
        .collect();
    assert_eq!(calls, [ExecutionStatus::Failed]);
    assert!(state.blocks.iter().all(|block| block.state() != BlockState::Streaming));
    let sleeps = |process: &crate::support::Process| process.argv.first().is_some_and(|name| name == "sleep");
    assert!(!processes_of(server.data()).iter().any(sleeps), "the command runs on");
    goes_on(&server, &mut sessions, &mut seen, &before).await;
    model.shutdown().await;
}

#[tokio::test]
async fn the_real_cli_is_interrupted_while_it_asks_and_while_it_does_nothing() {
    let steps = json!([
        { "answer": [{ "tool": "Bash", "input": { "command": "echo one > made.txt", "description": "Make it" } }] },
        { "answer": [{ "text": "Never." }] },
        { "when": "after", "answer": [{ "text": "Here again." }] },
    ]);
    let Some((server, model)) = start(&[], steps).await else { return };
    let mut sessions = server.sessions().await;
    let mut seen = session(&mut sessions, "default").await;
    let id = seen.id.clone();
    let (turn, _) = send(&mut sessions, &id, "Make it.").await.expect("accepted");
    let asked = seen.asked().await;
    let before = programs(&server);
    interrupt(&mut sessions, &id, "").await.expect("told").expect("a turn");
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    let permission = seen.state().permissions.into_iter().next().expect("a permission");
    assert_eq!(permission.resolution.expect("over").outcome(), InputOutcome::Interrupted);
    let late = allow(&mut sessions, &id, &asked.permission_id).await.expect_err("too late");
    assert_eq!(reason(&late), "ALREADY_RESOLVED");
    goes_on(&server, &mut sessions, &mut seen, &before).await;
    assert!(!sandbox(&server, &mut sessions, &id).await.join("workspace/made.txt").exists(), "it ran all the same");

    assert_eq!(interrupt(&mut sessions, &id, "").await.expect("idle"), None);
    assert_eq!(
        interrupt(&mut sessions, &id, &turn.turn_id).await.expect("told").expect("it").status(),
        TurnStatus::Interrupted
    );
    goes_on(&server, &mut sessions, &mut seen, &before).await;
    model.shutdown().await;
}

#[tokio::test]
async fn of_two_messages_that_wait_for_the_real_cli_one_is_cancelled() {
    let steps = json!([
        { "answer": [{ "count": 100_000, "pace_us": 5000 }] },
        { "when": "CANCELLED", "answer": [{ "text": "Never." }] },
        { "when": "SECOND", "answer": [{ "text": "The second." }] },
        { "when": "URGENT", "answer": [{ "text": "The urgent one." }] },
        { "when": "after", "answer": [{ "text": "Here again." }] },
    ]);
    let Some((server, model)) = start(&[], steps).await else { return };
    let mut sessions = server.sessions().await;
    let mut seen = session(&mut sessions, "").await;
    let id = seen.id.clone();
    let (turn, _) = send(&mut sessions, &id, "Count.").await.expect("accepted");
    seen.until(|event| matches!(event.kind, Some(Kind::BlockDelta(_)))).await;
    let before = programs(&server);
    let gone = queue(&mut sessions, &id, "the CANCELLED one").await;
    let second = queue(&mut sessions, &id, "the SECOND one").await;
    cancel(&mut sessions, &id, &gone.turn_id).await.expect("cancelled");
    let urgent = send_with(&mut sessions, &id, "the URGENT one", BusyPolicy::Interrupt).await.expect("accepted");
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    for turn in [&urgent, &second] {
        let end = seen.end_of(turn).await;
        assert_eq!(end.status(), TurnStatus::Completed, "{:?}", end.error);
    }
    let said = seen.said();
    assert_eq!(&said[2..], ["> the URGENT one", "The urgent one.", "> the SECOND one", "The second."], "{said:?}");
    let calls = model.requests().into_iter().filter(|seen| seen.kind == Asked::Call).count();
    assert_eq!(calls, 3, "the cancelled one was never asked for");
    goes_on(&server, &mut sessions, &mut seen, &before).await;
    model.shutdown().await;
}

#[tokio::test]
async fn the_real_cli_is_interrupted_at_any_moment_of_its_start() {
    let steps = json!([
        { "answer": [{ "count": 100_000, "pace_us": 5000 }] },
        { "when": "after", "answer": [{ "text": "Here again." }] },
    ]);
    let Some((server, model)) = start(&["--interrupt-grace", "600"], steps).await else { return };
    let mut sessions = server.sessions().await;
    for delay in [0, 150, 400, 700, 1000] {
        let mut seen = session(&mut sessions, "").await;
        let id = seen.id.clone();
        let (turn, _) = send(&mut sessions, &id, "Count.").await.expect("accepted");
        // Not waited for anything: it is to hit every step of the start.
        tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
        let next = send_with(&mut sessions, &id, "after it", BusyPolicy::Interrupt).await.expect("accepted");
        assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted, "after {delay} ms");
        let end = seen.end_of(&next).await;
        assert_eq!(end.status(), TurnStatus::Completed, "after {delay} ms: {:?}", end.error);
        assert_eq!(seen.said().last().map(String::as_str), Some("Here again."));
        stop(&mut sessions, &id).await;
    }
    // In the very moment in which it takes a message up.
    let mut seen = session(&mut sessions, "").await;
    let id = seen.id.clone();
    for _ in 0..5 {
        let (turn, _) = send(&mut sessions, &id, "Count.").await.expect("accepted");
        seen.until(crate::support::taken_up).await;
        interrupt(&mut sessions, &id, "").await.expect("told").expect("a turn");
        assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    }
    model.shutdown().await;
}

#[tokio::test]
async fn what_the_real_cli_said_before_a_stop_it_knows_afterwards() {
    let steps = json!([
        { "answer": [{ "count": 100_000, "pace_us": 5000 }] },
        { "when": "after", "answer": [{ "text": "Here again." }] },
    ]);
    let Some((server, model)) = start(&[], steps).await else { return };
    let mut sessions = server.sessions().await;
    let mut seen = session(&mut sessions, "").await;
    let id = seen.id.clone();
    let (turn, _) = send(&mut sessions, &id, "Count.").await.expect("accepted");
    seen.until(|event| matches!(event.kind, Some(Kind::BlockDelta(_)))).await;
    stop(&mut sessions, &id).await;
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Interrupted);
    assert!(programs(&server).is_empty());
    let home = sandbox(&server, &mut sessions, &id).await.join("home");
    assert!(transcript(&home).contains("0000000000000000001 "), "the CLI has not stored what it said");
    let (turn, _) = send(&mut sessions, &id, "And after that?").await.expect("accepted");
    assert_eq!(seen.end_of(&turn).await.status(), TurnStatus::Completed);
    model.shutdown().await;
}

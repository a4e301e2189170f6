//! The real Claude Code CLI is told of another model and another permission mode, and held to a budget.

use std::path::PathBuf;

use agent_runtime::{
    dev::model::{self, Handle, Kind as Asked, Script},
    proto::{self, Budget, ErrorReason, SessionOptions, TurnStatus, session_event::Kind},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    changes::{budget, create, set, update},
    cli,
    support::{
        Played, Server, Sessions, get, last_turn, pid_of, play, processes_of, reason, send, stop, until, until_end_of,
        watch,
    },
};

/// A server whose Claude Code talks to a model that plays these steps. `None`: there is no CLI here.
async fn start(steps: Value) -> Option<(Server, Handle)> {
    let program = cli::installed().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let script = Script::parse(&json!({ "steps": steps }).to_string()).expect("a script");
    let model = model::serve(listener, script).expect("loopback");
    let [(name, url), (key_name, key)] = model.env();
    let env = [(name, url.as_str()), (key_name, key.as_str()), ("CLAUDE_CODE_MAX_RETRIES", "1")];
    let server = Server::start_with(&["--claude-code", program.to_str().expect("a path")], &env);
    Some((server, model))
}

/// The pids of the CLI.
fn processes(server: &Server) -> Vec<u32> {
    let of = |argv: &[String]| argv.first().is_some_and(|program| program.ends_with("/claude"));
    let found = processes_of(server.data()).into_iter().filter(|process| of(&process.argv));
    let mut pids: Vec<_> = found.map(|process| process.pid).collect();
    pids.sort_unstable();
    pids
}

/// The models that were asked, once for each change.
fn models(model: &Handle) -> Vec<String> {
    let calls = model.requests().into_iter().filter(|seen| seen.kind == Asked::Call);
    let mut models: Vec<_> = calls.map(|seen| seen.model).collect();
    models.dedup();
    models
}

fn model_of(model: &str) -> SessionOptions {
    SessionOptions { model: model.into(), ..SessionOptions::default() }
}

fn mode_of(permission_mode: &str) -> SessionOptions {
    SessionOptions { permission_mode: permission_mode.into(), ..SessionOptions::default() }
}

async fn workspace(server: &Server, sessions: &mut Sessions, id: &str) -> PathBuf {
    let sandbox = get(sessions, id).await.sandbox.expect("a sandbox").sandbox_id;
    server.data().join("sandboxes").join(sandbox).join("workspace")
}

fn permissions(played: &Played) -> usize {
    played.events.iter().filter(|event| matches!(event.kind, Some(Kind::PermissionRequested(_)))).count()
}

#[tokio::test]
async fn another_model_is_asked_from_the_next_turn_on_by_the_process_that_runs() {
    let Some((server, model)) = start(json!([{ "answer": [{ "text": "Hello." }] }])).await else { return };
    let mut sessions = server.sessions().await;
    let id = create(&mut sessions, "claude-code", model_of("claude-sonnet-4-5")).await;
    play(&mut sessions, &id, "one").await;
    let process = processes(&server);
    set(&mut sessions, &id, model_of("claude-haiku-4-5")).await;
    let played = play(&mut sessions, &id, "two").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
    assert_eq!(models(&model), ["claude-sonnet-4-5", "claude-haiku-4-5"]);
    assert_eq!(played.state.conversations[0].model, "claude-haiku-4-5");
    assert_eq!(processes(&server), process, "another process was started");
    // Cleared: the one that the CLI chooses by itself; and the next process begins with what is said then.
    set(&mut sessions, &id, SessionOptions::default()).await;
    play(&mut sessions, &id, "three").await;
    let own = models(&model).pop().expect("a call");
    assert!(own.starts_with("claude-") && own != "claude-haiku-4-5", "{own}");
    assert_eq!(processes(&server), process);
    set(&mut sessions, &id, model_of("claude-haiku-4-5")).await;
    stop(&mut sessions, &id).await;
    play(&mut sessions, &id, "four").await;
    assert_eq!(models(&model), ["claude-sonnet-4-5", "claude-haiku-4-5", &own, "claude-haiku-4-5"]);
    model.shutdown().await;
}

#[tokio::test]
async fn another_permission_mode_holds_from_the_next_turn_on_in_both_directions() {
    let make = json!([
        { "answer": [{ "tool": "Bash", "input": { "command": "echo made >> made.txt", "description": "Make it" } }] },
        { "answer": [{ "text": "Made." }] },
    ]);
    let Some((server, model)) = start(make).await else { return };
    let mut sessions = server.sessions().await;
    let id = create(&mut sessions, "claude-code", SessionOptions::default()).await;
    let played = play(&mut sessions, &id, "make it").await;
    assert_eq!((played.turn.status(), permissions(&played)), (TurnStatus::Completed, 0), "it asked nobody so far");
    let process = processes(&server);
    let file = workspace(&server, &mut sessions, &id).await.join("made.txt");
    assert_eq!(std::fs::read_to_string(&file).expect("made"), "made\n");

    // From asking nobody to asking.
    set(&mut sessions, &id, mode_of("default")).await;
    let (turn, sequence) = send(&mut sessions, &id, "make it").await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until(&mut stream, |event| matches!(event.kind, Some(Kind::PermissionRequested(_)))).await;
    let Some(Kind::PermissionRequested(asked)) = events.into_iter().next_back().expect("one").kind else {
        unreachable!()
    };
    let answer = proto::ResolvePermissionRequest {
        session_id: id.clone(),
        permission_id: asked.permission.expect("one").permission_id,
        option_id: "reject_once".into(),
        ..Default::default()
    };
    sessions.resolve_permission(answer).await.expect("answered");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed);
    assert_eq!(std::fs::read_to_string(&file).expect("as it was"), "made\n");

    // And back, in a session that began with asking too.
    set(&mut sessions, &id, mode_of("bypassPermissions")).await;
    let played = play(&mut sessions, &id, "make it").await;
    assert_eq!((played.turn.status(), permissions(&played)), (TurnStatus::Completed, 1), "{:?}", played.turn.error);
    assert_eq!(std::fs::read_to_string(&file).expect("made"), "made\nmade\n");
    assert_eq!(processes(&server), process, "another process was started");

    let other = create(&mut sessions, "claude-code", mode_of("plan")).await;
    play(&mut sessions, &other, "make it").await;
    set(&mut sessions, &other, mode_of("bypassPermissions")).await;
    let played = play(&mut sessions, &other, "make it").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    let file = workspace(&server, &mut sessions, &other).await.join("made.txt");
    assert_eq!(std::fs::read_to_string(file).expect("made"), "made\n");
    model.shutdown().await;
}

/// Three calls that cost the same; of a slow turn the tools run, and the last call streams, for longer than any test lasts.
fn costly() -> Value {
    let tool = |command: &str| json!({ "tool": "Bash", "input": { "command": command, "description": "Work" } });
    let usage = json!({ "input_tokens": 1000, "output_tokens": 100 });
    let step = |answer: Value| json!({ "answer": answer, "usage": usage });
    let section = |when: &str, first: Value| json!({ "when": when, "answer": first, "usage": usage });
    json!([
        section("quick", json!([{ "text": "First." }, tool("echo 1")])),
        step(json!([{ "text": "Second." }, tool("echo 2")])),
        step(json!([{ "text": "Third." }])),
        section("slow tool", json!([{ "text": "First." }, tool("tail -f /dev/null")])),
        step(json!([{ "text": "Never." }])),
        section("slow model", json!([{ "text": "First." }, tool("echo 1")])),
        step(json!([{ "text": "Second." }, tool("echo 2")])),
        step(json!([{ "text": "Thi" }, { "text": "rd.", "chunk": 1, "pace_ms": 3_600_000 }])),
    ])
}

#[tokio::test]
async fn the_real_cli_is_held_to_a_budget_in_the_midst_of_its_turn() {
    let Some((server, model)) = start(costly()).await else { return };
    let mut sessions = server.sessions().await;
    let free = create(&mut sessions, "claude-code", SessionOptions::default()).await;
    let played = play(&mut sessions, &free, "quick").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    let whole = played.turn.usage.expect("told").cost_micro_usd;
    assert!(whole > 0, "the CLI tells no costs");

    // A third of it is a call: the turn ends after the first one, before it is over.
    let limit = whole / 3;
    let id =
        create(&mut sessions, "claude-code", budget(Budget { turn_cost_micro_usd: limit, ..Budget::default() })).await;
    let played = play(&mut sessions, &id, "slow tool").await;
    assert_eq!(played.turn.status(), TurnStatus::BudgetExhausted, "{:?}", played.turn);
    let error = played.turn.error.clone().expect("told");
    assert_eq!(error.reason(), ErrorReason::BudgetExhausted);
    assert_eq!(error.metadata["limit"], "turn_cost_micro_usd");
    let text = format!("{:?}", played.contents());
    assert!(text.contains("First.") && !text.contains("Never."), "{text}");
    // Its process is usable, and the next turn pays for itself.
    let process = processes(&server);
    let name = proto::Session { session_id: id.clone(), ..Default::default() };
    update(&mut sessions, name, &["options.budget"]).await.expect("cleared");
    let played = play(&mut sessions, &id, "quick").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
    assert_eq!(processes(&server), process, "the process did not outlive its turn");

    let limited = budget(Budget { session_cost_micro_usd: limit, ..Budget::default() });
    let id = create(&mut sessions, "claude-code", limited).await;
    assert_eq!(play(&mut sessions, &id, "slow tool").await.turn.status(), TurnStatus::BudgetExhausted);
    assert_eq!(reason(&send(&mut sessions, &id, "go").await.expect_err("over")), "BUDGET_EXHAUSTED");

    let id = create(&mut sessions, "claude-code", budget(Budget { turn_steps: 2, ..Budget::default() })).await;
    let played = play(&mut sessions, &id, "slow model").await;
    assert_eq!(played.turn.status(), TurnStatus::BudgetExhausted, "{:?}", played.turn);
    let text = format!("{:?}", played.contents());
    assert!(text.contains("Second.") && !text.contains("rd.\""), "{text}");
    model.shutdown().await;
}

#[tokio::test]
async fn a_process_that_is_gone_is_followed_by_one_with_the_options_of_the_record() {
    let Some((server, model)) = start(json!([{ "answer": [{ "text": "Hello." }] }])).await else { return };
    let mut sessions = server.sessions().await;
    let id = create(&mut sessions, "claude-code", model_of("claude-sonnet-4-5")).await;
    play(&mut sessions, &id, "one").await;
    set(&mut sessions, &id, model_of("claude-haiku-4-5")).await;
    for pid in processes(&server) {
        rustix::process::kill_process(pid_of(pid), rustix::process::Signal::KILL).expect("killed");
    }
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let gone = |event: &proto::SessionEvent| matches!(&event.kind, Some(Kind::SandboxChanged(changed)) if changed.sandbox.as_ref().is_some_and(|sandbox| sandbox.status() == proto::SandboxStatus::Terminated));
    until(&mut stream, gone).await;
    let played = play(&mut sessions, &id, "two").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
    assert_eq!(models(&model), ["claude-sonnet-4-5", "claude-haiku-4-5"]);
    model.shutdown().await;
}

//! What was said of a session is in force at the next server too.

use agent_runtime::proto::{self, Budget, SessionOptions, TurnStatus, session_event::Kind};
use rustix::process::{Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    changes::{budget, create, set},
    support::{Server, fold, get, last_turn, pid_of, play, processes_of, reason, send, until, until_end_of, watch},
};

const DETACH: &[&str] = &["--on-shutdown", "detach"];

#[tokio::test]
async fn options_outlive_their_server() {
    let data = TempDir::new().expect("a folder");
    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let id = create(&mut sessions, "scripted", SessionOptions::default()).await;
    let options = SessionOptions {
        model: "scripted-2".into(),
        budget: Some(Budget { session_cost_micro_usd: 10, ..Budget::default() }),
        ..SessionOptions::default()
    };
    let updated = set(&mut sessions, &id, options).await;
    server.kill();
    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    assert_eq!(get(&mut sessions, &id).await, updated);
    let script = json!([{ "usage": { "input_tokens": 1, "cost_micro_usd": 10 } }]).to_string();
    let played = play(&mut sessions, &id, &script).await;
    assert_eq!(played.state.conversations[0].model, "scripted-2");
    assert_eq!(reason(&send(&mut sessions, &id, "hello").await.expect_err("over")), "BUDGET_EXHAUSTED");
}

#[tokio::test]
async fn a_process_that_outlives_its_server_is_told_of_new_options() {
    let data = TempDir::new().expect("a folder");
    let mut server = Server::start_on(data.path(), DETACH);
    let mut sessions = server.sessions().await;
    let id = create(&mut sessions, "scripted", SessionOptions::default()).await;
    let script = json!([{ "usage": { "input_tokens": 1 } }]).to_string();
    play(&mut sessions, &id, &script).await;
    let model = SessionOptions { model: "scripted-2".into(), ..SessionOptions::default() };
    set(&mut sessions, &id, model).await;
    server.end(Signal::TERM);
    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let played = play(&mut sessions, &id, &script).await;
    assert_eq!(played.state.conversations[0].model, "scripted-2");
    let started = played.events.iter().filter(|event| matches!(event.kind, Some(Kind::SandboxChanged(_)))).count();
    assert_eq!(started, 2, "the process was not the same");
}

#[tokio::test]
async fn a_turn_is_held_to_its_budget_by_the_next_server() {
    let data = TempDir::new().expect("a folder");
    let mut server = Server::start_on(data.path(), DETACH);
    let mut sessions = server.sessions().await;
    let limit = Budget {
        turn_steps: 2,
        turn_duration: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
        ..Budget::default()
    };
    let call = json!({ "usage": { "input_tokens": 1 } });
    // Two calls before the server ends, and one after it.
    let steps = json!([call, call, { "say": "Two." }, { "run": "while [ ! -e go ]; do sleep 0.05; done" }, call, { "pause_ms": 3_600_000 }]);
    let id = create(&mut sessions, "scripted", budget(limit)).await;
    let (turn, sequence) = send(&mut sessions, &id, &steps.to_string()).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let mut events = until(&mut stream, |event| matches!(&event.kind, Some(Kind::BlockComplete(_)))).await;
    assert!(events.last().expect("one").sequence > sequence);
    let sandbox = get(&mut sessions, &id).await.sandbox.expect("one").sandbox_id;
    server.end(Signal::TERM);
    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &id, events.last().map(|event| event.sequence)).await.expect("a watch");
    std::fs::write(data.path().join("sandboxes").join(sandbox).join("workspace/go"), "").expect("written");
    events.extend(until_end_of(&mut stream, &turn.turn_id).await);
    let turn = last_turn(&events);
    assert_eq!(turn.status(), TurnStatus::BudgetExhausted, "{turn:?}");
    assert_eq!(turn.error.expect("told").metadata["limit"], "turn_steps");
    assert_eq!(fold(&events).turns.len(), 1);
}

#[tokio::test]
async fn what_a_turn_did_before_it_was_parked_counts() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let call = json!({ "usage": { "input_tokens": 1 } });
    let again = json!([call, { "say": "Two." }, call, { "pause_ms": 3_600_000 }]);
    let steps = json!([call, { "ask": { "tool": "Bash" }, "again": again }]);
    let id = create(&mut sessions, "scripted", budget(Budget { turn_steps: 2, ..Budget::default() })).await;
    let (turn, sequence) = send(&mut sessions, &id, &steps.to_string()).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until(&mut stream, |event| matches!(event.kind, Some(Kind::PermissionRequested(_)))).await;
    let Some(Kind::PermissionRequested(asked)) = events.into_iter().next_back().expect("one").kind else {
        unreachable!()
    };
    let plays = |argv: &[String]| argv.iter().any(|word| word == "scripted-agent");
    for process in processes_of(server.data()).into_iter().filter(|process| plays(&process.argv)) {
        // A wall around it goes with it.
        let _ = kill_process(pid_of(process.pid), Signal::KILL);
    }
    until(&mut stream, |event| status_of(event) == Some(TurnStatus::Parked)).await;
    let answer = proto::ResolvePermissionRequest {
        session_id: id.clone(),
        permission_id: asked.permission.expect("one").permission_id,
        option_id: "allow_once".into(),
        ..Default::default()
    };
    sessions.resolve_permission(answer).await.expect("answered");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    let turn = last_turn(&events);
    assert_eq!(turn.status(), TurnStatus::BudgetExhausted, "{turn:?}");
    assert_eq!(turn.error.expect("told").metadata["limit"], "turn_steps");
}

fn status_of(event: &proto::SessionEvent) -> Option<TurnStatus> {
    match &event.kind {
        Some(Kind::TurnUpdated(update)) => update.turn.as_ref().map(proto::Turn::status),
        _ => None,
    }
}

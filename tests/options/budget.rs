//! Budgets: a turn that reaches a limit ends, with what it said and the limit's name; a session that cost what it may takes
//! no message.

use agent_runtime::proto::{self, Budget, ErrorReason, SessionStatus, TurnStatus, block::Content, session_event::Kind};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    changes::{budget, create, set},
    support::{PATIENCE, Played, Server, Sessions, get, play, reason, send, until, watch},
};

fn spend(micro_usd: i64) -> Value {
    json!({ "usage": { "cost_micro_usd": micro_usd } })
}

/// Longer than any test lasts.
fn endless() -> Value {
    json!({ "pause_ms": 3_600_000 })
}

fn said(played: &Played) -> Vec<&str> {
    let text = |content: &&Content| matches!(content, Content::AssistantText(_));
    let texts = played.contents().into_iter().filter(text);
    texts.map(|content| if let Content::AssistantText(text) = content { text.text.as_str() } else { "" }).collect()
}

/// The turn ended because of this limit.
fn check_end(turn: &proto::Turn, limit: &str, value: &str) {
    assert_eq!(turn.status(), TurnStatus::BudgetExhausted, "{turn:?}");
    let error = turn.error.as_ref().expect("an error");
    assert_eq!(error.reason(), ErrorReason::BudgetExhausted);
    let told = (error.metadata["limit"].as_str(), error.metadata["value"].as_str());
    assert_eq!(told, (limit, value), "{error:?}");
    assert!(error.message.contains(limit), "{}", error.message);
}

async fn run(sessions: &mut Sessions, options: proto::SessionOptions, steps: &Value) -> (String, Played) {
    let id = create(sessions, "scripted", options).await;
    let played = play(sessions, &id, &steps.to_string()).await;
    (id, played)
}

#[tokio::test]
async fn a_turn_ends_when_it_made_as_many_calls_as_it_may() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let limit = budget(Budget { turn_steps: 2, ..Budget::default() });
    let (id, within) = run(&mut sessions, limit, &json!([spend(1), spend(1), { "say": "Done." }])).await;
    assert_eq!(within.turn.status(), TurnStatus::Completed);
    let steps = json!([spend(1), { "say": "Half." }, spend(1), spend(1), endless(), { "say": "Never." }]);
    let played = play(&mut sessions, &id, &steps.to_string()).await;
    check_end(&played.turn, "turn_steps", "2");
    assert_eq!(said(&played), ["Done.", "Half."]);
    // The next turn may make as many again, in the same process.
    assert_eq!(get(&mut sessions, &id).await.status(), SessionStatus::Idle);
    let next = play(&mut sessions, &id, &json!([spend(1), spend(1)]).to_string()).await;
    assert_eq!(next.turn.status(), TurnStatus::Completed);
    let ready = next.events.iter().filter(|event| matches!(event.kind, Some(Kind::SandboxChanged(_)))).count();
    assert_eq!(ready, 2, "the process did not outlive its turn");
}

#[tokio::test]
async fn a_turn_ends_when_it_cost_what_it_may() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let limit = budget(Budget { turn_cost_micro_usd: 100, ..Budget::default() });
    let (id, played) = run(&mut sessions, limit, &json!([spend(60), { "say": "On." }, spend(40), endless()])).await;
    check_end(&played.turn, "turn_cost_micro_usd", "100");
    assert_eq!(played.turn.usage.expect("told").cost_micro_usd, 100);
    let next = play(&mut sessions, &id, &json!([spend(99), { "say": "Within." }]).to_string()).await;
    assert_eq!(next.turn.status(), TurnStatus::Completed, "a turn pays for itself alone");
}

#[tokio::test]
async fn a_session_that_cost_what_it_may_takes_no_message_until_that_is_raised() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let limit = |micro| budget(Budget { session_cost_micro_usd: micro, ..Budget::default() });
    let (id, first) = run(&mut sessions, limit(100), &json!([spend(70)])).await;
    assert_eq!(first.turn.status(), TurnStatus::Completed);
    let second = play(&mut sessions, &id, &json!([spend(29), spend(1), endless()]).to_string()).await;
    check_end(&second.turn, "session_cost_micro_usd", "100");
    for _ in 0..2 {
        let refused = send(&mut sessions, &id, "hello").await.expect_err("it cost what it may");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "BUDGET_EXHAUSTED"));
        assert!(refused.message().contains("options.budget.session_cost_micro_usd"), "{}", refused.message());
    }
    let left = get(&mut sessions, &id).await;
    assert_eq!((left.status(), left.sequence), (SessionStatus::Idle, second.events.last().expect("one").sequence));
    set(&mut sessions, &id, limit(101)).await;
    let third = play(&mut sessions, &id, r#"[{"say":"Again."}]"#).await;
    assert_eq!(third.turn.status(), TurnStatus::Completed);
    // One that finished as it reached the limit is finished, and the next one is refused.
    let last = play(&mut sessions, &id, &json!([spend(1)]).to_string()).await;
    assert_eq!(last.turn.status(), TurnStatus::Completed);
    assert_eq!(reason(&send(&mut sessions, &id, "hello").await.expect_err("over")), "BUDGET_EXHAUSTED");
    set(&mut sessions, &id, proto::SessionOptions::default()).await;
    assert_eq!(play(&mut sessions, &id, r#"[{"say":"Free."}]"#).await.turn.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn a_turn_ends_when_it_worked_as_long_as_it_may() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let limit = budget(Budget {
        turn_duration: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
        ..Budget::default()
    });
    let (id, played) = run(&mut sessions, limit, &json!([{ "say": "Half.", "open": true }, endless()])).await;
    check_end(&played.turn, "turn_duration", "1.5s");
    assert_eq!(said(&played), ["Half."]);
    let took = |turn: &proto::Turn| {
        let at = |time: &Option<prost_types::Timestamp>| {
            time.as_ref().map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000)
        };
        at(&turn.end_time).expect("ended") - at(&turn.create_time).expect("made")
    };
    assert!(took(&played.turn) >= 1500, "{} ms", took(&played.turn));

    // Time that it waits does not count: this one waits longer than it may work.
    let ask = json!([{ "ask": { "tool": "Bash" }, "then": [{ "say": "It ran." }] }]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &ask).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let asked = until(&mut stream, |event| matches!(event.kind, Some(Kind::PermissionRequested(_)))).await;
    let Some(Kind::PermissionRequested(asked)) = asked.into_iter().next_back().expect("one").kind else {
        unreachable!()
    };
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let waits = get(&mut sessions, &id).await;
    assert_eq!(waits.status(), SessionStatus::AwaitingInput, "{waits:?}");
    let answer = proto::ResolvePermissionRequest {
        session_id: id.clone(),
        permission_id: asked.permission.expect("one").permission_id,
        option_id: "allow_once".into(),
        ..Default::default()
    };
    sessions.resolve_permission(answer).await.expect("answered");
    let events = crate::support::until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(crate::support::last_turn(&events).status(), TurnStatus::Completed);
}

#[tokio::test]
async fn a_turn_is_held_to_what_was_said_when_it_began() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let steps = |turn_steps| budget(Budget { turn_steps, ..Budget::default() });
    let id = create(&mut sessions, "scripted", steps(0)).await;
    let wait = json!({ "run": "while [ ! -e go ]; do sleep 0.05; done" });
    // Long enough for an interrupt that must not come.
    let script = json!([{ "say": "On." }, wait, spend(1), spend(1), { "pause_ms": 1000 }, { "say": "Done." }]);
    let (turn, sequence) = send(&mut sessions, &id, &script.to_string()).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, |event| matches!(event.kind, Some(Kind::BlockComplete(_)))).await;
    set(&mut sessions, &id, steps(1)).await;
    let sandbox = get(&mut sessions, &id).await.sandbox.expect("one").sandbox_id;
    std::fs::write(server.data().join("sandboxes").join(sandbox).join("workspace/go"), "").expect("written");
    let events = crate::support::until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(crate::support::last_turn(&events).status(), TurnStatus::Completed);
    let next = play(&mut sessions, &id, &json!([spend(1), spend(1), endless()]).to_string()).await;
    check_end(&next.turn, "turn_steps", "1");
}

#[tokio::test]
async fn an_agent_that_does_not_follow_is_ended() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let limit = budget(Budget { turn_steps: 1, ..Budget::default() });
    // A shell that runs hears no interrupt.
    let script = json!([{ "say": "Kept." }, spend(1), spend(1), { "run": "sleep 3600" }]);
    let ended = tokio::time::timeout(PATIENCE, run(&mut sessions, limit, &script));
    let (id, played) = ended.await.expect("it is ended");
    check_end(&played.turn, "turn_steps", "1");
    assert_eq!(said(&played), ["Kept."]);
    let next = play(&mut sessions, &id, r#"[{"say":"Here."}]"#).await;
    assert_eq!(next.turn.status(), TurnStatus::Completed);
}

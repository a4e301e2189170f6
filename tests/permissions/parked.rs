//! Turns that wait while the process that asked is gone: parked, and gone on with in another one once they are answered.

use agent_runtime::proto::{
    self, ErrorReason, InputOutcome, SandboxStatus, SessionStatus, SystemNoticeKind, TurnStatus, block::Content,
};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    asked::{Asked, json_of, requested, resolve, text_of, turn_status},
    support::{Server, check_ranges, fold, get, pid_of, play, processes_of, reason, snapshot, stop},
};

/// A step that asks, and what another process plays in its place.
pub(crate) fn asks_again(again: &Value) -> Value {
    json!({ "ask": { "tool": "Bash", "input": { "command": "ls", "n": 1 } }, "again": again })
}

/// The same request, and what comes of it.
pub(crate) fn the_same() -> Value {
    json!({
        "ask": { "tool": "Bash", "input": { "command": "ls", "n": 1 } },
        "then": [{ "say": "It ran after all." }],
        "else": [{ "say": "It never ran." }],
    })
}

/// Kills the agents that run.
pub(crate) fn kill_agents(data: &std::path::Path) {
    let is_agent = |argv: &[String]| argv.len() == 2 && argv[1] == "scripted-agent";
    let agents: Vec<_> = processes_of(data).into_iter().filter(|process| is_agent(&process.argv)).collect();
    assert!(!agents.is_empty(), "there is no agent");
    for agent in agents {
        kill_process(pid_of(agent.pid), Signal::KILL).expect("killed");
    }
}

async fn parked(server: &Server, sessions: &mut crate::support::Sessions, again: &Value) -> Asked {
    let mut asked = Asked::by(sessions, &json!([{ "say": "May I?" }, asks_again(again), { "say": "Lost." }])).await;
    kill_agents(server.data());
    asked.until(|event| turn_status(event) == Some(TurnStatus::Parked)).await;
    asked.until(gone).await;
    asked
}

fn gone(event: &proto::SessionEvent) -> bool {
    match &event.kind {
        Some(proto::session_event::Kind::SandboxChanged(changed)) => {
            changed.sandbox.as_ref().expect("a sandbox").status() == SandboxStatus::Terminated
        }
        _ => false,
    }
}

/// What the runtime told the agent to go on with.
fn continuations(asked: &Asked) -> Vec<String> {
    let blocks = fold(&asked.events).blocks.into_iter();
    let notices = blocks.filter_map(|block| match block.content {
        Some(Content::System(notice)) if notice.kind() == SystemNoticeKind::Continuation => {
            assert_eq!(block.turn_id, asked.turn.turn_id);
            Some(notice.message)
        }
        _ => None,
    });
    notices.collect()
}

#[tokio::test]
async fn a_turn_whose_process_is_gone_waits_on_and_goes_on_in_another_one() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = parked(&server, &mut sessions, &json!([the_same(), { "say": "Done." }])).await;
    let request = proto::GetSessionRequest { session_id: asked.id.clone() };
    let shown = sessions.get_session(request).await.expect("there").into_inner();
    assert_eq!(shown.open_permissions, std::slice::from_ref(&asked.permission));
    let session = shown.session.expect("a session");
    assert_eq!(session.status(), SessionStatus::AwaitingInput);
    assert_eq!(session.active_turn.expect("active").status(), TurnStatus::Parked);
    let refused = crate::support::send(&mut sessions, &asked.id, "hello").await.expect_err("busy");
    assert_eq!(reason(&refused), "SESSION_BUSY");

    resolve(&mut sessions, asked.allow()).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(asked.said(), ["May I?", "It ran after all.", "Done."]);
    let requests = asked.events.iter().filter_map(requested).count();
    assert_eq!(requests, 1, "nobody is asked for the same again");
    assert_eq!(continuations(&asked).len(), 1);
    let statuses: Vec<_> = asked.events.iter().filter_map(turn_status).collect();
    let parked = statuses.iter().position(|status| *status == TurnStatus::Parked).expect("it was parked");
    assert!(statuses[parked + 1..].contains(&TurnStatus::Running), "{statuses:?}");
    check_ranges(0, &asked.events);
    let (state, head) = snapshot(&mut sessions, &asked.id).await;
    assert_eq!(state.turns.len(), 1, "it is the same turn");
    assert_eq!(state.session.as_ref().expect("a session").status(), SessionStatus::Idle);
    asked.until(|event| event.sequence == head).await;
    assert_eq!(fold(asked.events.iter().filter(|event| event.sequence <= head)), state);
    assert_eq!(play(&mut sessions, &asked.id, "hello").await.turn.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn a_continuation_makes_the_same_request_by_itself() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let script = json!([{ "ask": { "tool": "Bash", "input": { "command": "ls", "n": 1 } } }]);
    for (edited, rejected) in [(false, false), (true, false), (false, true)] {
        let mut asked = Asked::by(&mut sessions, &script).await;
        kill_agents(server.data());
        asked.until(|event| turn_status(event) == Some(TurnStatus::Parked)).await;
        let updated_input_json = if edited { r#"{"command":"pwd"}"# } else { "" }.to_owned();
        let request = if rejected { asked.reject("no") } else { asked.allow() };
        let request = proto::ResolvePermissionRequest { updated_input_json, ..request };
        resolve(&mut sessions, request).await.expect("answered");
        assert_eq!(asked.end().await.status(), TurnStatus::Completed);
        let result = asked.results().pop().expect("a result");
        match (edited, rejected) {
            (false, false) => assert_eq!(json_of(&result), json!({ "command": "ls", "n": 1 })),
            (true, false) => assert_eq!(json_of(&result), json!({ "command": "pwd" })),
            (_, true) => assert_eq!((text_of(&result).as_str(), result.is_error), ("no", true)),
        }
        stop(&mut sessions, &asked.id).await;
    }
}

#[tokio::test]
async fn another_request_is_a_new_one_and_the_answer_is_given_once() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let other = json!({ "ask": { "tool": "Bash", "input": { "command": "ls", "n": 2 } } });
    let mut asked = parked(&server, &mut sessions, &json!([other, the_same(), the_same()])).await;
    let first = asked.permission.permission_id.clone();
    resolve(&mut sessions, asked.allow()).await.expect("answered");
    for n in [2, 1] {
        // The other one, and the second of the two that are the same.
        asked.again().await;
        assert_ne!(asked.permission.permission_id, first);
        assert_eq!(serde_json::from_str::<Value>(&asked.permission.input_json).expect("JSON")["n"], n);
        resolve(&mut sessions, asked.reject("not this one")).await.expect("answered");
    }
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(asked.said(), ["May I?", "It ran after all.", "It never ran."]);
}

#[tokio::test]
async fn an_agent_that_does_not_ask_again_for_what_was_allowed_loses_its_turn() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = parked(&server, &mut sessions, &json!([{ "say": "What was it?" }])).await;
    resolve(&mut sessions, asked.allow()).await.expect("answered");
    let turn = asked.end().await;
    let error = turn.error.clone().expect("a cause");
    assert_eq!((turn.status(), error.reason()), (TurnStatus::Lost, ErrorReason::TurnLost));
    assert_eq!(error.metadata["cause"], "permission_not_asked_again");
    assert_eq!(error.metadata["permission_id"], asked.permission.permission_id);
    // What was rejected need not be asked for again.
    let mut asked = parked(&server, &mut sessions, &json!([{ "say": "Then not." }])).await;
    resolve(&mut sessions, asked.reject("no")).await.expect("answered");
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn a_parked_turn_can_be_stopped() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = parked(&server, &mut sessions, &json!([])).await;
    assert_eq!(stop(&mut sessions, &asked.id).await.status(), SessionStatus::Stopped);
    assert_eq!(asked.end().await.status(), TurnStatus::Interrupted);
    assert_eq!(asked.outcome(), InputOutcome::Withdrawn);
    assert_eq!(play(&mut sessions, &asked.id, "hello").await.turn.status(), TurnStatus::Completed);
    assert_eq!(get(&mut sessions, &asked.id).await.status(), SessionStatus::Idle);
}

#[tokio::test]
async fn the_deadline_of_a_parked_turn_goes_on_with_a_rejection() {
    let server = Server::start_with(&["--ask-timeout", "2s"], &[]);
    let mut sessions = server.sessions().await;
    let mut asked = parked(&server, &mut sessions, &json!([the_same()])).await;
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    assert_eq!(asked.outcome(), InputOutcome::Expired);
    assert_eq!(asked.said(), ["May I?", "It never ran."]);
}

//! Requests that end without an answer: withdrawn, stopped, deleted, and too late.

use agent_runtime::proto::{self, InputOutcome, PrincipalKind, SessionStatus, TurnStatus};
use serde_json::json;
use tonic_types::StatusExt as _;

use crate::{
    asked::{Asked, ask, requested, resolve, resolved, text_of},
    support::{Server, get, play, reason, scripted, send, snapshot, stop},
};

#[tokio::test]
async fn a_request_that_the_agent_withdraws_is_over() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script = json!([{ "ask": { "tool": "Bash" }, "withdrawn": true }, { "say": "Never mind." }]).to_string();
    let played = play(&mut sessions, &id, &script).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed);
    let permission = played.events.iter().find_map(requested).expect("it asked");
    let resolution = played.events.iter().find_map(resolved).expect("it is over").resolution.clone().expect("how");
    assert_eq!(resolution.outcome(), InputOutcome::Withdrawn);
    assert_eq!(resolution.resolved_by.expect("somebody").kind(), PrincipalKind::Agent);
    let late = proto::ResolvePermissionRequest {
        session_id: id.clone(),
        permission_id: permission.permission_id,
        option_id: "allow_once".into(),
        ..Default::default()
    };
    let refused = resolve(&mut sessions, late).await.expect_err("too late");
    assert_eq!(reason(&refused), "ALREADY_RESOLVED");
    assert_eq!(refused.get_details_error_info().expect("told").metadata["outcome"], "INPUT_OUTCOME_WITHDRAWN");
    assert_eq!(play(&mut sessions, &id, "hello").await.turn.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn a_session_that_waits_is_busy_and_can_be_stopped() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([ask()])).await;
    let refused = send(&mut sessions, &asked.id, "hello").await.expect_err("busy");
    let told = refused.get_details_error_info().expect("told");
    assert_eq!((told.reason.as_str(), &*told.metadata["turn_status"]), ("SESSION_BUSY", "TURN_STATUS_AWAITING_INPUT"));

    assert_eq!(stop(&mut sessions, &asked.id).await.status(), SessionStatus::Stopped);
    assert_eq!(asked.end().await.status(), TurnStatus::Interrupted);
    assert_eq!(asked.outcome(), InputOutcome::Withdrawn);
    assert_eq!(asked.resolution().resolved_by.expect("somebody").kind(), PrincipalKind::System);
    let shown = proto::GetSessionRequest { session_id: asked.id.clone() };
    assert_eq!(sessions.get_session(shown).await.expect("there").into_inner().open_permissions, []);
    assert_eq!(reason(&resolve(&mut sessions, asked.allow()).await.expect_err("too late")), "ALREADY_RESOLVED");
    assert_eq!(play(&mut sessions, &asked.id, "hello").await.turn.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn a_session_that_waits_can_be_deleted() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([ask()])).await;
    let request = proto::DeleteSessionRequest { session_id: asked.id.clone(), ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
    assert_eq!(asked.end().await.status(), TurnStatus::Interrupted);
    assert_eq!(asked.outcome(), InputOutcome::Withdrawn);
    assert_eq!(reason(&resolve(&mut sessions, asked.allow()).await.expect_err("gone")), "SESSION_NOT_FOUND");
}

#[tokio::test]
async fn silence_means_no_after_the_deadline() {
    let server = Server::start_with(&["--ask-timeout", "1s"], &[]);
    let mut sessions = server.sessions().await;
    let mut asked = Asked::by(&mut sessions, &json!([ask()])).await;
    assert_eq!(asked.end().await.status(), TurnStatus::Completed);
    let resolution = asked.resolution();
    assert_eq!((resolution.outcome(), resolution.option_id.as_str()), (InputOutcome::Expired, ""));
    assert_eq!(resolution.resolved_by.expect("somebody").kind(), PrincipalKind::System);
    let deadline = asked.permission.expire_time.expect("a deadline");
    let over = resolution.resolve_time.expect("a time");
    assert!((over.seconds, over.nanos) >= (deadline.seconds, deadline.nanos), "{over:?} before {deadline:?}");
    assert_eq!(asked.said(), ["It did not run."]);
    assert_eq!(text_of(&asked.results()[0]), "nobody answered in time, and silence means no");
    let refused = resolve(&mut sessions, asked.allow()).await.expect_err("too late");
    assert_eq!(refused.get_details_error_info().expect("told").metadata["outcome"], "INPUT_OUTCOME_EXPIRED");
}

#[tokio::test]
async fn an_agent_that_ends_its_turn_does_not_wait_any_more() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    // Said by hand, because no step of a script leaves a request open.
    let raw = |line: serde_json::Value| json!({ "raw": format!("{line}\n") });
    let script = json!([
        raw(json!({ "tool": { "id": "t", "name": "Bash", "input": {} } })),
        raw(json!({ "permission": { "id": "p", "tool": "t", "name": "Bash", "input": {} } })),
        raw(json!({ "permission": { "id": "q", "tool": "none", "name": "Bash", "input": {} } })),
        { "error": "gave up" },
    ]);
    let played = play(&mut sessions, &id, &script.to_string()).await;
    assert_eq!(played.turn.status(), TurnStatus::Failed);
    assert_eq!(played.unparsed().len(), 1, "a request about no call is none");
    let outcomes: Vec<_> =
        played.state.permissions.iter().map(|open| open.resolution.as_ref().expect("over").outcome()).collect();
    assert_eq!(outcomes, [InputOutcome::Withdrawn]);
    assert_eq!(get(&mut sessions, &id).await.status(), SessionStatus::Idle);
    assert_eq!(snapshot(&mut sessions, &id).await.0.turns.len(), 1);
}

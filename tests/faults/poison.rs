//! One session's event that the database refuses for itself: nobody else notices, and the session is not caught in reading
//! it again and again.

use agent_runtime::proto::{ErrorReason, SandboxStatus, SessionEvent, TurnStatus, session_event::Kind};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};

use crate::support::{
    Server, check_ranges, get, last_turn, play, processes_of, scripted, send, until, until_end_of, watch,
};

#[tokio::test]
async fn what_cannot_be_stored_of_one_session_loses_its_turn_and_no_other() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let other = scripted(&mut sessions).await.session_id;
    let options = SqliteConnectOptions::new().filename(server.data().join("agent-runtime.db"));
    let mut database = options.connect().await.expect("the database");
    // What an agent prints on its standard error becomes such an event.
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN NEW.kind = 'log'
        BEGIN SELECT RAISE(ABORT, 'refused'); END";
    sqlx::query(refuse).execute(&mut database).await.expect("a trigger");

    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let script = r#"[{"say":"So far."},{"pause_ms":100},{"stderr":"oops"},{"pause_ms":600000}]"#;
    let (turn, _) = send(&mut sessions, &id, script).await.expect("accepted");
    let (played, events) = futures::future::join(
        play(&mut server.sessions().await, &other, r#"[{"count":500,"pace_us":500}]"#),
        until_end_of(&mut stream, &turn.turn_id),
    )
    .await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
    check_ranges(0, &events);
    let lost = last_turn(&events);
    let error = lost.error.clone().expect("a cause");
    assert_eq!((lost.status(), error.reason()), (TurnStatus::Lost, ErrorReason::TurnLost), "{error:?}");
    assert_eq!(error.metadata["cause"], "not_stored");
    assert_eq!(get(&mut sessions, &id).await.sandbox.expect("a sandbox").status(), SandboxStatus::Terminated);
    let sandbox = get(&mut sessions, &id).await.sandbox.expect("a sandbox").sandbox_id;
    let folder = server.data().join("sandboxes").join(sandbox);
    while !processes_of(&folder).is_empty() {
        tokio::task::yield_now().await;
    }
    sqlx::query("DROP TRIGGER refuse").execute(&mut database).await.expect("removed");
    let played = play(&mut sessions, &id, r#"[{"stderr":"fine"},{"say":"Again."}]"#).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
    // What comes on standard error may come after the end of its turn.
    let logged =
        |event: &SessionEvent, text: &str| matches!(&event.kind, Some(Kind::Log(line)) if line.message == text);
    let events = until(&mut stream, |event| logged(event, "fine")).await;
    assert!(!events.iter().any(|event| logged(event, "oops")), "what was refused has come after all");
}

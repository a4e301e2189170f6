//! What cannot be gone on with ends as lost, with its cause, at once; nobody is left of it, and the session goes on.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use agent_runtime::proto::{ErrorReason, SandboxStatus, SessionStatus, TurnStatus};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::{
    house::{House, Seen, cause_of_loss, destroy, eventually, printed},
    support::{Server, get, play, scripted, send},
};

/// How soon it is told.
const SOON: Duration = Duration::from_secs(2);

/// An agent in the middle of its turn, and its server.
async fn at_work(house: &House) -> (Server, String, String) {
    let server = house.open();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script = r#"[{"say":"So far.","open":true},{"pause_ms":600000}]"#;
    let (turn, _) = send(&mut sessions, &id, script).await.expect("accepted");
    let mut seen = Seen::default();
    while !seen.said().contains("So far.") {
        seen.read(&mut sessions, &id, &turn.turn_id, Instant::now() + Duration::from_millis(50)).await;
    }
    (server, id, turn.turn_id)
}

/// The turn is lost within a moment, the text stays, nobody is left, and the next message is answered.
async fn is_lost(house: &House, server: Server, id: &str, turn: &str, cause: &str) {
    let mut sessions = server.sessions().await;
    let mut seen = Seen::default();
    let began = Instant::now();
    assert!(seen.read(&mut sessions, id, turn, began + SOON).await, "{cause}: not lost within {SOON:?}");
    let lost = seen.finish(&mut sessions, id, turn).await;
    assert_eq!(lost.error.as_ref().expect("a cause").reason(), ErrorReason::TurnLost);
    assert_eq!(cause_of_loss(&lost), cause, "{:?}", lost.error);
    assert_eq!(seen.said(), "So far.");
    eventually("the agent that nobody drives runs on", || house.agents().is_empty()).await;
    let session = get(&mut sessions, id).await;
    assert_eq!(session.status(), SessionStatus::Idle);
    assert_eq!(session.sandbox.expect("a sandbox").status(), SandboxStatus::Terminated);
    assert_eq!(play(&mut sessions, id, "hello").await.turn.status(), TurnStatus::Completed);
    drop(sessions);
    house.close(server);
}

async fn edit(house: &House, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(house.path().join("agent-runtime.db"));
    let mut database = options.connect().await.expect("the database");
    assert_eq!(sqlx::query(sql).execute(&mut database).await.expect("edited").rows_affected(), 1, "{sql}");
    database.close().await.expect("closed");
}

#[tokio::test]
async fn a_checkpoint_that_this_build_cannot_read_loses_the_turn() {
    for sql in ["UPDATE exec SET parser_version = 99", "UPDATE exec SET parser_state = CAST('{' AS BLOB)"] {
        let house = House::new(&[]);
        let (server, id, turn) = at_work(&house).await;
        server.kill();
        edit(&house, sql).await;
        is_lost(&house, house.open(), &id, &turn, "unknown_checkpoint").await;
    }
}

#[tokio::test]
async fn output_that_is_not_there_any_more_loses_the_turn() {
    let house = House::new(&[]);
    let (server, id, turn) = at_work(&house).await;
    server.kill();
    house.kill_all_but(None);
    let spool = house.execs().remove(0).join("stdout");
    let file = std::fs::File::options().write(true).open(spool).expect("the spool");
    file.set_len(10).expect("cut");
    is_lost(&house, house.open(), &id, &turn, "output_lost").await;
}

#[tokio::test]
async fn input_that_is_not_what_is_stored_loses_the_turn() {
    let house = House::new(&[]);
    let (server, id, turn) = at_work(&house).await;
    server.kill();
    // As after a database that was put back.
    edit(&house, "UPDATE exec_stdin SET data = CAST(substr(data, 1, 10) AS BLOB)").await;
    is_lost(&house, house.open(), &id, &turn, "input_conflict").await;
}

#[tokio::test]
async fn a_program_whose_holder_died_loses_the_turn() {
    for tier in ["auto", "process"] {
        let house = House::new(&["--sandbox", tier]);
        let (server, id, turn) = at_work(&house).await;
        server.kill();
        house.kill_all_but(None);
        is_lost(&house, house.open(), &id, &turn, "sandbox_lost").await;
    }
}

#[tokio::test]
async fn a_sandbox_that_was_destroyed_while_no_server_ran_loses_the_turn() {
    let house = House::new(&[]);
    let (server, id, turn) = at_work(&house).await;
    server.kill();
    let sandbox = house.sandbox();
    house.kill_all_but(None);
    destroy(&sandbox);
    is_lost(&house, house.open(), &id, &turn, "sandbox_lost").await;
}

/// One way to destroy a sandbox, whose server has this pid.
type Blow = fn(&House, &Path, u32);

#[tokio::test]
async fn a_sandbox_that_is_destroyed_in_the_middle_of_a_turn_loses_it() {
    let remove: Blow = |_, sandbox, _| destroy(sandbox);
    let kill: Blow = |house, _, server| house.kill_all_but(Some(server));
    let both: Blow = |house, sandbox, server| {
        house.kill_all_but(Some(server));
        destroy(sandbox);
    };
    for (tier, blow) in [("auto", remove), ("auto", both), ("process", remove), ("process", kill), ("process", both)] {
        let house = House::new(&["--sandbox", tier]);
        let (server, id, turn) = at_work(&house).await;
        let sandbox = house.sandbox();
        blow(&house, &sandbox, server.pid());
        is_lost(&house, server, &id, &turn, "sandbox_lost").await;
    }
}

/// A start that never happened is no loss: the message is given to an agent all the same.
#[tokio::test]
async fn a_program_that_is_on_record_and_was_never_started_is_started() {
    let house = House::new(&[]);
    let server = house.open();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let (turn, _) = send(&mut sessions, &id, r#"[{"say":"Here."}]"#).await.expect("accepted");
    eventually("it is started", || house.execs().first().is_some_and(|exec| printed(exec, "\"result\""))).await;
    let mut seen = Seen::default();
    seen.finish(&mut sessions, &id, &turn.turn_id).await;
    let (turn, _) = send(&mut sessions, &id, r#"[{"pause_ms":600000}]"#).await.expect("accepted");
    server.kill();
    house.kill_all_but(None);
    // As it is when the server dies between the commit and the start.
    edit(&house, "UPDATE exec SET exec_id = 'exec_never', stdout_offset = 0, stderr_offset = 0").await;
    edit(&house, "UPDATE session SET stdout_offset = NULL, stderr_offset = NULL").await;
    let server = house.open();
    let mut sessions = server.sessions().await;
    let until = Instant::now() + Duration::from_secs(20);
    while seen.starts_of(&turn.turn_id) == 0 && Instant::now() < until {
        seen.read(&mut sessions, &id, &turn.turn_id, Instant::now() + Duration::from_millis(50)).await;
    }
    assert_eq!(seen.starts_of(&turn.turn_id), 1, "the message was never taken up");
    assert_eq!(house.execs().len(), 2);
    house.close(server);
}

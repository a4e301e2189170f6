//! Another program holds the database.

use std::time::Duration;

use agent_runtime::proto::{self, TurnStatus, block::Content};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tonic::Code;

use crate::{
    scenario,
    support::{
        Server, check_ranges, fold, last_turn, play, scripted, send, snapshot, taken_up, until, until_end_of, watch,
    },
};

async fn held_by(begin: &'static str) {
    let server = Server::start();
    let options = SqliteConnectOptions::new().filename(server.data().join("agent-runtime.db"));
    let other = tokio::sync::Mutex::new(options.connect().await.expect("the database"));
    let take = async {
        sqlx::query(begin).execute(&mut *other.lock().await).await.expect("it is free");
    };
    let let_go = async {
        sqlx::query("ROLLBACK").execute(&mut *other.lock().await).await.expect("let go");
    };
    scenario::run(&server, (Code::Unavailable, "STORAGE_UNAVAILABLE"), take, let_go).await;
}

#[tokio::test]
async fn a_database_that_another_program_holds_is_waited_for() {
    held_by("BEGIN IMMEDIATE").await;
}

#[tokio::test]
async fn a_database_that_another_program_holds_for_itself_is_waited_for() {
    held_by("BEGIN EXCLUSIVE").await;
}

/// What was in flight is given up in the end, and read again once it can be stored: the turn goes on.
#[tokio::test]
async fn a_turn_that_could_not_be_stored_for_long_goes_on_once_it_can() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let mut other_stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let said = "0123456789".repeat(500);
    let script = format!(r#"[{{"say":"{said}","size":10,"pace_ms":100}}]"#);
    let (turn, _) = send(&mut sessions, &id, &script).await.expect("accepted");
    until(&mut other_stream, taken_up).await;
    let options = SqliteConnectOptions::new().filename(server.data().join("agent-runtime.db"));
    let mut other = options.connect().await.expect("the database");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("it is free");
    tokio::time::sleep(Duration::from_secs(36)).await;
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("let go");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    check_ranges(0, &events);
    let end = last_turn(&events);
    assert_eq!(end.status(), TurnStatus::Completed, "{:?}", end.error);
    let is_text =
        |block: &proto::Block| matches!(&block.content, Some(Content::AssistantText(text)) if text.text == said);
    assert_eq!(fold(&events).blocks.iter().filter(|block| is_text(block)).count(), 1, "not what was said, once");
    let started = |event: &&proto::SessionEvent| taken_up(event) && last_turn(std::slice::from_ref(event)) != end;
    assert_eq!(events.iter().filter(started).count(), 1, "the agent took the message up more than once");
    assert_eq!(play(&mut sessions, &id, "hello again").await.turn.status(), TurnStatus::Completed);
    let (state, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(state.turns.len(), 2, "each message was answered once");
}

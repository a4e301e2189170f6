//! What an agent was given is not kept for as long as it lives, and what is left of it is enough to go on.

use agent_runtime::proto::{ResolvePermissionRequest, SessionEvent, TurnStatus, session_event::Kind};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};

use crate::{
    house::House,
    support::{Sessions, last_turn, play, scripted, send, until, until_end_of, watch},
};

const TURNS: usize = 20;
/// Bytes of a message: as large as an image may be.
const SIZE: usize = 200_000;

/// A script that is long for what it says.
fn long(script: &str) -> String {
    script.to_owned() + &" ".repeat(SIZE - script.len())
}

/// Bytes of input that are kept.
async fn kept(house: &House) -> usize {
    let options = SqliteConnectOptions::new().filename(house.path().join("agent-runtime.db")).read_only(true);
    let mut database = options.connect().await.expect("the database");
    let sql = "SELECT COALESCE(SUM(length(data)), 0) FROM exec_stdin";
    let bytes: i64 = sqlx::query(sql).fetch_one(&mut database).await.expect("read").get(0);
    database.close().await.expect("closed");
    usize::try_from(bytes).expect("a size")
}

/// What an agent asks, where the event says so.
fn permission(event: &SessionEvent) -> Option<String> {
    match &event.kind {
        Some(Kind::PermissionRequested(asked)) => asked.permission.as_ref().map(|asked| asked.permission_id.clone()),
        _ => None,
    }
}

async fn completes(sessions: &mut Sessions, id: &str, script: &str) {
    assert_eq!(play(sessions, id, &long(script)).await.turn.status(), TurnStatus::Completed);
}

#[tokio::test]
async fn what_an_agent_was_given_is_not_kept_while_it_lives_and_it_is_gone_on_with_all_the_same() {
    let house = House::new(&[]);
    let server = house.open();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    for _ in 0..TURNS {
        completes(&mut sessions, &id, r#"[{"say":"Hello."}]"#).await;
    }
    let agents = house.agents();
    // The newest tells where the next one begins; that it was taken may be noted with the next turn only.
    let bytes = kept(&house).await;
    assert!((SIZE..3 * SIZE).contains(&bytes), "{bytes} bytes are kept of {TURNS} messages");

    // Between turns, and while one waits.
    server.kill();
    let server = house.open();
    let mut sessions = server.sessions().await;
    completes(&mut sessions, &id, r#"[{"say":"Hello again."}]"#).await;
    let asks = long(r#"[{"ask":{"tool":"Bash","input":{"command":"ls"}}},{"say":"Went on."}]"#);
    let (turn, sequence) = send(&mut sessions, &id, &asks).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until(&mut stream, |event| permission(event).is_some()).await;
    let permission_id = events.iter().find_map(permission).expect("asked");
    server.kill();
    let server = house.open();
    let mut sessions = server.sessions().await;
    let (session_id, option_id) = (id.clone(), "allow_once".to_owned());
    let answer = ResolvePermissionRequest { session_id, permission_id, option_id, ..Default::default() };
    sessions.resolve_permission(answer).await.expect("answered");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed);
    assert_eq!(house.agents(), agents, "another agent went on");
    assert!(kept(&house).await < 3 * SIZE);
    house.close(server);
}

//! Programs that are done when the next server comes.

use agent_runtime::proto::{ErrorReason, TurnStatus};

use crate::{
    house::{House, Seen, eventually, numbers, printed},
    support::{play, scripted, send},
};

async fn done_meanwhile(script: &str) -> (House, Seen, crate::support::Server, String, agent_runtime::proto::Turn) {
    let house = House::new(&[]);
    let server = house.open();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let (turn, _) = send(&mut sessions, &id, script).await.expect("accepted");
    eventually("the agent takes it up", || house.execs().first().is_some_and(|exec| printed(exec, "turn_start"))).await;
    server.kill();
    let exec = house.execs().remove(0);
    eventually("the agent is done", || printed(&exec, "0000000000000000300 ")).await;
    eventually("the agent is done", || printed(&exec, "\"result\"") || house.agents().is_empty()).await;
    let server = house.open();
    let mut sessions = server.sessions().await;
    let mut seen = Seen::default();
    let end = seen.finish(&mut sessions, &id, &turn.turn_id).await;
    assert_eq!(seen.said(), numbers(300));
    (house, seen, server, id, end)
}

#[tokio::test]
async fn a_turn_that_ended_while_no_server_ran_is_told_whole() {
    let (house, seen, server, id, end) = done_meanwhile(r#"[{"pause_ms":300},{"count":300}]"#).await;
    assert_eq!(end.status(), TurnStatus::Completed, "{:?}", end.error);
    assert_eq!(seen.starts_of(&end.turn_id), 1);
    let mut sessions = server.sessions().await;
    assert_eq!(play(&mut sessions, &id, "hello").await.turn.status(), TurnStatus::Completed);
    assert_eq!(house.execs().len(), 1, "its process was there still");
    house.close(server);
}

#[tokio::test]
async fn a_program_that_ended_while_no_server_ran_is_read_to_its_end_first() {
    let (house, _, server, id, end) = done_meanwhile(r#"[{"pause_ms":300},{"count":300},{"exit":7}]"#).await;
    let error = end.error.clone().expect("a cause");
    assert_eq!((end.status(), error.reason()), (TurnStatus::Failed, ErrorReason::AgentFailed), "{error:?}");
    assert_eq!(error.metadata["exit_code"], "7");
    let mut sessions = server.sessions().await;
    assert_eq!(play(&mut sessions, &id, "hello").await.turn.status(), TurnStatus::Completed);
    assert_eq!(house.execs().len(), 2);
    house.close(server);
}

//! A session from its first message to its end, through stops, dead servers and dead sandboxes.

use std::time::Duration;

use agent_runtime::proto::{self, Isolation, SandboxStatus, TurnStatus};
use serde_json::json;

use crate::{
    rig::{Rig, created, eventually, nothing_is_listed, printed, shell, text},
    support::{get, last_turn, play, send, stop, until_end_of, watch},
};

#[tokio::test]
async fn a_session_is_stopped_and_comes_back_with_its_files_in_another_sandbox() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    let played = play(&mut sessions, &id, &shell("echo one > kept; pwd")).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{}", printed(&played));
    let sandbox = played.state.session.clone().expect("a session").sandbox.expect("a sandbox");
    assert_eq!((sandbox.provider.as_str(), sandbox.isolation()), ("modal", Isolation::Remote));
    assert!(sandbox.expire_time.is_some() && sandbox.last_health_check_time.is_some(), "{sandbox:?}");
    assert_eq!((sandbox.not_applied.len(), sandbox.generation), (0, 1));
    let running = rig.emulator.running();
    assert_eq!(running.len(), 1);
    assert_eq!(text(&running[0]["tags"]["agent-runtime-session"]), id);
    let listed = server.runtime().await.list_sandboxes(proto::ListSandboxesRequest::default()).await;
    let listed = listed.expect("listed").into_inner().sandboxes;
    assert_eq!((listed.len(), listed[0].external_id.clone()), (1, text(&running[0]["id"])));

    let stopped = stop(&mut sessions, &id).await;
    assert_eq!(stopped.sandbox.expect("a sandbox").status(), SandboxStatus::Terminated);
    eventually("it ended with its session", || rig.running().is_empty()).await;
    let played = play(&mut sessions, &id, &shell("cat kept")).await;
    assert!(printed(&played).contains("one"), "{}", printed(&played));
    let again = played.state.session.expect("a session").sandbox.expect("a sandbox");
    assert_eq!((again.sandbox_id, again.generation), (sandbox.sandbox_id, 2), "the same to us, made once more");
    assert!(again.restored_to_sequence >= played.events[0].sequence, "{}", again.restored_to_sequence);
    assert_ne!(rig.running(), [text(&running[0]["id"])], "and another one there");

    sessions
        .delete_session(proto::DeleteSessionRequest { session_id: id, ..Default::default() })
        .await
        .expect("deleted");
    eventually("it is removed with its session", || rig.running().is_empty()).await;
    // Its files go after it, then its row.
    nothing_is_listed(&server).await;
    assert_eq!(rig.emulator.snapshots(), [""; 0], "nor is anything kept of it");
}

#[tokio::test]
async fn a_turn_goes_on_when_its_server_is_killed() {
    let Some(rig) = Rig::new(&[]) else { return };
    let mut server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await;
    let before = rig.running();
    let script = json!([{ "count": 400, "pace_ms": 10 }]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &script).await.expect("taken");
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill();
        server = rig.open();
    }
    sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed, "{:?}", last_turn(&events));
    assert_eq!(rig.running(), before, "in the same sandbox");
}

#[tokio::test]
async fn a_sandbox_that_dies_loses_its_turn_and_the_next_message_has_another_one() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &shell("echo one > kept")).await;
    let (turn, sequence) =
        send(&mut sessions, &id, &json!([{ "pause_ms": 600_000 }]).to_string()).await.expect("taken");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    eventually("it runs", || rig.running().len() == 1).await;
    rig.emulator.kill_sandbox(&rig.running()[0]);
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Lost, "{:?}", last_turn(&events));
    let played = play(&mut sessions, &id, &shell("cat kept")).await;
    assert!(printed(&played).contains("one"), "{}", printed(&played));
    assert_eq!(get(&mut sessions, &id).await.sandbox.expect("a sandbox").status(), SandboxStatus::Ready);
}

//! What runs where nobody can reach it for a while: it is gone on with when it can be reached again, and if it was given up it
//! does not work beside what comes after it.

use agent_runtime::proto::{self, TurnStatus};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    rig::{Rig, created, eventually, printed, said, shell},
    support::{last_turn, play, send, taken_up, until, until_end_of, watch},
};

#[tokio::test]
async fn an_agent_that_was_given_up_does_not_work_beside_the_next_one() {
    let Some(rig) = Rig::new(&[]) else { return };
    let log = rig.path().join("told");
    let server = rig.open_telling(&log);
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    let script = shell("echo works; while :; do echo x >>beat; sleep 0.05; done");
    let (turn, sequence) = send(&mut sessions, &id, &script).await.expect("taken");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, |event| format!("{event:?}").contains("ToolUse(")).await;
    let before = rig.running();
    // It cannot be told anything any more, nor can its sandbox be asked whether it lives, when it is to be ended.
    rig.emulator.set_faults("TaskExecStdinWrite=PERMISSION_DENIED@0*1,SandboxWaitV2=PERMISSION_DENIED@0*1000000");
    let interrupt = proto::InterruptTurnRequest { session_id: id.clone(), ..Default::default() };
    sessions.interrupt_turn(interrupt).await.expect("taken");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert!(last_turn(&events).status() != TurnStatus::Completed, "{:?}", last_turn(&events));
    eventually("its end was tried", || said(&log, "a sandbox could not be stopped")).await;
    rig.emulator.set_faults("");
    assert_eq!(rig.running(), before, "it could not be ended");
    let look = "before=$(cat beat); sleep 1; [ \"$before\" = \"$(cat beat)\" ] && echo still";
    let played = play(&mut sessions, &id, &shell(look)).await;
    assert_eq!(rig.running(), before, "the next one is in the same sandbox");
    assert!(printed(&played).contains("still"), "{}", printed(&played));
}

#[tokio::test]
async fn a_turn_goes_on_although_its_next_server_cannot_reach_it_at_first() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await;
    let before = rig.running();
    let script = json!([{ "count": 200, "pace_ms": 10 }]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &script).await.expect("taken");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, |event| format!("{event:?}").contains("0000000000000009 ")).await;
    server.kill();
    // So often that a sandbox on this machine would long have been given up.
    rig.emulator.set_faults("SandboxWaitV2=UNAVAILABLE@0*40");
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed, "{:?}", last_turn(&events));
    assert_eq!(rig.running(), before, "in the same sandbox");

    // A server that stops before it knows leaves the turn to the next one.
    let script = json!([{ "pause_ms": 3000 }, { "say": "waited" }]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &script).await.expect("taken");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, taken_up).await;
    server.kill();
    rig.emulator.set_faults("SandboxWaitV2=UNAVAILABLE@0*1000000");
    let mut server = rig.open_detaching();
    let ended = server.end(Signal::TERM);
    assert!(ended.status.success(), "{:?}", ended.said);
    rig.emulator.set_faults("");
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed, "{:?}", last_turn(&events));
}

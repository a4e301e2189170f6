//! What a session had in its files is never taken back, whoever ends its sandbox, and whenever.

use std::time::{Duration, Instant};

use agent_runtime::proto::{self, SandboxRecordState, SandboxStatus, TurnStatus};
use serde_json::json;

use crate::{
    rig::{Rig, created, eventually, printed, said, shell},
    support::{Server, Sessions, last_turn, play, send, stop, until, until_end_of, watch},
};

/// The row of a session's sandbox.
async fn row(server: &Server, session_id: &str) -> proto::SandboxRecord {
    let all = proto::ListSandboxesRequest { include_ended: true, ..Default::default() };
    let rows = server.runtime().await.list_sandboxes(all).await.expect("listed").into_inner().sandboxes;
    rows.into_iter().find(|row| row.session_id == session_id).expect("a row")
}

/// Waits until it says that the sandbox is over.
async fn until_over(server: &Server, session_id: &str) -> proto::SandboxRecord {
    let patience = Instant::now() + Duration::from_mins(1);
    loop {
        let row = row(server, session_id).await;
        if row.state() == SandboxRecordState::Ended {
            return row;
        }
        assert!(Instant::now() < patience, "the reaper does not close {row:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Stops a session whose sandbox cannot be asked about just then: it sleeps, and its sandbox runs on.
async fn stopped_in_vain(rig: &Rig, sessions: &mut Sessions, id: &str) {
    let before = rig.running();
    rig.emulator.set_faults("SandboxWaitV2=PERMISSION_DENIED@0*1");
    let stopped = stop(sessions, id).await;
    rig.emulator.set_faults("");
    assert_eq!(stopped.sandbox.expect("a sandbox").status(), SandboxStatus::Terminated);
    assert_eq!(rig.running(), before, "it runs on");
}

#[tokio::test]
async fn what_was_done_since_a_sandbox_was_brought_back_is_there_although_nobody_saw_its_end() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &shell("echo one > kept")).await;
    stop(&mut sessions, &id).await;
    eventually("it ended with its session", || rig.running().is_empty()).await;
    // The next one begins with a snapshot of this one, and does more: to the end of a turn, and in one that has none.
    play(&mut sessions, &id, &shell("echo two > kept")).await;
    let script = json!([{ "run": "echo three > later" }, { "pause_ms": 3_600_000 }]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &script).await.expect("taken");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, |event| format!("{event:?}").contains("ToolResult(")).await;
    server.kill();
    let [running] = &rig.running()[..] else { panic!("one runs") };
    rig.emulator.kill_sandbox(running);

    // The next server finds it gone.
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Lost, "{:?}", last_turn(&events));
    server.kill();
    // The one after that has a reaper to whom the session is asleep.
    let server = rig.open();
    let mut sessions = server.sessions().await;
    until_over(&server, &id).await;
    let played = play(&mut sessions, &id, &shell("cat kept later")).await;
    assert!(printed(&played).contains("two") && printed(&played).contains("three"), "{}", printed(&played));
}

#[tokio::test]
async fn a_session_that_stops_while_the_reaper_looks_keeps_what_it_left() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = created(&mut sessions, "scripted").await;
        play(&mut sessions, &id, &shell("echo one > kept")).await;
        ids.push(id);
    }
    // Rows are looked at in the order in which they were made. The reaper ends the first and the last.
    for id in [&ids[0], &ids[2]] {
        stopped_in_vain(&rig, &mut sessions, id).await;
    }
    server.kill();

    // Its first end takes so long that a session can stop before its second look.
    rig.emulator.set_faults("SandboxTerminateV2=RESOURCE_EXHAUSTED+8@0*1");
    let log = rig.path().join("told");
    let server = rig.open_telling(&log);
    let mut sessions = server.sessions().await;
    eventually("it is at the first one", || said(&log, "the reaper has decided")).await;
    let [first, second] = [row(&server, &ids[0]).await, row(&server, &ids[1]).await];
    assert_eq!(first.state(), SandboxRecordState::Running, "it waits");
    stop(&mut sessions, &ids[1]).await;
    eventually("it ended with its session", || !rig.running().contains(&second.external_id)).await;
    let stopped = row(&server, &ids[1]).await;
    assert!(stopped.state() == SandboxRecordState::Ended && stopped.snapshot_expire_time.is_some(), "{stopped:?}");
    assert_eq!(row(&server, &ids[0]).await.state(), SandboxRecordState::Running, "it still waits");
    until_over(&server, &ids[2]).await;
    assert_eq!(row(&server, &ids[1]).await, stopped, "what it left is known as it was");
    assert!(rig.running().is_empty(), "nothing that nobody wants runs");
}

#[tokio::test]
async fn a_session_whose_files_modal_has_no_more_goes_on_from_its_checkpoint() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &shell("echo one > kept")).await;
    stop(&mut sessions, &id).await;
    eventually("it ended with its session", || rig.running().is_empty()).await;
    server.kill();
    rig.emulator.drop_snapshots();
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let played = play(&mut sessions, &id, &shell("cat kept")).await;
    assert!(printed(&played).contains("one"), "{}", printed(&played));
    let sandbox = played.state.session.expect("a session").sandbox.expect("a sandbox");
    assert!(sandbox.restored_to_sequence > 0, "{sandbox:?}");
}

#[tokio::test]
async fn what_a_sandbox_left_by_itself_is_not_dropped_any_more_when_it_is_all_there_is() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &shell("echo one > kept")).await;
    // Of what it leaves beside its snapshot it takes long to know; and the snapshot cannot be had when it is wanted.
    let slow = "SandboxGetExitSnapshotV2=OK+600@0*1";
    let lost = "SandboxCreateV2=NOT_FOUND@0*1,ImageFromId=NOT_FOUND@0*1";
    rig.emulator.set_faults(&format!("{slow},{lost}"));
    stop(&mut sessions, &id).await;
    eventually("what it left is to be dropped", || rig.emulator.struck("SandboxGetExitSnapshotV2") == 1).await;
    let played = play(&mut sessions, &id, &shell("cat kept")).await;
    assert!(printed(&played).contains("one"), "{}", printed(&played));
    let is = row(&server, &id).await;
    assert_eq!(
        (rig.emulator.struck("ImageFromId"), is.generation),
        (1, 2),
        "it is made of what the first one left: {is:?}"
    );
    rig.emulator.set_faults("");
    eventually("the snapshot is dropped instead", || rig.emulator.calls()["ImageDelete"]["made"] == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.emulator.calls()["ImageDelete"]["made"], 1, "and nothing else");
}

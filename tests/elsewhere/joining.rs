//! Calls to a session whose next server cannot reach its sandbox: what only has to be recorded is taken, a stop and a deletion
//! overtake the search, and what needs the sandbox is told to come back. Nothing here waits for the sandbox but what is said to.

use agent_runtime::proto::{self, SandboxStatus, SessionStatus, TurnStatus};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    rig::{Rig, created, eventually, nothing_is_listed, printed, shell},
    support::{
        Server, Sessions, check_ranges, ended, get, last_turn, play, read_on, reason, send, snapshot, stop, taken_up,
        until, until_end_of, watch,
    },
};

/// Nobody can say whether a sandbox lives.
const UNREACHABLE: &str = "SandboxWaitV2=UNAVAILABLE@0*1000000";

struct Joined {
    server: Server,
    sessions: Sessions,
    id: String,
    turn: proto::Turn,
    sequence: i64,
    before: Vec<String>,
}

/// A session with a turn at work, whose next server looks for its sandbox in vain.
async fn joined(rig: &Rig, script: &str) -> Joined {
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &shell("echo one > kept")).await;
    let (turn, sequence) = send(&mut sessions, &id, script).await.expect("taken");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, taken_up).await;
    let before = rig.running();
    server.kill();
    let server = unreachable(rig).await;
    let sessions = server.sessions().await;
    Joined { server, sessions, id, turn, sequence, before }
}

/// A server that has begun to look for what was left, and cannot find it.
async fn unreachable(rig: &Rig) -> Server {
    rig.emulator.set_faults(UNREACHABLE);
    let server = rig.open();
    eventually("it is asked for", || rig.emulator.struck("SandboxWaitV2") > 0).await;
    server
}

/// Refused with a time to come back.
fn is_put_off(refused: &Status) -> bool {
    let told = refused.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some());
    refused.code() == Code::Unavailable && reason(refused) == "SANDBOX_FAILED" && told
}

/// Whether the turn was ended by a caller, and not by its agent.
fn ended_by_call(events: &[proto::SessionEvent], turn_id: &str) -> bool {
    events.iter().find(|event| ended(event, turn_id)).is_some_and(|event| event.actor.is_some())
}

async fn queue(sessions: &mut Sessions, id: &str, text: &str) -> proto::Turn {
    let request = proto::SendMessageRequest {
        session_id: id.into(),
        text: text.into(),
        busy_policy: proto::BusyPolicy::Queue.into(),
        ..Default::default()
    };
    sessions.send_message(request).await.expect("queued").into_inner().turn.expect("a turn")
}

#[tokio::test]
async fn what_only_has_to_be_recorded_is_taken_while_the_sandbox_is_asked() {
    let Some(rig) = Rig::new(&[]) else { return };
    let Joined { server, mut sessions, id, turn, sequence, before } =
        joined(&rig, &json!([{ "count": 100_000, "pace_ms": 10 }]).to_string()).await;
    // What is stored can be read.
    assert_eq!(get(&mut sessions, &id).await.active_turn.expect("at work").turn_id, turn.turn_id);
    let (state, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(state.turns.last().expect("a turn").status(), TurnStatus::Running);
    // Messages.
    let refused = send(&mut sessions, &id, "and now?").await.expect_err("busy");
    assert_eq!(reason(&refused), "SESSION_BUSY");
    let waits = queue(&mut sessions, &id, &json!({ "say": "waited" }).to_string()).await;
    let gone = queue(&mut sessions, &id, "never mind").await;
    let cancel =
        proto::CancelTurnRequest { session_id: id.clone(), turn_id: gone.turn_id.clone(), ..Default::default() };
    let gone = sessions.cancel_turn(cancel).await.expect("cancelled").into_inner().turn.expect("a turn");
    assert_eq!((waits.status(), gone.status()), (TurnStatus::Queued, TurnStatus::Cancelled));
    // The record.
    let session = proto::Session { session_id: id.clone(), name: "another".into(), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["name".into()] });
    let update = proto::UpdateSessionRequest { session: Some(session), update_mask, ..Default::default() };
    let session = sessions.update_session(update).await.expect("changed").into_inner().session.expect("a session");
    assert_eq!(session.name, "another");
    // What needs the sandbox.
    let sync = proto::SyncSessionRequest { session_id: id.clone(), ..Default::default() };
    let refused = sessions.sync_session(sync).await.expect_err("nobody can be asked");
    assert!(is_put_off(&refused), "{refused:?}");
    let write = proto::DeleteFileRequest { session_id: id.clone(), path: "kept".into(), ..Default::default() };
    let refused = server.workspace().await.delete_file(write).await.expect_err("nobody can be asked");
    assert!(is_put_off(&refused), "{refused:?}");
    // An interrupt is carried out once its agent is found.
    let interrupt = proto::InterruptTurnRequest { session_id: id.clone(), ..Default::default() };
    let told = sessions.interrupt_turn(interrupt).await.expect("recorded").into_inner().turn.expect("a turn");
    assert_eq!((&told.turn_id, told.status()), (&turn.turn_id, TurnStatus::Running));
    rig.emulator.set_faults("");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let (mut events, mut at) = (Vec::new(), 0);
    read_on(&mut stream, &mut events, &mut at, |event| ended(event, &turn.turn_id)).await;
    assert_eq!(last_turn(&events[..at]).status(), TurnStatus::Interrupted, "{:?}", last_turn(&events));
    read_on(&mut stream, &mut events, &mut at, |event| ended(event, &waits.turn_id)).await;
    assert_eq!(last_turn(&events[..at]).status(), TurnStatus::Completed, "{:?}", last_turn(&events));
    check_ranges(sequence, &events);
    assert_eq!(rig.running(), before, "all of it in the same sandbox");
}

#[tokio::test]
async fn a_stop_overtakes_the_search_and_what_runs_is_ended_when_it_can_be_reached() {
    let Some(rig) = Rig::new(&[]) else { return };
    let script = json!([{ "run": "echo two >> kept" }, { "count": 100_000, "pace_ms": 10 }]).to_string();
    let Joined { server: _server, mut sessions, id, turn, sequence, before } = joined(&rig, &script).await;
    let waits = queue(&mut sessions, &id, "never mind").await;
    let stopped = stop(&mut sessions, &id).await;
    assert_eq!(
        (stopped.status(), rig.running()),
        (SessionStatus::Stopped, before),
        "it runs on, and cannot be reached"
    );
    assert_eq!(stopped.sandbox.expect("a sandbox").status(), SandboxStatus::Terminated);
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Interrupted);
    assert!(ended_by_call(&events, &turn.turn_id), "its agent cannot have said so");
    let (state, _) = snapshot(&mut sessions, &id).await;
    let status = |id: &str| state.turns.iter().find(|turn| turn.turn_id == id).map(proto::Turn::status);
    assert_eq!(status(&waits.turn_id), Some(TurnStatus::Cancelled));
    // Once more, and it is as it was.
    assert_eq!(stop(&mut sessions, &id).await.status(), SessionStatus::Stopped);
    rig.emulator.set_faults("");
    eventually("what runs is ended", || rig.running().is_empty()).await;
    let played = play(&mut sessions, &id, &shell("cat kept")).await;
    assert!(["one", "two"].iter().all(|word| printed(&played).contains(word)), "{}", printed(&played));
}

#[tokio::test]
async fn a_stop_lets_an_agent_that_is_found_soon_end_its_turn_itself() {
    let Some(rig) = Rig::new(&[]) else { return };
    let script = json!([{ "run": "echo two >> kept" }, { "count": 100_000, "pace_ms": 10 }]).to_string();
    let Joined { server: _server, mut sessions, id, turn, sequence, .. } = joined(&rig, &script).await;
    let waits = queue(&mut sessions, &id, "never mind").await;
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let stopping = async {
        // It is taken, and before it is answered the sandbox can be reached again.
        let (mut events, mut at) = (Vec::new(), 0);
        read_on(&mut stream, &mut events, &mut at, |event| ended(event, &waits.turn_id)).await;
        rig.emulator.set_faults("");
        read_on(&mut stream, &mut events, &mut at, |event| ended(event, &turn.turn_id)).await;
        events
    };
    let mut caller = sessions.clone();
    let (stopped, events) = tokio::join!(stop(&mut caller, &id), stopping);
    assert_eq!(stopped.status(), SessionStatus::Stopped);
    check_ranges(sequence, &events);
    assert_eq!(last_turn(&events).status(), TurnStatus::Interrupted);
    assert!(!ended_by_call(&events, &turn.turn_id), "its agent had the time to say so");
    eventually("it is ended", || rig.running().is_empty()).await;
    let played = play(&mut sessions, &id, &shell("cat kept")).await;
    assert!(printed(&played).contains("two"), "{}", printed(&played));
}

#[tokio::test]
async fn a_deletion_overtakes_the_search_and_leaves_nothing() {
    let Some(rig) = Rig::new(&[]) else { return };
    let Joined { server, mut sessions, id, before, .. } =
        joined(&rig, &json!([{ "count": 100_000, "pace_ms": 10 }]).to_string()).await;
    let delete = proto::DeleteSessionRequest { session_id: id.clone(), ..Default::default() };
    sessions.delete_session(delete).await.expect("deleted");
    let gone = sessions.get_session(proto::GetSessionRequest { session_id: id }).await.expect_err("gone");
    assert_eq!((gone.code(), rig.running()), (Code::NotFound, before), "it runs on, and cannot be reached");
    rig.emulator.set_faults("");
    eventually("what runs is ended", || rig.running().is_empty()).await;
    nothing_is_listed(&server).await;
    assert_eq!(rig.emulator.snapshots(), [""; 0], "nor is anything kept of it");
}

#[tokio::test]
async fn a_message_that_is_taken_while_an_agent_is_looked_for_is_given_to_whoever_there_is() {
    let Some(rig) = Rig::new(&[]) else { return };
    let mut server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &shell("echo one > kept")).await;
    for is_there in [true, false] {
        let before = rig.running();
        server.kill();
        server = unreachable(&rig).await;
        sessions = server.sessions().await;
        let (turn, sequence) = send(&mut sessions, &id, &shell("cat kept")).await.expect("taken");
        assert_eq!((turn.status(), turn.start_time), (TurnStatus::Running, None));
        if !is_there {
            rig.emulator.kill_sandbox(&before[0]);
        }
        rig.emulator.set_faults("");
        let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
        let events = until_end_of(&mut stream, &turn.turn_id).await;
        assert_eq!(last_turn(&events).status(), TurnStatus::Completed, "{:?}", last_turn(&events));
        let (state, _) = snapshot(&mut sessions, &id).await;
        assert!(format!("{:?}", state.blocks.last()).contains("one"), "{:?}", state.blocks.last());
        assert_eq!(rig.running() == before, is_there);
    }
}

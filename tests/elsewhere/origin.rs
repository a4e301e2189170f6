//! A server that was given another account than the one before it, or another address: what was made there is neither taken for
//! over nor forgotten, nothing of it is given up, and whoever asks for it is told what to set. What is over for sure is closed.

use std::path::Path;

use agent_runtime::{
    domain::{LedgerEntry, LedgerFacts, LedgerState, SandboxId, SessionId, SessionKey, Timestamp},
    proto::{self, ErrorReason, FileContent, SandboxRecordState, SandboxStatus, SessionStatus, Turn, TurnStatus},
    store::{LedgerRows as _, SqliteStore, Store as _},
};
use rustix::process::Signal;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    emulator::Emulator,
    rig::{Rig, created, eventually, printed, said, says, shell, text},
    support::{Server, Sessions, get, last_turn, play, reason, send, stop, until, until_end_of, watch},
};

const HOUR: i64 = 3_600_000_000;
/// A turn that ends when its file is there.
const GATE: &str = "echo begun; until [ -e go ]; do sleep 0.05; done; echo over";

/// A session at work: its turn, and where it began.
async fn at_work(sessions: &mut Sessions, id: &str) -> (Turn, i64) {
    let (turn, sequence) = send(sessions, id, &shell(GATE)).await.expect("taken");
    let mut stream = watch(sessions, id, Some(sequence)).await.expect("a watch");
    until(&mut stream, |event| format!("{event:?}").contains("ToolUse(")).await;
    (turn, sequence)
}

/// Lets it end.
async fn let_go(server: &Server, id: &str) {
    let file = Some(FileContent { path: "go".into(), ..Default::default() });
    let request = proto::WriteFileRequest { session_id: id.into(), file, ..Default::default() };
    server.workspace().await.write_file(request).await.expect("written");
}

/// Deletes a session whose sandbox cannot be ended then.
async fn orphan(rig: &Rig, sessions: &mut Sessions, id: &str) {
    rig.emulator.set_faults("SandboxTerminateV2=PERMISSION_DENIED@0%1");
    delete(sessions, id).await;
    eventually("its end was asked for", || rig.emulator.struck("SandboxTerminateV2") > 0).await;
}

async fn delete(sessions: &mut Sessions, id: &str) {
    let request = proto::DeleteSessionRequest { session_id: id.into(), ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
}

/// Changes the rows that a server has left.
async fn change(rig: &Rig, mut rows: impl FnMut(Vec<LedgerEntry>) -> Vec<LedgerEntry>) {
    let store = SqliteStore::open(&rig.path().join("agent-runtime.db")).await.expect("nobody has it");
    for row in rows(store.entries("modal").await.expect("read")) {
        store.put_entry(&row).await.expect("written");
    }
    store.close().await;
}

async fn rows(server: &Server) -> Vec<proto::SandboxRecord> {
    let all = proto::ListSandboxesRequest { include_ended: true, ..Default::default() };
    server.runtime().await.list_sandboxes(all).await.expect("listed").into_inner().sandboxes
}

async fn row(server: &Server, session: &str) -> proto::SandboxRecord {
    let all = rows(server).await;
    all.iter().find(|row| row.session_id == session).cloned().unwrap_or_else(|| panic!("no row: {all:?}"))
}

/// Its sandbox at Modal.
fn external(emulator: &Emulator, session: &str) -> String {
    let running = emulator.running();
    let own = running.iter().find(|it| it["tags"]["agent-runtime-session"] == session);
    text(&own.expect("it runs")["id"])
}

/// A call was refused with what to do.
fn is_told(refused: &Status, rig: &Rig) {
    assert_eq!((refused.code(), &*reason(refused)), (Code::FailedPrecondition, "SANDBOX_OUT_OF_REACH"), "{refused:?}");
    let set = format!("start it with the token of its account and MODAL_SERVER_URL=http://{}", rig.emulator.addr);
    assert!(refused.message().contains(&set) && refused.message().contains("--modal-gone ap-"), "{refused:?}");
    let metadata = refused.get_details_error_info().expect("details").metadata;
    assert_eq!((&*metadata["provider"], &*metadata["cause"]), ("modal", "out_of_reach"));
}

fn times(log: &Path, what: &str) -> usize {
    std::fs::read_to_string(log).unwrap_or_default().matches(what).count()
}

#[tokio::test]
async fn a_sandbox_of_another_account_is_neither_written_off_nor_forgotten() {
    let Some(rig) = Rig::new(&[]) else { return };
    let other = Emulator::start();
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let (works, unwanted) = (created(&mut sessions, "scripted").await, created(&mut sessions, "scripted").await);
    let (turn, sequence) = at_work(&mut sessions, &works).await;
    at_work(&mut sessions, &unwanted).await;
    let sleeps = created(&mut sessions, "scripted").await;
    // Where no checkpoint has it.
    play(&mut sessions, &sleeps, &shell("echo one > /srv/kept")).await;
    stop(&mut sessions, &sleeps).await;
    eventually("it ended with its session", || rig.running().len() == 2).await;
    let given = created(&mut sessions, "scripted").await;
    play(&mut sessions, &given, &json!({ "say": "hello" }).to_string()).await;
    let (works_there, given_there) = (external(&rig.emulator, &works), external(&rig.emulator, &given));
    orphan(&rig, &mut sessions, &given).await;
    let before = rig.running();
    server.kill();
    rig.emulator.set_faults("");
    // One whose making was cut short, so long ago that it would be there.
    let intended = "sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    change(&rig, |all| {
        let like = all.iter().find(|row| row.session.session.as_str() == given).expect("a row");
        let create_time = Timestamp(Timestamp::now().0 - HOUR);
        let facts = LedgerFacts { external_id: String::new(), create_time, ..like.facts.clone() };
        let session = SessionKey { session: SessionId::new("ses_gone"), ..like.session.clone() };
        let id = SandboxId::new(intended);
        vec![LedgerEntry { id, session, state: LedgerState::Intended, facts, ..like.clone() }]
    })
    .await;

    let log = rig.path().join("told");
    let mut server = rig.open_at(&other, &log, &[]);
    let mut sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &works, Some(sequence)).await.expect("a watch");
    until(&mut stream, |event| says(event, SandboxStatus::Unhealthy, &rig.emulator.addr)).await;
    is_told(&send(&mut sessions, &works, "[]").await.expect_err("nobody can give it"), &rig);
    let interrupt = proto::InterruptTurnRequest { session_id: works.clone(), ..Default::default() };
    is_told(&sessions.interrupt_turn(interrupt).await.expect_err("nobody can be told"), &rig);
    let end = proto::StopSessionRequest { session_id: works.clone(), ..Default::default() };
    is_told(&sessions.stop_session(end).await.expect_err("it cannot be ended"), &rig);
    let session = get(&mut sessions, &works).await;
    assert_eq!((session.status(), session.active_turn.is_some()), (SessionStatus::Running, true), "{session:?}");
    delete(&mut sessions, &unwanted).await;
    // What is asleep there is not woken from something older.
    let played = play(&mut sessions, &sleeps, &shell("cat /srv/kept")).await;
    let error = played.turn.error.clone().expect("an error");
    assert_eq!((played.turn.status(), error.reason()), (TurnStatus::Failed, ErrorReason::SandboxOutOfReach));
    let file = Some(FileContent { path: "go".into(), ..Default::default() });
    let write = proto::WriteFileRequest { session_id: sleeps.clone(), file, ..Default::default() };
    is_told(&server.workspace().await.write_file(write).await.expect_err("there are no files"), &rig);
    // And here all is well.
    let new = created(&mut sessions, "scripted").await;
    play(&mut sessions, &new, &json!({ "say": "hello" }).to_string()).await;
    assert_eq!(row(&server, &new).await.out_of_reach, "");

    eventually("people are told of each", || times(&log, "is not found is not believed") == 5).await;
    let there = [
        (&works, SandboxRecordState::Running),
        (&unwanted, SandboxRecordState::Running),
        (&sleeps, SandboxRecordState::Ended),
        (&given, SandboxRecordState::Running),
    ];
    for (session, state) in there {
        let row = row(&server, session).await;
        assert_eq!(row.state(), state, "{row:?}");
        assert!(row.out_of_reach.contains(&rig.emulator.addr), "{row:?}");
    }
    let all = rows(&server).await;
    let cut = all.iter().find(|row| row.sandbox_id == intended).expect("it may be there");
    assert!(cut.state() == SandboxRecordState::Intended && !cut.out_of_reach.is_empty(), "{cut:?}");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
    let shown = command.arg("--data").arg(rig.path()).arg("sandboxes").env_remove("RUST_LOG").output().expect("run");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("{intended} is out of reach: it was made in the app ap-")), "{shown}");
    assert_eq!(rig.running(), before, "nothing was done there");
    // However it ends, it ends nothing there, and says so of nothing.
    let ended = server.end(Signal::INT);
    assert!(ended.status.success(), "{:?}", ended.said);
    drop(server);

    let server = rig.open();
    let mut sessions = server.sessions().await;
    let_go(&server, &works).await;
    let mut stream = watch(&mut sessions, &works, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed, "{:?}", last_turn(&events));
    assert_eq!(external(&rig.emulator, &works), works_there, "in the same sandbox");
    let played = play(&mut sessions, &sleeps, &shell("cat /srv/kept")).await;
    assert!(printed(&played).contains("one"), "{}", printed(&played));
    eventually("what nobody wants ends", || !rig.running().contains(&given_there) && rig.running().len() == 2).await;
    let gone = |rows: &[proto::SandboxRecord]| {
        !rows.iter().any(|row| row.session_id == given || row.session_id == unwanted || row.sandbox_id == intended)
    };
    while !gone(&rows(&server).await) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_is_over_for_sure_is_closed_whoever_is_asked() {
    let Some(rig) = Rig::new(&[]) else { return };
    let other = Emulator::start();
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let works = created(&mut sessions, "scripted").await;
    play(&mut sessions, &works, &shell("echo one > kept")).await;
    let (turn, sequence) = at_work(&mut sessions, &works).await;
    let given = created(&mut sessions, "scripted").await;
    play(&mut sessions, &given, &json!({ "say": "hello" }).to_string()).await;
    orphan(&rig, &mut sessions, &given).await;
    let before = rig.running();
    server.kill();
    rig.emulator.set_faults("");
    // Long ago, as it seems.
    change(&rig, |all| {
        let over = Some(Timestamp(Timestamp::now().0 - HOUR));
        let late = |row: LedgerEntry| LedgerEntry { facts: LedgerFacts { expire_time: over, ..row.facts }, ..row };
        all.into_iter().map(late).collect()
    })
    .await;

    let log = rig.path().join("told");
    let server = rig.open_at(&other, &log, &[]);
    let mut sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &works, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Lost, "{:?}", last_turn(&events));
    let played = play(&mut sessions, &works, &shell("cat kept")).await;
    assert!(printed(&played).contains("one"), "{}", printed(&played));
    let sandbox = played.state.session.expect("a session").sandbox.expect("a sandbox");
    assert!(sandbox.restored_to_sequence > 0, "{sandbox:?}");
    // That is known, and what it left there is still somebody's to drop.
    while row(&server, &given).await.state() != SandboxRecordState::Ended {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(row(&server, &given).await.out_of_reach.contains(&rig.emulator.addr));
    assert_eq!(rig.running(), before, "nothing was done there");
}

#[tokio::test]
async fn what_somebody_says_is_gone_and_what_nobody_noted_is_taken_for_made_here() {
    let Some(rig) = Rig::new(&[]) else { return };
    let other = Emulator::start();
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let mut both = Vec::new();
    for _ in 0..2 {
        let id = created(&mut sessions, "scripted").await;
        play(&mut sessions, &id, &shell("echo one > kept")).await;
        stop(&mut sessions, &id).await;
        both.push(id);
    }
    eventually("they ended with their sessions", || rig.running().is_empty()).await;
    server.kill();
    let mut app = String::new();
    change(&rig, |mut all| {
        // As builds before this one wrote it.
        app = all[0].facts.origin.take().expect("it is noted").app_id;
        all
    })
    .await;

    let log = rig.path().join("told");
    let server = rig.open_at(&other, &log, &["--modal-gone", &app]);
    let mut sessions = server.sessions().await;
    for id in &both {
        assert_eq!(row(&server, id).await.out_of_reach, "");
        let played = play(&mut sessions, id, &shell("cat kept")).await;
        assert!(printed(&played).contains("one"), "{}", printed(&played));
        let sandbox = played.state.session.expect("a session").sandbox.expect("a sandbox");
        assert!(sandbox.restored_to_sequence > 0, "{sandbox:?}");
    }
    assert!(!said(&log, "is not found is not believed"));
}

#[tokio::test]
async fn another_app_of_the_same_account_finds_what_it_did_not_make() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    let (turn, sequence) = at_work(&mut sessions, &id).await;
    let before = rig.running();
    server.kill();

    let server = rig.open_with(&["--modal-app", "other"]);
    let mut sessions = server.sessions().await;
    let_go(&server, &id).await;
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    assert_eq!(last_turn(&events).status(), TurnStatus::Completed, "{:?}", last_turn(&events));
    assert_eq!(rig.running(), before, "in the same sandbox");
    assert_eq!(row(&server, &id).await.out_of_reach, "", "the same token sees it");
    // It can be ended, and its files are found.
    stop(&mut sessions, &id).await;
    eventually("it ended with its session", || rig.running().is_empty()).await;
    let played = play(&mut sessions, &id, &shell("ls")).await;
    assert!(printed(&played).contains("go"), "{}", printed(&played));
    assert_eq!(row(&server, &id).await.out_of_reach, "", "and this one was made here");
}

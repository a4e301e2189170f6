//! What the reaper ends, and that it ends nothing where it cannot read what it must know, or where it is not its own.

use std::{path::Path, time::Duration};

use agent_runtime::{
    proto::{self, SandboxRecordState},
    store::SqliteStore,
};
use serde_json::json;
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    others::tag,
    rig::{Rig, created, eventually, shell, text},
    support::{Server, Sessions, play, stop},
};

/// What is said when a look had to stop, and what when the next one did too.
const STOPPED: &str = "nothing is ended there until this is mended";
const AS_BEFORE: &str = "nothing is ended there, as before";

/// A session with a sandbox; returns the sandbox's id at Modal too.
async fn settled(rig: &Rig, sessions: &mut Sessions) -> (String, String) {
    let before = rig.running();
    let id = created(sessions, "scripted").await;
    play(sessions, &id, &json!({ "say": "hello" }).to_string()).await;
    let made = rig.running().into_iter().find(|one| !before.contains(one)).expect("a sandbox");
    (id, made)
}

/// Deletes a session whose sandbox cannot be ended.
async fn orphan(rig: &Rig, sessions: &mut Sessions, session: &str) {
    rig.emulator.set_faults("SandboxTerminateV2=PERMISSION_DENIED@0%1");
    let request = proto::DeleteSessionRequest { session_id: session.into(), ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
    eventually("its end was asked for", || rig.emulator.struck("SandboxTerminateV2") > 0).await;
}

async fn records(server: &Server) -> Vec<proto::SandboxRecord> {
    let all = proto::ListSandboxesRequest { include_ended: true, ..Default::default() };
    server.runtime().await.list_sandboxes(all).await.expect("listed").into_inner().sandboxes
}

async fn no_row_of(server: &Server, session: &str) {
    while records(server).await.iter().any(|record| record.session_id == session) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often the log says this.
fn told(log: &Path, what: &str) -> usize {
    std::fs::read_to_string(log).expect("a log").lines().filter(|line| line.contains(what)).count()
}

/// Another program that has the database open.
async fn open(rig: &Rig) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(rig.path().join("agent-runtime.db"));
    options.busy_timeout(Duration::from_secs(30)).connect().await.expect("the database")
}

async fn execute(database: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(database).await.expect(sql);
}

#[tokio::test]
async fn what_is_not_its_own_it_leaves_alone() {
    // Modal's clock is behind, so that what is young there seems old here.
    let Some(rig) = Rig::with(&["--page", "2", "--clock", "-7200"], &[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let (one, one_there) = settled(&rig, &mut sessions).await;
    let (two, two_there) = settled(&rig, &mut sessions).await;
    let (live, live_there) = settled(&rig, &mut sessions).await;
    let data = tempfile::tempdir().expect("a folder");
    let other = rig.open_on(data.path());
    let mut theirs = other.sessions().await;
    let (foreign, foreign_there) = settled(&rig, &mut theirs).await;
    let (_, bare) = settled(&rig, &mut theirs).await;
    let (_, unknown) = settled(&rig, &mut theirs).await;
    orphan(&rig, &mut sessions, &one).await;
    orphan(&rig, &mut sessions, &two).await;
    server.kill();

    let owner = owner(&rig).await;
    // Known by its row although somebody took its tags away; of nobody; and with our tag, but not of our ledger.
    tag(&rig.emulator, &two_there, &[]).await;
    tag(&rig.emulator, &bare, &[]).await;
    let nobody = "sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    tag(&rig.emulator, &unknown, &[("agent-runtime-owner", &owner), ("agent-runtime-sandbox", nobody)]).await;
    rig.emulator.set_faults("");

    let log = data.path().join("log");
    let server = rig.open_telling(&log);
    eventually("what was given up ends", || {
        let running = rig.running();
        !running.contains(&one_there) && !running.contains(&two_there)
    })
    .await;
    no_row_of(&server, &one).await;
    no_row_of(&server, &two).await;
    eventually("the look is over", || told(&log, "is not in its ledger") > 0).await;
    let mut left = vec![live_there, foreign_there, bare, unknown.clone()];
    left.sort();
    assert_eq!(rig.running(), left);
    let reported: Vec<_> = std::fs::read_to_string(&log).expect("a log").lines().map(str::to_owned).collect();
    let reported: Vec<_> = reported.iter().filter(|line| line.contains("is not in its ledger")).collect();
    assert!(reported.len() == 1 && reported[0].contains(&unknown), "{reported:?}");
    assert_eq!(told(&log, "a sandbox that nobody wants is ended"), 2);
    // And those go on.
    let mut sessions = server.sessions().await;
    play(&mut sessions, &live, &json!({ "say": "again" }).to_string()).await;
    play(&mut theirs, &foreign, &json!({ "say": "again" }).to_string()).await;
    assert_eq!(rig.running(), left, "in the same sandboxes");
}

async fn owner(rig: &Rig) -> String {
    use agent_runtime::store::{LedgerRows as _, Store as _};
    let store = SqliteStore::open(&rig.path().join("agent-runtime.db")).await.expect("nobody has it");
    let owner = store.owner().await.expect("an owner");
    store.close().await;
    owner
}

#[tokio::test]
async fn a_list_that_cannot_be_read_to_its_end_ends_nothing() {
    let Some(rig) = Rig::with(&["--page", "2"], &[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let (gone, gone_there) = settled(&rig, &mut sessions).await;
    let (live, _) = settled(&rig, &mut sessions).await;
    settled(&rig, &mut sessions).await;
    orphan(&rig, &mut sessions, &gone).await;
    server.kill();
    let all = rig.running();
    let logs = tempfile::tempdir().expect("a folder");

    let (whole, fails) = ("SandboxListV2=OK+0@0*1", "SandboxListV2=PERMISSION_DENIED@0*1");
    let second_page = vec![[whole, fails].join(","); 9].join(",");
    for (name, rules, calls) in [("always", "SandboxListV2=PERMISSION_DENIED@0%1", 3), ("page", &*second_page, 5)] {
        rig.emulator.set_faults(rules);
        let log = logs.path().join(name);
        let server = rig.open_telling(&log);
        eventually("it was looked at again", || rig.emulator.struck("SandboxListV2") >= calls).await;
        eventually("that is known", || told(&log, AS_BEFORE) >= 1).await;
        assert_eq!(rig.running(), all, "{name}");
        assert_eq!(told(&log, STOPPED), 1, "{name}: told once");
        server.kill();
    }

    // It comes late: until then nothing happens to what is listed, and everything else goes on.
    rig.emulator.set_faults("SandboxListV2=OK+600@0*1");
    let log = logs.path().join("late");
    let server = rig.open_telling(&log);
    let mut sessions = server.sessions().await;
    eventually("the list is asked for", || rig.emulator.struck("SandboxListV2") > 0).await;
    let (young, young_there) = settled(&rig, &mut sessions).await;
    play(&mut sessions, &live, &json!({ "say": "again" }).to_string()).await;
    let mut more = [&all[..], &[young_there]].concat();
    more.sort();
    assert_eq!(rig.running(), more);
    rig.emulator.set_faults("");
    eventually("what was given up ends", || !rig.running().contains(&gone_there)).await;
    no_row_of(&server, &gone).await;
    more.retain(|one| *one != gone_there);
    play(&mut sessions, &young, &json!({ "say": "again" }).to_string()).await;
    assert_eq!(rig.running(), more, "what was made while the list was on its way is not ended");
    assert_eq!(told(&log, STOPPED), 0);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_or_written_ends_nothing_twice() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let (gone, gone_there) = settled(&rig, &mut sessions).await;
    let (live, live_there) = settled(&rig, &mut sessions).await;
    orphan(&rig, &mut sessions, &gone).await;
    server.kill();
    let logs = tempfile::tempdir().expect("a folder");
    let log = logs.path().join("log");
    rig.emulator.set_faults("SandboxListV2=PERMISSION_DENIED@0%1");
    let server = rig.open_telling(&log);
    eventually("the list cannot be read", || told(&log, STOPPED) == 1).await;

    let mut database = open(&rig).await;
    execute(&mut database, "ALTER TABLE ledger RENAME TO elsewhere").await;
    rig.emulator.set_faults("");
    eventually("the ledger cannot be read", || told(&log, STOPPED) == 2).await;
    let before = told(&log, AS_BEFORE);
    eventually("it was looked at again", || told(&log, AS_BEFORE) > before).await;
    assert_eq!(told(&log, STOPPED), 2, "each reason is told once");
    assert_eq!(rig.running().len(), 2);

    // Now it can be read, and not be written, because another program holds the database.
    execute(&mut database, "ALTER TABLE elsewhere RENAME TO ledger; BEGIN IMMEDIATE").await;
    eventually("what was given up ends", || rig.running() == [live_there.clone()]).await;
    eventually("its row cannot be closed", || told(&log, STOPPED) == 3).await;
    assert!(records(&server).await.iter().any(|record| record.session_id == gone), "it is still there");
    execute(&mut database, "ROLLBACK").await;
    no_row_of(&server, &gone).await;
    eventually("all is well again", || told(&log, "could be looked at again") == 1).await;
    let mut sessions = server.sessions().await;
    play(&mut sessions, &live, &json!({ "say": "again" }).to_string()).await;
    assert_eq!(rig.running(), [live_there]);
    assert!(!rig.running().contains(&gone_there));
}

#[tokio::test]
async fn a_create_that_arrives_when_its_server_is_dead_is_found() {
    // Modal's clock is ahead, so that what is made now was made in the future.
    let Some(rig) = Rig::with(&["--clock", "7200"], &[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    rig.emulator.set_faults("SandboxCreateV2=OK+600@0*1");
    let id = created(&mut sessions, "scripted").await;
    let message = proto::SendMessageRequest { session_id: id.clone(), text: "[]".into(), ..Default::default() };
    sessions.send_message(message).await.expect("taken");
    eventually("it is on its way", || rig.emulator.struck("SandboxCreateV2") > 0).await;
    let request = proto::DeleteSessionRequest { session_id: id.clone(), ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
    server.kill();

    let logs = tempfile::tempdir().expect("a folder");
    let log = logs.path().join("log");
    let server = rig.open_telling(&log);
    eventually("it was looked at", || told(&log, "a sandbox is left as it is") > 0).await;
    let row = records(&server).await;
    assert_eq!((row.len(), row[0].state(), &*row[0].session_id), (1, SandboxRecordState::Intended, &*id));
    assert_eq!(rig.running().len(), 0);
    rig.emulator.set_faults("");
    eventually("it arrives", || rig.running().len() == 1).await;
    server.kill();

    let server = rig.open();
    eventually("it is ended", || rig.running().is_empty()).await;
    no_row_of(&server, &id).await;
}

#[tokio::test]
async fn what_ended_while_nobody_knew_comes_back_as_it_ended() {
    let Some(rig) = Rig::new(&[]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    play(&mut sessions, &id, &shell("echo one > kept")).await;
    stop(&mut sessions, &id).await;
    eventually("it is over, with a snapshot", || rig.running().is_empty()).await;
    play(&mut sessions, &id, &shell("echo two >> kept")).await;
    // It ends, and its server never hears of it.
    rig.emulator.set_faults("SandboxTerminateV2=PERMISSION_DENIED@1%1");
    stop(&mut sessions, &id).await;
    eventually("it is over again", || rig.running().is_empty()).await;
    server.kill();
    rig.emulator.set_faults("");
    let server = rig.open();
    while records(&server).await[0].state() != SandboxRecordState::Ended {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut sessions = server.sessions().await;
    let played = play(&mut sessions, &id, &shell("cat kept")).await;
    let said = format!("{:?}", played.contents());
    assert!(said.contains("one\\ntwo"), "{said}");
    assert_eq!(text(&rig.emulator.running()[0]["tags"]["agent-runtime-session"]), id);
}

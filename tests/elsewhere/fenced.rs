//! A server that stood still while another took its database over ends and makes no sandboxes any more.

use std::path::Path;

use agent_runtime::proto;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    rig::{Rig, created},
    support::{Server, play},
};

fn say(what: &str) -> String {
    json!({ "say": what }).to_string()
}

/// `there`: the sandboxes there are.
async fn stands_still(data: &Path, open: impl Fn() -> Server, there: impl Fn() -> Vec<String>) {
    let old = open();
    let mut of_old = old.sessions().await;
    let id = created(&mut of_old, "scripted").await;
    play(&mut of_old, &id, &say("hello")).await;
    let before = there();
    assert_eq!(before.len(), 1);

    old.signal(Signal::STOP);
    // Whoever thinks that it is dead may take its lock away.
    std::fs::remove_file(data.join("agent-runtime.db.lock")).expect("the lock");
    let new = open();
    let mut of_new = new.sessions().await;
    play(&mut of_new, &id, &say("taken over")).await;
    assert_eq!(there(), before, "the same one");
    old.signal(Signal::CONT);

    let message = proto::SendMessageRequest { session_id: id.clone(), text: say("mine"), ..Default::default() };
    of_old.send_message(message).await.expect_err("it is another's");
    let request = proto::StopSessionRequest { session_id: id.clone(), ..Default::default() };
    of_old.stop_session(request).await.expect_err("it is another's");
    let request = proto::DeleteSessionRequest { session_id: id.clone(), ..Default::default() };
    of_old.delete_session(request).await.expect_err("it is another's");
    let request = proto::CreateSessionRequest { agent: "scripted".into(), start_sandbox: true, ..Default::default() };
    of_old.create_session(request).await.expect_err("it may make none");
    assert_eq!(there(), before);
    play(&mut of_new, &id, &say("undisturbed")).await;
    assert_eq!(there(), before);
    old.kill();
    play(&mut of_new, &id, &say("still there")).await;
    assert_eq!(there(), before);
}

#[tokio::test]
async fn a_server_that_stood_still_does_nothing_at_modal() {
    let Some(rig) = Rig::new(&[]) else { return };
    stands_still(rig.path(), || rig.open(), || rig.running()).await;
}

#[tokio::test]
async fn a_server_that_stood_still_does_nothing_here() {
    let data = tempfile::tempdir().expect("a folder");
    let there = || {
        let folders =
            std::fs::read_dir(data.path().join("sandboxes")).expect("the folders").map(|one| one.expect("one"));
        let mut names: Vec<_> = folders.map(|one| one.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    stands_still(data.path(), || Server::start_on(data.path(), &[]), there).await;
}

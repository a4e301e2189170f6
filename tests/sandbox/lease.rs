//! Whoever loses the right to change anything while it waits to try again sends nothing any more.

use std::{sync::Arc, time::Duration};

use agent_runtime::{
    domain::SandboxId,
    sandbox::{Error, NewSandbox, Provider as _, Sandbox, StdinStatus, inventory::Inventory as _, ledger::Ledger as _},
    store::Store as _,
};

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, session, sh, soon, start},
};

/// What the router and the control plane put off again and again, for as long as anybody asks.
const PUT_OFF: [&str; 4] = ["SandboxCreateV2", "TaskExecStart", "TaskExecStdinWrite", "SandboxTerminateV2"];

/// Waits until each of these calls was made and made again.
async fn made_again(elsewhere: &Elsewhere, calls: &[&str]) {
    while !calls.iter().all(|call| elsewhere.emulator.struck(call) > 1) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn rules(calls: &[&str]) -> String {
    calls.iter().map(|call| format!("{call}=RESOURCE_EXHAUSTED+0.1@0%1")).collect::<Vec<_>>().join(",")
}

fn plain() -> NewSandbox {
    NewSandbox::plain(SandboxId::mint(), session(), NOW)
}

async fn made(elsewhere: &Elsewhere) -> Arc<dyn Sandbox> {
    elsewhere.modal.create(plain()).await.expect("created")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_to_be_sent_again_is_not_sent_without_the_lease() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let (sandbox, kept) = (made(&elsewhere).await, made(&elsewhere).await);
    let exec = start(&*sandbox, "cat").await;
    let row = elsewhere.book.find(sandbox.id()).await.unwrap().expect("a row");
    let (new, spec) = (plain(), sh("exit 0"));

    // One is on its way to its end before the others begin.
    elsewhere.emulator.set_faults(&rules(&["TaskSnapshotFilesystem"]));
    let others = async {
        made_again(&elsewhere, &["TaskSnapshotFilesystem"]).await;
        elsewhere.emulator.set_faults(&rules(&[&PUT_OFF[..], &["TaskSnapshotFilesystem"]].concat()));
        let lose = async {
            made_again(&elsewhere, &PUT_OFF).await;
            elsewhere.book.store.close().await;
        };
        tokio::join!(
            elsewhere.modal.create(new.clone()),
            sandbox.start(NOW, &spec),
            sandbox.write_stdin(NOW, &exec, 0, b"x", true),
            elsewhere.modal.end(&row, &row.facts.external_id),
            lose,
        )
    };
    let all = async { tokio::join!(kept.terminate(NOW), others) };
    let (terminated, (created, started, given, ended, ())) = soon(all).await;

    let lost = |result: Option<Error>| {
        assert!(matches!(&result, Some(Error::Unavailable(why)) if why.contains("own its database")), "{result:?}");
    };
    assert_eq!(terminated, Err(Error::Stale { given: 1, seen: 2 }), "its next step asks first");
    for refused in [created.err(), started.err(), given.err(), ended.err()] {
        lost(refused);
    }
    elsewhere.emulator.set_faults("");
    assert_eq!(elsewhere.emulator.sandboxes().len(), 2, "none was made");
    assert_eq!(elsewhere.emulator.running().len(), 2, "none was ended");
    assert_eq!(sandbox.wait(&spec.exec_id).await, Err(Error::UnknownExec(spec.exec_id.clone())), "none was started");
    assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 0, closed: false }), "none was given");
}

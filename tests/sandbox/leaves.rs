//! What sandboxes at Modal leave there is paid for: of each there are the newest files only, and none once it was removed.

use std::{sync::Arc, time::Duration};

use agent_runtime::{
    domain::{LedgerState, SandboxId},
    sandbox::{NewSandbox, Provider as _, Sandbox, inventory::Inventory as _, ledger::Ledger as _},
};

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, prints, session, soon},
};

/// Waits until these are all that is kept.
async fn only(elsewhere: &Elsewhere, images: &[String]) {
    soon(async {
        while elsewhere.emulator.snapshots() != images {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Ends it, and returns what was kept of it.
async fn stopped(elsewhere: &Elsewhere, sandbox: Arc<dyn Sandbox>) -> String {
    sandbox.terminate(NOW).await.expect("terminated");
    let entry = elsewhere.book.find(sandbox.id()).await.unwrap().expect("a row");
    entry.facts.snapshot.expect("a snapshot").image_id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_files_are_kept_once_and_go_with_the_sandbox() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    let sandbox = elsewhere.modal.create(new.clone()).await.expect("created");
    let first = stopped(&elsewhere, sandbox).await;
    only(&elsewhere, std::slice::from_ref(&first)).await;
    let sandbox = elsewhere.modal.resume(new.clone()).await.expect("brought back");
    prints(&*sandbox, "echo more >file").await;
    let second = stopped(&elsewhere, sandbox).await;
    assert_ne!(first, second);
    only(&elsewhere, std::slice::from_ref(&second)).await;
    let sandbox = elsewhere.modal.resume(new.clone()).await.expect("brought back");
    // It ends by itself, and is brought back from what it left.
    let external = elsewhere.book.find(&new.id).await.unwrap().expect("a row").facts.external_id;
    elsewhere.emulator.kill_sandbox(&external);
    drop(sandbox);
    let sandbox = soon(elsewhere.modal.resume(new.clone())).await.expect("brought back");
    assert_eq!(prints(&*sandbox, "cat file").await, "more\n");
    let left = elsewhere.book.find(&new.id).await.unwrap().expect("a row").facts.snapshot.expect("what it left");
    only(&elsewhere, std::slice::from_ref(&left.image_id)).await;
    elsewhere.modal.destroy(&new.id).await.expect("destroyed");
    assert_eq!(elsewhere.emulator.snapshots(), [""; 0], "neither what it was made from nor what it left");
    assert_eq!(elsewhere.book.find(&new.id).await, Ok(None));
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_dropped_stays_on_record_until_it_is() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    elsewhere.modal.create(new.clone()).await.expect("created");
    elsewhere.emulator.set_faults("ImageDelete=PERMISSION_DENIED@0*1");
    elsewhere.modal.destroy(&new.id).await.expect("destroyed");
    assert_eq!((elsewhere.emulator.running().len(), elsewhere.emulator.snapshots().len()), (0, 1));
    let entry = elsewhere.book.find(&new.id).await.unwrap().expect("a row");
    assert_eq!(entry.state, LedgerState::Ended);
    elsewhere.modal.drop_kept(&entry).await.expect("dropped");
    elsewhere.modal.drop_kept(&entry).await.expect("dropped before");
    assert!(elsewhere.emulator.snapshots().is_empty());
    elsewhere.modal.destroy(&new.id).await.expect("the rest");
    assert_eq!(elsewhere.book.find(&new.id).await, Ok(None));
    elsewhere.close().await;
}

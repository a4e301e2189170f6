//! Files that Modal was to keep and does not have: what the sandbox left by itself takes their place, or nothing does, and that is
//! said as soon as it is known.

use agent_runtime::{
    domain::{LedgerSnapshot, SandboxId, Timestamp},
    sandbox::{Error, NewSandbox, Provider as _, ledger::Ledger as _},
};

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, prints, session, soon},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_gone_is_no_dead_end() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    let sandbox = elsewhere.modal.create(new.clone()).await.expect("made");
    prints(&*sandbox, "echo kept >file").await;
    // It ends by itself, and leaves its files.
    let row = || async { elsewhere.book.find(&new.id).await.unwrap().expect("a row") };
    let first = row().await;
    elsewhere.emulator.kill_sandbox(&first.facts.external_id);
    assert!(matches!(soon(sandbox.check()).await, Err(Error::Gone(_))));
    sandbox.terminate(NOW).await.expect("noted");
    let mut ended = row().await;
    assert_eq!(ended.facts.snapshot, None);

    // The row names a snapshot that is not there, as when it was dropped or its account is another one.
    let (image_id, expire_time) = ("im-nobodynobodynobodynobo".to_owned(), Timestamp(i64::MAX));
    let missing = LedgerSnapshot { image_id, expire_time };
    ended.facts.snapshot = Some(missing.clone());
    elsewhere.book.put(&ended).await.unwrap();
    let back = soon(elsewhere.modal.resume(new.clone())).await.expect("brought back from what it left");
    assert_eq!(prints(&*back, "cat file").await, "kept\n");

    // Neither is there: the session is told, and brings its checkpoint.
    back.terminate(NOW).await.expect("terminated");
    let mut ended = row().await;
    ended.facts.snapshot = Some(missing);
    ended.facts.external_id = "sb-01JNOBODYNOBODYNOBODYNOBO".to_owned();
    elsewhere.book.put(&ended).await.unwrap();
    assert!(matches!(soon(elsewhere.modal.resume(new)).await, Err(Error::Gone(_))));
    elsewhere.close().await;
}

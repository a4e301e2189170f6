//! Sandboxes at Modal in which something works against us: they end all the same.

use agent_runtime::{
    domain::SandboxId,
    sandbox::{NewSandbox, Provider as _},
};

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, prints, session, soon, start, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_programs_stop_our_scripts_ends_and_keeps_its_files() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    let sandbox = elsewhere.modal.create(new.clone()).await.expect("created");
    prints(&*sandbox, "echo kept >file").await;
    // Only the script that ends programs has this in its text.
    let script = "trap '' TERM; echo watching; while sleep 0.05; do
        for file in $(grep -la 'ar_tenth[s]=' /proc/[0-9]*/cmdline 2>/dev/null); do
            file=${file%/cmdline}; kill -STOP \"${file#/proc/}\"
        done
    done";
    let exec = start(&*sandbox, script).await;
    until(&*sandbox, &exec, "watching").await;
    soon(sandbox.terminate(NOW)).await.expect("ended");
    assert!(elsewhere.emulator.running().is_empty());
    let back = elsewhere.modal.resume(new).await.expect("brought back");
    assert_eq!(prints(&*back, "cat file").await, "kept\n");
    elsewhere.close().await;
}

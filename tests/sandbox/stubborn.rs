//! Sandboxes at Modal in which something works against us: they end all the same.

use agent_runtime::{
    domain::SandboxId,
    sandbox::{NewSandbox, Provider as _, ledger::Ledger as _},
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

#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_with_the_files_is_taken_for_no_program_that_runs() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    let sandbox = elsewhere.modal.create(new.clone()).await.expect("created");
    let exec = start(&*sandbox, "echo runs; exec sleep 1000").await;
    until(&*sandbox, &exec, "runs").await;
    // It fails with what is written down of a program in it, which it leaves.
    let external = elsewhere.book.find(&new.id).await.unwrap().expect("a row").facts.external_id;
    elsewhere.emulator.kill_sandbox(&external);
    let sandbox = soon(elsewhere.modal.resume(new.clone())).await.expect("brought back");
    let count = "ls /var/lib/agent-runtime /tmp/.agent-runtime 2>/dev/null | grep -c '^[0-9a-f-]\\{36\\}$'";
    let script =
        format!("trap '{} >marks; exit' TERM; {count}; while sleep 0.1; do :; done", count.replace('\'', "\""));
    let exec = start(&*sandbox, &script).await;
    until(&*sandbox, &exec, "2").await;
    soon(sandbox.terminate(NOW)).await.expect("ended");
    let sandbox = elsewhere.modal.resume(new).await.expect("brought back");
    assert_eq!(prints(&*sandbox, "cat marks").await, "1\n", "its own is left when it is asked to end");
    elsewhere.close().await;
}

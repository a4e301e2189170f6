//! Sandboxes at Modal that are slow to answer, or never do: slow is not lost, and what is over is told.

use std::{sync::Arc, time::Duration};

use agent_runtime::{
    domain::{ExecId, SandboxId},
    sandbox::{Error, NewSandbox, Output, Provider as _, Sandbox, ledger::Ledger as _},
};
use futures::StreamExt as _;
use tokio::task::JoinSet;

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, noise, session, soon, start, until},
};

/// A sandbox, its id at Modal, and a program in it that prints what it is given.
async fn echoing(elsewhere: &Elsewhere) -> (Arc<dyn Sandbox>, String, ExecId) {
    let new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    let sandbox = elsewhere.modal.create(new.clone()).await.expect("created");
    let external = elsewhere.book.find(&new.id).await.unwrap().expect("a row").facts.external_id;
    let exec = start(&*sandbox, "echo runs; cat").await;
    until(&*sandbox, &exec, "runs").await;
    (sandbox, external, exec)
}

/// Waits until so many calls were held back.
async fn held(elsewhere: &Elsewhere, call: &str, times: u64) {
    soon(async {
        while elsewhere.emulator.struck(call) < times {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_does_not_come_is_not_said_not_to_be_there() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let (sandbox, _, exec) = echoing(&elsewhere).await;
    let whole = noise(1000);
    sandbox.write_stdin(NOW, &exec, 0, &whole, false).await.expect("accepted");
    // Nobody has read so far that another server would know that it is there.
    let other = elsewhere.another(&elsewhere.emulator.env[0].1);
    let taken = other.attach(sandbox.id(), NOW).await.expect("there");
    taken.stdin_status(&exec).await.expect("known");
    elsewhere.emulator.set_faults("TaskExecStdioRead=OK+1000@0*1");
    let slow = soon(taken.read(&exec, Output::Stdout, 900)).await.err();
    assert!(matches!(slow, Some(Error::Unavailable(_))), "{slow:?}");
    let mut stream = soon(taken.read(&exec, Output::Stdout, 900)).await.expect("there");
    assert_eq!(soon(stream.next()).await.expect("more").expect("a chunk")[..], whole[895..]);
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_never_answered_ends_with_the_sandbox() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let (sandbox, external, exec) = echoing(&elsewhere).await;
    elsewhere.emulator.set_faults("TaskExecStdioRead=OK+1000@0*1");
    let mut stream = sandbox.read(&exec, Output::Stderr, 0).await.expect("readable");
    let mut reading = JoinSet::new();
    reading.spawn(async move { stream.next().await });
    held(&elsewhere, "TaskExecStdioRead", 1).await;
    elsewhere.emulator.kill_sandbox(&external);
    let told = soon(reading.join_next()).await.expect("one").expect("no panic");
    assert!(matches!(told, Some(Err(Error::Gone(_)))), "{told:?}");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_says_nothing_holds_up_no_output() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let (sandbox, _, exec) = echoing(&elsewhere).await;
    let mut stream = sandbox.read(&exec, Output::Stdout, 0).await.expect("readable");
    assert_eq!(soon(stream.next()).await, Some(Ok("runs\n".into())));
    elsewhere.emulator.set_faults("SandboxWaitV2=OK+1000@0*1000");
    let mut reading = JoinSet::new();
    reading.spawn(async move { stream.next().await });
    // After so much silence it is asked whether the sandbox lives.
    held(&elsewhere, "SandboxWaitV2", 1).await;
    sandbox.write_stdin(NOW, &exec, 0, b"more", false).await.expect("accepted");
    assert_eq!(soon(reading.join_next()).await.expect("one").expect("no panic"), Some(Ok("more".into())));
    elsewhere.emulator.set_faults("");
    elsewhere.close().await;
}

//! Other stand-ins of Modal's, as far as its clients leave room: stricter ones, and ones that have only what the official SDKs
//! were seen to use. The emulator is made to behave like each of them.

use std::sync::Arc;

use agent_runtime::{
    domain::{ModalGpu, ModalSettings, SandboxId},
    sandbox::{Error, Exit, NewSandbox, Output, Provider as _, Root, Sandbox, ledger::Ledger as _},
};

use futures::StreamExt as _;

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, give, noise, prints, read_from, session, soon, start, stdout},
};

fn plain() -> NewSandbox {
    NewSandbox::plain(SandboxId::mint(), session(), NOW)
}

async fn made(elsewhere: &Elsewhere) -> Arc<dyn Sandbox> {
    soon(elsewhere.modal.create(plain())).await.expect("created")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_may_wait_for_its_machine() {
    let Some(elsewhere) = Elsewhere::start_with(&["--placing", "700"]).await else { return };
    let sandbox = made(&elsewhere).await;
    assert_eq!(prints(&*sandbox, "echo here").await, "here\n");
    assert!(elsewhere.emulator.calls()["SandboxGetTaskIdV2"]["made"].as_u64() > Some(1), "it was asked until it knew");

    let mut new = plain();
    let gpu = Some(ModalGpu { kind: "A10G".to_owned(), count: 1 });
    new.spec.modal = Some(ModalSettings { gpu, ..ModalSettings::default() });
    let sandbox = soon(elsewhere.modal.create(new)).await.expect("created");
    assert_eq!(prints(&*sandbox, "echo here").await, "here\n");
    assert!(elsewhere.emulator.calls()["SandboxGetTaskId"]["made"].as_u64() > Some(1), "it was asked until it knew");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_end_in_good_order_while_its_program_runs() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let sandbox = made(&elsewhere).await;
    let exec = start(&*sandbox, "cat; echo err >&2").await;
    // Each stream brings one piece, and is over then.
    elsewhere.emulator.set_faults("TaskExecStdioRead=OK@1*20");
    let whole = noise(500_000);
    let (first, rest) = whole.split_at(300_000);
    let mut offset = sandbox.write_stdin(NOW, &exec, 0, first, false).await.expect("accepted");
    let mut output = sandbox.read(&exec, Output::Stdout, 0).await.expect("readable");
    let mut got = Vec::new();
    while let Some(chunk) = soon(output.next()).await {
        got.extend_from_slice(&chunk.expect("a chunk"));
        if got.len() == first.len() {
            // Not before: some streams end while it runs, and some when it is over.
            offset = sandbox.write_stdin(NOW, &exec, offset, rest, true).await.expect("accepted");
            sandbox.wait(&exec).await.expect("ended");
        }
    }
    assert!(got == whole, "{} of {offset} bytes", got.len());
    elsewhere.emulator.set_faults("");
    assert!(soon(stdout(&*sandbox, &exec)).await == whole);
    assert_eq!(read_from(&*sandbox, &exec, Output::Stderr, 0).await, b"err\n");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sdks_do_without_need_not_be_there() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let lacks = [
        "TaskExecStdinStatus",
        "TaskExecPoll",
        "ImageDelete",
        "SandboxGetExitSnapshotV2",
        "SandboxGetFromName",
        "SandboxGetTaskIdV2",
    ];
    let rules = lacks.map(|call| format!("{call}=UNIMPLEMENTED@0%1"));
    elsewhere.emulator.set_faults(&rules.join(","));
    let new = plain();
    let sandbox = soon(elsewhere.modal.create(new.clone())).await.expect("created");
    soon(sandbox.check()).await.expect("it answers, if only that it cannot say");
    let exec = start(&*sandbox, "cat; exit 3").await;
    let whole = noise(300_000);
    give(&*sandbox, &exec, &whole).await;
    assert!(soon(stdout(&*sandbox, &exec)).await == whole);
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(3)));

    // Another server gives what it was given once more.
    let exec = start(&*sandbox, "cat").await;
    sandbox.write_stdin(NOW, &exec, 0, &whole[..200_000], false).await.expect("accepted");
    let other = elsewhere.another(&elsewhere.server);
    let taken = soon(other.attach(&new.id, NOW)).await.expect("there");
    let status = taken.stdin_status(&exec).await.expect("known enough");
    assert_eq!((status.accepted, status.closed), (0, false));
    taken.write_stdin(NOW, &exec, 0, &whole, true).await.expect("accepted");
    assert!(soon(stdout(&*taken, &exec)).await == whole);

    // It leaves an image, which nobody can drop.
    soon(sandbox.terminate(NOW)).await.expect("terminated");
    soon(elsewhere.modal.destroy(&new.id)).await.expect("destroyed");
    assert_eq!(elsewhere.book.find(&new.id).await, Ok(None), "what cannot be dropped is left to its time");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_no_calls_is_not_asked_without_a_pause() {
    let Some(elsewhere) = Elsewhere::start_with(&["--no-holding", "--linger", "1500"]).await else { return };
    let sandbox = made(&elsewhere).await;
    let exec = start(&*sandbox, "sleep 2; exit 3").await;
    assert_eq!(soon(sandbox.wait(&exec)).await, Ok(Exit::Code(3)));
    let asked = |call: &str| elsewhere.emulator.calls()[call]["made"].as_u64().unwrap_or(0);
    assert!((2..10).contains(&asked("TaskExecWait")), "{}", asked("TaskExecWait"));
    let before = asked("SandboxWaitV2");
    soon(sandbox.terminate(NOW)).await.expect("terminated");
    let more = asked("SandboxWaitV2") - before;
    assert!((2..15).contains(&more), "{more}");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_may_be_refused_because_it_was_heard() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let sandbox = made(&elsewhere).await;
    // It had its effect; sent again, it is told that there is one already.
    elsewhere.emulator.set_faults("TaskExecStart=ALREADY_EXISTS@1*2");
    assert_eq!(prints(&*sandbox, "echo once >>starts; cat starts").await, "once\n");
    assert_eq!(sandbox.files().read_small(Root::Workspace, "starts", 100).await.expect("read"), "once\n");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_says_in_its_own_way_that_it_does_not_know_a_program() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let sandbox = made(&elsewhere).await;
    for code in ["NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNIMPLEMENTED"] {
        elsewhere.emulator.set_faults(&format!("TaskExecPoll={code}@0%1"));
        assert_eq!(soon(sandbox.check()).await, Ok(()), "{code}");
    }
    elsewhere.emulator.set_faults("TaskExecPoll=PERMISSION_DENIED@0%1");
    assert!(matches!(soon(sandbox.check()).await, Err(Error::Unavailable(_))));
    elsewhere.close().await;
}

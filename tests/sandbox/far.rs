//! What is true of sandboxes at Modal only: calls that fail and are made again, tokens that end, another server that takes over,
//! sandboxes that die, and what they leave.

use std::{sync::Arc, time::Duration};

use agent_runtime::{
    domain::{LedgerEntry, LedgerFacts, LedgerState, ModalGpu, ModalSettings, SandboxId, Timestamp},
    sandbox::{
        Content, Epoch, Error, Exit, NewSandbox, Output, Provider, Root, Sandbox, Signal, StdinStatus,
        inventory::Inventory as _, ledger::Ledger as _,
    },
    store::Store as _,
};
use futures::StreamExt as _;

use crate::{
    elsewhere::Elsewhere,
    rig::{NOW, give, noise, prints, read_from, session, sh, soon, start, stdout, until},
};

fn plain() -> NewSandbox {
    NewSandbox::plain(SandboxId::mint(), session(), NOW)
}

async fn made(elsewhere: &Elsewhere, new: &NewSandbox) -> Arc<dyn Sandbox> {
    elsewhere.modal.create(new.clone()).await.expect("created")
}

/// Everything that is asked of a sandbox, once.
async fn a_life(elsewhere: &Elsewhere) {
    let new = plain();
    let sandbox = made(elsewhere, &new).await;
    let exec = start(&*sandbox, "cat; echo end >&2; echo kept >file; exit 3").await;
    let whole = noise(300_000);
    give(&*sandbox, &exec, &whole).await;
    assert!(stdout(&*sandbox, &exec).await == whole);
    assert_eq!(read_from(&*sandbox, &exec, Output::Stderr, 0).await, b"end\n");
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(3)));
    let exec = start(&*sandbox, "sleep 1000").await;
    sandbox.signal(NOW, &exec, Signal::Terminate).await.expect("sent");
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Signal(15)));
    assert_eq!(elsewhere.emulator.running().len(), 1, "no second one");
    sandbox.terminate(NOW).await.expect("terminated");
    let again = elsewhere.modal.resume(new.clone()).await.expect("brought back");
    assert_eq!(prints(&*again, "cat file").await, "kept\n");
    elsewhere.modal.destroy(&new.id).await.expect("destroyed");
    assert_eq!(elsewhere.emulator.running().len(), 0, "none left");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_may_fail_twice() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let calls = [
        "AuthTokenGet",
        "AppGetOrCreate",
        "EnvironmentGetOrCreate",
        "ImageGetOrCreate",
        "ImageJoinStreaming",
        "SandboxCreateV2",
        "SandboxWaitV2",
        "SandboxTerminateV2",
        "TaskExecStart",
        "TaskExecStdinWrite",
        "TaskExecStdioRead",
        "TaskExecWait",
        "TaskSnapshotFilesystem",
    ];
    // Before its effect, then after it, with the answer lost; and the server wants to be left alone for a moment.
    let rules =
        calls.map(|call| format!("{call}=UNAVAILABLE@0*1,{call}=UNAVAILABLE@1*1,{call}=RESOURCE_EXHAUSTED+0.1@0*1"));
    elsewhere.emulator.set_faults(&rules.join(","));
    soon(a_life(&elsewhere)).await;
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_by_chance_lose_nothing() {
    // `MODAL_SEEDS=200` for more of them.
    let seeds = std::env::var("MODAL_SEEDS").map_or(4, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        let Some(elsewhere) = Elsewhere::start_with(&["--seed", &seed.to_string()]).await else { return };
        elsewhere.emulator.set_faults("*=UNAVAILABLE@0%0.05,*=UNAVAILABLE@1%0.05");
        soon(a_life(&elsewhere)).await;
        elsewhere.emulator.set_faults("");
        elsewhere.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_is_lost_each_time_makes_one() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    elsewhere.emulator.set_faults("SandboxCreateV2=UNAVAILABLE@1*4");
    let new = plain();
    let sandbox = made(&elsewhere, &new).await;
    assert_eq!(prints(&*sandbox, "echo here").await, "here\n");
    let there = elsewhere.emulator.sandboxes();
    assert_eq!(there.len(), 1);
    let entry = elsewhere.book.find(&new.id).await.unwrap().expect("a row");
    assert_eq!((entry.state, &*entry.facts.external_id), (LedgerState::Created, there[0]["id"].as_str().unwrap()));

    // The server died before it knew: the row says only what was intended.
    let mut entry = entry;
    entry.state = LedgerState::Intended;
    entry.facts.external_id.clear();
    elsewhere.book.put(&entry).await.unwrap();
    let other = elsewhere.another(&elsewhere.emulator.env[0].1);
    let found = other.attach(&new.id, NOW).await.expect("found by its name");
    assert_eq!(prints(&*found, "echo here").await, "here\n");
    assert_eq!(elsewhere.emulator.sandboxes().len(), 1);
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_without_a_wish_is_told_at_once() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    elsewhere.emulator.set_faults("SandboxCreateV2=RESOURCE_EXHAUSTED@0*1");
    let new = plain();
    let refused = elsewhere.modal.create(new.clone()).await.err();
    assert!(matches!(&refused, Some(Error::Unavailable(why)) if why.contains("injected")), "{refused:?}");
    assert_eq!(elsewhere.book.find(&new.id).await.unwrap().expect("a row").state, LedgerState::Intended);
    made(&elsewhere, &new).await;
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_survives_a_stream_that_is_cut_again_and_again() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let sandbox = made(&elsewhere, &plain()).await;
    let exec = start(&*sandbox, "cat").await;
    let whole = noise(3_000_000);
    give(&*sandbox, &exec, &whole).await;
    // More cuts than one patience lasts: what comes through gives it back.
    elsewhere.emulator.set_faults("TaskExecStdioRead=UNAVAILABLE@1*40");
    assert!(soon(stdout(&*sandbox, &exec)).await == whole);
    assert!(soon(read_from(&*sandbox, &exec, Output::Stdout, 1_234_567)).await == whole[1_234_567..]);
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_may_end_at_any_moment() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let sandbox = made(&elsewhere, &plain()).await;
    let exec = start(&*sandbox, "cat").await;
    let mut stream = sandbox.read(&exec, Output::Stdout, 0).await.expect("readable");
    let mut offset = 0;
    for text in ["one", "two", "three"] {
        offset = soon(sandbox.write_stdin(NOW, &exec, offset, text.as_bytes(), false)).await.expect("accepted");
        let mut got = Vec::new();
        while got.len() < text.len() {
            got.extend_from_slice(&soon(stream.next()).await.expect("more").expect("a chunk"));
        }
        assert_eq!(got, text.as_bytes());
        elsewhere.emulator.expire_tokens();
        // Opened again, with a token that is refused.
        assert_eq!(soon(sandbox.stdin_status(&exec)).await, Ok(StdinStatus { accepted: offset, closed: false }));
    }
    sandbox.write_stdin(NOW, &exec, offset, b"", true).await.expect("closed");
    assert_eq!(soon(stdout(&*sandbox, &exec)).await, b"onetwothree");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_goes_on_where_this_one_stood() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let new = plain();
    let sandbox = made(&elsewhere, &new).await;
    let exec = start(&*sandbox, "cat; echo err >&2; exit 7").await;
    let whole = noise(200_000);
    sandbox.write_stdin(NOW, &exec, 0, &whole[..100_000], false).await.expect("accepted");
    until_there(&*sandbox, &exec, 100_000).await;

    let other = elsewhere.another(&elsewhere.emulator.env[0].1);
    let taken = other.attach(&new.id, Epoch(2)).await.expect("there");
    assert_eq!(taken.stdin_status(&exec).await, Ok(StdinStatus { accepted: 100_000, closed: false }));
    // At an offset that nobody here has read up to yet, and beyond what there is.
    let mut rest = taken.read(&exec, Output::Stdout, 99_990).await.expect("readable");
    assert_eq!(soon(rest.next()).await.expect("more").expect("a chunk")[..], whole[99_990..100_000]);
    let repeated = taken.write_stdin(Epoch(2), &exec, 50_000, &whole[50_000..], true).await;
    assert_eq!(repeated, Ok(200_000));
    assert!(soon(stdout(&*taken, &exec)).await == whole);
    assert_eq!(taken.wait(&exec).await, Ok(Exit::Code(7)));
    assert_eq!(read_from(&*taken, &exec, Output::Stderr, 0).await, b"err\n");
    let beyond = taken.read(&exec, Output::Stdout, 200_001).await.err();
    assert_eq!(beyond, Some(Error::Offset { offset: 200_001, from: 0, to: 200_000 }));

    // A start that failed there is known here, and what runs in its place is found.
    let mut spec = sh("echo works");
    let argv = std::mem::replace(&mut spec.argv, vec!["/no/such/program".to_owned()]);
    assert!(matches!(taken.start(Epoch(2), &spec).await, Err(Error::Start { .. })));
    spec.argv = argv;
    taken.start(Epoch(2), &spec).await.expect("started");
    let third = elsewhere.another(&elsewhere.emulator.env[0].1).attach(&new.id, Epoch(3)).await.expect("there");
    assert_eq!(stdout(&*third, &spec.exec_id).await, b"works\n");
    elsewhere.close().await;
}

async fn until_there(sandbox: &dyn Sandbox, exec: &agent_runtime::domain::ExecId, length: usize) {
    let mut stream = sandbox.read(exec, Output::Stdout, 0).await.expect("readable");
    let mut got = 0;
    while got < length {
        got += soon(stream.next()).await.expect("more").expect("a chunk").len();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_dies_is_gone() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let new = plain();
    let sandbox = made(&elsewhere, &new).await;
    let exec = start(&*sandbox, "echo ready; sleep 1000").await;
    until(&*sandbox, &exec, "ready").await;
    sandbox.check().await.expect("alive");
    let mut stream = sandbox.read(&exec, Output::Stdout, 0).await.expect("readable");
    assert_eq!(stream.next().await, Some(Ok("ready\n".into())));
    let external = elsewhere.book.find(&new.id).await.unwrap().expect("a row").facts.external_id;
    let waiting = sandbox.wait(&exec);
    elsewhere.emulator.kill_sandbox(&external);
    assert!(matches!(soon(waiting).await, Err(Error::Gone(_))));
    assert!(!matches!(soon(stream.next()).await, Some(Ok(_))));
    assert!(matches!(soon(sandbox.check()).await, Err(Error::Gone(_))));
    assert!(matches!(soon(sandbox.start(NOW, &sh("exit 0"))).await, Err(Error::Gone(_))));
    assert!(matches!(elsewhere.modal.attach(&new.id, NOW).await, Err(Error::Gone(_))));
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ended_comes_back_with_its_files() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let new = plain();
    let mut snapshots = Vec::new();
    for round in 0..3 {
        let sandbox = elsewhere.modal.create(new.clone()).await.expect("made, or brought back");
        let lines =
            prints(&*sandbox, &format!("echo {round} >>file; echo {round} >>\"$HOME/file\"; wc -l <file")).await;
        assert_eq!(lines.trim(), (round + 1).to_string());
        assert!(sandbox.expires().expect("a time") > Timestamp::now());
        sandbox.terminate(NOW).await.expect("terminated");
        assert!(elsewhere.emulator.running().is_empty());
        let entry = elsewhere.book.find(&new.id).await.unwrap().expect("a row");
        assert_eq!(entry.state, LedgerState::Ended);
        snapshots.push(entry.facts.snapshot.expect("a snapshot").image_id);
        // Nothing runs there, and that is no reason to make one.
        assert!(matches!(elsewhere.modal.attach(&new.id, NOW).await, Err(Error::Gone(_))));
    }
    snapshots.dedup();
    assert_eq!(snapshots.len(), 3);
    elsewhere.modal.destroy(&new.id).await.expect("destroyed");
    assert_eq!(elsewhere.book.find(&new.id).await, Ok(None));
    assert!(matches!(elsewhere.modal.resume(new.clone()).await, Err(Error::Gone(_))));
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ended_by_itself_leaves_its_files() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let mut new = plain();
    // Long enough to write, short enough to wait for.
    let timeout = Some(Duration::from_secs(10));
    new.spec.modal = Some(ModalSettings { timeout, ..ModalSettings::default() });
    let sandbox = made(&elsewhere, &new).await;
    prints(&*sandbox, "echo left >file").await;
    let exec = start(&*sandbox, "sleep 1000").await;
    assert!(matches!(soon(sandbox.wait(&exec)).await, Err(Error::Gone(_))));
    let back = soon(elsewhere.modal.resume(new)).await.expect("brought back from what it left");
    assert_eq!(prints(&*back, "cat file").await, "left\n");
    // What it was made from is known until it leaves something newer.
    let entry = elsewhere.book.find(back.id()).await.unwrap().expect("a row");
    assert!(entry.state == LedgerState::Created && entry.facts.snapshot.is_some());
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_is_had_by_the_first_version() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let mut new = plain();
    let gpu = Some(ModalGpu { kind: "A10G".to_owned(), count: 1 });
    new.spec.modal = Some(ModalSettings { gpu, ..ModalSettings::default() });
    let sandbox = made(&elsewhere, &new).await;
    assert_eq!(prints(&*sandbox, "echo here >file; cat file").await, "here\n");
    let external = elsewhere.book.find(&new.id).await.unwrap().expect("a row").facts.external_id;
    assert_eq!(external.len(), "sb-".len() + 22, "{external}");
    sandbox.terminate(NOW).await.expect("terminated");
    let back = elsewhere.modal.resume(new).await.expect("brought back");
    assert_eq!(prints(&*back, "cat file").await, "here\n");
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_listed_to_the_end() {
    let Some(elsewhere) = Elsewhere::start_with(&["--page", "2"]).await else { return };
    let all: Vec<_> = (0..5).map(|_| plain()).collect();
    for new in &all {
        made(&elsewhere, new).await;
    }
    let listed = elsewhere.modal.list().await.expect("listed");
    let ids = |ids: Vec<SandboxId>| {
        let mut ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        ids.sort();
        ids
    };
    assert_eq!(
        ids(listed.iter().map(|one| one.id.clone().expect("a tag")).collect()),
        ids(all.iter().map(|new| new.id.clone()).collect())
    );
    assert!(listed.iter().all(|one| all.iter().any(|new| new.session.session.as_str() == one.session)));
    let one = &listed[0];
    let row = elsewhere.book.find(one.id.as_ref().unwrap()).await.unwrap().expect("a row");
    assert_eq!(row.facts.external_id, one.external_id);
    assert_eq!(elsewhere.modal.running(&row).await, Ok(Some(one.external_id.clone())));
    assert_eq!(elsewhere.modal.is_over(&row).await, Ok(false));
    elsewhere.modal.end(&row, &one.external_id).await.expect("ended");
    elsewhere.modal.end(&row, &one.external_id).await.expect("ended before");
    assert_eq!(elsewhere.modal.is_over(&row).await, Ok(true));
    assert_eq!(elsewhere.modal.running(&row).await, Ok(None));
    // One that it does not know is over where it was made.
    let facts = LedgerFacts { external_id: "sb-01JNOBODYNOBODYNOBODYNOBO".to_owned(), ..row.facts.clone() };
    assert_eq!(elsewhere.modal.is_over(&LedgerEntry { facts, ..row }).await, Ok(true));
    assert_eq!(elsewhere.modal.list().await.expect("listed").len(), 4);
    // Part of a list is no list.
    elsewhere.emulator.set_faults("SandboxListV2=PERMISSION_DENIED@0*1");
    assert!(matches!(elsewhere.modal.list().await, Err(Error::Unavailable(_))));
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_was_deleted_is_made_again() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    made(&elsewhere, &plain()).await;
    elsewhere.emulator.forget_apps();
    let new = plain();
    let sandbox = made(&elsewhere, &new).await;
    assert_eq!(prints(&*sandbox, "echo here").await, "here\n");
    let listed = elsewhere.modal.list().await.expect("listed");
    assert_eq!(listed.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), [Some(new.id)]);
    elsewhere.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_changes_nothing() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let new = plain();
    let sandbox = made(&elsewhere, &new).await;
    let exec = start(&*sandbox, "cat").await;
    let row = elsewhere.book.find(&new.id).await.unwrap().expect("a row");
    elsewhere.book.store.close().await;
    let stale = Error::Stale { given: 1, seen: 2 };
    assert_eq!(sandbox.start(NOW, &sh("exit 0")).await, Err(stale.clone()));
    assert_eq!(sandbox.write_stdin(NOW, &exec, 0, b"x", true).await, Err(stale.clone()));
    assert_eq!(sandbox.signal(NOW, &exec, Signal::Kill).await, Err(stale.clone()));
    assert_eq!(sandbox.terminate(NOW).await, Err(stale.clone()));
    assert_eq!(elsewhere.modal.create(plain()).await.err(), Some(stale.clone()));
    let files = sandbox.files();
    let content = Content::Bytes("x".into());
    assert_eq!(files.write(Root::Workspace, "file", 0o644, content, 100).await, Err(stale.clone()));
    assert_eq!(files.delete(Root::Workspace, "file").await, Err(stale));
    assert!(matches!(elsewhere.modal.end(&row, &row.facts.external_id).await, Err(Error::Stale { .. })));
    assert_eq!(elsewhere.emulator.running().len(), 1);
    assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 0, closed: false }));
}

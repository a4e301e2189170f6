//! Programs outlive the server: another one finds them, and nothing they printed or were given is lost or doubled.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use agent_runtime::{
    domain::{ExecId, SandboxId},
    sandbox::{
        Epoch, Error, Exit, NewSandbox, Output, Provider, StdinStatus,
        local::{Local, Wanted},
    },
};
use futures::StreamExt as _;
use rand::Rng as _;

use crate::rig::{NOW, Rig, config, noise, read_from, session, sh, soon, start, stdout, until};

/// Another server over the same directory.
pub(crate) fn another(rig: &Rig) -> Local {
    Local::new(config(&rig.data.path().join("sandboxes"), Wanted::Auto)).expect("usable")
}

/// Each tier that works here.
pub(crate) fn tiers() -> Vec<Rig> {
    [Some(Rig::process()), Rig::namespace()].into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_reads_on_at_any_offset() {
    for rig in tiers() {
        let made = crate::rig::sandbox(&rig.local).await;
        let exec = start(&*made, "cat").await;
        let whole = noise(3_000_000);
        // The first server gives half of it, and has read some.
        made.write_stdin(NOW, &exec, 0, &whole[..1_500_000], false).await.expect("accepted");
        let mut stream = made.read(&exec, Output::Stdout, 0).await.expect("readable");
        let mut seen = Vec::new();
        while seen.len() < 100_000 {
            seen.extend_from_slice(&stream.next().await.expect("more").expect("a chunk"));
        }
        drop(stream);
        let left = rig.local.detach().await;
        assert_eq!(left.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [made.id().clone()]);

        let second = another(&rig);
        let sandbox = second.attach(made.id(), Epoch(2)).await.expect("found");
        assert_eq!(sandbox.paths(), made.paths());
        assert_eq!(sandbox.isolation(), made.isolation());
        assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 1_500_000, closed: false }));
        // It does not know how much arrived, and gives some of it again.
        let giving = sandbox.write_stdin(Epoch(2), &exec, 1_000_000, &whole[1_000_000..], true);
        let offsets: Vec<usize> = (0..20).map(|_| rand::rng().random_range(0..=seen.len())).collect();
        let reading = futures::future::join_all(offsets.into_iter().map(|offset| {
            let (sandbox, exec, whole) = (&sandbox, &exec, &whole);
            async move {
                assert!(read_from(&**sandbox, exec, Output::Stdout, offset as u64).await == whole[offset..]);
            }
        }));
        let (given, _) = soon(async { tokio::join!(giving, reading) }).await;
        assert_eq!(given, Ok(3_000_000));
        assert_eq!(soon(sandbox.wait(&exec)).await, Ok(Exit::Code(0)));
        second.shutdown().await.expect("shut down");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_server_commands_nothing() {
    let rig = Rig::process();
    let old = crate::rig::sandbox(&rig.local).await;
    let exec = start(&*old, "cat").await;
    let second = another(&rig);
    let new = second.attach(old.id(), Epoch(2)).await.expect("found");
    let stale = Error::Stale { given: 1, seen: 2 };
    assert_eq!(old.write_stdin(NOW, &exec, 0, b"old", true).await, Err(stale.clone()));
    assert_eq!(old.start(NOW, &sh("exit 0")).await, Err(stale.clone()));
    assert_eq!(old.terminate(NOW).await, Err(stale.clone()));
    assert_eq!(rig.local.attach(old.id(), NOW).await.err(), Some(stale));
    new.write_stdin(Epoch(2), &exec, 0, b"new", true).await.expect("accepted");
    assert_eq!(soon(stdout(&*new, &exec)).await, b"new");
    // Also when nobody supervises the sandbox any more.
    new.terminate(Epoch(3)).await.expect("terminated");
    assert_eq!(old.terminate(Epoch(2)).await, Err(Error::Stale { given: 2, seen: 3 }));
    second.shutdown().await.expect("shut down");
}

/// Not a test by itself: the server that dies in the tests below, as a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn server_that_dies() {
    let Some(root) = std::env::var_os("TEST_OUTLIVE_ROOT") else { return };
    let epoch = Epoch(std::env::var("TEST_OUTLIVE_EPOCH").expect("set").parse().expect("a number"));
    let tier = if std::env::var_os("TEST_OUTLIVE_WALL").is_some() { Wanted::Namespace } else { Wanted::Process };
    let local = Local::new(config(Path::new(&root), tier)).expect("usable");
    let id = SandboxId::new("left");
    let mut spec = sh("echo ready; exec cat");
    spec.exec_id = ExecId::new("left");
    let sandbox = local.create(NewSandbox::plain(id.clone(), session(), epoch)).await.expect("created");
    local.attach(&id, epoch).await.expect("found");
    sandbox.start(epoch, &spec).await.expect("started, now or before");
    until(&*sandbox, &spec.exec_id, "ready").await;
    // Each adds its own line, with what it has of it first given twice.
    let given = sandbox.stdin_status(&spec.exec_id).await.expect("known").accepted;
    let line = format!("{:>9}\n", epoch.0);
    sandbox.write_stdin(epoch, &spec.exec_id, given, &line.as_bytes()[..5], false).await.expect("accepted");
    sandbox.write_stdin(epoch, &spec.exec_id, given, line.as_bytes(), false).await.expect("accepted");
    until(&*sandbox, &spec.exec_id, &line).await;
    println!("served");
    std::future::pending::<()>().await;
}

/// Runs the server above until it has served, then kills it.
fn serve_and_die(root: &Path, epoch: i64, wall: bool) {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "outlive::server_that_dies", "--nocapture"]);
    command.env("TEST_OUTLIVE_ROOT", root).env("TEST_OUTLIVE_EPOCH", epoch.to_string()).stdout(Stdio::piped());
    if wall {
        command.env("TEST_OUTLIVE_WALL", "1");
    }
    let mut server: Child = command.spawn().expect("started");
    let mut lines = BufReader::new(server.stdout.take().expect("asked for")).lines();
    let done = lines.any(|line| line.expect("text").ends_with("served"));
    server.kill().expect("killed");
    server.wait().expect("ended");
    assert!(done, "the server of epoch {epoch} failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_servers_die_one_after_the_other() {
    for wall in [false, true].into_iter().filter(|wall| !wall || Rig::namespace().is_some()) {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().to_owned();
        let served = tokio::task::spawn_blocking(move || (1..=20).for_each(|epoch| serve_and_die(&path, epoch, wall)));
        soon(served).await.expect("all served");

        let local = Local::new(config(root.path(), Wanted::Auto)).expect("usable");
        let sandbox = local.attach(&SandboxId::new("left"), Epoch(21)).await.expect("found");
        let exec = ExecId::new("left");
        let whole = (1..=20).fold("ready\n".to_owned(), |whole, epoch| format!("{whole}{epoch:>9}\n"));
        assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 200, closed: false }));
        sandbox.write_stdin(Epoch(21), &exec, 200, b"", true).await.expect("closed");
        assert_eq!(String::from_utf8(soon(stdout(&*sandbox, &exec)).await).expect("text"), whole);
        assert_eq!(soon(sandbox.wait(&exec)).await, Ok(Exit::Code(0)));
        local.destroy(&SandboxId::new("left")).await.expect("destroyed");
        assert_eq!(fs::read_dir(root.path()).expect("listed").count(), 0);
    }
}

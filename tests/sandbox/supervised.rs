//! What the process that holds a sandbox's programs does when things go wrong around it, and when it ends.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use agent_runtime::{
    domain::{ExecId, Isolation},
    sandbox::{
        Epoch, Error, Exit, Output, Provider, Sandbox, Signal, StdinStatus,
        local::{Local, LocalConfig, Wanted},
    },
    supervisor::{folder::Folder, lock::Lock},
};
use futures::StreamExt as _;
use rustix::process::{Pid, test_kill_process};
use tokio::task::JoinSet;

use crate::{
    outlive::{another, tiers},
    rig::{NOW, Rig, config, give, noise, prints, read_from, sh, soon, start, stdout, until},
};

/// Prints, and ends for nobody but SIGKILL; a part of it has left the group. The fifo has a writer as long as one lives.
const STUBBORN: &str = "trap '' TERM INT; exec 3>alive; setsid sh -c 'echo apart; exec sleep 1000' & \
                        echo ready; while :; do sleep 1000; done";

/// Starts it; the second is a reader of the fifo.
async fn stubborn(rig: &Rig, sandbox: &dyn Sandbox) -> (ExecId, BufReader<File>) {
    prints(sandbox, "mkfifo alive").await;
    let exec = start(sandbox, STUBBORN).await;
    let fifo = rig.dir(sandbox).join("workspace/alive");
    let alive = crate::local::apart(move || OpenOptions::new().read(true).open(fifo)).await.expect("opened");
    // Both, or the one that is late would die of an output that nobody reads any more.
    for part in ["ready", "apart"] {
        soon(until(sandbox, &exec, part)).await;
    }
    (exec, BufReader::new(alive))
}

/// Waits until nobody holds the fifo.
async fn nobody(mut alive: BufReader<File>) {
    let read = crate::local::apart(move || alive.read_to_string(&mut String::new()));
    assert_eq!(soon(read).await.expect("read"), 0);
}

/// The process that supervises a sandbox now.
pub(crate) fn supervisor(dir: &Path) -> Pid {
    let text = fs::read_to_string(dir.join("supervisor.lock")).expect("there");
    let holder: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let pid = holder["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    pid.expect("a pid")
}

/// Waits until a process is gone or waits to be reaped.
pub(crate) async fn gone(pid: Pid) {
    let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
    soon(async {
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits for a program's end, beside everything else and from now on.
fn wait(sandbox: &Arc<dyn Sandbox>, exec: &ExecId) -> impl Future<Output = Result<Exit, Error>> {
    let (sandbox, exec) = (Arc::clone(sandbox), exec.clone());
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { sandbox.wait(&exec).await });
    async move { waiting.join_next().await.expect("one").expect("no panic") }
}

fn kill(pid: Pid, signal: rustix::process::Signal) {
    rustix::process::kill_process(pid, signal).expect("sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_loses_its_supervisor_is_gone_at_once_and_nobody_is_left() {
    for rig in tiers() {
        let sandbox = crate::rig::sandbox(&rig.local).await;
        let (exec, alive) = stubborn(&rig, &*sandbox).await;
        let mut stream = sandbox.read(&exec, Output::Stdout, 0).await.expect("readable");
        stream.next().await.expect("more").expect("a chunk");
        let waiting = wait(&sandbox, &exec);
        let killed = Instant::now();
        kill(supervisor(&rig.dir(&*sandbox)), rustix::process::Signal::KILL);
        loop {
            match soon(stream.next()).await {
                Some(Ok(_)) => {}
                Some(Err(Error::Gone(_))) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(soon(waiting).await, Err(Error::Gone(_))));
        assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
        nobody(alive).await;
        // It stays gone, and what it printed stays; what may be missing is said.
        assert!(matches!(sandbox.wait(&exec).await, Err(Error::Gone(_))));
        assert!(matches!(sandbox.start(NOW, &same(&exec)).await, Err(Error::Gone(_))));
        let mut again = sandbox.read(&exec, Output::Stdout, 0).await.expect("readable");
        let chunk = again.next().await.expect("more").expect("a chunk");
        assert!(String::from_utf8_lossy(&chunk).contains("ready"));
        assert!(matches!(soon(again.next()).await, Some(Err(Error::Gone(_)))));
        assert_eq!(sandbox.signal(NOW, &exec, Signal::Kill).await, Ok(()));
        // The sandbox itself is as good as before.
        assert_eq!(prints(&*sandbox, "ls").await, "alive\n");
        rig.close().await;
    }
}

/// Also when nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_loses_its_supervisor_unwatched_is_ended() {
    for rig in tiers() {
        let sandbox = crate::rig::sandbox(&rig.local).await;
        let (_, alive) = stubborn(&rig, &*sandbox).await;
        kill(supervisor(&rig.dir(&*sandbox)), rustix::process::Signal::KILL);
        nobody(alive).await;
        rig.close().await;
    }
}

/// What lost its supervisor while no server was there is found by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn what_lost_its_supervisor_unseen_is_gone_too() {
    for rig in tiers() {
        let made = crate::rig::sandbox(&rig.local).await;
        let (exec, alive) = stubborn(&rig, &*made).await;
        rig.local.detach().await;
        let pid = supervisor(&rig.dir(&*made));
        kill(pid, rustix::process::Signal::KILL);
        gone(pid).await;

        let second = another(&rig);
        let sandbox = second.attach(made.id(), Epoch(2)).await.expect("found");
        nobody(alive).await;
        assert!(matches!(soon(sandbox.wait(&exec)).await, Err(Error::Gone(_))));
        second.shutdown().await.expect("shut down");
    }
}

fn same(exec: &ExecId) -> agent_runtime::sandbox::ExecSpec {
    let mut spec = sh("echo again");
    spec.exec_id = exec.clone();
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_is_told_to_end_ends_its_programs() {
    for rig in tiers() {
        let sandbox = crate::rig::sandbox(&rig.local).await;
        let exec = start(&*sandbox, "trap 'echo bye; exit 7' TERM; echo ready; sleep 1000 & wait").await;
        until(&*sandbox, &exec, "ready").await;
        let pid = supervisor(&rig.dir(&*sandbox));
        kill(pid, rustix::process::Signal::TERM);
        assert_eq!(soon(sandbox.wait(&exec)).await, Ok(Exit::Code(7)));
        assert_eq!(soon(stdout(&*sandbox, &exec)).await, b"ready\nbye\n");
        gone(pid).await;
        rig.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_the_last_server_said_so() {
    for rig in tiers() {
        let made = crate::rig::sandbox(&rig.local).await;
        let (_, alive) = stubborn(&rig, &*made).await;
        let pid = supervisor(&rig.dir(&*made));
        assert_eq!(rig.local.detach().await.len(), 1);
        assert!(test_kill_process(pid).is_ok());
        let second = another(&rig);
        let sandbox = second.attach(made.id(), Epoch(2)).await.expect("found");
        sandbox.terminate(Epoch(2)).await.expect("terminated");
        nobody(alive).await;
        gone(pid).await;
        // An idle sandbox has no process.
        second.attach(made.id(), Epoch(2)).await.expect("found");
        assert!(
            fs::read_dir(rig.dir(&*made))
                .expect("listed")
                .all(|file| { file.expect("an entry").file_name() != "supervisor.sock" })
        );
    }
}

/// One that is about to start when everything is ended is waited for, and ended too.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_under_way_is_not_forgotten() {
    for rig in tiers() {
        let (begun, go) = (rig.data.path().join("begun"), rig.data.path().join("go"));
        // A supervisor that begins when it is told to.
        let slow = rig.data.path().join("slow");
        let script = format!(
            "#!/bin/sh\n>{}\nwhile [ ! -e {} ]; do sleep 0.01; done\nexec {} \"$@\"\n",
            begun.display(),
            go.display(),
            env!("CARGO_BIN_EXE_agent-runtime")
        );
        fs::write(&slow, script).expect("written");
        fs::set_permissions(&slow, fs::Permissions::from_mode(0o700)).expect("set");
        let root = rig.data.path().join("sandboxes");
        let local = Local::new(LocalConfig { supervisor: slow, ..config(&root, Wanted::Auto) }).expect("usable");
        let sandbox = crate::rig::sandbox(&local).await;
        let spec = sh("trap '' TERM; while :; do sleep 1000; done");
        let telling = async {
            while !begun.exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let ending = async {
                fs::write(&go, "").expect("written");
            };
            // The end is asked for first.
            let (ended, ()) = tokio::join!(biased; local.shutdown(), ending);
            ended
        };
        let (started, ended) = soon(async { tokio::join!(sandbox.start(NOW, &spec), telling) }).await;
        assert_eq!((started, ended), (Ok(()), Ok(())));
        assert!(!Lock::held(&Folder::at(rig.dir(&*sandbox))).expect("known"), "it is supervised still");
    }
}

/// Neither its group nor its parents nor its environment tell whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_without_a_trace_is_found() {
    for rig in tiers() {
        let sandbox = crate::rig::sandbox(&rig.local).await;
        prints(&*sandbox, "mkfifo alive").await;
        let script = "exec 3>alive; (env -i setsid sh -c 'echo ready; exec sleep 1000' &); exec cat";
        let exec = start(&*sandbox, script).await;
        let fifo = rig.dir(&*sandbox).join("workspace/alive");
        let alive = crate::local::apart(move || OpenOptions::new().read(true).open(fifo)).await.expect("opened");
        soon(until(&*sandbox, &exec, "ready")).await;
        sandbox.terminate(NOW).await.expect("terminated");
        nobody(BufReader::new(alive)).await;
        rig.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_is_not_kept_is_ended() {
    for rig in tiers() {
        let (kept, other) = (crate::rig::sandbox(&rig.local).await, crate::rig::sandbox(&rig.local).await);
        let (exec, _kept) = stubborn(&rig, &*kept).await;
        let (_, alive) = stubborn(&rig, &*other).await;
        assert_eq!(rig.local.detach().await.len(), 2);
        let second = another(&rig);
        second.reap(&[kept.id().clone()], &[kept.id().clone(), other.id().clone()]).await.expect("reaped");
        nobody(alive).await;
        assert!(rig.dir(&*other).join("workspace").is_dir(), "a session names it still");
        let sandbox = second.attach(kept.id(), Epoch(2)).await.expect("found");
        soon(until(&*sandbox, &exec, "ready")).await;
        assert!(test_kill_process(supervisor(&rig.dir(&*kept))).is_ok());
        second.shutdown().await.expect("shut down");
    }
}

/// A server that ends between giving a sandbox up and removing it leaves a folder that nobody names.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_no_session_names_is_removed() {
    for rig in tiers() {
        let (named, other) = (crate::rig::sandbox(&rig.local).await, crate::rig::sandbox(&rig.local).await);
        let (_, alive) = stubborn(&rig, &*other).await;
        let (named_dir, other_dir) = (rig.dir(&*named), rig.dir(&*other));
        assert_eq!(rig.local.detach().await.len(), 1);
        let second = another(&rig);
        second.reap(&[], &[named.id().clone()]).await.expect("reaped");
        nobody(alive).await;
        assert!(named_dir.join("workspace").is_dir() && !other_dir.exists());
        second.shutdown().await.expect("shut down");
    }
}

/// Nobody asks it to: a folder that is removed, or that lost its workspace, ends what runs there.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_in_a_folder_that_is_removed_ends_in_two_seconds() {
    for rig in tiers() {
        for part in ["", "workspace"] {
            let sandbox = crate::rig::sandbox(&rig.local).await;
            let (exec, alive) = stubborn(&rig, &*sandbox).await;
            let pid = supervisor(&rig.dir(&*sandbox));
            let waiting = wait(&sandbox, &exec);
            fs::remove_dir_all(rig.dir(&*sandbox).join(part)).expect("removed");
            let removed = Instant::now();
            let ended = soon(waiting).await;
            assert!(removed.elapsed() < Duration::from_secs(2), "{part:?}: {:?}", removed.elapsed());
            assert!(matches!(ended, Ok(Exit::Signal(9)) | Err(Error::Gone(_))), "{part:?}: {ended:?}");
            nobody(alive).await;
            gone(pid).await;
            assert!(matches!(sandbox.start(NOW, &sh("exit 0")).await, Err(Error::Gone(_))), "{part:?}");
            assert!(matches!(rig.local.attach(sandbox.id(), NOW).await, Err(Error::Gone(_))), "{part:?}");
            rig.local.destroy(sandbox.id()).await.expect("destroyed");
        }
        rig.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_without_a_server_have_a_limit() {
    for rig in tiers() {
        let limit = Duration::from_millis(300);
        let wanted = match rig.local.isolation() {
            Isolation::Process => Wanted::Process,
            Isolation::Namespace | Isolation::Remote => Wanted::Namespace,
        };
        let root = rig.data.path().join("sandboxes");
        let local = || Local::new(LocalConfig { limit, ..config(&root, wanted) }).expect("usable");
        let first = local();
        let made = crate::rig::sandbox(&first).await;
        let exec = start(&*made, "trap 'echo over; exit 9' TERM; echo ready; sleep 1000 & wait").await;
        until(&*made, &exec, "ready").await;
        // A server that is here keeps it alive for longer than that.
        tokio::time::sleep(limit * 2).await;
        let pid = supervisor(&rig.dir(&*made));
        assert!(test_kill_process(pid).is_ok());
        let left = first.detach().await;
        let until = left.first().expect("one runs").1.duration_since(std::time::SystemTime::now()).expect("later");
        assert!(until <= limit);
        gone(pid).await;
        // What it printed, and how it ended, is there for who comes too late.
        let second = local();
        let sandbox = second.attach(made.id(), Epoch(2)).await.expect("found");
        assert_eq!(soon(sandbox.wait(&exec)).await, Ok(Exit::Code(9)));
        assert_eq!(soon(stdout(&*sandbox, &exec)).await, b"ready\nover\n");
        second.shutdown().await.expect("shut down");
    }
}

/// The limit can be changed while something runs, and back.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_can_be_another() {
    let rig = Rig::process();
    let limit = Duration::from_millis(300);
    let root = rig.data.path().join("sandboxes");
    let first = Local::new(LocalConfig { limit, ..config(&root, Wanted::Process) }).expect("usable");
    let made = crate::rig::sandbox(&first).await;
    assert_eq!(made.limit(NOW, Some(Duration::from_mins(1))).await, Ok(false), "nothing runs");
    let exec = start(&*made, "exec cat").await;
    assert_eq!(made.limit(NOW, Some(Duration::from_mins(1))).await, Ok(true));
    let left = first.detach().await;
    let until = left[0].1.duration_since(std::time::SystemTime::now()).expect("later");
    assert!((Duration::from_secs(50)..Duration::from_secs(61)).contains(&until), "{until:?}");
    tokio::time::sleep(limit * 2).await;
    let pid = supervisor(&rig.dir(&*made));
    assert!(test_kill_process(pid).is_ok());

    let second = another(&rig);
    let sandbox = second.attach(made.id(), Epoch(2)).await.expect("found");
    assert_eq!(sandbox.limit(NOW, None).await, Err(Error::Stale { given: 1, seen: 2 }));
    assert_eq!(sandbox.limit(Epoch(2), None).await, Ok(true));
    second.detach().await;
    gone(pid).await;
    let third = another(&rig);
    let sandbox = third.attach(made.id(), Epoch(3)).await.expect("found");
    assert_eq!(soon(sandbox.wait(&exec)).await, Ok(Exit::Signal(15)));
    third.shutdown().await.expect("shut down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_waits_for_its_output_to_be_released() {
    for rig in tiers() {
        let root = rig.data.path().join("sandboxes");
        let local = Local::new(LocalConfig { spool_cap: 1 << 20, ..config(&root, Wanted::Process) }).expect("usable");
        let sandbox = crate::rig::sandbox(&local).await;
        // Says on the other output how far it got.
        let exec = start(&*sandbox, "head -c 3000000 /dev/zero; echo through >&2").await;
        let mut stream = sandbox.read(&exec, Output::Stdout, 0).await.expect("readable");
        let mut got: u64 = 0;
        let mut released = 0;
        while got < 3_000_000 {
            // Up to the cap it comes, however slowly.
            let below = got - released < 1 << 20;
            let patience = if below { Duration::from_mins(1) } else { Duration::from_millis(300) };
            if let Ok(chunk) = tokio::time::timeout(patience, stream.next()).await {
                got += chunk.expect("more").expect("a chunk").len() as u64;
                continue;
            }
            // It stands still there, give or take one chunk.
            assert!((1 << 20..(1 << 20) + 65_536).contains(&(got - released)), "{got} after {released}");
            assert_eq!(soon(length(&rig, &*sandbox, &exec, "stderr")).await, 0);
            sandbox.release(NOW, &exec, Output::Stdout, got).await.expect("released");
            released = got;
        }
        assert!(released > 0, "it never waited");
        assert_eq!(soon(sandbox.wait(&exec)).await, Ok(Exit::Code(0)));
        assert_eq!(read_from(&*sandbox, &exec, Output::Stderr, 0).await, b"through\n");
        local.shutdown().await.expect("shut down");
    }
}

async fn length(rig: &Rig, sandbox: &dyn Sandbox, exec: &ExecId, name: &str) -> u64 {
    let file = rig.dir(sandbox).join("exec").join(exec.as_str()).join(name);
    tokio::fs::metadata(file).await.expect("there").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_is_served_by_a_fresh_supervisor() {
    for rig in tiers() {
        let made = crate::rig::sandbox(&rig.local).await;
        let exec = start(&*made, "cat; echo err >&2; exit 3").await;
        let whole = noise(1_000_000);
        give(&*made, &exec, &whole).await;
        assert_eq!(soon(made.wait(&exec)).await, Ok(Exit::Code(3)));
        assert!(stdout(&*made, &exec).await == whole);
        made.release(NOW, &exec, Output::Stdout, 500_003).await.expect("released");
        made.terminate(NOW).await.expect("terminated");
        rig.local.shutdown().await.expect("shut down");

        let second = another(&rig);
        let sandbox = second.attach(made.id(), Epoch(2)).await.expect("found");
        assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(3)));
        assert_eq!(sandbox.start(Epoch(2), &same(&exec)).await, Ok(()));
        assert!(read_from(&*sandbox, &exec, Output::Stdout, 500_003).await == whole[500_003..]);
        let released = Error::Offset { offset: 500_002, from: 500_003, to: 1_000_000 };
        assert_eq!(sandbox.read(&exec, Output::Stdout, 500_002).await.err(), Some(released));
        assert_eq!(read_from(&*sandbox, &exec, Output::Stderr, 0).await, b"err\n");
        assert_eq!(sandbox.stdin_status(&exec).await, Ok(StdinStatus { accepted: 1_000_000, closed: true }));
        second.shutdown().await.expect("shut down");
    }
}

/// A spool that the machine's end cut short, and a run of before the machine's start, are not taken for whole.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trusted_is_gone() {
    let rig = Rig::process();
    let sandbox = crate::rig::sandbox(&rig.local).await;
    let (short, old) = (start(&*sandbox, "echo one").await, start(&*sandbox, "echo two").await);
    for exec in [&short, &old] {
        assert_eq!(soon(sandbox.wait(exec)).await, Ok(Exit::Code(0)));
        sandbox.release(NOW, exec, Output::Stdout, 4).await.expect("released");
    }
    sandbox.terminate(NOW).await.expect("terminated");
    rig.local.reap(&[], &[sandbox.id().clone()]).await.expect("reaped");
    let execs = rig.dir(&*sandbox).join("exec");
    OpenOptions::new()
        .write(true)
        .open(execs.join(short.as_str()).join("stdout"))
        .expect("there")
        .set_len(3)
        .expect("cut");
    let record = execs.join(old.as_str()).join("record.json");
    let mut text: serde_json::Value = serde_json::from_slice(&fs::read(&record).expect("there")).expect("JSON");
    text["boot_id"] = "another".into();
    fs::write(&record, text.to_string()).expect("written");

    let second = another(&rig);
    let sandbox = second.attach(sandbox.id(), Epoch(2)).await.expect("found");
    for (exec, cause) in [(&short, "shorter"), (&old, "started anew")] {
        for error in [sandbox.wait(exec).await.err(), sandbox.read(exec, Output::Stdout, 4).await.err()] {
            assert!(matches!(&error, Some(Error::Gone(why)) if why.contains(cause)), "{error:?}");
        }
    }
    second.shutdown().await.expect("shut down");
}

/// A sandbox is found again after the machine was started anew; nothing runs there.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_outlives_the_machine() {
    let rig = Rig::process();
    let made = crate::rig::sandbox(&rig.local).await;
    prints(&*made, "echo kept >file").await;
    rig.local.shutdown().await.expect("shut down");
    let identity = rig.dir(&*made).join("sandbox.json");
    let mut text: serde_json::Value = serde_json::from_slice(&fs::read(&identity).expect("there")).expect("JSON");
    text["boot_id"] = "another".into();
    fs::write(&identity, text.to_string()).expect("written");

    let second = another(&rig);
    let sandbox = second.attach(made.id(), Epoch(2)).await.expect("found");
    let mut spec = sh("cat file");
    spec.exec_id = ExecId::mint();
    sandbox.start(Epoch(2), &spec).await.expect("started");
    assert_eq!(soon(stdout(&*sandbox, &spec.exec_id)).await, b"kept\n");
    // One that is not whole is not found.
    fs::write(&identity, "not an identity").expect("written");
    assert!(matches!(another(&rig).attach(made.id(), Epoch(3)).await, Err(Error::Gone(_))));
    fs::remove_file(&identity).expect("removed");
    assert!(matches!(another(&rig).attach(made.id(), Epoch(3)).await, Err(Error::Gone(_))));
    second.shutdown().await.expect("shut down");
}

/// One that does not answer any more cannot keep a sandbox from being removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_hangs_is_ended_by_force() {
    let rig = Rig::process();
    let sandbox = crate::rig::sandbox(&rig.local).await;
    let (_, alive) = stubborn(&rig, &*sandbox).await;
    let pid = supervisor(&rig.dir(&*sandbox));
    kill(pid, rustix::process::Signal::STOP);
    soon(rig.local.destroy(sandbox.id())).await.expect("destroyed");
    nobody(alive).await;
    gone(pid).await;
    assert!(!rig.dir(&*sandbox).exists());
    rig.close().await;
}

/// Nor from being found again: another supervisor takes its place, which knows that the programs are lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_hangs_is_replaced_when_a_server_comes() {
    let rig = Rig::process();
    let sandbox = crate::rig::sandbox(&rig.local).await;
    let (exec, alive) = stubborn(&rig, &*sandbox).await;
    let pid = supervisor(&rig.dir(&*sandbox));
    assert_eq!(rig.local.detach().await.len(), 1);
    kill(pid, rustix::process::Signal::STOP);
    let next = another(&rig);
    let found = soon(next.attach(sandbox.id(), NOW)).await.expect("found");
    nobody(alive).await;
    gone(pid).await;
    assert!(soon(found.wait(&exec)).await.is_err(), "nobody knows how it would have ended");
    assert_eq!(soon(prints(&*found, "echo anew")).await, "anew\n");
    next.shutdown().await.expect("shut down");
}

/// The socket is reached however deep the folder lies.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_path_is_no_obstacle() {
    let rig = Rig::process();
    let root = rig.data.path().join("x".repeat(120)).join("y".repeat(120));
    let local = Local::new(config(&root, Wanted::Process)).expect("usable");
    let sandbox = crate::rig::sandbox(&local).await;
    assert_eq!(soon(prints(&*sandbox, "echo deep")).await, "deep\n");
    local.shutdown().await.expect("shut down");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_down_tells_no_secret() {
    let rig = Rig::process();
    let sandbox = crate::rig::sandbox(&rig.local).await;
    let mut spec = sh("exec cat argument-secret - >/dev/null 2>&1");
    spec.env = vec![("KEY".to_owned(), "environment-secret".to_owned())];
    sandbox.start(NOW, &spec).await.expect("started");
    let held = supervisor(&rig.dir(&*sandbox)).as_raw_nonzero();
    let mut texts = vec![fs::read(format!("/proc/{held}/environ")).expect("there")];
    texts.push(fs::read(format!("/proc/{held}/cmdline")).expect("there"));
    let mut folders = vec![rig.dir(&*sandbox)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("listed") {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("known");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                assert_eq!(entry.metadata().expect("known").permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
                texts.push(fs::read(entry.path()).expect("readable"));
            }
        }
    }
    assert!(texts.len() > 6, "too few files were found");
    for text in texts {
        assert!(!String::from_utf8_lossy(&text).contains("secret"));
    }
    rig.close().await;
}

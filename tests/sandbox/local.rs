//! What is true of sandboxes on this machine only: their files, and what a server that died left behind.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, ErrorKind, Read as _},
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Command, Stdio},
};

use agent_runtime::{
    domain::{ExecId, Isolation, SandboxId},
    sandbox::{
        Error, Exit, NewSandbox, Output, Provider,
        local::{Local, Wanted},
    },
};

use crate::rig::{NOW, Rig, config, give, noise, prints, program, sandbox, session, sh, soon, start, stdout, until};

/// Finds a module as Node.js does: in the folders above the one where it begins.
const LOOKS_UP: &str = "while [ ! -e node_modules ] && [ \"$PWD\" != / ]; do cd ..; done; cat node_modules/one/name";

fn over(root: &Path, isolation: Wanted) -> Local {
    Local::new(config(root, isolation)).expect("usable")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tier_is_reported() {
    let rig = Rig::process();
    assert_eq!((rig.local.name(), rig.local.isolation()), ("local", Isolation::Process));
    assert_eq!(sandbox(&rig.local).await.isolation(), Isolation::Process);
    let auto = over(&rig.data.path().join("sandboxes"), Wanted::Auto);
    match auto.isolation() {
        Isolation::Namespace => assert_eq!(auto.why_plain(), None),
        Isolation::Process => assert!(auto.why_plain().is_some()),
        Isolation::Remote => panic!("a local sandbox is here"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_cannot_leave_the_root() {
    let rig = Rig::process();
    fs::create_dir(rig.data.path().join("precious")).expect("made");
    for id in ["", ".", "..", "../precious", "a/b", "/etc", ".probe", "a\0b", &"x".repeat(200)] {
        let id = SandboxId::new(id);
        assert!(
            matches!(rig.local.create(NewSandbox::plain(id.clone(), session(), NOW)).await, Err(Error::Unavailable(_))),
            "{id:?}"
        );
        assert!(matches!(rig.local.destroy(&id).await, Err(Error::Unavailable(_))), "{id:?}");
    }
    assert!(rig.data.path().join("precious").exists());
    let sandbox = sandbox(&rig.local).await;
    for id in ["", "..", "../../precious", "a/b"] {
        let mut spec = sh("exit 0");
        spec.exec_id = ExecId::new(id);
        assert!(matches!(sandbox.start(NOW, &spec).await, Err(Error::Start { .. })), "{id:?}");
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destroying_follows_no_links() {
    let rig = Rig::process();
    let precious = rig.data.path().join("precious");
    fs::create_dir(&precious).expect("made");
    fs::write(precious.join("file"), "kept").expect("written");
    fs::set_permissions(&precious, fs::Permissions::from_mode(0o500)).expect("set");
    let sandbox = sandbox(&rig.local).await;
    prints(&*sandbox, &format!("ln -s {} link", precious.display())).await;
    rig.local.destroy(sandbox.id()).await.expect("destroyed");
    assert!(!rig.dir(&*sandbox).exists());
    assert_eq!(fs::read_to_string(precious.join("file")).expect("there"), "kept");
    assert_eq!(fs::metadata(&precious).expect("there").mode() & 0o777, 0o500);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_private_and_failed_starts_leave_none() {
    let rig = Rig::process();
    let sandbox = sandbox(&rig.local).await;
    let exec = start(&*sandbox, "echo out").await;
    stdout(&*sandbox, &exec).await;
    let dir = rig.dir(&*sandbox).join("exec");
    for name in ["stdout", "stderr", "stdin"] {
        let mode = fs::metadata(dir.join(exec.as_str()).join(name)).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::metadata(rig.dir(&*sandbox)).expect("there").mode() & 0o777, 0o700);
    sandbox.start(NOW, &program(&["/no/such/program"])).await.expect_err("refused");
    assert_eq!(fs::read_dir(dir).expect("listed").count(), 1);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn released_output_frees_its_space() {
    let rig = Rig::process();
    let sandbox = sandbox(&rig.local).await;
    let exec = start(&*sandbox, "cat").await;
    let whole = noise(4 << 20);
    give(&*sandbox, &exec, &whole).await;
    assert!(stdout(&*sandbox, &exec).await == whole);
    let file = rig.dir(&*sandbox).join("exec").join(exec.as_str()).join("stdout");
    sandbox.release(NOW, &exec, Output::Stdout, (3 << 20) + 17).await.expect("released");
    let found = fs::metadata(&file).expect("there");
    assert_eq!(found.len(), 4 << 20);
    assert!(found.blocks() * 512 < 2 << 20, "{} bytes are still held", found.blocks() * 512);
    rig.close().await;
}

/// A process that leaves its group and keeps the pipe ends no later than its sandbox, and holds up nobody before.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_group_is_found() {
    let rig = Rig::process();
    let sandbox = sandbox(&rig.local).await;
    prints(&*sandbox, "mkfifo alive").await;
    let exec = start(&*sandbox, "setsid sh -c 'exec 3>alive; echo ready; sleep 1000' & read line; echo last").await;
    let alive = BufReader::new(soon(open(rig.dir(&*sandbox).join("workspace/alive"), 0)).await);
    soon(until(&*sandbox, &exec, "ready")).await;
    give(&*sandbox, &exec, b"go\n").await;
    assert_eq!(soon(sandbox.wait(&exec)).await, Ok(Exit::Code(0)));
    assert_eq!(soon(stdout(&*sandbox, &exec)).await, b"ready\nlast\n");
    sandbox.terminate(NOW).await.expect("terminated");
    assert_eq!(soon(rest(alive)).await, "");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_everything() {
    for rig in [Some(Rig::process()), Rig::namespace()].into_iter().flatten() {
        let (one, other) = (sandbox(&rig.local).await, sandbox(&rig.local).await);
        let execs = (start(&*one, "exec cat").await, start(&*other, "exec cat").await);
        soon(rig.local.shutdown()).await.expect("shut down");
        assert_eq!(one.wait(&execs.0).await, Ok(Exit::Signal(15)));
        assert_eq!(other.wait(&execs.1).await, Ok(Exit::Signal(15)));
        assert!(matches!(one.start(NOW, &sh("exit 0")).await, Err(Error::Gone(_))));
        assert!(matches!(
            rig.local.create(NewSandbox::plain(one.id().clone(), session(), NOW)).await,
            Err(Error::Unavailable(_))
        ));
        soon(rig.local.shutdown()).await.expect("shut down before");
    }
}

/// Not a test by itself: the server that dies in `reaps_what_a_dead_server_left`, as a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn server_that_dies() {
    let Some(root) = std::env::var_os("TEST_SANDBOX_ROOT") else { return };
    let tier = if std::env::var_os("TEST_SANDBOX_WALL").is_some() { Wanted::Namespace } else { Wanted::Process };
    let local = over(Path::new(&root), tier);
    let sandbox = local.create(NewSandbox::plain(SandboxId::new("left"), session(), NOW)).await.expect("created");
    let mut spec = sh("trap '' TERM INT; (exec 3>group; echo one; sleep 1000) & \
                       setsid sh -c 'exec 3>own; echo two; sleep 1000' & wait");
    spec.exec_id = ExecId::new("left");
    prints(&*sandbox, "mkfifo group own").await;
    sandbox.start(NOW, &spec).await.expect("started");
    println!("started");
    until(&*sandbox, &spec.exec_id, "one").await;
    until(&*sandbox, &spec.exec_id, "two").await;
    println!("running");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reaps_what_a_dead_server_left() {
    let walls = [false, true].into_iter().filter(|wall| !wall || Rig::namespace().is_some());
    for wall in walls {
        let root = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "local::server_that_dies", "--nocapture"]);
        command.env("TEST_SANDBOX_ROOT", root.path()).stdout(Stdio::piped());
        if wall {
            command.env("TEST_SANDBOX_WALL", "1");
        }
        let mut server = command.spawn().expect("started");
        let mut lines = BufReader::new(server.stdout.take().expect("asked for")).lines();
        assert!(lines.any(|line| line.expect("text").ends_with("started")));
        let dir = root.path().join("left");
        let group = soon(open(dir.join("workspace/group"), 0)).await;
        let own = soon(open(dir.join("workspace/own"), 0)).await;
        assert!(lines.any(|line| line.expect("text").ends_with("running")));
        server.kill().expect("killed");
        server.wait().expect("ended");

        // Both live on: there is a writer, and it has written nothing.
        for name in ["group", "own"] {
            let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
            let mut fifo = soon(open(dir.join("workspace").join(name), nonblocking)).await;
            assert_eq!(fifo.read(&mut [0]).expect_err("somebody lives").kind(), ErrorKind::WouldBlock, "{name}");
        }
        let local = over(root.path(), Wanted::Process);
        local.reap(&[], &[SandboxId::new("left")]).await.expect("reaped");
        assert_eq!(soon(rest(BufReader::new(group))).await, "");
        assert_eq!(soon(rest(BufReader::new(own))).await, "");

        // The files are there; the program is not run a second time under the same id.
        let sandbox = local.create(NewSandbox::plain(SandboxId::new("left"), session(), NOW)).await.expect("created");
        assert_eq!(prints(&*sandbox, "ls").await, "group\nown\n");
        let mut again = sh("echo again");
        again.exec_id = ExecId::new("left");
        assert_eq!(sandbox.start(NOW, &again).await, Ok(()));
        assert_eq!(sandbox.wait(&again.exec_id).await, Ok(Exit::Signal(9)));
        assert!(matches!(&*stdout(&*sandbox, &again.exec_id).await, b"one\ntwo\n" | b"two\none\n"));
        local.destroy(&SandboxId::new("left")).await.expect("destroyed");
        assert!(!dir.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reaps_no_stranger() {
    let root = tempfile::tempdir().expect("a directory");
    let mut stranger = Command::new("sleep").arg("1000").process_group(0).spawn().expect("started");
    let pid = stranger.id();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("alive");
    let began: u64 = stat.split_whitespace().nth(21).expect("a field").parse().expect("a number");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("an id");
    let dir = root.path().join("sbx/exec/one");
    fs::create_dir_all(&dir).expect("made");
    let record = |start: u64, boot: &str| {
        let text = format!(r#"{{"pid":{pid},"start_time":{start},"boot_id":"{boot}"}}"#);
        fs::write(dir.join("record.json"), text).expect("written");
    };
    let local = over(root.path(), Wanted::Process);
    for (start, boot) in [(began + 1, boot.trim()), (began, "another")] {
        record(start, boot);
        local.reap(&[], &[SandboxId::new("sbx")]).await.expect("reaped");
        assert_eq!(stranger.try_wait().expect("known"), None);
    }
    fs::write(dir.join("record.json"), "not a record").expect("written");
    local.reap(&[], &[SandboxId::new("sbx")]).await.expect("reaped");
    assert_eq!(stranger.try_wait().expect("known"), None);
    // The very same one is no stranger.
    record(began, boot.trim());
    local.reap(&[], &[SandboxId::new("sbx")]).await.expect("reaped");
    let ended = soon(apart(move || stranger.wait())).await.expect("ended");
    assert_eq!(ended.signal(), Some(9));
}

/// Opens a fifo for reading, which waits for its writer unless the flags say otherwise.
async fn open(path: impl AsRef<Path>, flags: i32) -> File {
    let path = path.as_ref().to_owned();
    apart(move || OpenOptions::new().read(true).custom_flags(flags).open(path)).await.expect("opened")
}

/// What comes until the last writer is gone.
async fn rest(mut fifo: BufReader<File>) -> String {
    let mut text = String::new();
    apart(move || fifo.read_to_string(&mut text).map(|_| text)).await.expect("read")
}

/// Runs what may block for ever on a thread that a failing test leaves behind; a runtime would wait for it.
pub(crate) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || tell.send(work()));
    told.await.expect("no panic")
}

/// Nor does what left the group outlive its program, also beside what was started after it.
#[tokio::test(flavor = "multi_thread")]
async fn an_exit_leaves_nobody_in_a_session_of_its_own() {
    for rig in [Some(Rig::process()), Rig::namespace()].into_iter().flatten() {
        soon(async {
            let sandbox = sandbox(&rig.local).await;
            prints(&*sandbox, "mkfifo alive").await;
            // It takes itself out of the group, of the tree and of the environment. Ages are told in hundredths of a second.
            let leave = "setsid env -i sh -c '(exec 3<>alive; echo x >held; exec sleep 1000) >/dev/null 2>&1 & exit 0'; \
                until [ -s held ]; do sleep 0.02; done; sleep 0.05; echo left; read line; exit 6";
            let exec = start(&*sandbox, leave).await;
            until(&*sandbox, &exec, "left").await;
            let witness = start(&*sandbox, "exec 4<alive; echo opened; cat <&4; echo gone").await;
            until(&*sandbox, &witness, "opened").await;
            give(&*sandbox, &exec, b"go\n").await;
            assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(6)));
            assert_eq!(stdout(&*sandbox, &witness).await, b"opened\ngone\n");
        })
        .await;
        rig.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_are_found_above_every_folder_of_a_sandbox() {
    for rig in [Some(Rig::process()), Rig::namespace()].into_iter().flatten() {
        let sandbox = sandbox(&rig.local).await;
        for name in ["old", "new"] {
            let set = tempfile::tempdir().expect("a directory");
            let module = set.path().join("node_modules/one");
            fs::create_dir_all(&module).expect("made");
            fs::write(module.join("name"), format!("{name}\n")).expect("written");
            let mut spec = sh(&format!("({LOOKS_UP}); cd ~ && ({LOOKS_UP}); cd \"$TMPDIR\" && {LOOKS_UP}"));
            spec.readable = vec![set.path().to_owned()];
            spec.modules = Some(set.path().join("node_modules"));
            sandbox.start(NOW, &spec).await.expect("started");
            give(&*sandbox, &spec.exec_id, b"").await;
            let said = String::from_utf8(soon(stdout(&*sandbox, &spec.exec_id)).await).expect("text");
            assert_eq!(said, format!("{name}\n").repeat(3), "{:?}", rig.local.isolation());
        }
        rig.close().await;
    }
}

//! Conformance: starts, ends, signals, epochs, and what a program finds around it.

use std::{collections::BTreeSet, time::Instant};

use agent_runtime::{
    domain::{ExecId, SandboxId},
    sandbox::{Epoch, Error, Exit, GRACE, NewSandbox, Output, Provider, Sandbox, Signal},
};
use futures::{StreamExt as _, future::join_all};

use crate::rig::{NOW, give, prints, program, read_from, sandbox, session, sh, start, stdout, until};

pub(crate) async fn starts_once(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let spec = sh("echo ran >>runs; echo hello");
    for _ in 0..3 {
        sandbox.start(NOW, &spec).await.expect("started");
    }
    assert_eq!(stdout(&*sandbox, &spec.exec_id).await, b"hello\n");
    assert_eq!(sandbox.wait(&spec.exec_id).await, Ok(Exit::Code(0)));
    sandbox.start(NOW, &spec).await.expect("known");
    assert_eq!(stdout(&*sandbox, &spec.exec_id).await, b"hello\n");
    assert_eq!(prints(&*sandbox, "cat runs").await, "ran\n");
}

pub(crate) async fn starts_once_concurrently(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let spec = sh("echo ran >>runs; cat");
    let starts = join_all((0..16).map(|_| sandbox.start(NOW, &spec))).await;
    assert!(starts.iter().all(Result::is_ok), "{starts:?}");
    give(&*sandbox, &spec.exec_id, b"one").await;
    assert_eq!(stdout(&*sandbox, &spec.exec_id).await, b"one");
    assert_eq!(prints(&*sandbox, "cat runs").await, "ran\n");
}

pub(crate) async fn waits_before_and_after_the_exit(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "cat; exit 5").await;
    let (first, second, ()) =
        tokio::join!(sandbox.wait(&exec), sandbox.wait(&exec), async { give(&*sandbox, &exec, b"").await });
    assert_eq!((first, second), (Ok(Exit::Code(5)), Ok(Exit::Code(5))));
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(5)));
}

pub(crate) async fn exits_as_the_program_says(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 1", Exit::Code(1)),
        ("exit 127", Exit::Code(127)),
        ("exit 200", Exit::Code(200)),
        ("exit 255", Exit::Code(255)),
        ("kill -TERM $$", Exit::Signal(15)),
        ("kill -SEGV $$", Exit::Signal(11)),
        ("kill -KILL $$", Exit::Signal(9)),
        // What a shell says of its child stands for the signal.
        ("exit 143", Exit::Signal(15)),
    ] {
        let exec = start(&*sandbox, script).await;
        assert_eq!(sandbox.wait(&exec).await, Ok(exit), "{script}");
    }
}

pub(crate) async fn an_interrupt_reaches_the_program(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    for (signal, name) in [(Signal::Interrupt, "INT"), (Signal::Terminate, "TERM")] {
        let exec = start(&*sandbox, &format!("trap 'echo caught; exit 3' {name}; echo ready; sleep 1000 & wait")).await;
        until(&*sandbox, &exec, "ready").await;
        sandbox.signal(NOW, &exec, signal).await.expect("sent");
        assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(3)));
        assert_eq!(stdout(&*sandbox, &exec).await, b"ready\ncaught\n");
    }
    // Without a handler it ends.
    let exec = start(&*sandbox, "exec cat").await;
    sandbox.signal(NOW, &exec, Signal::Interrupt).await.expect("sent");
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Signal(2)));
}

pub(crate) async fn a_signal_reaches_the_group(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let script = "trap 'wait; echo parent; exit 4' TERM; \
                  (trap 'echo child; exit' TERM; echo ready; sleep 1000 & wait) & wait";
    let exec = start(&*sandbox, script).await;
    until(&*sandbox, &exec, "ready").await;
    sandbox.signal(NOW, &exec, Signal::Terminate).await.expect("sent");
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(4)));
    assert_eq!(stdout(&*sandbox, &exec).await, b"ready\nchild\nparent\n");
}

/// Whether somebody lives can be seen through a fifo: its reader sees the end when the last writer is gone.
pub(crate) async fn killing_leaves_nobody(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    prints(&*sandbox, "mkfifo alive").await;
    let exec = start(&*sandbox, "(trap '' INT TERM; exec 3>alive; echo ready; sleep 1000) & wait").await;
    let witness = start(&*sandbox, "cat alive; echo gone").await;
    until(&*sandbox, &exec, "ready").await;
    sandbox.signal(NOW, &exec, Signal::Kill).await.expect("sent");
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Signal(9)));
    assert_eq!(stdout(&*sandbox, &exec).await, b"ready\n");
    assert_eq!(stdout(&*sandbox, &witness).await, b"gone\n");
}

/// A grandchild that keeps the pipe open holds up neither the wait nor the end of the output.
pub(crate) async fn an_exit_leaves_nobody(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    prints(&*sandbox, "mkfifo alive").await;
    let exec = start(&*sandbox, "(exec 3>alive; echo ready; sleep 1000) & read line; echo last; exit 6").await;
    let witness = start(&*sandbox, "cat alive; echo gone").await;
    until(&*sandbox, &exec, "ready").await;
    give(&*sandbox, &exec, b"go\n").await;
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(6)));
    assert_eq!(stdout(&*sandbox, &exec).await, b"ready\nlast\n");
    assert_eq!(stdout(&*sandbox, &witness).await, b"gone\n");
}

pub(crate) async fn signalling_the_dead_is_no_error(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "exit 0").await;
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(0)));
    for signal in [Signal::Interrupt, Signal::Terminate, Signal::Kill] {
        assert_eq!(sandbox.signal(NOW, &exec, signal).await, Ok(()));
    }
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(0)));
}

pub(crate) async fn stale_epochs_are_refused(provider: &dyn Provider) {
    let (id, session) = (SandboxId::mint(), session());
    let sandbox = provider.create(NewSandbox::plain(id.clone(), session.clone(), Epoch(5))).await.expect("created");
    let spec = sh("cat");
    let exec = &spec.exec_id;
    sandbox.start(Epoch(5), &spec).await.expect("started");

    let (old, stale) = (Epoch(4), Error::Stale { given: 4, seen: 5 });
    assert_eq!(sandbox.start(old, &sh("exit 0")).await, Err(stale.clone()));
    assert_eq!(sandbox.start(old, &spec).await, Err(stale.clone()));
    assert_eq!(sandbox.write_stdin(old, exec, 0, b"old", true).await, Err(stale.clone()));
    assert_eq!(sandbox.signal(old, exec, Signal::Kill).await, Err(stale.clone()));
    assert_eq!(sandbox.release(old, exec, Output::Stdout, 0).await, Err(stale.clone()));
    assert_eq!(sandbox.terminate(old).await, Err(stale.clone()));
    assert_eq!(provider.create(NewSandbox::plain(id.clone(), session.clone(), old)).await.err(), Some(stale));

    // None of them did anything, and each command tells a newer epoch.
    assert_eq!(sandbox.write_stdin(Epoch(6), exec, 0, b"new", true).await, Ok(3));
    assert_eq!(stdout(&*sandbox, exec).await, b"new");
    assert_eq!(sandbox.wait(exec).await, Ok(Exit::Code(0)));
    assert_eq!(sandbox.signal(Epoch(5), exec, Signal::Kill).await, Err(Error::Stale { given: 5, seen: 6 }));
    sandbox.signal(Epoch(7), exec, Signal::Kill).await.expect("newer");
    assert_eq!(sandbox.terminate(Epoch(6)).await, Err(Error::Stale { given: 6, seen: 7 }));
    sandbox.release(Epoch(8), exec, Output::Stdout, 1).await.expect("newer");
    assert_eq!(sandbox.start(Epoch(7), &spec).await, Err(Error::Stale { given: 7, seen: 8 }));
    sandbox.start(Epoch(9), &spec).await.expect("newer");
    assert_eq!(sandbox.signal(Epoch(8), exec, Signal::Kill).await, Err(Error::Stale { given: 8, seen: 9 }));
    let again = provider.create(NewSandbox::plain(id.clone(), session.clone(), Epoch(10))).await.expect("newer");
    assert_eq!(sandbox.terminate(Epoch(9)).await, Err(Error::Stale { given: 9, seen: 10 }));
    again.terminate(Epoch(11)).await.expect("newer");
    assert_eq!(again.terminate(Epoch(10)).await, Err(Error::Stale { given: 10, seen: 11 }));
}

pub(crate) async fn unknown_execs_are_refused(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = ExecId::new("exec_nobody");
    let unknown = Error::UnknownExec(exec.clone());
    assert_eq!(sandbox.read(&exec, Output::Stdout, 0).await.err(), Some(unknown.clone()));
    assert_eq!(sandbox.write_stdin(NOW, &exec, 0, b"", false).await, Err(unknown.clone()));
    assert_eq!(sandbox.stdin_status(&exec).await, Err(unknown.clone()));
    assert_eq!(sandbox.wait(&exec).await, Err(unknown.clone()));
    assert_eq!(sandbox.signal(NOW, &exec, Signal::Kill).await, Err(unknown.clone()));
    assert_eq!(sandbox.release(NOW, &exec, Output::Stdout, 0).await, Err(unknown));
}

pub(crate) async fn a_failed_start_leaves_nothing(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    prints(&*sandbox, "echo data >plain; printf '#!/no/such/interpreter\\n' >script; chmod +x script").await;
    let inside = |name: &str| format!("{}/{name}", sandbox.paths().workspace);
    for (path, cause) in [
        ("/no/such/program".to_owned(), "No such file"),
        (inside("plain"), "Permission denied"),
        (inside("script"), "No such file"),
        (inside(""), "Permission denied"),
        ("sh".to_owned(), "not absolute"),
    ] {
        let mut spec = program(&[&path]);
        for _ in 0..2 {
            match sandbox.start(NOW, &spec).await {
                Err(Error::Start { program, cause: said }) => {
                    assert_eq!(program, path);
                    assert!(said.contains(cause), "{path}: {said}");
                }
                other => panic!("{path}: {other:?}"),
            }
            let unknown = Some(Error::UnknownExec(spec.exec_id.clone()));
            assert_eq!(sandbox.read(&spec.exec_id, Output::Stdout, 0).await.err(), unknown);
        }
        // The same exec can still be one that works.
        spec.argv = sh("echo works").argv;
        sandbox.start(NOW, &spec).await.expect("started");
        assert_eq!(stdout(&*sandbox, &spec.exec_id).await, b"works\n");
        assert_eq!(read_from(&*sandbox, &spec.exec_id, Output::Stderr, 0).await, b"");
    }
    for name in ["", "A=B"] {
        let mut spec = sh("exit 0");
        spec.env = vec![(name.to_owned(), "value".to_owned())];
        assert!(matches!(sandbox.start(NOW, &spec).await, Err(Error::Start { .. })), "{name:?}");
    }
}

pub(crate) async fn the_environment_is_an_allow_list(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let mut spec = program(&["/usr/bin/env"]);
    let given = [("AGENT_KEY", "a value"), ("LD_BIND_NOW", "1"), ("TERM", "other"), ("EMPTY", "")];
    spec.env = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    sandbox.start(NOW, &spec).await.expect("started");
    let text = String::from_utf8(stdout(&*sandbox, &spec.exec_id).await).expect("text");
    let mut found: Vec<(&str, &str)> = text.lines().map(|line| line.split_once('=').expect("name=value")).collect();
    if !provider.shares_machine() {
        // Elsewhere nothing but a mark tells what a program started.
        found.retain(|(name, _)| *name != "AGENT_RUNTIME_EXEC");
    }

    // The test itself has more, so there is something to be kept out.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let mut allowed = BTreeSet::from(["PATH", "HOME", "TMPDIR", "LANG", "PWD"]);
    allowed.extend(given.map(|(name, _)| name));
    if std::env::var_os("TZ").is_some() {
        allowed.insert("TZ");
    }
    assert_eq!(found.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), allowed);
    assert_eq!(found.len(), allowed.len());
    let paths = sandbox.paths();
    for expected in given.into_iter().chain([("HOME", &*paths.home), ("PWD", &paths.workspace), ("LANG", "C.UTF-8")]) {
        assert!(found.contains(&expected), "{expected:?} in {found:?}");
    }
}

pub(crate) async fn what_a_program_was_started_with_is_told_while_it_runs(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let mut spec = sh("AGENT_KEY=another; echo ready; cat");
    spec.env = vec![("AGENT_KEY".to_owned(), "first\nsecond=\u{fc}".to_owned())];
    sandbox.start(NOW, &spec).await.expect("started");
    until(&*sandbox, &spec.exec_id, "ready").await;
    let told = async || {
        let told = sandbox.variables(&spec.exec_id).await.expect("told");
        told.into_iter().filter(|(name, _)| name == "AGENT_KEY").map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [spec.env[0].1.as_str()]);
    give(&*sandbox, &spec.exec_id, b"").await;
    assert_eq!(sandbox.wait(&spec.exec_id).await, Ok(Exit::Code(0)));
    assert_eq!(told().await, [""; 0]);
}

pub(crate) async fn programs_share_their_directories(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let paths = sandbox.paths();
    assert_eq!(prints(&*sandbox, "pwd; echo \"$HOME\"").await, format!("{}\n{}\n", paths.workspace, paths.home));
    prints(&*sandbox, "echo 1 >here; echo 2 >\"$HOME/there\"; echo 3 >\"$TMPDIR/temporary\"").await;
    assert_eq!(prints(&*sandbox, "cat here \"$HOME/there\" \"$TMPDIR/temporary\"").await, "1\n2\n3\n");
    // Another sandbox has its own.
    let other = crate::rig::sandbox(provider).await;
    assert_eq!(prints(&*other, "ls -A . \"$HOME\" \"$TMPDIR\" | grep -c here || true").await, "0\n");
}

/// All standard output, or why it cannot be had.
async fn read_all(sandbox: &dyn Sandbox, exec: &ExecId) -> Result<Vec<u8>, Error> {
    let pieces: Vec<_> = sandbox.read(exec, Output::Stdout, 0).await?.collect().await;
    Ok(pieces.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

pub(crate) async fn terminates_twice_and_keeps_the_files(provider: &dyn Provider) {
    let id = SandboxId::mint();
    let sandbox = provider.create(NewSandbox::plain(id.clone(), session(), NOW)).await.expect("created");
    let exec = start(&*sandbox, "trap 'echo bye; exit 0' TERM; echo kept >file; echo ready; sleep 1000 & wait").await;
    until(&*sandbox, &exec, "ready").await;
    sandbox.terminate(NOW).await.expect("terminated");
    sandbox.terminate(NOW).await.expect("terminated before");
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(0)));
    if provider.shares_machine() {
        assert_eq!(stdout(&*sandbox, &exec).await, b"ready\nbye\n");
    } else {
        // Output is kept by the machine that a sandbox runs on, and ends with it: whoever reads, reads before.
        assert!(matches!(read_all(&*sandbox, &exec).await, Err(Error::Gone(_))));
    }
    assert!(matches!(sandbox.start(NOW, &sh("exit 0")).await, Err(Error::Gone(_))));

    let again = provider.create(NewSandbox::plain(id.clone(), session(), NOW)).await.expect("created again");
    assert_eq!(prints(&*again, "cat file").await, "kept\n");
    if provider.shares_machine() {
        // What ran before can still be read.
        assert_eq!(stdout(&*again, &exec).await, b"ready\nbye\n");
    } else {
        // It ran in another sandbox of the provider's.
        assert_eq!(read_all(&*again, &exec).await, Err(Error::UnknownExec(exec)));
    }
}

pub(crate) async fn terminates_what_ignores_it(provider: &dyn Provider) {
    let sandbox = sandbox(provider).await;
    let exec = start(&*sandbox, "trap '' TERM INT; echo ready; while :; do sleep 1000; done").await;
    until(&*sandbox, &exec, "ready").await;
    let asked = Instant::now();
    let (first, second) = tokio::join!(sandbox.terminate(NOW), sandbox.terminate(NOW));
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert!(asked.elapsed() >= GRACE);
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Signal(9)));
}

/// A program that nobody drives any more does not work beside the next one.
pub(crate) async fn nothing_runs_in_what_is_resumed(provider: &dyn Provider) {
    let new = NewSandbox::plain(SandboxId::mint(), session(), NOW);
    let sandbox = provider.create(new.clone()).await.expect("created");
    let exec = start(&*sandbox, "echo x >beat; echo ready; while :; do echo x >>beat; sleep 0.05; done").await;
    until(&*sandbox, &exec, "ready").await;
    let resumed = provider.resume(new.clone()).await.expect("found");
    let looked =
        prints(&*resumed, "before=$(cat beat); sleep 1; [ \"$before\" = \"$(cat beat)\" ] && echo still").await;
    assert_eq!(looked, "still\n");
    // Where nothing runs nothing changes.
    let resumed = provider.resume(new).await.expect("found again");
    assert_eq!(prints(&*resumed, "[ -s beat ] && echo kept").await, "kept\n");
}

pub(crate) async fn destroys(provider: &dyn Provider) {
    let id = SandboxId::mint();
    let sandbox = provider.create(NewSandbox::plain(id.clone(), session(), NOW)).await.expect("created");
    prints(&*sandbox, "mkdir -p locked/inner; echo 1 >locked/inner/file; chmod 500 locked/inner locked").await;
    let exec = start(&*sandbox, "while :; do echo x >\"file$((n += 1))\"; done").await;
    provider.destroy(&id).await.expect("destroyed");
    provider.destroy(&id).await.expect("destroyed before");
    provider.destroy(&SandboxId::mint()).await.expect("never there");
    assert!(matches!(sandbox.start(NOW, &sh("exit 0")).await, Err(Error::Gone(_))));
    assert!(matches!(sandbox.wait(&exec).await, Err(Error::Gone(_))));
    assert!(matches!(sandbox.read(&exec, Output::Stdout, 0).await.err(), Some(Error::Gone(_))));

    let fresh = provider.create(NewSandbox::plain(id.clone(), session(), NOW)).await.expect("created anew");
    assert_eq!(prints(&*fresh, "ls -A").await, "");
    assert_eq!(fresh.wait(&exec).await, Err(Error::UnknownExec(exec)));
}

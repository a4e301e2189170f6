//! An older release's supervisor is driven to its end by this build: `tests/previous` holds the older ones.

use std::time::Duration;

use agent_runtime::{
    sandbox::{
        Epoch, Error, Exit, Output, Provider, Signal,
        local::{Local, LocalConfig, Wanted},
    },
    supervisor::{
        folder::Folder,
        frame::Frames,
        identity::Identity,
        proc,
        protocol::{Answer, Ask, Hello, Reply, Request, VERSION},
        socket,
    },
};
use futures::StreamExt as _;

use crate::{
    older::previous,
    outlive::tiers,
    rig::{NOW, Rig, config, read_from, sh, soon, start, stdout, until},
    supervised::{gone, supervisor},
};

/// A server of that time, as far as its supervisors go.
fn older(rig: &Rig, wanted: Wanted) -> Local {
    let root = rig.data.path().join("sandboxes");
    Local::new(LocalConfig { supervisor: previous("supervisor-v1"), ..config(&root, wanted) }).expect("usable")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_under_an_older_supervisor_is_taken_over() {
    for (rig, wanted) in tiers().into_iter().zip([Wanted::Process, Wanted::Namespace]) {
        let first = older(&rig, wanted);
        let made = crate::rig::sandbox(&first).await;
        // Numbers as they come; a line that is given is said again.
        let script = "trap 'echo over; exit 4' TERM; i=0; while read -r line; do \
                      for n in 1 2 3 4 5 6 7 8 9 10; do echo $((i += 1)); done; echo \"$line\"; done; \
                      echo end; sleep 1000 & wait";
        let exec = start(&*made, script).await;
        made.write_stdin(NOW, &exec, 0, b"first\nsec", false).await.expect("accepted");
        until(&*made, &exec, "first").await;
        assert_eq!(made.limit(NOW, Some(Duration::from_secs(7))).await, Ok(false));
        assert_eq!(spoken(&rig, made.id().as_str()).await, 1);
        assert_eq!(first.detach().await.len(), 1);

        // The new build, mid-output: from the middle of a line, then with the rest of its input.
        let second = Local::new(config(&rig.data.path().join("sandboxes"), wanted)).expect("usable");
        let sandbox = second.attach(made.id(), Epoch(2)).await.expect("found");
        let before = b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\nfirst\n";
        let mut stream = sandbox.read(&exec, Output::Stdout, 5).await.expect("readable");
        let mut seen = Vec::new();
        while seen.len() < before.len() - 5 {
            seen.extend_from_slice(&stream.next().await.expect("more").expect("a chunk"));
        }
        assert_eq!(seen, &before[5..]);
        let given = sandbox.stdin_status(&exec).await.expect("known").accepted;
        assert_eq!(given, 9);
        assert_eq!(sandbox.write_stdin(NOW, &exec, given, b"old", false).await, Err(stale(1, 2)));
        assert_eq!(sandbox.write_stdin(Epoch(2), &exec, 6, b"second\n", true).await, Ok(13));
        let after = b"11\n12\n13\n14\n15\n16\n17\n18\n19\n20\nsecond\nend\n";
        while seen.len() < before.len() - 5 + after.len() {
            seen.extend_from_slice(&soon(stream.next()).await.expect("more").expect("a chunk"));
        }
        assert_eq!(seen, [&before[5..], after].concat());
        sandbox.release(Epoch(2), &exec, Output::Stdout, 5).await.expect("released");
        assert_eq!(sandbox.limit(Epoch(2), None).await, Ok(false));
        // Something more can be started beside it.
        let mut beside = sh("echo beside");
        beside.exec_id = agent_runtime::domain::ExecId::mint();
        sandbox.start(Epoch(2), &beside).await.expect("started");
        assert_eq!(soon(stdout(&*sandbox, &beside.exec_id)).await, b"beside\n");

        let pid = supervisor(&rig.dir(&*made));
        sandbox.terminate(Epoch(2)).await.expect("terminated");
        gone(pid).await;
        // From here on this build's supervisor serves what is left.
        assert_eq!(soon(sandbox.wait(&exec)).await, Ok(Exit::Code(4)));
        let whole = [&before[5..], after, b"over\n"].concat();
        assert_eq!(read_from(&*sandbox, &exec, Output::Stdout, 5).await, whole);
        assert!(matches!(sandbox.read(&exec, Output::Stdout, 4).await.err(), Some(Error::Offset { from: 5, .. })));
        assert_eq!(sandbox.signal(Epoch(2), &exec, Signal::Kill).await, Ok(()));
        second.shutdown().await.expect("shut down");
    }
}

fn stale(given: i64, seen: i64) -> Error {
    Error::Stale { given, seen }
}

/// The version in which its supervisor is spoken to.
async fn spoken(rig: &Rig, sandbox: &str) -> u32 {
    let folder = Folder::at(rig.data.path().join("sandboxes").join(sandbox));
    let nonce = Identity::load(&folder).expect("readable").expect("there").nonce;
    let hello = Hello { version: VERSION, nonce, boot_id: proc::boot_id().expect("told"), epoch: 0 };
    let mut frames = Frames::new(socket::connect(&folder).await.expect("listening"));
    frames.send(&[Ask::from(Request::Hello(hello))]).await.expect("sent");
    match soon(frames.next::<Answer>()).await.expect("a message").and_then(|answer| answer.reply) {
        Some(Reply::Welcome(welcome)) => welcome.version,
        other => panic!("{other:?}"),
    }
}

//! What is true of hints at Modal only: what runs for them makes a sandbox count as busy, so it must end with them, and with the
//! server that asked for them.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use agent_runtime::{
    domain::{SandboxId, SessionId, SessionKey, TenantId},
    sandbox::{
        Epoch, Error, Hints, NewSandbox, Provider as _,
        modal::{Credentials, Modal, ModalConfig},
    },
};
use futures::StreamExt as _;

use crate::{
    elsewhere::{Book, Elsewhere},
    kinds::{Kind as _, Place, soon},
};

/// The tools that watch in sandboxes of this emulator.
fn watchers(elsewhere: &Elsewhere) -> BTreeSet<PathBuf> {
    let watches = |process: &PathBuf| {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("\"Watch\":")
    };
    elsewhere.emulator.processes().into_iter().filter(watches).collect()
}

/// A provider whose watchers last for so many seconds each.
fn lasting(seconds: u64, [server, token_id, token_secret]: [String; 3], book: &Arc<Book>, staging: PathBuf) -> Modal {
    let config = ModalConfig {
        server,
        roots: None,
        credentials: Credentials { token_id, token_secret },
        environment: String::new(),
        app: "agent-runtime".to_owned(),
        given_up: Vec::new(),
        staging,
        watch: Duration::from_secs(seconds),
    };
    Modal::new(config, Arc::clone(book) as _, Arc::clone(book) as _).expect("a provider")
}

/// Changes a file until that is told.
async fn hinted(place: &dyn Place, hints: &mut Hints) {
    let mut hint = hints.next();
    loop {
        tokio::select! {
            biased;
            hint = &mut hint => break assert_eq!(hint, Some(Ok(()))),
            _ = place.sh("date >x") => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_watches_when_nobody_asks() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    soon(async {
        let place = elsewhere.place().await;
        let files = place.files();
        let mut hints = files.hints().await.expect("watched");
        hinted(&*place, &mut hints).await;
        assert_eq!(watchers(&elsewhere).len(), 1);
        drop(hints);
        while !watchers(&elsewhere).is_empty() {
            place.sh(":").await;
        }
    })
    .await;
    elsewhere.close().await;
}

/// Each watcher has a time, and who still asks then gets the next one's hints: the first of them because nobody knows what
/// happened in between.
#[tokio::test(flavor = "multi_thread")]
async fn one_watcher_follows_the_other() {
    let Some(mut elsewhere) = Elsewhere::start().await else { return };
    let staging = tempfile::tempdir().expect("a folder");
    let account = [0, 1, 2].map(|at| elsewhere.emulator.env[at].1.clone());
    elsewhere.modal = lasting(2, account, &elsewhere.book, staging.path().to_owned());
    soon(async {
        let place = elsewhere.place().await;
        let files = place.files();
        let mut hints = files.hints().await.expect("watched");
        for _ in 0..2 {
            hinted(&*place, &mut hints).await;
            let before = watchers(&elsewhere);
            // All that was done was told, but for what is told in pieces.
            while watchers(&elsewhere) == before {
                assert_eq!(hints.next().await, Some(Ok(())));
            }
            assert!(watchers(&elsewhere).len() <= 1);
        }
    })
    .await;
    elsewhere.close().await;
}

/// Not a test by itself: the server that dies in the test below, as a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn server_that_dies() {
    let Some(folder) = env::var_os("TEST_WATCHED_FOLDER").map(PathBuf::from) else { return };
    let names = ["MODAL_SERVER_URL", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"];
    let book = Book::open(&folder).await;
    let modal = lasting(3, names.map(|name| env::var(name).expect("set")), &book, folder.join("staging"));
    let session = SessionKey { tenant: TenantId::default_tenant(), session: SessionId::mint() };
    let sandbox = modal.create(NewSandbox::plain(SandboxId::mint(), session, Epoch(1))).await.expect("created");
    let mut hints = sandbox.files().hints().await.expect("watched");
    hinted(&sandbox, &mut hints).await;
    println!("served");
    // Until it is killed: nobody closes what the watcher reads.
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_left_ends_by_itself() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env::current_exe().expect("this test"));
    command.args(["--exact", "watched::server_that_dies", "--nocapture"]);
    command.env("TEST_WATCHED_FOLDER", folder.path()).envs(elsewhere.emulator.env.iter().cloned());
    let mut server = command.stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let watched = lines.any(|line| line.expect("text").ends_with("served"));
    server.kill().expect("kill -9");
    server.wait().expect("reaped");
    assert!(watched, "it could not watch");
    assert_eq!(watchers(&elsewhere).len(), 1, "it is left");
    soon(async {
        while !watchers(&elsewhere).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(elsewhere.emulator.running().len(), 1, "and not with its sandbox");
    elsewhere.close().await;
}

/// A watcher that does not last is told, and not started over and over.
#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_ends_before_its_time_is_told() {
    let Some(elsewhere) = Elsewhere::start().await else { return };
    soon(async {
        let place = elsewhere.place().await;
        let files = place.files();
        let tools = elsewhere.emulator.file_tools();
        let (aside, whole) = (tools.with_extension("aside"), fs::read(&tools).expect("a script"));
        fs::rename(&tools, &aside).expect("taken away");
        let missing = files.hints().await.map(drop);
        assert!(matches!(missing, Err(Error::Start { .. })), "{missing:?}");
        for (broken, says) in [("exit 0", "ended with 0"), ("echo no inotify >&2; exit 1", "said \"no inotify\"")] {
            fs::write(&tools, format!("#!/bin/sh\n{broken}\n")).expect("written");
            fs::set_permissions(&tools, fs::Permissions::from_mode(0o755)).expect("runnable");
            let mut hints = files.hints().await.expect("started");
            let told = hints.next().await;
            assert!(matches!(&told, Some(Err(Error::Unavailable(why))) if why.contains(says)), "{told:?}");
            assert_eq!(hints.next().await, None);
        }
        fs::write(&tools, whole).expect("put back");
        hinted(&*place, &mut files.hints().await.expect("watched")).await;
    })
    .await;
    elsewhere.close().await;
}

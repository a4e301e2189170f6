//! Hints that something may have changed.

use std::{fs, sync::mpsc, thread, time::Duration};

use agent_runtime::workspace::{Hints, StopHints};

use crate::ground::Ground;

/// What hangs fails: without a hint for so long, the wait is ended. Ends when what it returns is dropped.
fn patience(stop: StopHints) -> mpsc::Sender<()> {
    let (over, wait) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _ = wait.recv_timeout(Duration::from_secs(30));
        drop(stop);
    });
    over
}

#[test]
fn changes_are_hinted_at() {
    let ground = Ground::new();
    ground.write("a/b/file", "1");
    let (mut hints, stop) = Hints::new(ground.folder()).expect("watched");
    let _patience = patience(stop);
    assert_eq!(hints.missing(), None);
    ground.write("a/b/file", "2");
    assert_eq!(hints.wait(), Ok(true));
    // In a folder that is new, and in one of its own.
    fs::create_dir_all(ground.path("new/er")).expect("made");
    assert_eq!(hints.wait(), Ok(true));
    ground.write("new/er/file", "1");
    assert_eq!(hints.wait(), Ok(true));
    // In one that moved.
    fs::rename(ground.path("new"), ground.path("moved")).expect("moved");
    assert_eq!(hints.wait(), Ok(true));
    fs::create_dir(ground.path("moved/er/deep")).expect("made");
    assert_eq!(hints.wait(), Ok(true));
    ground.write("moved/er/deep/file", "1");
    assert_eq!(hints.wait(), Ok(true));
    fs::remove_file(ground.path("moved/er/deep/file")).expect("removed");
    assert_eq!(hints.wait(), Ok(true));
}

/// What is hidden does not wake anybody: the next hint is that of something else.
#[test]
fn what_is_hidden_gives_no_hint() {
    let ground = Ground::new();
    for path in ["node_modules/x/1", ".git/HEAD", "target/x"] {
        ground.write(path, "1");
    }
    ground.write("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    let (mut hints, stop) = Hints::new(ground.folder()).expect("watched");
    ground.write("node_modules/x/2", "1");
    ground.write("node_modules/new/2", "1");
    ground.write(".git/index", "1");
    ground.write("target/x", "1");
    fs::create_dir(ground.path("sub")).expect("made");
    assert_eq!(hints.wait(), Ok(true));
    fs::create_dir(ground.path("sub/node_modules")).expect("made");
    ground.write("sub/node_modules/x", "1");
    drop(stop);
    assert_eq!(hints.wait(), Ok(false));
}

/// More than the kernel remembers is told as something, and what is new by then is watched.
#[test]
fn too_many_are_told_as_one() {
    let ground = Ground::new();
    let (mut hints, stop) = Hints::new(ground.folder()).expect("watched");
    let _patience = patience(stop);
    let most: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("read").trim().parse().expect("a number");
    fs::create_dir(ground.path("one")).expect("made");
    for at in 0..=most {
        fs::rename(
            ground.path(if at % 2 == 0 { "one" } else { "two" }),
            ground.path(if at % 2 == 0 { "two" } else { "one" }),
        )
        .expect("moved");
    }
    fs::create_dir_all(ground.path("unseen/deep")).expect("made");
    assert_eq!(hints.wait(), Ok(true));
    ground.write("unseen/deep/file", "1");
    assert_eq!(hints.wait(), Ok(true));
}

#[test]
fn a_wait_can_be_ended() {
    let ground = Ground::new();
    let (mut hints, stop) = Hints::new(ground.folder()).expect("watched");
    let waiting = thread::spawn(move || hints.wait());
    drop(stop);
    assert_eq!(waiting.join().expect("it ended"), Ok(false));
}

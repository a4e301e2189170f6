//! Files where the kernel tells of none, or not of all: changes are told while the turn runs all the same.
//!
//! The kernel's limits are real ones: those of a user namespace of the server's own, so that nobody else meets them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use agent_runtime::proto::{SessionEvent, Turn, WatchSessionResponse, session_event::Kind};
use serde_json::json;
use tempfile::TempDir;
use tonic::Streaming;

use crate::{
    disk,
    support::{PATIENCE, Server, ended, get, scripted, send, stop, until, watch},
};

/// A server whose user has so many of something, by its name below /proc/sys/user, with what it tells. `None`, said aloud, where
/// no such namespace can be made.
fn limited(what: &str, most: u32) -> Option<(Server, TempDir, PathBuf)> {
    let limits = format!("echo {most} >/proc/sys/user/{what}");
    let enter = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]);
        command
    };
    if !enter(&limits).status().is_ok_and(|status| status.success()) {
        println!("SKIPPED: the limits of inotify are set in a user namespace, which cannot be made here");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have it");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("told");
    let server = Server::start_by(&log, "agent_runtime=debug", &["--sandbox", "process"], |own| {
        let mut command = enter(&format!("{limits} && exec \"$@\""));
        command.arg(own.get_program()).args(own.get_args());
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    });
    Some((server, folder, log))
}

/// How often the server has told this.
fn said(log: &Path, what: &str) -> usize {
    fs::read_to_string(log).expect("a log").matches(what).count()
}

/// Waits until it has.
async fn says(log: &Path, what: &str) {
    let told = async {
        while said(log, what) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it is told");
}

/// Waits until a change of the file is told, in a turn that goes on.
async fn told(stream: &mut Streaming<WatchSessionResponse>, turn: &Turn, path: &str) {
    let tells = |event: &SessionEvent| {
        let Some(Kind::FilesChanged(changed)) = &event.kind else { return false };
        changed.changes.iter().filter_map(|change| change.file.as_ref()).any(|file| file.path == path)
    };
    let seen = until(stream, |event| tells(event) || ended(event, &turn.turn_id)).await;
    assert!(seen.last().is_some_and(tells), "{path} is told at the end of the turn only");
}

const BLIND: &str = "changes of files are not all told: they are looked for now and then";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_watcher_files_are_looked_for_until_there_is_one() {
    let Some((server, _folder, log)) = limited("max_inotify_instances", 0) else { return };
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    // The limit is the namespace's, and the agent is in it.
    let lift = "until [ -e lift ]; do sleep 0.1; done; echo 9 >/proc/sys/user/max_inotify_instances";
    let script = json!([{"run": "echo 1 >own"}, {"run": lift}, {"pause_ms": 600_000}]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &script).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    told(&mut stream, &turn, "own").await;
    let root = disk::sandbox(&server, &get(&mut sessions, &id).await).join("workspace");
    // Nobody hints at these.
    for path in ["first", "second"] {
        fs::write(root.join(path), path).expect("written");
        told(&mut stream, &turn, path).await;
    }
    fs::write(root.join("lift"), "").expect("written");
    says(&log, "changes of files are told again").await;
    fs::write(root.join("third"), "").expect("written");
    told(&mut stream, &turn, "third").await;
    stop(&mut sessions, &id).await;
    assert_eq!((said(&log, BLIND), said(&log, "raise fs.inotify.max_user_instances") > 0), (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_watched_of_a_workspace_is_looked_for() {
    let Some((server, _folder, log)) = limited("max_inotify_watches", 2) else { return };
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let folders = ["a", "b", "c"];
    let script = json!([{"run": "mkdir a b c; echo 1 >own"}, {"pause_ms": 600_000}]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &script).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    told(&mut stream, &turn, "own").await;
    let root = disk::sandbox(&server, &get(&mut sessions, &id).await).join("workspace");
    // At most one of them is watched beside the workspace itself.
    for path in folders.map(|folder| format!("{folder}/late")) {
        fs::write(root.join(&path), "").expect("written");
        told(&mut stream, &turn, &path).await;
    }
    stop(&mut sessions, &id).await;
    assert_eq!((said(&log, BLIND), said(&log, "raise fs.inotify.max_user_watches") > 0), (1, true));
}

//! A backup that was put back: nobody who remembers what came after it is shown something else in its place.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use agent_runtime::proto::{WatchSessionRequest, WatchSessionsRequest, session_event::Kind};
use tempfile::TempDir;
use tonic::Code;

use crate::support::{self, Server, Sessions, get, play, reason, scripted, snapshot, watch};

fn restored(data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
    command.args(["database", "restored", "--data"]).arg(data).output().expect("it runs")
}

/// All files of a data folder's database.
fn database(data: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(data).expect("a folder").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".db"))).collect()
}

/// Puts the database back as it was in `backup`.
fn put_back(backup: &Path, data: &Path) {
    for file in database(data) {
        fs::remove_file(file).expect("removed");
    }
    for file in database(backup) {
        fs::copy(&file, data.join(file.file_name().expect("a name"))).expect("put back");
    }
}

/// How a watch that remembers a place begins.
async fn resume(sessions: &mut Sessions, request: WatchSessionRequest) -> Result<Option<Kind>, tonic::Status> {
    let mut stream = sessions.watch_session(request).await?.into_inner();
    Ok(support::until(&mut stream, |_| true).await.remove(0).kind)
}

/// The newest of the lists.
async fn revision(sessions: &mut Sessions) -> i64 {
    let mut stream = sessions.watch_sessions(WatchSessionsRequest::default()).await.expect("a watch").into_inner();
    loop {
        let response = stream.message().await.expect("no error").expect("the list");
        if response.revision > 0 {
            return response.revision;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_from_after_a_backup_is_refused() {
    let (data, backup) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let kept = play(&mut sessions, &id, r#"[{"say": "kept"}]"#).await;
    server.terminate();
    for file in database(data.path()) {
        fs::copy(&file, backup.path().join(file.file_name().unwrap())).unwrap();
    }

    // What comes now is lost with the backup that is put back.
    let mut server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    play(&mut sessions, &id, r#"[{"say": "lost"}]"#).await;
    let before = get(&mut sessions, &id).await;
    let revision = revision(&mut sessions).await;
    let owned = restored(data.path());
    assert!(!owned.status.success(), "a server runs on it");
    server.terminate();
    put_back(backup.path(), data.path());
    let done = restored(data.path());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), "the logs of 1 sessions have new uids\n");

    // The log grows past what was remembered, by other events.
    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    play(&mut sessions, &id, r#"[{"say": "another"}, {"think": "and longer"}, {"say": "than before"}]"#).await;
    let after = get(&mut sessions, &id).await;
    assert!(after.sequence > before.sequence && after.uid != before.uid);
    let request = WatchSessionRequest {
        session_id: id.clone(),
        after_sequence: Some(before.sequence),
        expected_uid: before.uid.clone(),
        ..WatchSessionRequest::default()
    };
    let refused = resume(&mut sessions, request.clone()).await.expect_err("it is another log");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::OutOfRange, "SESSION_REPLACED"));
    let asked = WatchSessionRequest { snapshot_if_truncated: true, ..request };
    assert!(matches!(resume(&mut sessions, asked).await, Ok(Some(Kind::SnapshotStart(_)))));
    let lists = WatchSessionsRequest { after_revision: Some(revision), ..WatchSessionsRequest::default() };
    let refused = sessions.watch_sessions(lists).await.expect_err("they are other lists");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::OutOfRange, "SEQUENCE_TRUNCATED"));

    // It is whole, and what it folds to is what it shows.
    let (state, head) = snapshot(&mut sessions, &id).await;
    let mut stream = watch(&mut sessions, &id, Some(0)).await.unwrap();
    let events = support::until(&mut stream, |event| event.sequence == head).await;
    let mut folded = agent_runtime::client::State::default();
    for event in &events {
        folded.apply(event);
    }
    assert_eq!(folded.as_proto(), &state);
    assert!(kept.turn.turn_id == state.turns[0].turn_id && state.session.unwrap().uid == after.uid);
}

#[test]
fn a_folder_without_a_database_is_left_as_it_is() {
    let data = TempDir::new().unwrap();
    let done = restored(data.path());
    assert!(!done.status.success() && database(data.path()).is_empty());
}

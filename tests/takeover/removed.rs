//! A sandbox that was given up, and whose server died before it was removed, is removed by the next one.

use std::{fs::File, net::TcpListener};

use agent_runtime::proto::{self, SessionStatus, session_event::Kind, workspace_source::Source};
use rustix::fs::{FlockOperation, flock};

use crate::{
    house::House,
    support::{until, watch},
};

#[tokio::test]
async fn a_sandbox_that_was_given_up_while_it_was_made_does_not_outlive_its_server() {
    let house = House::new(&[]);
    let server = house.open();
    let mut sessions = server.sessions().await;
    // A repository that never comes, so that the sandbox is not finished.
    let nowhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/x.git", nowhere.local_addr().expect("an address"));
    let git = proto::GitSource { url, ..Default::default() };
    let request = proto::CreateSessionRequest {
        agent: "scripted".into(),
        start_sandbox: true,
        workspace_source: Some(proto::WorkspaceSource { source: Some(Source::Git(git)) }),
        ..Default::default()
    };
    let id = sessions.create_session(request).await.expect("created").into_inner().session.expect("one").session_id;
    let (held, _) = tokio::task::spawn_blocking(move || nowhere.accept()).await.expect("no panic").expect("git comes");
    let folder = house.sandbox();
    // Whoever removes it waits for this first: its server is killed before it can.
    let lock = File::options().read(true).write(true).create(true).truncate(false).open(folder.join("supervisor.lock"));
    let lock = lock.expect("the lock");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody has it");

    let mut stream = watch(&mut sessions, &id, None).await.expect("a watch");
    let request = proto::DeleteSessionRequest { session_id: id.clone(), ..Default::default() };
    let deleted = until(
        &mut stream,
        |event| matches!(&event.kind, Some(Kind::StatusChanged(change)) if change.status() == SessionStatus::Deleted),
    );
    tokio::select! {
        _ = deleted => {}
        answered = sessions.delete_session(request) => panic!("it is not removed yet: {answered:?}"),
    }
    server.kill();
    assert!(folder.join("workspace").is_dir(), "it was left behind");
    // What it had begun ends with the connection.
    drop((lock, held));

    let server = house.open();
    assert!(!folder.exists(), "{}", folder.display());
    drop(server);
}

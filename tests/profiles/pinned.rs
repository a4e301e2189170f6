//! A session keeps the revision that it was created with, also for an agent that is started later.

use agent_runtime::domain::{ProfileSetup, Secret};

use crate::{
    rig::{self, of},
    support::{Server, Sessions, play, stop},
};

fn says(value: &str) -> ProfileSetup {
    let environment = [("WHICH".to_owned(), Secret::Value(value.into()))].into();
    ProfileSetup { environment, ..ProfileSetup::default() }
}

async fn create(sessions: &mut Sessions) -> (String, i64) {
    let session = sessions.create_session(of("scripted")).await.expect("created").into_inner().session.expect("one");
    (session.session_id, session.profile_revision)
}

async fn which(sessions: &mut Sessions, id: &str) -> String {
    let played = play(sessions, id, r#"{"run": "printenv WHICH"}"#).await;
    rig::results(&played).concat()
}

#[tokio::test]
async fn a_new_revision_is_for_new_sessions() {
    let data = tempfile::tempdir().expect("a folder");
    rig::store(data.path(), says("first"), 1).await;
    let mut server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let (old, revision) = create(&mut sessions).await;
    assert_eq!(revision, 1);
    assert!(which(&mut sessions, &old).await.contains("first"));
    stop(&mut sessions, &old).await;
    server.terminate();
    rig::store(data.path(), says("second"), 2).await;
    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let again = which(&mut sessions, &old).await;
    assert!(again.contains("first") && !again.contains("second"), "{again}");
    let (new, revision) = create(&mut sessions).await;
    assert_eq!(revision, 2);
    assert!(which(&mut sessions, &new).await.contains("second"));
}

//! How agents start: once, and not at all.

use std::path::{Path, PathBuf};

use agent_runtime::proto::{self, ErrorReason, SessionStatus, TurnStatus, session_event::Kind};
use futures::future::join_all;

use crate::support::{
    Played, Server, Sessions, get, last_turn, play, reason, scripted, send, stop, taken_up, until, until_end_of, watch,
};

/// The runs of programs that a server's sandboxes have seen.
fn execs(data: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        folder.read_dir().into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect()
    };
    let sandboxes = entries(&data.join("sandboxes"));
    sandboxes.iter().flat_map(|sandbox| entries(&sandbox.join("exec"))).collect()
}

async fn at_once(server: &Server, id: &str, number: usize) -> Vec<proto::Turn> {
    let mut clients: Vec<Sessions> = Vec::new();
    for _ in 0..number {
        clients.push(server.sessions().await);
    }
    let answers = join_all(clients.iter_mut().map(|sessions| send(sessions, id, r#"[{"pause_ms":600000}]"#))).await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|refused| reason(refused) == "SESSION_BUSY"), "{answers:?}");
    assert_eq!(refused.count(), number - 1, "{answers:?}");
    answers.into_iter().filter_map(Result::ok).map(|(turn, _)| turn).collect()
}

#[tokio::test]
async fn of_many_messages_at_once_one_is_accepted_and_starts_one_agent() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    for (number, execs_then) in [(3, 1), (20, 2)] {
        let accepted = at_once(&server, &id, number).await;
        assert_eq!(accepted.len(), 1);
        let events = until(&mut stream, |event| {
            taken_up(event) && last_turn(std::slice::from_ref(event)).turn_id == accepted[0].turn_id
        })
        .await;
        let started = events.iter().filter(|event| {
            matches!(&event.kind, Some(Kind::SandboxChanged(change))
            if change.sandbox.as_ref().is_some_and(|sandbox| sandbox.status() == proto::SandboxStatus::Ready))
        });
        assert_eq!(started.count(), 1);
        assert_eq!(execs(server.data()).len(), execs_then, "{:?}", execs(server.data()));
        stop(&mut sessions, &id).await;
        let (state, _) = crate::support::snapshot(&mut sessions, &id).await;
        assert_eq!(state.turns.len(), execs_then, "a refused message left a turn");
        assert_eq!(state.blocks.len(), execs_then, "a refused message left a block");
    }
    assert_eq!(server.data().join("sandboxes").read_dir().expect("a folder").count(), 1, "one sandbox");
}

#[tokio::test]
async fn twenty_messages_to_an_agent_that_runs_give_one_turn() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    play(&mut sessions, &id, "hello").await;
    assert_eq!(at_once(&server, &id, 20).await.len(), 1);
    assert_eq!(execs(server.data()).len(), 1, "the agent that runs was not used");
    stop(&mut sessions, &id).await;
}

/// The session's turn failed because of its agent or sandbox, and the session says why.
fn failed(played: &Played, because: ErrorReason, word: &str) {
    assert_eq!(played.turn.status(), TurnStatus::Failed);
    let error = played.turn.error.clone().expect("a cause");
    assert_eq!(error.reason(), because, "{error:?}");
    assert!(error.message.contains(word), "{error:?}");
    let told = |event: &proto::SessionEvent| match &event.kind {
        Some(Kind::Error(told)) => told.error.as_ref() == Some(&error),
        _ => false,
    };
    assert!(played.events.iter().any(told), "no error event");
    let session = played.state.session.as_ref().expect("a session");
    assert_eq!((session.status(), &session.error), (SessionStatus::Failed, &Some(error)));
    assert_eq!(session.active_turn, None);
}

async fn claude(sessions: &mut Sessions) -> String {
    let request = proto::CreateSessionRequest { agent: "claude-code".into(), ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

#[tokio::test]
async fn a_program_that_is_none_fails_the_turn_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("claude");
    std::fs::write(&text, "not executable").expect("written");
    for program in [Path::new("/nonexistent"), &text, folder.path()] {
        let program = program.to_str().expect("a path");
        let server = Server::start_with(&["--claude-code", program], &[]);
        let mut sessions = server.sessions().await;
        let id = claude(&mut sessions).await;
        for _ in 0..2 {
            failed(&play(&mut sessions, &id, "hello").await, ErrorReason::AgentUnavailable, program);
        }
        let other = scripted(&mut sessions).await.session_id;
        assert_eq!(play(&mut sessions, &other, "hello").await.turn.status(), TurnStatus::Completed);
        assert_eq!(get(&mut sessions, &id).await.status(), SessionStatus::Failed);
        assert_eq!(stop(&mut sessions, &id).await.status(), SessionStatus::Stopped);
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_run_fails_the_turn() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("claude");
    // Executable by its mode, and no program all the same.
    std::fs::write(&program, [0x7f, b'E', b'L', b'F', 0, 0]).expect("written");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    for tier in ["auto", "process"] {
        let program = program.to_str().expect("a path");
        let server = Server::start_with(&["--claude-code", program, "--sandbox", tier], &[]);
        let mut sessions = server.sessions().await;
        let id = claude(&mut sessions).await;
        for _ in 0..2 {
            let turn = play(&mut sessions, &id, "hello").await.turn;
            assert_eq!(turn.status(), TurnStatus::Failed, "{tier}");
            let reason = turn.error.expect("a cause").reason();
            assert!([ErrorReason::SandboxFailed, ErrorReason::AgentFailed].contains(&reason), "{tier}: {reason:?}");
        }
    }
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_made_fails_the_turn() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let sandboxes = server.data().join("sandboxes");
    std::fs::remove_dir_all(&sandboxes).expect("removed");
    std::fs::write(&sandboxes, "in the way").expect("written");
    let played = play(&mut sessions, &id, "hello").await;
    failed(&played, ErrorReason::SandboxFailed, "");
    let error = played.turn.error.expect("a cause");
    assert_eq!(error.metadata["provider"], "local");
    assert!(error.retryable && !error.metadata["sandbox_id"].is_empty(), "{error:?}");
    std::fs::remove_file(&sandboxes).expect("removed");
    let played = play(&mut sessions, &id, "hello").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "the next message tries again");
    let session = played.state.session.expect("a session");
    assert_eq!((session.status(), session.error), (SessionStatus::Idle, None));
}

#[tokio::test]
async fn a_turn_that_runs_when_its_session_is_created_is_watched_from_its_start() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let part = proto::ContentPart { part: Some(proto::content_part::Part::Text("hello".into())) };
    let message = proto::UserMessage { parts: vec![part], created_by: None };
    let request = proto::CreateSessionRequest {
        agent: "claude-code".into(),
        initial_message: Some(message),
        ..Default::default()
    };
    let nothing = Server::start_with(&["--claude-code", "/nonexistent"], &[]);
    let mut broken = nothing.sessions().await;
    for (sessions, agent, status) in
        [(&mut sessions, "scripted", TurnStatus::Completed), (&mut broken, "claude-code", TurnStatus::Failed)]
    {
        let request = proto::CreateSessionRequest { agent: agent.into(), ..request.clone() };
        let created = sessions.create_session(request).await.expect("created").into_inner();
        let id = created.session.expect("a session").session_id;
        let mut stream = watch(sessions, &id, Some(created.sequence)).await.expect("a watch");
        let events = until_end_of(&mut stream, &created.turn.expect("a turn").turn_id).await;
        assert_eq!(last_turn(&events).status(), status);
    }
}

//! What is refused by name, and that nothing of it is stored.

use std::collections::BTreeMap;

use agent_runtime::proto;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::{
    raw,
    support::{Server, fields, get, reason, scripted, send, stop},
};

type Create = proto::CreateSessionRequest;

/// A creation with one thing wrong, and the field that is named.
fn wrong_creations() -> Vec<(Create, &'static str)> {
    let message = |parts| Some(proto::UserMessage { parts, created_by: None });
    let sandbox = |provider: &str| Some(proto::SandboxSpec { provider: provider.into(), ..Default::default() });
    let options = |model: &str| Some(proto::SessionOptions { model: model.into(), ..Default::default() });
    vec![
        (Create { agent: "hal-9000".into(), ..Default::default() }, "agent"),
        (Create { agent: "gemini-cli".into(), ..Default::default() }, "agent"),
        (Create { external_id: "no spaces".into(), ..Default::default() }, "external_id"),
        (Create { name: "\0".into(), ..Default::default() }, "name"),
        (Create { options: options("--dangerous"), ..Default::default() }, "options.model"),
        (Create { labels: BTreeMap::from([("a b".into(), "c".into())]), ..Default::default() }, "labels[\"a b\"]"),
        (Create { sandbox: sandbox("modal"), ..Default::default() }, "sandbox.provider"),
        (Create { initial_message: message(vec![]), ..Default::default() }, "initial_message.parts"),
        (
            Create { initial_message: message(vec![proto::ContentPart::default()]), ..Default::default() },
            "initial_message.parts[0]",
        ),
        (
            Create { workspace_source: Some(proto::WorkspaceSource::default()), ..Default::default() },
            "workspace_source",
        ),
        (Create { request_id: "a b".into(), ..Default::default() }, "request_id"),
    ]
}

#[tokio::test]
async fn a_creation_that_is_refused_stores_nothing() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    for (request, field) in wrong_creations() {
        let refused = sessions.create_session(request).await.expect_err(field);
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"), "{field}");
        assert_eq!(fields(&refused), [field]);
        assert_eq!(refused.get_details_error_info().expect("details").metadata["field"], field);
    }
    let no_profile = Create { profile_id: "prof_none".into(), external_id: "e".into(), ..Default::default() };
    let refused = sessions.create_session(no_profile).await.expect_err("no profile");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "PROFILE_NOT_FOUND"));
    let least = proto::Isolation::Remote.into();
    let remote = Some(proto::SandboxSpec { min_isolation: least, ..Default::default() });
    let too_safe = Create { sandbox: remote, external_id: "e".into(), ..Default::default() };
    let refused = sessions.create_session(too_safe).await.expect_err("no such isolation here");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SANDBOX_UNSUITABLE"));
    let metadata = refused.get_details_error_info().expect("details").metadata;
    assert_eq!(metadata["provider"], "local");
    assert!(["ISOLATION_PROCESS", "ISOLATION_NAMESPACE"].contains(&metadata["isolation"].as_str()), "{metadata:?}");

    let listed = sessions.list_sessions(proto::ListSessionsRequest::default()).await.expect("a page").into_inner();
    assert_eq!(listed.sessions, []);
    let free = Create { external_id: "e".into(), ..Default::default() };
    sessions.create_session(free).await.expect("the external id of a refused creation is free");
}

#[tokio::test]
async fn everything_wrong_is_told_at_once() {
    let server = Server::start();
    let request = Create { agent: "hal-9000".into(), external_id: " ".into(), name: "\0".into(), ..Default::default() };
    let refused = server.sessions().await.create_session(request).await.expect_err("refused");
    let mut named = fields(&refused);
    named.sort();
    assert_eq!(named, ["agent", "external_id", "name"]);
}

#[tokio::test]
async fn a_message_that_is_refused_changes_nothing() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let send = |text: &str| proto::SendMessageRequest {
        session_id: session.session_id.clone(),
        text: text.into(),
        ..Default::default()
    };
    for (request, field) in [
        (send(""), "text"),
        (send("a\0b"), "text"),
        (proto::SendMessageRequest { session_id: String::new(), ..send("a") }, "session_id"),
        (proto::SendMessageRequest { parts: vec![proto::ContentPart::default()], ..send("") }, "parts[0]"),
        (proto::SendMessageRequest { busy_policy: 99, ..send("a") }, "busy_policy"),
        (proto::SendMessageRequest { request_id: "a b".into(), ..send("a") }, "request_id"),
    ] {
        let refused = sessions.send_message(request.clone()).await.expect_err(field);
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"), "{field}");
        assert_eq!(fields(&refused), [field]);
        let proto::SendMessageRequest { session_id, text, parts, busy_policy, request_id } = request;
        let run = proto::RunTurnRequest { session_id, text, parts, busy_policy, request_id, ..Default::default() };
        let refused = sessions.run_turn(run).await.expect_err(field);
        assert_eq!(fields(&refused), [field]);
    }
    assert_eq!(get(&mut sessions, &session.session_id).await, session);
    assert!(!server.data().join("sandboxes").read_dir().is_ok_and(|mut folder| folder.next().is_some()));
}

#[tokio::test]
async fn watches_and_pages_name_what_is_wrong() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let watch = || proto::WatchSessionRequest { session_id: id.clone(), ..Default::default() };
    for (request, field) in [
        (proto::WatchSessionRequest { after_sequence: Some(-1), ..watch() }, "after_sequence"),
        (proto::WatchSessionRequest { expected_uid: "log_1".into(), ..watch() }, "expected_uid"),
        (proto::WatchSessionRequest { conversation_ids: vec![String::new()], ..watch() }, "conversation_ids[0]"),
    ] {
        assert_eq!(fields(&sessions.watch_session(request).await.expect_err(field)), [field]);
    }
    for (size, token, field) in [(-1, "", "page_size"), (1001, "", "page_size"), (0, "garbage", "page_token")] {
        let request = proto::ListSessionsRequest { page_size: size, page_token: token.into(), ..Default::default() };
        assert_eq!(fields(&sessions.list_sessions(request).await.expect_err(field)), [field]);
        let (session_id, page_token) = (id.clone(), token.into());
        let request = proto::ListBlocksRequest { session_id, page_size: size, page_token, ..Default::default() };
        assert_eq!(fields(&sessions.list_blocks(request).await.expect_err(field)), [field]);
    }
}

#[tokio::test]
async fn cursors_of_another_log_are_refused() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let request = |after, uid: &str| proto::WatchSessionRequest {
        session_id: session.session_id.clone(),
        after_sequence: Some(after),
        expected_uid: uid.into(),
        ..Default::default()
    };
    let ahead = sessions.watch_session(request(3, "")).await.expect_err("ahead");
    assert_eq!((ahead.code(), reason(&ahead).as_str()), (Code::OutOfRange, "SEQUENCE_AHEAD"));
    let metadata = ahead.get_details_error_info().expect("details").metadata;
    assert_eq!((metadata["after_sequence"].as_str(), metadata["head_sequence"].as_str()), ("3", "2"));
    let replaced = sessions.watch_session(request(1, "log_other")).await.expect_err("replaced");
    assert_eq!((replaced.code(), reason(&replaced).as_str()), (Code::OutOfRange, "SESSION_REPLACED"));
    let metadata = replaced.get_details_error_info().expect("details").metadata;
    assert_eq!((metadata["expected_uid"].as_str(), &metadata["uid"]), ("log_other", &session.uid));
    sessions.watch_session(request(2, &session.uid)).await.expect("the head of the right log");
}

#[tokio::test]
async fn who_says_nothing_or_something_wrong_learns_nothing() {
    let server = Server::start();
    let channel = server.channel().await;
    let mut anybody = proto::session_service_client::SessionServiceClient::new(channel);
    let missing = anybody.list_sessions(proto::ListSessionsRequest::default()).await.expect_err("no key");
    assert_eq!((missing.code(), reason(&missing).as_str()), (Code::Unauthenticated, "AUTH_MISSING"));
    let longer = format!("Bearer {}x", server.key);
    let shorter = format!("Bearer {}", &server.key[..server.key.len() - 1]);
    for header in ["Bearer ark_no", "Bearer ", "Basic YTpi", &server.key, &longer, &shorter] {
        let mut request = Request::new(proto::ListSessionsRequest::default());
        request.metadata_mut().insert("authorization", header.parse().expect("ASCII"));
        let invalid = anybody.list_sessions(request).await.expect_err(header);
        assert_eq!((invalid.code(), reason(&invalid).as_str()), (Code::Unauthenticated, "AUTH_INVALID"), "{header}");
        assert!(!format!("{invalid:?}").contains(&server.key), "the refusal tells the key");
    }
    // Nor what there is: not even which methods and sessions exist.
    for method in ["SessionService/GetSession", "SessionService/Nothing", "RuntimeService/GetRuntimeInfo"] {
        let refused = raw::refusal(&server, method, None, Vec::new()).await;
        assert_eq!(reason(&refused), "AUTH_MISSING", "{method}");
    }
}

#[tokio::test]
async fn without_authentication_everybody_on_this_machine_may_call() {
    let server = Server::start_with(&["--no-auth"], &[]);
    let mut sessions = proto::session_service_client::SessionServiceClient::new(server.channel().await);
    sessions.create_session(Create::default()).await.expect("no key is asked for");
}

#[tokio::test]
async fn a_refused_message_does_not_end_the_turn_that_runs() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let (turn, _) = send(&mut sessions, &id, r#"[{"pause_ms":600000}]"#).await.expect("accepted");
    send(&mut sessions, &id, "").await.expect_err("empty");
    let active = get(&mut sessions, &id).await.active_turn.expect("a turn");
    assert_eq!((active.turn_id, active.status), (turn.turn_id, turn.status));
    stop(&mut sessions, &id).await;
}

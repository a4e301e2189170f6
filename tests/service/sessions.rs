//! Sessions: created, read, found by their external id.

use std::collections::BTreeMap;

use agent_runtime::proto::{self, session_event::Kind};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Server, check_ranges, fold, get, last_turn, reason, scripted, snapshot, until_end_of, watch};

fn text(text: &str) -> proto::ContentPart {
    proto::ContentPart { part: Some(proto::content_part::Part::Text(text.into())) }
}

#[tokio::test]
async fn a_session_comes_back_as_it_was_asked_for() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let profile = proto::AgentProfile { name: "reviewer".into(), agent: "scripted".into(), ..Default::default() };
    let request = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
    let profile = server.profiles().await.create_profile(request).await.expect("created").into_inner().profile.unwrap();
    let metadata = serde_json::json!({ "ticket": 42.0, "tags": ["a", true, null], "nested": { "x": "y" } });
    let mut request: proto::CreateSessionRequest =
        proto::from_json("agentruntime.v1.CreateSessionRequest", &format!(r#"{{ "metadata": {metadata} }}"#))
            .expect("JSON of the contract");
    request.profile_id.clone_from(&profile.profile_id);
    request.agent = "claude-agent-sdk".into();
    request.external_id = "ticket/42".into();
    request.name = "Fix the \u{e4}rger".into();
    request.options = Some(proto::SessionOptions { model: "opus".into(), ..Default::default() });
    request.labels = BTreeMap::from([("team".into(), "core".into()), ("empty".into(), String::new())]);
    let least = proto::Isolation::Process.into();
    request.sandbox = Some(proto::SandboxSpec { provider: "local".into(), min_isolation: least, ..Default::default() });
    let created = sessions.create_session(request.clone()).await.expect("created").into_inner();

    assert_eq!(created.turn, None);
    let session = created.session.expect("a session");
    assert_eq!(session.agent, "claude-code", "the alias is stored as the agent's name");
    assert_eq!((&session.profile_id, session.profile_revision), (&profile.profile_id, 1));
    assert_eq!((&session.external_id, &session.name), (&request.external_id, &request.name));
    assert_eq!((&session.options, &session.labels), (&request.options, &request.labels));
    assert_eq!(session.metadata, request.metadata);
    assert_eq!((session.status(), &session.error, &session.sandbox), (proto::SessionStatus::Idle, &None, &None));
    assert_eq!((session.oldest_sequence, session.sequence), (1, created.sequence));
    let by = session.created_by.clone().expect("somebody");
    assert_eq!((by.subject.as_str(), by.kind()), ("local", proto::PrincipalKind::Service));
    assert!(session.session_id.starts_with("ses_") && !session.uid.is_empty() && !session.etag.is_empty());
    assert!(session.create_time.is_some() && session.last_activity_time.is_some());
    assert_eq!(session.usage.unwrap_or_default(), proto::Usage::default());
    assert_eq!(get(&mut sessions, &session.session_id).await, session);
    let (state, head) = snapshot(&mut sessions, &session.session_id).await;
    assert_eq!(head, created.sequence);
    assert_eq!(state.session, Some(proto::Session { oldest_sequence: 0, ..session }));
}

#[tokio::test]
async fn without_an_agent_the_profile_s_is_taken_and_else_the_default() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let profile = proto::AgentProfile { name: "player".into(), agent: "scripted".into(), ..Default::default() };
    let request = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
    let profile = server.profiles().await.create_profile(request).await.expect("created").into_inner().profile.unwrap();
    let request = proto::CreateSessionRequest { profile_id: profile.profile_id, ..Default::default() };
    let session = sessions.create_session(request).await.expect("created").into_inner().session.unwrap();
    assert_eq!(session.agent, "scripted");
    let session = sessions.create_session(proto::CreateSessionRequest::default()).await.expect("created");
    let session = session.into_inner().session.unwrap();
    assert_eq!((session.agent.as_str(), session.profile_id.as_str()), ("claude-code", "default"));
}

#[tokio::test]
async fn an_initial_message_starts_a_turn_and_all_of_it_can_be_watched() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let parts = vec![text(r#"[{"say":"Hello."},"#), text(r#"{"say":"World."}]"#)];
    let request = proto::CreateSessionRequest {
        agent: "scripted".into(),
        initial_message: Some(proto::UserMessage { parts: parts.clone(), created_by: None }),
        ..Default::default()
    };
    let created = sessions.create_session(request).await.expect("created").into_inner();
    let turn = created.turn.expect("a turn");
    assert_eq!((turn.status(), turn.origin()), (proto::TurnStatus::Running, proto::TurnOrigin::User));
    let id = created.session.expect("a session").session_id;
    let mut stream = watch(&mut sessions, &id, Some(created.sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    check_ranges(created.sequence, &events);
    assert_eq!(last_turn(&events).status(), proto::TurnStatus::Completed);
    let kinds = events.iter().filter_map(|event| event.kind.as_ref());
    let first = kinds.clone().find(|kind| !matches!(kind, Kind::Bookmark(_))).expect("an event");
    assert!(matches!(first, Kind::TurnUpdated(_)), "the turn's acceptance comes first: {first:?}");
    let state = fold(&events);
    let Some(proto::block::Content::UserMessage(message)) = &state.blocks[0].content else { panic!("{state:?}") };
    assert_eq!(message.parts, parts);
    assert_eq!(message.created_by.as_ref().expect("somebody").subject, "local");
    assert_eq!(state.blocks[0].block_id, turn.block_id);
    assert_eq!(state.blocks.len(), 3, "{state:#?}");
}

#[tokio::test]
async fn an_external_id_names_one_session_until_that_is_deleted() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let request = proto::CreateSessionRequest { external_id: "ticket-42".into(), ..Default::default() };
    let first = sessions.create_session(request.clone()).await.expect("created").into_inner().session.unwrap();
    let refused = sessions.create_session(request.clone()).await.expect_err("in use");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "EXTERNAL_ID_IN_USE"));
    let metadata = refused.get_details_error_info().expect("details").metadata;
    assert_eq!(metadata["session_id"], first.session_id);
    assert_eq!(metadata["external_id"], "ticket-42");

    let delete = proto::DeleteSessionRequest { session_id: first.session_id.clone(), ..Default::default() };
    sessions.delete_session(delete).await.expect("deleted");
    let second = sessions.create_session(request).await.expect("free again").into_inner().session.unwrap();
    assert_ne!((second.session_id, second.uid), (first.session_id, first.uid));
}

#[tokio::test]
async fn two_sessions_are_two_logs() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let (one, two) = (scripted(&mut sessions).await, scripted(&mut sessions).await);
    assert_ne!((&one.session_id, &one.uid), (&two.session_id, &two.uid));
    crate::support::run(&mut sessions, &one.session_id, "hello").await;
    assert_eq!(get(&mut sessions, &two.session_id).await, two, "a turn next door changed it");
}

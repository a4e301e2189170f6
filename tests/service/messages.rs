//! Messages and their turns, and agents that are not there.

use agent_runtime::proto::{self, session_event::Kind};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{
    PATIENCE, Server, check_ranges, ended, get, joined, play, reason, scripted, send, stop, taken_up, until,
    until_end_of, watch,
};

#[tokio::test]
async fn a_message_is_answered_with_its_turn_and_where_to_watch() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let (turn, sequence) = send(&mut sessions, &session.session_id, r#"[{"say":"Hello."}]"#).await.expect("accepted");
    assert_eq!(sequence, session.sequence);
    assert_eq!((turn.status(), turn.origin()), (proto::TurnStatus::Running, proto::TurnOrigin::User));
    assert_eq!(turn.created_by.as_ref().expect("somebody").subject, "local");
    assert!(turn.start_time.is_none() && turn.end_time.is_none() && turn.create_time.is_some());
    let mut stream = watch(&mut sessions, &session.session_id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    check_ranges(sequence, &events);
    let done = crate::support::last_turn(&events);
    assert_eq!((done.status(), &done.error), (proto::TurnStatus::Completed, &None));
    assert_eq!((&done.turn_id, &done.block_id, &done.create_time), (&turn.turn_id, &turn.block_id, &turn.create_time));
    let time = |time: Option<prost_types::Timestamp>| time.map(|time| (time.seconds, time.nanos)).expect("a time");
    assert!(time(done.create_time) <= time(done.start_time) && time(done.start_time) <= time(done.end_time));
    let by: Vec<_> = events.iter().filter_map(|event| event.actor.as_ref()).collect();
    assert!(!by.is_empty() && by.iter().all(|by| by.subject == "local"), "{by:?}");
}

#[tokio::test]
async fn run_turn_streams_its_turn_from_the_acceptance_to_the_end() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    for text in [r#"[{"count":500,"size":20,"pace_us":500}]"#, "and now in words"] {
        let before = get(&mut sessions, &id).await.sequence;
        let request = proto::RunTurnRequest { session_id: id.clone(), text: text.into(), ..Default::default() };
        let mut stream = sessions.run_turn(request).await.expect("accepted").into_inner();
        let first = stream.message().await.expect("no error").expect("the acceptance");
        assert_eq!((first.events.len(), first.session_id.as_str()), (0, id.as_str()));
        assert!(first.sequence >= before);
        let turn = first.turn.expect("a turn");
        let mut events = Vec::new();
        let read = async {
            while let Some(response) = stream.message().await.expect("OK") {
                assert_eq!((response.turn, response.sequence, response.session_id.as_str()), (None, 0, id.as_str()));
                events.extend(response.events);
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the stream ends with its turn");
        check_ranges(first.sequence, &events);
        assert!(ended(events.last().expect("events"), &turn.turn_id), "the last event is the turn's end");
        let mut stream = watch(&mut sessions, &id, Some(first.sequence)).await.expect("a watch");
        let watched = until_end_of(&mut stream, &turn.turn_id).await;
        assert_eq!(joined(&watched[1..]), joined(&events[1..]), "a watch shows something else");
    }
}

#[tokio::test]
async fn hanging_up_does_not_cancel_the_turn() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let text = r#"[{"count":300,"size":20,"pace_ms":2}]"#.into();
    let request = proto::RunTurnRequest { session_id: id.clone(), text, ..Default::default() };
    let mut stream = sessions.run_turn(request).await.expect("accepted").into_inner();
    let first = stream.message().await.expect("no error").expect("the acceptance");
    drop(stream);
    let mut stream = watch(&mut sessions, &id, Some(first.sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &first.turn.expect("a turn").turn_id).await;
    assert_eq!(crate::support::last_turn(&events).status(), proto::TurnStatus::Completed);
    let (state, _) = crate::support::snapshot(&mut sessions, &id).await;
    let Some(proto::block::Content::AssistantText(text)) = &state.blocks[1].content else { panic!("{state:?}") };
    assert_eq!(text.text.split_whitespace().count(), 300);
}

#[tokio::test]
async fn a_message_during_a_turn_is_refused_with_the_turn_it_meets() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let (turn, sequence) = send(&mut sessions, &id, r#"[{"pause_ms":600000}]"#).await.expect("accepted");
    let before = get(&mut sessions, &id).await;
    assert_eq!(before.active_turn.as_ref().expect("a turn").turn_id, turn.turn_id);
    let run = proto::RunTurnRequest { session_id: id.clone(), text: "me too".into(), ..Default::default() };
    let refusals =
        [send(&mut sessions, &id, "me too").await.expect_err("busy"), sessions.run_turn(run).await.expect_err("busy")];
    for refused in refusals {
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SESSION_BUSY"));
        let metadata = refused.get_details_error_info().expect("details").metadata;
        assert_eq!(metadata["turn_id"], turn.turn_id);
        assert_eq!(metadata["turn_status"], "TURN_STATUS_RUNNING");
    }
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, taken_up).await;
    stop(&mut sessions, &id).await;
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    let users = |event: &proto::SessionEvent| matches!(&event.kind, Some(Kind::BlockStart(_)));
    assert!(!events.iter().any(users), "a refused message left a block");
}

#[tokio::test]
async fn a_missing_agent_fails_the_turn_and_says_how_to_get_it() {
    let nothing = tempfile::tempdir().expect("a folder");
    let server = Server::start_with(&[], &[("PATH", nothing.path().to_str().expect("a path"))]);
    let mut sessions = server.sessions().await;
    let info = server.runtime().await.get_runtime_info(proto::GetRuntimeInfoRequest {}).await.expect("told");
    assert!(info.into_inner().agents[0].unavailable_reason.contains("agent-runtime agents install claude-code"));
    let request = proto::CreateSessionRequest { agent: "claude-code".into(), ..Default::default() };
    let id = sessions.create_session(request).await.expect("created").into_inner().session.unwrap().session_id;
    // The next message tries again, and fails the same way.
    for tries in 1..=2 {
        let played = play(&mut sessions, &id, "hello").await;
        assert_eq!(played.turn.status(), proto::TurnStatus::Failed);
        let error = played.turn.error.clone().expect("a cause");
        assert_eq!(error.reason(), proto::ErrorReason::AgentUnavailable);
        assert!(error.message.contains("agent-runtime agents install claude-code"), "{error:?}");
        assert_eq!(error.metadata["agent"], "claude-code");
        assert_eq!(error.metadata["command"], "agent-runtime agents install claude-code");
        let told = played.events.iter().filter_map(|event| match &event.kind {
            Some(Kind::Error(told)) => told.error.clone(),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), vec![error.clone(); tries]);
        let session = played.state.session.expect("a session");
        assert_eq!((session.status(), session.error), (proto::SessionStatus::Failed, Some(error)));
        assert_eq!(session.sandbox.expect("a sandbox").status(), proto::SandboxStatus::Terminated);
        assert_eq!(session.active_turn, None);
    }
    let id = scripted(&mut sessions).await.session_id;
    assert_eq!(play(&mut sessions, &id, "hello").await.turn.status(), proto::TurnStatus::Completed);
}

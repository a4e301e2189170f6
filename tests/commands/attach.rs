//! Turns that are attached to again.

use agent_runtime::proto::{self, RunTurnRequest, SessionEvent};
use tonic::{Code, Status};

use crate::support::{
    PATIENCE, Server, Sessions, check_ranges, ended, fields, get, joined, reason, scripted, snapshot, stop,
};

fn request(session: &str, text: &str, request_id: &str, after: Option<i64>) -> RunTurnRequest {
    let (session_id, text, request_id) = (session.into(), text.into(), request_id.into());
    RunTurnRequest { session_id, text, request_id, after_sequence: after, ..Default::default() }
}

/// The first response, and the events until the stream ends with OK or, if there is a limit, so many came.
async fn run(
    sessions: &mut Sessions,
    request: RunTurnRequest,
    limit: Option<usize>,
) -> Result<(proto::RunTurnResponse, Vec<SessionEvent>), Status> {
    let read = async {
        let mut stream = sessions.run_turn(request).await?.into_inner();
        let first = stream.message().await?.expect("a first response");
        assert!(first.events.is_empty() && first.turn.is_some());
        let mut events = Vec::new();
        while limit.is_none_or(|limit| events.len() < limit) {
            let Some(response) = stream.message().await? else { break };
            assert!(response.turn.is_none() && response.sequence == 0);
            events.extend(response.events);
        }
        Ok((first, events))
    };
    tokio::time::timeout(PATIENCE, read).await.expect("no hang")
}

/// Events that are there, without bookmarks.
fn real(events: Vec<SessionEvent>) -> Vec<SessionEvent> {
    events.into_iter().filter(|event| !matches!(event.kind, Some(proto::session_event::Kind::Bookmark(_)))).collect()
}

#[tokio::test]
async fn a_cut_turn_goes_on_where_it_was_cut_and_ends_with_its_end() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script = r#"[{"count":400,"size":20,"pace_ms":2}]"#;
    let (first, events) = run(&mut sessions, request(&id, script, "r", None), Some(3)).await.expect("accepted");
    let mut seen = real(events);
    let mut cursor = check_ranges(first.sequence, &seen);
    for limit in [Some(2), Some(4), None] {
        let (again, events) =
            run(&mut sessions, request(&id, script, "r", Some(cursor)), limit).await.expect("attached");
        assert_eq!((&again.turn, again.sequence), (&first.turn, cursor), "the turn as accepted, after the cursor");
        cursor = check_ranges(cursor, &events);
        seen.extend(real(events));
    }
    let turn = first.turn.as_ref().expect("a turn");
    assert!(ended(seen.last().expect("events"), &turn.turn_id), "the last event is the turn's end");
    check_ranges(first.sequence, &seen);
    assert_eq!(snapshot(&mut sessions, &id).await.0.turns.len(), 1);

    // It is over: from its start it is replayed, after its end there is nothing left.
    let (again, replayed) = run(&mut sessions, request(&id, script, "r", None), None).await.expect("attached");
    assert_eq!((again, joined(&real(replayed))), (first.clone(), joined(&seen)));
    let head = get(&mut sessions, &id).await.sequence;
    assert!(head > cursor, "something comes after the turn's end");
    for after in cursor..=head {
        let (again, events) = run(&mut sessions, request(&id, script, "r", Some(after)), None).await.expect("attached");
        assert_eq!((&again.turn, again.sequence, events), (&first.turn, after, Vec::new()));
    }
}

#[tokio::test]
async fn a_turn_is_attached_to_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_on(folder.path(), &[]);
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script = r#"[{"say":"Hello."},{"pause_ms":1500},{"say":"And goodbye."}]"#;
    let (first, events) = run(&mut sessions, request(&id, script, "r", None), Some(3)).await.expect("accepted");
    let cursor = check_ranges(first.sequence, &events);
    server.kill();
    let server = Server::start_on(folder.path(), &[]);
    let mut sessions = server.sessions().await;
    let (again, events) = run(&mut sessions, request(&id, script, "r", Some(cursor)), None).await.expect("attached");
    assert_eq!(again.turn, first.turn);
    check_ranges(cursor, &events);
    assert!(ended(events.last().expect("events"), &first.turn.expect("a turn").turn_id));
    let turns = snapshot(&mut sessions, &id).await.0.turns;
    assert_eq!(turns.iter().map(proto::Turn::status).collect::<Vec<_>>(), [proto::TurnStatus::Completed]);
}

#[tokio::test]
async fn a_cursor_that_is_not_of_the_turn_is_refused() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let (first, _) = run(&mut sessions, request(&id, "hello", "r", None), None).await.expect("accepted");
    let head = stop(&mut sessions, &id).await.sequence;
    let mut refused = async |request_id: &str, after| {
        let refused =
            run(&mut sessions, request(&id, "hello", request_id, Some(after)), None).await.expect_err("refused");
        (refused.code(), reason(&refused), fields(&refused))
    };
    let invalid = (Code::InvalidArgument, "INVALID_FIELD".to_owned(), vec!["after_sequence".to_owned()]);
    assert_eq!(refused("r", head + 1).await, (Code::OutOfRange, "SEQUENCE_AHEAD".to_owned(), Vec::new()));
    assert_eq!(refused("r", first.sequence - 1).await, invalid, "before the turn");
    assert_eq!(refused("r", -1).await, invalid);
    assert_eq!(refused("", first.sequence).await, invalid, "without an id there is no turn to go on with");
    // It says that the message was sent before: it is not sent for that.
    assert_eq!(refused("never-used", head).await, invalid);
    assert_eq!(get(&mut sessions, &id).await.sequence, head, "a refused call did something");

    let delete = proto::DeleteSessionRequest { session_id: id.clone(), ..Default::default() };
    sessions.delete_session(delete).await.expect("deleted");
    for after in [None, Some(first.sequence)] {
        let gone = run(&mut sessions, request(&id, "hello", "r", after), None).await.expect_err("gone");
        assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "SESSION_NOT_FOUND"));
    }
}

/// What is no longer kept cannot be waited for.
#[tokio::test]
async fn a_turn_whose_end_is_no_longer_kept_is_over() {
    let server = Server::start_with(&["--retain-events", "0s", "--compact-after", "0"], &[]);
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let (first, events) = run(&mut sessions, request(&id, "one", "r", None), None).await.expect("accepted");
    let end = events.last().expect("events").sequence;
    run(&mut sessions, request(&id, "two", "s", None), None).await.expect("accepted");
    let trimmed = async {
        while get(&mut sessions, &id).await.oldest_sequence <= end + 1 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trimmed).await.expect("old events go");
    let refused = run(&mut sessions, request(&id, "one", "r", Some(end)), None).await.expect_err("gone");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::OutOfRange, "SEQUENCE_TRUNCATED"));
    let head = get(&mut sessions, &id).await.sequence;
    let (again, events) = run(&mut sessions, request(&id, "one", "r", Some(head)), None).await.expect("attached");
    assert_eq!((again.turn, events), (first.turn, Vec::new()));
}

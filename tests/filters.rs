//! Filters and delays over a real server: what is left out widens the range of what comes next, and everything else is as
//! without them.

mod support;

use std::time::{Duration, Instant};

use agent_runtime::proto::{self, SessionEvent, session_event::Kind};
use support::{
    PATIENCE, Server, Sessions, check_ranges, ended, fold, play, run, scripted, send, snapshot, until, until_end_of,
};
use tonic::Streaming;

/// Text of every sort, in pieces.
const SCRIPT: &str = r#"[{"think":"Let me see.","size":2},{"say":"Some words to cut.","size":2},
    {"tool":"Bash","input":{"command":"ls"},"output":"a\nb"},{"count":200,"size":20,"pace_ms":2}]"#;

async fn watch(sessions: &mut Sessions, request: proto::WatchSessionRequest) -> Streaming<proto::WatchSessionResponse> {
    sessions.watch_session(request).await.expect("a watch").into_inner()
}

fn from_start(session_id: &str) -> proto::WatchSessionRequest {
    proto::WatchSessionRequest { session_id: session_id.into(), after_sequence: Some(0), ..Default::default() }
}

fn is_delta(event: &SessionEvent) -> bool {
    matches!(event.kind, Some(Kind::BlockDelta(_)))
}

/// Reads until the head, which the last event stands for.
async fn until_head(stream: &mut Streaming<proto::WatchSessionResponse>, head: i64) -> Vec<SessionEvent> {
    until(stream, |event| event.sequence >= head).await
}

#[tokio::test]
async fn text_can_be_left_out_as_it_streams() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let without = proto::WatchSessionRequest { omit_deltas: true, ..from_start(&id) };
    let mut live = watch(&mut sessions, without.clone()).await;
    let played = play(&mut sessions, &id, SCRIPT).await;
    assert!(played.events.iter().filter(|event| is_delta(event)).count() > 5);
    let (state, head) = snapshot(&mut sessions, &id).await;
    let mut replayed = watch(&mut sessions, without.clone()).await;
    for stream in [&mut live, &mut replayed] {
        let events = until_head(stream, head).await;
        check_ranges(0, &events);
        assert!(!events.iter().any(is_delta), "a delta came");
        assert_eq!(fold(&events), state);
    }
    // From any cursor on, also inside a block, and from a snapshot.
    for cursor in 1..=head {
        let request = proto::WatchSessionRequest { after_sequence: Some(cursor), ..without.clone() };
        let events = until_head(&mut watch(&mut sessions, request).await, head).await;
        check_ranges(cursor, &events);
        assert!(!events.iter().any(is_delta), "a delta came after {cursor}");
    }
}

#[tokio::test]
async fn other_conversations_can_be_left_out() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    run(&mut sessions, &id, SCRIPT).await;
    let (state, head) = snapshot(&mut sessions, &id).await;
    // Also from the middle of a block, whose deltas do not say whose it is.
    for cursor in (1..head).step_by(5) {
        let conversation_ids = vec!["elsewhere".to_owned()];
        let request = proto::WatchSessionRequest { after_sequence: Some(cursor), conversation_ids, ..from_start(&id) };
        let events = until_head(&mut watch(&mut sessions, request).await, head).await;
        check_ranges(cursor, &events);
        assert!(!events.iter().any(is_delta), "a delta came after {cursor}");
    }
    for (conversation, blocks) in [("main", state.blocks.len()), ("elsewhere", 0)] {
        let filtered =
            proto::WatchSessionRequest { conversation_ids: vec![conversation.to_owned()], ..from_start(&id) };
        let events = until_head(&mut watch(&mut sessions, filtered.clone()).await, head).await;
        check_ranges(0, &events);
        let folded = fold(&events);
        assert_eq!(folded.blocks.len(), blocks, "{conversation}");
        // What concerns the whole session always comes, and a snapshot says the same.
        assert_eq!((&folded.turns, &folded.session), (&state.turns, &state.session));
        let mut snapshot = watch(&mut sessions, proto::WatchSessionRequest { after_sequence: None, ..filtered }).await;
        assert_eq!(fold(&until_head(&mut snapshot, head).await), folded);
    }
}

/// The block whose text grows here.
fn grows(event: &SessionEvent) -> Option<&str> {
    match &event.kind {
        Some(Kind::BlockDelta(delta)) => Some(&delta.block_id),
        _ => None,
    }
}

fn starts(event: &SessionEvent, block_id: &str) -> bool {
    matches!(&event.kind, Some(Kind::BlockStart(start)) if start.block.as_ref().is_some_and(|block| block.block_id == block_id))
}

/// All that a run of a turn tells from a cursor on.
async fn follow(sessions: &mut Sessions, request: proto::RunTurnRequest) -> (proto::Turn, i64, Vec<SessionEvent>) {
    let cursor = request.after_sequence;
    let mut stream = sessions.run_turn(request).await.expect("accepted").into_inner();
    let first = stream.message().await.expect("no error").expect("a first response");
    let (turn, sequence, mut events) = (first.turn.expect("a turn"), first.sequence, first.events);
    while let Some(response) = stream.message().await.expect("no error") {
        events.extend(response.events);
    }
    check_ranges(cursor.unwrap_or(sequence), &events);
    (turn, sequence, events)
}

#[tokio::test]
async fn a_turn_that_is_run_gets_no_text_of_one_that_streams_when_it_is_accepted_or_resumed() {
    let server = Server::start_with(&["--delta-window", "0"], &[]);
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut live = watch(&mut sessions, from_start(&id)).await;
    send(&mut sessions, &id, r#"[{"count":100,"size":20,"pace_ms":10}]"#).await.expect("accepted");
    until(&mut live, is_delta).await;
    let request = proto::RunTurnRequest {
        session_id: id.clone(),
        text: SCRIPT.into(),
        busy_policy: proto::BusyPolicy::Queue.into(),
        request_id: "behind-another-one".into(),
        ..Default::default()
    };
    let (turn, begin, events) = follow(&mut sessions, request.clone()).await;
    let (state, head) = snapshot(&mut sessions, &id).await;
    let of = |block: &proto::Block| block.turn_id == turn.turn_id;
    let (own, other): (Vec<_>, Vec<_>) = state.blocks.iter().partition(|block| of(block));
    let other: Vec<_> = other.iter().map(|block| block.block_id.as_str()).collect();
    let own: Vec<_> = own.iter().map(|block| block.block_id.as_str()).collect();
    let foreign = |events: &[SessionEvent]| events.iter().filter_map(grows).any(|block| !own.contains(&block));
    let whole = until_head(&mut watch(&mut sessions, from_start(&id)).await, head).await;
    let behind = whole.iter().filter(|event| event.sequence > begin);
    assert!(behind.filter_map(grows).any(|block| other.contains(&block)), "the other one was at work no more");
    assert!(!foreign(&events), "text of another turn came");
    let end = events.iter().find(|event| ended(event, &turn.turn_id)).expect("its end").sequence;
    let mut goes_on = false;
    for cursor in (begin..end).step_by(11) {
        let again = proto::RunTurnRequest { after_sequence: Some(cursor), ..request.clone() };
        let (_, _, resumed) = follow(&mut sessions, again).await;
        assert!(!foreign(&resumed), "text of another turn came after {cursor}");
        goes_on |=
            resumed.iter().find_map(grows).is_some_and(|first| !resumed.iter().any(|event| starts(event, first)));
    }
    assert!(goes_on, "its own comes, also of a block that was begun before");
}

#[tokio::test]
async fn a_bookmark_covers_what_was_left_out() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let second = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let without = proto::WatchSessionRequest { omit_deltas: true, bookmark_interval: second, ..from_start(&id) };
    let mut stream = watch(&mut sessions, without.clone()).await;
    // One delta every 50 ms for longer than a watch may be silent.
    let (turn, _) = send(&mut sessions, &id, r#"[{"count":60,"size":20,"pace_ms":50}]"#).await.expect("accepted");
    let covers =
        |event: &SessionEvent| matches!(event.kind, Some(Kind::Bookmark(_))) && event.sequence > event.first_sequence;
    let began = until(&mut stream, covers).await;
    let cursor = check_ranges(0, &began);
    let rest = until_end_of(&mut stream, &turn.turn_id).await;
    check_ranges(cursor, &rest);
    // It is a cursor like any other.
    let resumed = proto::WatchSessionRequest { after_sequence: Some(cursor), ..without };
    let resumed = until_end_of(&mut watch(&mut sessions, resumed).await, &turn.turn_id).await;
    check_ranges(cursor, &resumed);
    assert_eq!(fold(began.iter().chain(&rest)), fold(began.iter().chain(&resumed)));
}

#[tokio::test]
async fn events_come_together_after_a_delay() {
    let server = Server::start_with(&["--delta-window", "0"], &[]);
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    run(&mut sessions, &id, "[]").await;
    let (state, head) = snapshot(&mut sessions, &id).await;
    drop(state);
    let after = proto::WatchSessionRequest { after_sequence: Some(head), ..from_start(&id) };
    let delay = Some(prost_types::Duration { seconds: 0, nanos: 400_000_000 });
    let mut at_once = watch(&mut sessions, after.clone()).await;
    let mut gathered = watch(&mut sessions, proto::WatchSessionRequest { max_batch_delay: delay, ..after }).await;
    let (turn, _) = send(&mut sessions, &id, r#"[{"count":100,"size":20,"pace_ms":10}]"#).await.expect("accepted");
    let mut frames = [0, 0];
    let mut all = [Vec::new(), Vec::new()];
    let mut first = [None, None];
    for (at, stream) in [&mut at_once, &mut gathered].into_iter().enumerate() {
        let began = Instant::now();
        while !all[at].iter().any(|event| ended(event, &turn.turn_id)) {
            let response = tokio::time::timeout(PATIENCE, stream.message()).await.expect("no hang");
            let events = response.expect("no error").expect("more").events;
            if events.iter().any(|event| !matches!(event.kind, Some(Kind::Bookmark(_)))) {
                first[at].get_or_insert(began.elapsed());
                frames[at] += 1;
            }
            all[at].extend(events);
        }
        check_ranges(head, &all[at]);
    }
    let [one, other] = all;
    assert_eq!(fold(&one), fold(&other));
    assert!(frames[0] > 30, "{frames:?}");
    // A second of text, the first at once, and whatever the machine adds.
    assert!(frames[1] <= 12, "{frames:?}");
    assert!(first[0] < Some(Duration::from_secs(5)));
}

#[tokio::test]
async fn a_turn_can_be_run_without_its_text_as_it_streams() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let request =
        proto::RunTurnRequest { session_id: id.clone(), text: SCRIPT.into(), omit_deltas: true, ..Default::default() };
    let mut stream = sessions.run_turn(request).await.expect("accepted").into_inner();
    let first = stream.message().await.expect("no error").expect("a first response");
    let turn = first.turn.expect("a turn");
    let mut events = Vec::new();
    while let Some(response) = stream.message().await.expect("no error") {
        assert_eq!(response.session_id, id);
        events.extend(response.events);
    }
    check_ranges(first.sequence, &events);
    assert!(!events.iter().any(is_delta), "a delta came");
    assert!(ended(events.last().expect("events"), &turn.turn_id));
    let (state, _) = snapshot(&mut sessions, &id).await;
    let blocks = fold(&events).blocks;
    assert_eq!(blocks, state.blocks);
}

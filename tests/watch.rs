//! Watching over a real server: whoever joins late, comes back, reads slowly or outlives the server sees every event once
//! and in order, and folds the same state.

mod support;

use agent_runtime::{
    client::State,
    proto::{self, SessionEvent, session_event::Kind},
};
use support::{PATIENCE, Server, Sessions, check_ranges, reason, run, scripted, send, until, until_end_of, watch};
use tonic::Code;

/// 1,000 numbered deltas, one a millisecond.
const THOUSAND: &str = r#"[{"count":1000,"size":20,"pace_ms":1}]"#;

/// All text that deltas and complete blocks brought, by the client's own fold.
fn fold(events: &[SessionEvent]) -> State {
    let mut state = State::default();
    for event in events {
        state.apply(event);
    }
    state
}

fn numbers(state: &State) -> Vec<u64> {
    let blocks = state.as_proto().blocks.iter();
    let texts = blocks.filter_map(|block| match &block.content {
        Some(proto::block::Content::AssistantText(text)) => Some(text.text.as_str()),
        _ => None,
    });
    texts.flat_map(|text| text.split_whitespace().map(|number| number.parse().expect("a number"))).collect()
}

fn text_of(block: &proto::Block) -> Option<String> {
    match &block.content {
        Some(proto::block::Content::AssistantText(text)) => Some(text.text.clone()),
        _ => None,
    }
}

async fn snapshot(sessions: &mut Sessions, session_id: &str) -> (Vec<SessionEvent>, i64) {
    let mut stream = watch(sessions, session_id, None).await.expect("a watch");
    let mut events = Vec::new();
    loop {
        for event in stream.message().await.expect("no error").expect("more").events {
            let complete = matches!(event.kind, Some(Kind::SnapshotComplete(_)));
            let sequence = event.sequence;
            events.push(event);
            if complete {
                return (events, sequence);
            }
        }
    }
}

#[tokio::test]
async fn late_join_and_reconnect_lose_nothing() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let id = session.session_id.as_str();
    let (turn, _) = send(&mut sessions, id, THOUSAND).await.expect("accepted");

    // From the first event on, cut again and again in the middle of the block.
    let mut pieces = Vec::new();
    let mut cursor = 0;
    for cut in 1.. {
        let mut stream = watch(&mut sessions, id, Some(cursor)).await.expect("a watch");
        let mut seen = 0;
        let mut over = false;
        while !over && seen < 20 * cut {
            let response = tokio::time::timeout(PATIENCE, stream.message()).await.expect("no hang");
            for event in response.expect("no error").expect("more").events {
                cursor = check_ranges(cursor, std::slice::from_ref(&event));
                seen += 1;
                over |= support::ended(&event, &turn.turn_id);
                pieces.push(event);
            }
        }
        drop(stream);
        if over {
            break;
        }
        // Whoever joins now gets a snapshot with the block in flight, and exactly what follows it.
        let (mut joined, at) = snapshot(&mut sessions, id).await;
        let mut stream = watch(&mut sessions, id, Some(at)).await.expect("a watch");
        if cut == 2 {
            let rest = until_end_of(&mut stream, &turn.turn_id).await;
            check_ranges(at, &rest);
            joined.extend(rest);
            assert_eq!(numbers(&fold(&joined)), (1..=1000).collect::<Vec<_>>(), "joined late at {at}");
        }
    }
    assert_eq!(numbers(&fold(&pieces)), (1..=1000).collect::<Vec<_>>(), "reconnected");
    let (whole, _) = snapshot(&mut sessions, id).await;
    let (live, reloaded) = (fold(&pieces), fold(&whole));
    assert_eq!(live.as_proto().blocks, reloaded.as_proto().blocks, "live is not what a reload shows");
    assert_eq!(live.as_proto().turns, reloaded.as_proto().turns);
}

#[tokio::test]
async fn any_cut_of_the_log_folds_to_the_same_state() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script = r#"[{"think":"Hm.","size":1},{"say":"Some words to cut.","size":2},
        {"tool":"Bash","input":{"command":"ls"},"output":"a\nb"},{"count":50,"size":20},
        {"usage":{"input_tokens":7,"output_tokens":9,"cost_micro_usd":3},"model":"m"}]"#;
    run(&mut sessions, &id, script).await;
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let mut all = Vec::new();
    let head = snapshot(&mut sessions, &id).await.1;
    while all.last().is_none_or(|event: &SessionEvent| event.sequence < head) {
        all.extend(stream.message().await.expect("no error").expect("more").events);
    }
    check_ranges(0, &all);
    let whole = fold(&all);
    let reloaded = fold(&snapshot(&mut sessions, &id).await.0);
    let (mut folded, shown) = (whole.as_proto().clone(), reloaded.as_proto().clone());
    // The bookmark at the start is the only frame that a snapshot watch has not.
    folded.session.as_mut().expect("a session").sequence = shown.session.as_ref().expect("a session").sequence;
    assert_eq!(folded, shown);
    for cut in 1..all.len() {
        let after = all[cut - 1].sequence;
        let mut resumed = watch(&mut sessions, &id, Some(after)).await.expect("a watch");
        let mut rest = Vec::new();
        while after < head && rest.last().is_none_or(|event: &SessionEvent| event.sequence < head) {
            rest.extend(resumed.message().await.expect("no error").expect("more").events);
        }
        check_ranges(after, &rest);
        let mut state = fold(&all[..cut]);
        for event in &rest {
            state.apply(event);
        }
        assert_eq!(state.as_proto().blocks, whole.as_proto().blocks, "cut after {after}");
    }
}

#[tokio::test]
async fn events_and_the_turn_survive_kill_9() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    run(&mut sessions, &id, r#"[{"count":100,"size":20}]"#).await;
    let (before, head) = snapshot(&mut sessions, &id).await;
    let (turn, sequence) =
        send(&mut sessions, &id, r#"[{"say":"begun"},{"pause_ms":1500},{"say":"ended"}]"#).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let mut seen = Vec::new();
    while !seen.iter().any(|event: &SessionEvent| matches!(event.kind, Some(Kind::BlockDelta(_)))) {
        seen.extend(stream.message().await.expect("no error").expect("more").events);
    }
    let data = server.kill().expect("its own folder");

    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    let all = until_end_of(&mut stream, &turn.turn_id).await;
    check_ranges(0, &all);
    // What anybody saw is there, word for word.
    for event in seen.iter().filter(|event| !matches!(event.kind, Some(Kind::Bookmark(_)))) {
        assert!(all.contains(event), "{event:?} was seen and is gone");
    }
    let kept: Vec<_> = all.iter().filter(|event| event.sequence <= head).cloned().collect();
    assert_eq!(fold(&kept).as_proto().blocks, fold(&before).as_proto().blocks);
    let end = support::last_turn(&all);
    assert_eq!((end.status(), &end.error), (proto::TurnStatus::Completed, &None));
    let texts: Vec<_> = fold(&all).as_proto().blocks.iter().filter_map(text_of).collect();
    assert!(texts.ends_with(&["begun".to_owned(), "ended".to_owned()]), "{texts:?}");
    // The session goes on.
    let turn = support::last_turn(&run(&mut sessions, &id, "hello again").await);
    assert_eq!(turn.status(), proto::TurnStatus::Completed);
}

#[tokio::test]
async fn bookmarks_fill_silence_and_tell_the_head() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let request = proto::WatchSessionRequest {
        session_id: session.session_id.clone(),
        after_sequence: Some(1),
        bookmark_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let mut stream = sessions.watch_session(request).await.expect("a watch").into_inner();
    let first = stream.message().await.expect("no error").expect("a bookmark");
    assert_eq!(first.uid, session.uid);
    assert_eq!((first.events[0].first_sequence, first.events[0].sequence), (2, 1), "an empty range");
    let Some(Kind::Bookmark(bookmark)) = &first.events[0].kind else { panic!("{first:?}") };
    assert_eq!(bookmark.head_sequence, session.sequence);
    let mut events = Vec::new();
    let began = std::time::Instant::now();
    while events.iter().filter(|event: &&SessionEvent| matches!(event.kind, Some(Kind::Bookmark(_)))).count() < 2 {
        events.extend(stream.message().await.expect("no error").expect("more").events);
    }
    check_ranges(1, &events);
    // The silence began when the first left the server, which was a little before it came here.
    assert!(began.elapsed() >= std::time::Duration::from_millis(1800), "a bookmark came before the silence was over");
}

#[tokio::test]
async fn a_cursor_of_another_log_is_refused_or_answered_with_a_snapshot() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let session = scripted(&mut sessions).await;
    let request = |after, uid: &str, or_snapshot| proto::WatchSessionRequest {
        session_id: session.session_id.clone(),
        after_sequence: Some(after),
        expected_uid: uid.into(),
        snapshot_if_truncated: or_snapshot,
        ..Default::default()
    };
    let ahead = sessions.watch_session(request(900, "", false)).await.expect_err("ahead");
    assert_eq!((ahead.code(), reason(&ahead).as_str()), (Code::OutOfRange, "SEQUENCE_AHEAD"));
    let replaced = sessions.watch_session(request(1, "log_other", false)).await.expect_err("replaced");
    assert_eq!((replaced.code(), reason(&replaced).as_str()), (Code::OutOfRange, "SESSION_REPLACED"));
    sessions.watch_session(request(1, &session.uid, false)).await.expect("the right log");
    for (after, uid) in [(900, ""), (1, "log_other")] {
        let mut stream = sessions.watch_session(request(after, uid, true)).await.expect("a watch").into_inner();
        let first = stream.message().await.expect("no error").expect("a frame");
        assert!(matches!(first.events[0].kind, Some(Kind::SnapshotStart(_))), "{first:?}");
    }
}

#[tokio::test]
async fn a_watch_ends_after_the_deletion_and_then_there_is_nothing() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    run(&mut sessions, &id, "hello").await;
    let mut stream = watch(&mut sessions, &id, None).await.expect("a watch");
    until(&mut stream, |event| matches!(event.kind, Some(Kind::SnapshotComplete(_)))).await;
    let request = proto::DeleteSessionRequest { session_id: id.clone(), ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
    let mut last = None;
    while let Some(response) = tokio::time::timeout(PATIENCE, stream.message()).await.expect("ends").expect("OK") {
        last = response.events.into_iter().last();
    }
    let Some(Kind::StatusChanged(change)) = last.and_then(|event| event.kind) else { panic!("no last word") };
    assert_eq!(change.status(), proto::SessionStatus::Deleted);
    let gone = watch(&mut sessions, &id, Some(0)).await.expect_err("gone");
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "SESSION_NOT_FOUND"));
}

#[tokio::test]
async fn a_stop_ends_open_watches_with_a_bookmark_and_when_to_come_back() {
    use tonic_types::StatusExt as _;
    let mut server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(watch(&mut sessions, &id, None).await.expect("a watch"));
    }
    let (mut stream, took) = {
        let stopping = std::thread::spawn(move || server.terminate());
        let mut stream = streams.pop().expect("one");
        let mut last = Vec::new();
        let status = loop {
            match stream.message().await {
                Ok(Some(response)) => last = response.events,
                Ok(None) => panic!("the watch ended as if the session were deleted"),
                Err(status) => break status,
            }
        };
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
        assert!(status.get_details_retry_info().is_some(), "{status:?}");
        assert!(matches!(last.last().expect("a frame").kind, Some(Kind::Bookmark(_))), "{last:?}");
        (streams.pop().expect("another"), stopping.join().expect("stopped"))
    };
    assert!(took < std::time::Duration::from_secs(5), "it took {took:?}");
    while let Ok(Some(_)) = stream.message().await {}
}

#[tokio::test]
async fn a_slow_reader_loses_nothing_and_holds_up_nobody() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut slow = watch(&mut server.sessions().await, &id, Some(0)).await.expect("a watch");
    let (turn, _) = send(&mut sessions, &id, r#"[{"count":200000,"size":20}]"#).await.expect("accepted");
    let mut quick = watch(&mut server.sessions().await, &id, Some(0)).await.expect("a watch");
    let seen = until_end_of(&mut quick, &turn.turn_id).await;
    check_ranges(0, &seen);
    // Only now the slow one begins to read: ring and windows are long past what it needs.
    let late = until_end_of(&mut slow, &turn.turn_id).await;
    check_ranges(0, &late);
    let without_bookmarks = |events: Vec<SessionEvent>| -> Vec<SessionEvent> {
        events.into_iter().filter(|event| !matches!(event.kind, Some(Kind::Bookmark(_)))).collect()
    };
    assert!(without_bookmarks(seen) == without_bookmarks(late), "the slow reader saw something else");
}

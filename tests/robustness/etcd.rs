//! Faults that the watch of another store had, each as a case of ours: the number is that of its report there. Servers here
//! compact their logs all the time, but where exactly the same is asked for twice.

use std::time::Duration;

use agent_runtime::proto::{self, SessionEvent, SessionStatus, session_event::Kind};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    case::first,
    history::Open,
    link::{Closed, Link, Watching},
    rig::{Rig, Setup},
    runs::seed,
    support::{PATIENCE, ended},
};

async fn rig(case: u64) -> (Rig, Link, String) {
    begun(Rig::start("etcd", seed() + case, compacting(&[])).await).await
}

fn compacting(args: &[&str]) -> Setup {
    Setup { compacts: true, args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Setup::default() }
}

async fn begun(mut rig: Rig) -> (Rig, Link, String) {
    let link = rig.link();
    let session = link.create("").await.expect("created").session_id;
    (rig, link, session)
}

async fn watch(link: &Link, session: &str, after: Option<i64>) -> Watching {
    let end = Instant::now() + PATIENCE;
    loop {
        let open = Open { session: session.to_owned(), after, ..Open::default() };
        match link.watch(open).await {
            Ok(watching) => return watching,
            Err(Closed { code, reason }) => assert!(Instant::now() < end, "no watch: {code} {reason}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Reads until it is found, or the stream ends; returns all that came.
async fn until(watching: &mut Watching, is_it: impl Fn(&SessionEvent) -> bool) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    let reading = async {
        while !events.iter().any(&is_it) {
            match watching.next().await {
                Ok(more) => events.extend(more),
                Err(_) => break,
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("what is waited for comes");
    events
}

fn is_bookmark(event: &SessionEvent) -> bool {
    matches!(event.kind, Some(Kind::Bookmark(_)))
}

fn is_delta(event: &SessionEvent) -> bool {
    matches!(event.kind, Some(Kind::BlockDelta(_)))
}

/// Runs a turn and reads it to its end.
async fn turn(link: &Link, session: &str, script: &str) -> Vec<SessionEvent> {
    let (turn, sequence) = link.send(session, script, "").await.expect("accepted");
    until(&mut watch(link, session, Some(sequence)).await, |event| ended(event, &turn)).await
}

/// A bookmark came before events that it stood for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_15220_a_bookmark_is_in_step_with_its_stream() {
    let (rig, link, session) = rig(15220).await;
    let mut first = watch(&link, &session, Some(0)).await;
    let script = r#"[{"count":60,"pace_ms":3},{"pause_ms":1300},{"count":60,"pace_ms":3}]"#;
    let (turn, _) = link.send(&session, script, "").await.expect("accepted");
    let mut second = watch(&link, &session, None).await;
    let (a, b) =
        tokio::join!(until(&mut first, |event| ended(event, &turn)), until(&mut second, |event| ended(event, &turn)));
    for events in [a, b] {
        assert!(events.iter().skip(1).any(is_bookmark), "a second of silence brings a bookmark");
    }
    rig.finish().await.approve("etcd_15220");
}

/// After a partition a watch showed an older state than before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_15271_nobody_goes_back_in_time_after_a_takeover() {
    let (mut rig, link, session) = rig(15271).await;
    for round in 0..3 {
        let mut watching = watch(&link, &session, Some(0)).await;
        let script = format!(r#"[{{"count":{},"pace_ms":2}}]"#, 400 + round);
        link.send(&session, &script, "").await.expect("accepted");
        let seen = until(&mut watching, is_delta).await;
        let cursor = seen.last().expect("a delta").sequence;
        // The old one stands still, nobody reaches it, and another takes over from it.
        rig.signal(Signal::STOP);
        rig.proxy.cut_all();
        sleep(Duration::from_millis(100)).await;
        rig.kill("");
        rig.up();
        let mut resumed = watch(&link, &session, Some(cursor)).await;
        until(&mut resumed, |event| matches!(event.kind, Some(Kind::TurnUpdated(_)))).await;
        until(&mut watch(&link, &session, None).await, is_bookmark).await;
    }
    rig.finish().await.approve("etcd_15271");
}

/// An event came twice to a watch that was opened while it was stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_17247_no_event_comes_twice_however_a_watch_is_opened() {
    let (rig, link, session) = rig(17247).await;
    let (turn, mut cursor) = link.send(&session, r#"[{"count":500,"pace_ms":1}]"#, "").await.expect("accepted");
    for _ in 0..400 {
        let mut watching = watch(&link, &session, Some(cursor)).await;
        // The bookmark, what was stored, and what is stored just now.
        let events = until(&mut watching, |event| !is_bookmark(event)).await;
        cursor = events.last().expect("events").sequence;
        if events.iter().any(|event| ended(event, &turn)) {
            break;
        }
    }
    rig.finish().await.approve("etcd_17247");
}

/// A watch that was slow for long lost what was stored meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_17529_a_slow_watch_loses_nothing() {
    let (mut rig, link, session) = rig(17529).await;
    let slow = rig.link();
    let mut stopped = watch(&slow, &session, Some(0)).await;
    stopped.next().await.expect("the bookmark");
    // More than any memory keeps for those behind.
    let script = r#"[{"repeat":12,"steps":[{"count":600,"size":300},{"think":"so much"}]}]"#;
    let all = turn(&link, &session, script).await;
    let last = all.last().expect("its end").sequence;
    let late = until(&mut stopped, |event| event.sequence >= last).await;
    // As deltas, or in the blocks that compaction left them to.
    let bytes: usize = late.iter().map(prost::Message::encoded_len).sum();
    assert!(bytes > 2 << 20, "only {bytes} bytes came");
    rig.finish().await.approve("etcd_17529");
}

/// A watch that was behind lost the deletion, because what it had to read was gone with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_18089_who_is_behind_is_told_of_a_deletion() {
    let (mut rig, link, session) = rig(18089).await;
    let slow = rig.link();
    let mut stopped = watch(&slow, &session, Some(0)).await;
    stopped.next().await.expect("the bookmark");
    turn(&link, &session, r#"[{"repeat":6,"steps":[{"count":600,"size":300},{"think":"so much"}]}]"#).await;
    // Compaction has its time before the deletion.
    sleep(Duration::from_millis(500)).await;
    link.delete(&session, "").await.expect("deleted");
    let events = until(&mut stopped, |_| false).await;
    let last = events.last().and_then(|event| event.kind.clone());
    let is_deleted = matches!(last, Some(Kind::StatusChanged(e)) if e.status() == SessionStatus::Deleted);
    assert!(is_deleted, "the last that came is {:?}", events.last());
    let mut cursor = 0;
    for event in events {
        assert_eq!(first(&event), cursor + 1);
        cursor = event.sequence;
    }
    rig.finish().await.approve("etcd_18089");
}

/// A watch that was opened right at the oldest event there is missed that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_19179_a_watch_at_the_oldest_place_misses_nothing() {
    let retention = ["--retain-events", "1s"];
    let (rig, link, session) = begun(Rig::start("etcd", seed() + 19179, compacting(&retention)).await).await;
    turn(&link, &session, r#"[{"count":30,"pace_ms":1},{"say":"and more"}]"#).await;
    // Of what is old only the newest event is kept, and what comes after it is kept for a second.
    let all = turn(&link, &session, r#"[{"pause_ms":1300},{"count":30,"pace_ms":1},{"say":"and more"}]"#).await;
    let head = all.last().expect("an end").sequence;
    let oldest = oldest(&link, &session).await;
    assert!(oldest > 2 && oldest < head, "{oldest} of {head}");
    // It may go on meanwhile, but never past the newest.
    for after in [oldest - 1, head - 1, head] {
        let open = Open { session: session.clone(), after: Some(after), ..Open::default() };
        match link.watch(open).await {
            Ok(mut watching) => {
                let events = until(&mut watching, |event| event.sequence >= head).await;
                let begun = events.iter().find(|event| !is_bookmark(event)).map(first);
                assert_eq!(begun, (after < head).then_some(after + 1), "after {after}");
            }
            Err(Closed { reason, .. }) => {
                assert_eq!(reason, "SEQUENCE_TRUNCATED");
                assert!(self::oldest(&link, &session).await > after + 1, "{after} was there");
            }
        }
    }
    // When all is old the newest event is left: right before it is the last place to begin at.
    while self::oldest(&link, &session).await < head {
        sleep(Duration::from_millis(20)).await;
    }
    let events = until(&mut watch(&link, &session, Some(head - 1)).await, |event| event.sequence >= head).await;
    assert_eq!(events.iter().find(|event| !is_bookmark(event)).map(first), Some(head));
    for after in [0, 1, head - 2] {
        let open = |or_snapshot| Open { session: session.clone(), after: Some(after), or_snapshot, ..Open::default() };
        let refused = link.watch(open(false)).await.err().expect("it is gone");
        assert_eq!((refused.code.as_str(), refused.reason.as_str()), ("OutOfRange", "SEQUENCE_TRUNCATED"));
        let events = until(&mut link.watch(open(true)).await.expect("a snapshot"), |event| event.sequence > 0).await;
        assert_eq!(events.last().map(|last| last.sequence), Some(head));
    }
    let mut outcome = rig.finish().await;
    // What only the whole log tells nobody can know here.
    let whole = ["atomic", "fold", "durable", "acknowledged", "turns", "agent", "offsets"];
    // Nor did anybody give these cursors.
    outcome.violations.retain(|v| !whole.contains(&v.judge) && !v.what.contains("never given"));
    outcome.approve("etcd_19179");
}

/// Of a session's log, what it tells itself.
async fn oldest(link: &Link, session: &str) -> i64 {
    let (mut sessions, metadata) = link.raw();
    let mut request = tonic::Request::new(proto::GetSessionRequest { session_id: session.to_owned() });
    *request.metadata_mut() = metadata();
    let response = sessions.get_session(request).await.expect("the session").into_inner();
    response.session.expect("the session").oldest_sequence
}

/// A watch on a revision that is not there yet waited, and got what it had not asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_20221_a_watch_on_the_future_is_refused() {
    let (mut rig, link, session) = rig(20221).await;
    turn(&link, &session, r#"[{"say":"so far"}]"#).await;
    let stranger = rig.link();
    let open = |or_snapshot| Open { session: session.clone(), after: Some(9_000), or_snapshot, ..Open::default() };
    let refused = stranger.watch(open(false)).await.err().expect("refused");
    assert_eq!((refused.code.as_str(), refused.reason.as_str()), ("OutOfRange", "SEQUENCE_AHEAD"));
    let mut instead = stranger.watch(open(true)).await.expect("a snapshot");
    let events = until(&mut instead, |event| event.sequence > 0).await;
    assert!(matches!(events.last().and_then(|last| last.kind.as_ref()), Some(Kind::SnapshotComplete(_))));
    drop(instead);
    let outcome = rig.finish().await;
    // The stranger's cursor was given by nobody, and a judge says so; it says nothing else.
    let others: Vec<_> =
        outcome.violations.iter().filter(|violation| !violation.what.contains("never given")).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// A resumed watch did not get what another had got after the same place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_20573_every_place_can_be_resumed_also_after_a_restart() {
    let (mut rig, link, session) = rig(20573).await;
    let script = r#"[{"think":"Hm.","size":1,"pace_ms":4},{"tool":"Bash","output":"a"},{"count":40,"pace_ms":4}]"#;
    let events = turn(&link, &session, script).await;
    let head = events.last().expect("an end").sequence;
    let mut all = watch(&link, &session, Some(0)).await;
    until(&mut all, |event| event.sequence >= head).await;
    drop(all);
    for round in 0..2 {
        for after in 0..head {
            let mut watching = watch(&link, &session, Some(after)).await;
            until(&mut watching, |event| event.sequence >= head && !is_bookmark(event)).await;
        }
        if round == 0 {
            rig.kill("");
            rig.up();
        }
    }
    rig.finish().await.approve("etcd_20573");
}

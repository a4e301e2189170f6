//! What the client lives through, against a real server: kills, cuts, silence, lost answers, and its own hanging up.

use std::{
    collections::BTreeMap,
    env,
    time::{Duration, Instant},
};

use agent_runtime::{
    client::{Client, Events, State},
    proto::{
        self, CreateSessionRequest, DeleteSessionRequest, InterruptTurnRequest, RunTurnRequest, SendMessageRequest,
        SessionChangeKind, SessionEvent, WatchSessionRequest, WatchSessionsRequest, session_event::Kind,
    },
};
use futures::{StreamExt as _, TryStreamExt as _};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::{
    link::Link,
    live::{at, client, numbers},
    support::{PATIENCE, Server},
};

/// A turn that no test waits for: it is interrupted when what was to happen in it has happened, however long that takes.
const ENDLESS: &str = r#"{"count": 200000, "size": 20, "pace_ms": 5}"#;

/// Events up to a sequence, bookmarks aside.
async fn up_to(events: &mut Events, sequence: i64) -> Vec<SessionEvent> {
    let mut list = Vec::new();
    let read = async {
        while list.last().is_none_or(|event: &SessionEvent| event.sequence < sequence) {
            let event = events.next().await.expect("the watch goes on").unwrap();
            if !matches!(event.kind, Some(Kind::Bookmark(_))) {
                list.push(event);
            }
        }
    };
    timeout(PATIENCE, read).await.expect("what is waited for comes");
    list
}

fn fold<'a>(events: impl IntoIterator<Item = &'a SessionEvent>) -> State {
    let mut state = State::default();
    events.into_iter().for_each(|event| state.apply(event));
    state
}

async fn interrupt(client: &Client, session_id: &str) {
    let request = InterruptTurnRequest { session_id: session_id.to_owned(), ..Default::default() };
    assert!(client.interrupt_turn(request).await.unwrap().turn.is_some(), "the turn ended before");
}

/// Whether it is what `ENDLESS` says, up to some point.
fn is_begun(text: &str) -> bool {
    text.len() > 20 && numbers(200_000).starts_with(text)
}

/// What a reload shows, and its sequence.
async fn snapshot(client: &Client, session_id: &str) -> (State, i64) {
    let mut events = client.watch(session_id, None);
    let mut state = State::default();
    loop {
        let event = events.next().await.expect("a snapshot").unwrap();
        state.apply(&event);
        if matches!(event.kind, Some(Kind::SnapshotComplete(_))) {
            return (state, event.sequence);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_survives_kills_of_the_server() {
    let data = TempDir::new().unwrap();
    let mut server = Server::start_on(data.path(), &[]);
    let link = Link::to(&server.addr).await;
    let client = at(&link.addr, &server).await;
    let session_id = client.create("scripted").await.unwrap().session_id;
    let mut watched = client.watch(&session_id, Some(0));
    let mut blocks = client.run(&session_id, ENDLESS);
    let (mut text, mut changes) = (String::new(), 0);
    let ended = loop {
        let block = match timeout(PATIENCE, blocks.try_next()).await.expect("the turn goes on") {
            Ok(block) => block.expect("an interrupted turn is an error"),
            Err(ended) => break ended,
        };
        text = agent_runtime::client::words_of(&block).into_owned();
        changes += 1;
        if changes == 12 || changes == 30 {
            server.kill();
            server = Server::start_on(data.path(), &[]);
            link.lead_to(&server.addr);
        }
        if changes == 40 {
            interrupt(&client, &session_id).await;
        }
    };
    assert_eq!(ended.code, Code::Aborted, "{ended:?}");
    assert!(changes >= 40 && is_begun(&text), "{changes} changes, {} bytes", text.len());
    // Whoever watched, and read nothing until now, sees the same as who comes later.
    let (state, head) = snapshot(&client, &session_id).await;
    assert_eq!(fold(&up_to(&mut watched, head).await), state);
}

#[tokio::test]
async fn a_hundred_resumes_fold_to_the_same_state() {
    let server = Server::start();
    let client = client(&server).await;
    let session_id = client.create("scripted").await.unwrap().session_id;
    let script =
        r#"[{"think": "Hä? 😀 é", "size": 1}, {"count": 200, "size": 20, "pace_ms": 1}, {"run": "echo 1 > f"}]"#;
    client.ask(&session_id, script).await.unwrap();
    let (state, head) = snapshot(&client, &session_id).await;
    let mut rng = StdRng::seed_from_u64(6);
    for _ in 0..100 {
        // Read on, hang up, and come back: at up to three places.
        let (mut folded, mut cursor) = (State::default(), 0);
        for stop in (0..rng.random_range(1..=3)).map(|_| rng.random_range(1..=head)).chain([head]) {
            if stop > cursor {
                let events = up_to(&mut client.watch(&session_id, Some(cursor)), stop).await;
                for event in &events {
                    folded.apply(event);
                }
                cursor = events.last().expect("at least one").sequence;
            }
        }
        assert_eq!(folded, state, "after {cursor}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_in_the_middle_of_a_turn_lose_nothing() {
    let server = Server::start();
    let link = Link::to(&server.addr).await;
    let client = at(&link.addr, &server).await;
    let session_id = client.create("scripted").await.unwrap().session_id;
    let (mut rng, mut cuts, mut next) = (StdRng::seed_from_u64(7), 0, 0);
    let mut state = State::default();
    let request = RunTurnRequest { session_id: session_id.clone(), text: ENDLESS.into(), ..RunTurnRequest::default() };
    let mut events = client.run_turn(request);
    while let Some(event) = timeout(PATIENCE, events.try_next()).await.expect("the turn goes on").unwrap() {
        state.apply(&event);
        if event.sequence >= next {
            link.cut();
            cuts += 1;
            next = event.sequence + rng.random_range(2..8);
            if cuts == 12 {
                interrupt(&client, &session_id).await;
            }
        }
    }
    assert!(cuts >= 12, "only {cuts} cuts");
    let text = agent_runtime::client::words_of(state.as_proto().blocks.last().unwrap());
    assert!(is_begun(&text), "{} bytes", text.len());
    assert_eq!(snapshot(&client, &session_id).await.0.as_proto().blocks, state.as_proto().blocks);
}

/// Reads, like what changes something, are made again when they are cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_cut_is_made_again() {
    let server = Server::start();
    let link = Link::to(&server.addr).await;
    let client = at(&link.addr, &server).await;
    let session_id = client.create("scripted").await.unwrap().session_id;
    let reads = async {
        for _ in 0..100 {
            let request = proto::GetSessionRequest { session_id: session_id.clone() };
            client.get_session(request).await.expect("made again");
        }
    };
    let cuts = async {
        loop {
            sleep(Duration::from_millis(20)).await;
            link.cut();
        }
    };
    tokio::select! {
        () = reads => {}
        () = cuts => unreachable!("they never end"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_up_ends_the_servers_stream_and_not_the_turn() {
    let server = Server::start();
    let link = Link::to(&server.addr).await;
    let (direct, client) = (client(&server).await, at(&link.addr, &server).await);
    let session_id = client.create("scripted").await.unwrap().session_id;
    let text = ENDLESS.to_owned();
    let mut events = client.run_turn(RunTurnRequest { session_id: session_id.clone(), text, ..Default::default() });
    while !matches!(events.next().await.unwrap().unwrap().kind, Some(Kind::BlockDelta(_))) {}
    drop(events);
    let sequence = async || {
        let request = proto::GetSessionRequest { session_id: session_id.clone() };
        direct.get_session(request).await.unwrap().session.unwrap().sequence
    };
    // While the turn goes on, nothing more is sent to who hung up.
    let quiet = async {
        loop {
            let (sent, before) = (link.answered(), sequence().await);
            while sequence().await < before + 4 {
                sleep(Duration::from_millis(50)).await;
            }
            if link.answered() - sent < 200 {
                return;
            }
        }
    };
    timeout(PATIENCE, quiet).await.expect("its events still come");
    // It did not go with who hung up.
    interrupt(&direct, &session_id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_stream_lives_behind_a_link_that_cuts_what_is_silent() {
    let server = Server::start();
    let direct = client(&server).await;
    let session_id = direct.create("scripted").await.unwrap().session_id;
    // IDLE_SECONDS=300: for so long at least, with the limits that there are in earnest.
    let long = env::var("IDLE_SECONDS").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let (patience, bookmarks_every) = if long.is_some() { (20, None) } else { (10, Some(Duration::from_secs(1))) };
    let strict = Link::that_cuts(&server.addr, Some(Duration::from_millis(400))).await;
    let lax = Link::that_cuts(&server.addr, Some(Duration::from_secs(patience))).await;
    let watch = |client: &Client| {
        client.watch_session(WatchSessionRequest {
            session_id: session_id.clone(),
            after_sequence: Some(0),
            bookmark_interval: bookmarks_every.map(|interval| interval.try_into().unwrap()),
            ..WatchSessionRequest::default()
        })
    };
    // One whose bookmarks are rarer than the link's patience is cut, again and again; the other never.
    let mut cut = watch(&at(&strict.addr, &server).await);
    let mut spared = watch(&at(&lax.addr, &server).await);
    let (mut bookmarks, began) = (0, Instant::now());
    let idle = async {
        while strict.silent() < 4 || bookmarks < 5 || began.elapsed() < long.unwrap_or_default() {
            tokio::select! {
                event = cut.next() => assert!(is_old(&event.expect("it goes on").unwrap())),
                event = spared.next() => {
                    let event = event.expect("it goes on").unwrap();
                    assert!(is_old(&event));
                    bookmarks += usize::from(matches!(event.kind, Some(Kind::Bookmark(_))));
                }
            }
        }
    };
    timeout(PATIENCE + long.unwrap_or_default(), idle).await.expect("bookmarks come");
    assert_eq!(lax.silent(), 0);
    println!("after {:?} and {bookmarks} bookmarks; {} connections were cut", began.elapsed(), strict.silent());
    direct.ask(&session_id, r#"{"say": "There you are."}"#).await.unwrap();
    let (state, head) = snapshot(&direct, &session_id).await;
    for mut events in [cut, spared] {
        // Both began before there was anything to say, and their sequences were checked by the client.
        let rest = up_to(&mut events, head).await;
        let whole = up_to(&mut direct.watch(&session_id, Some(0)), rest[0].sequence - 1).await;
        assert_eq!(fold(whole.iter().chain(&rest)), state);
    }
}

/// What there is of a session that nobody has said anything to.
fn is_old(event: &SessionEvent) -> bool {
    event.sequence <= 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_leaves_a_connection_that_is_forgotten() {
    let server = Server::start();
    let link = Link::to(&server.addr).await;
    let (direct, client) = (client(&server).await, at(&link.addr, &server).await);
    let session_id = direct.create("scripted").await.unwrap().session_id;
    let mut events = client.watch_session(WatchSessionRequest {
        session_id: session_id.clone(),
        after_sequence: Some(0),
        bookmark_interval: Some(Duration::from_secs(1).try_into().unwrap()),
        ..WatchSessionRequest::default()
    });
    let before = up_to(&mut events, 2).await;
    link.forget();
    direct.ask(&session_id, r#"{"say": "Can you hear me?"}"#).await.unwrap();
    let (state, head) = snapshot(&direct, &session_id).await;
    let after = up_to(&mut events, head).await;
    assert_eq!(fold(before.iter().chain(&after)), state);
    // Nobody waited until the old one was known as dead.
    assert_eq!(link.open(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_watched_through_cuts_and_restarts() {
    let data = TempDir::new().unwrap();
    let mut server = Server::start_on(data.path(), &[]);
    let link = Link::to(&server.addr).await;
    let watched = at(&link.addr, &server).await;
    let labels: BTreeMap<String, String> = [("mine".to_owned(), "yes".to_owned())].into();
    let add = async |server: &Server, name: &str| {
        let (agent, name, labels) = ("scripted".to_owned(), name.to_owned(), labels.clone());
        let request = CreateSessionRequest { agent, name, labels, ..CreateSessionRequest::default() };
        client(server).await.create_session(request).await.unwrap().session.unwrap().session_id
    };
    let (stays, goes) = (add(&server, "stays").await, add(&server, "goes").await);
    client(&server).await.create("scripted").await.unwrap();
    let mut expected = BTreeMap::from([(stays, "stays".to_owned())]);
    let request = WatchSessionsRequest { labels: labels.clone(), ..WatchSessionsRequest::default() };
    let mut changes = watched.watch_sessions(request);
    let (mut list, mut synced) = (BTreeMap::new(), 0);
    while synced < 3 {
        let response = timeout(PATIENCE, changes.next()).await.expect("it goes on").expect("it does not end").unwrap();
        for change in response.changes {
            let (kind, session) = (change.kind(), change.session.unwrap());
            if kind == SessionChangeKind::Removed {
                list.remove(&session.session_id);
            } else {
                list.insert(session.session_id, session.name);
            }
        }
        synced += usize::from(response.synced);
        if response.synced && synced == 1 {
            link.cut();
            let request = DeleteSessionRequest { session_id: goes.clone(), ..DeleteSessionRequest::default() };
            client(&server).await.delete_session(request).await.unwrap();
        } else if response.synced && synced == 2 {
            server.kill();
            server = Server::start_on(data.path(), &[]);
            link.lead_to(&server.addr);
            expected.insert(add(&server, "comes").await, "comes".to_owned());
        }
    }
    assert_eq!(list, expected);
    let ahead = WatchSessionsRequest { after_revision: Some(1 << 40), ..WatchSessionsRequest::default() };
    let refused = client(&server).await.watch_sessions(ahead).next().await.unwrap().unwrap_err();
    assert_eq!(refused.reason, "SEQUENCE_AHEAD");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_answer_is_lost_is_made_once() {
    let server = Server::start();
    let link = Link::to(&server.addr).await;
    let (direct, client) = (client(&server).await, at(&link.addr, &server).await);
    let session_id = client.create("scripted").await.unwrap().session_id;
    link.lose_answers(true);
    let request = SendMessageRequest {
        session_id: session_id.clone(),
        text: r#"{"say": "once"}"#.into(),
        ..SendMessageRequest::default()
    };
    let turns = async || {
        let request = proto::ListTurnsRequest { session_id: session_id.clone(), ..Default::default() };
        direct.turns(request).try_collect::<Vec<_>>().await.unwrap()
    };
    let arrives = async {
        while turns().await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
        link.lose_answers(false);
        link.cut();
    };
    let both = async { tokio::join!(client.send_message(request), arrives).0 };
    let answer = timeout(PATIENCE, both).await.expect("it is made again").unwrap();
    let ids: Vec<_> = turns().await.into_iter().map(|turn| turn.turn_id).collect();
    assert_eq!(ids, [answer.turn.unwrap().turn_id]);
}

#[tokio::test]
async fn a_deleted_session_ends_its_watches() {
    let server = Server::start();
    let client = client(&server).await;
    let session_id = client.create("scripted").await.unwrap().session_id;
    let mut events = client.watch(&session_id, Some(0));
    up_to(&mut events, 2).await;
    client.delete_session(DeleteSessionRequest { session_id, ..Default::default() }).await.unwrap();
    let all: Vec<_> = timeout(PATIENCE, events.try_collect()).await.expect("it ends").unwrap();
    let last: &SessionEvent = all.last().unwrap();
    assert!(
        matches!(&last.kind, Some(Kind::StatusChanged(changed)) if changed.status() == proto::SessionStatus::Deleted)
    );
}

//! Watching the list of sessions, over the server's own process: what a watcher folds is what a list shows, whatever
//! happens in between.

#[path = "support/mod.rs"]
mod support;

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use agent_runtime::{
    domain::Timestamp,
    proto::{
        self,
        SessionChangeKind::{Added, Modified, Removed},
        SessionStatus, WatchSessionsRequest, WatchSessionsResponse,
    },
    store::{SqliteStore, Store as _},
};
use prost::Message as _;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use support::{PATIENCE, Server, Sessions, play, reason, scripted, send, stop};
use tokio::task::JoinSet;
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

/// A watch, and what it has brought.
struct Watching {
    stream: Streaming<WatchSessionsResponse>,
    list: BTreeMap<String, proto::Session>,
    revision: i64,
}

type Changes = Vec<(proto::SessionChangeKind, String)>;

impl Watching {
    async fn open(sessions: &mut Sessions, request: WatchSessionsRequest) -> Self {
        let revision = request.after_revision.unwrap_or_default();
        let stream = sessions.watch_sessions(request).await.expect("a watch").into_inner();
        Self { stream, list: BTreeMap::new(), revision }
    }

    /// The next response, folded in as the contract says.
    async fn next(&mut self) -> WatchSessionsResponse {
        let response = tokio::time::timeout(PATIENCE, self.stream.message()).await.expect("no hang");
        let response = response.expect("no error").expect("the stream goes on");
        assert!(response.changes.len() <= 500 && response.encoded_len() < 4 << 20);
        for change in &response.changes {
            let session = change.session.clone().expect("a session");
            match change.kind() {
                Added | Modified => drop(self.list.insert(session.session_id.clone(), session)),
                _ => drop(self.list.remove(&session.session_id)),
            }
        }
        if response.revision != 0 {
            assert!(response.revision >= self.revision, "a revision went back");
            self.revision = response.revision;
        }
        response
    }

    /// All there was when the watch began.
    async fn synced(&mut self) -> Changes {
        let mut changes = Vec::new();
        loop {
            let response = self.next().await;
            changes.extend(named(&response));
            if response.synced {
                return changes;
            }
        }
    }

    /// Reads until the list is what is wanted.
    async fn until(&mut self, wanted: impl Fn(&BTreeMap<String, proto::Session>) -> bool) -> Changes {
        let mut changes = Vec::new();
        let began = Instant::now();
        while !wanted(&self.list) {
            assert!(began.elapsed() < PATIENCE, "what is waited for does not come: {:?}", self.list);
            changes.extend(named(&self.next().await));
        }
        changes
    }
}

fn named(response: &WatchSessionsResponse) -> Changes {
    let name =
        |change: &proto::SessionChange| (change.kind(), change.session.as_ref().expect("a session").session_id.clone());
    response.changes.iter().map(name).collect()
}

/// What a watch shows of a session that a list has.
fn basic(mut session: proto::Session) -> proto::Session {
    (session.sequence, session.oldest_sequence, session.usage, session.last_activity_time) = (0, 0, None, None);
    if let Some(turn) = &mut session.active_turn {
        turn.usage = None;
    }
    session
}

async fn list(sessions: &mut Sessions) -> (Vec<proto::Session>, i64) {
    let request = proto::ListSessionsRequest { page_size: 1000, ..Default::default() };
    let page = sessions.list_sessions(request).await.expect("a list").into_inner();
    (page.sessions, page.revision)
}

fn by_id(sessions: Vec<proto::Session>) -> BTreeMap<String, proto::Session> {
    sessions.into_iter().map(|session| (session.session_id.clone(), basic(session))).collect()
}

async fn delete(sessions: &mut Sessions, id: &str) {
    let request = proto::DeleteSessionRequest { session_id: id.into(), ..Default::default() };
    sessions.delete_session(request).await.expect("deleted");
}

/// The one task ended well.
fn is_over(task: &mut JoinSet<()>) -> bool {
    task.try_join_next().is_some_and(|done| {
        done.expect("it does not panic");
        true
    })
}

async fn labelled(sessions: &mut Sessions, team: &str) -> String {
    let labels = [("team".to_owned(), team.to_owned())].into();
    let request = proto::CreateSessionRequest { agent: "scripted".into(), labels, ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

#[tokio::test]
async fn a_watch_begins_with_the_list_and_goes_on_with_what_changes() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(scripted(&mut sessions).await);
    }
    play(&mut sessions, &made[0].session_id, "hello").await;
    let mut watching = Watching::open(&mut sessions, WatchSessionsRequest::default()).await;
    let newest_first: Changes = made.iter().rev().map(|session| (Added, session.session_id.clone())).collect();
    assert_eq!(watching.synced().await, newest_first);
    let (listed, revision) = list(&mut sessions).await;
    assert_eq!((&watching.list, watching.revision), (&by_id(listed), revision));

    let new = scripted(&mut sessions).await;
    assert_eq!(watching.until(|list| list.len() == 4).await, [(Added, new.session_id.clone())]);
    send(&mut sessions, &new.session_id, r#"[{"pause_ms":600000}]"#).await.expect("accepted");
    let runs = |list: &BTreeMap<String, proto::Session>| {
        let session = &list[&new.session_id];
        session.status() == SessionStatus::Running
            && session.active_turn.as_ref().is_some_and(|turn| turn.start_time.is_some())
    };
    let changes = watching.until(runs).await;
    assert!(changes.iter().all(|change| *change == (Modified, new.session_id.clone())), "{changes:?}");
    assert_eq!(watching.list, by_id(list(&mut sessions).await.0));

    delete(&mut sessions, &made[1].session_id).await;
    let mut response = watching.next().await;
    while response.changes.is_empty() {
        response = watching.next().await;
    }
    let removed = response.changes.pop().expect("a change");
    assert_eq!((removed.kind(), response.changes.len()), (Removed, 0));
    let gone = proto::Session {
        session_id: made[1].session_id.clone(),
        uid: made[1].uid.clone(),
        status: SessionStatus::Deleted.into(),
        ..Default::default()
    };
    assert_eq!(removed.session, Some(gone));
    let (listed, revision) = list(&mut sessions).await;
    assert_eq!((watching.list, watching.revision), (by_id(listed), revision));
}

#[tokio::test]
async fn a_session_that_changes_often_is_told_once_a_second_and_its_text_never() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let mut watching = Watching::open(&mut sessions, WatchSessionsRequest::default()).await;
    watching.synced().await;
    let revision = watching.revision;
    let (mut caller, busy) = (server.sessions().await, id.clone());
    let began = Instant::now();
    let mut turns = JoinSet::new();
    turns.spawn(async move {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            play(&mut caller, &busy, "hello").await;
        }
    });
    let mut told: Vec<Instant> = Vec::new();
    while !is_over(&mut turns) {
        if let Ok(response) = tokio::time::timeout(Duration::from_millis(200), watching.next()).await {
            told.extend(response.changes.iter().map(|_| Instant::now()));
        }
    }
    let changed = list(&mut sessions).await.1 - revision;
    let (seconds, most) = (began.elapsed().as_secs(), usize::try_from(began.elapsed().as_secs()).expect("few") + 2);
    assert!(changed > 8, "only {changed} changes were made in {seconds} s");
    assert!((2..=most).contains(&told.len()), "{} of {changed} changes were told in {seconds} s", told.len());
    for pair in told.windows(2) {
        // They leave a second apart; on the way some of it may be lost.
        assert!(pair[1] - pair[0] > Duration::from_millis(500), "two changes of a session within a second");
    }
    watching.until(|list| list[&id].status() == SessionStatus::Idle).await;
    let (listed, _) = list(&mut sessions).await;
    watching.until(|held| *held == by_id(listed.clone())).await;

    // Text and usage are no change of a list.
    let script = r#"[{"count":400,"pace_ms":10},{"pause_ms":600000}]"#;
    send(&mut sessions, &id, script).await.expect("accepted");
    watching.until(|list| list[&id].active_turn.as_ref().is_some_and(|turn| turn.start_time.is_some())).await;
    let silence = tokio::time::timeout(Duration::from_secs(3), watching.next()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test]
async fn a_watch_is_resumed_at_the_next_server_with_what_changed_meanwhile() {
    let mut server = Server::start();
    let mut sessions = server.sessions().await;
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(scripted(&mut sessions).await.session_id);
    }
    let mut watching = Watching::open(&mut sessions, WatchSessionsRequest::default()).await;
    watching.synced().await;
    let folder = tempfile::tempdir().expect("a folder");
    server.terminate();
    let bookmark = watching.next().await;
    assert_eq!((bookmark.changes.len(), bookmark.revision), (0, watching.revision), "a last bookmark");
    let end = watching.stream.message().await.expect_err("the server stops");
    assert_eq!((end.code(), reason(&end).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));

    // The data folder goes with the first server, so the second one has a copy.
    let copied = std::process::Command::new("cp").arg("-a").arg(server.data()).arg(folder.path()).status();
    assert!(copied.expect("cp").success());
    let data = folder.path().join(server.data().file_name().expect("a name"));
    let server = Server::start_on(&data, &[]);
    let mut sessions = server.sessions().await;
    play(&mut sessions, &made[2], "hello").await;
    delete(&mut sessions, &made[1]).await;
    let new = scripted(&mut sessions).await.session_id;
    let request = WatchSessionsRequest { after_revision: Some(watching.revision), ..Default::default() };
    let mut resumed = Watching { list: watching.list, ..Watching::open(&mut sessions, request).await };
    let changes = resumed.synced().await;
    assert_eq!(changes, [(Modified, made[2].clone()), (Removed, made[1].clone()), (Added, new)]);
    let (listed, revision) = list(&mut sessions).await;
    assert_eq!((resumed.list, resumed.revision), (by_id(listed), revision));
    // Where nothing changed there is nothing but the word that it is so.
    let request = WatchSessionsRequest { after_revision: Some(revision), ..Default::default() };
    let first = Watching::open(&mut sessions, request).await.next().await;
    assert_eq!(first, WatchSessionsResponse { changes: Vec::new(), revision, synced: true });
}

#[tokio::test]
async fn what_is_purged_cannot_be_resumed_across() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_on(folder.path(), &[]);
    let mut sessions = server.sessions().await;
    let kept = scripted(&mut sessions).await.session_id;
    let gone = scripted(&mut sessions).await.session_id;
    let before = list(&mut sessions).await.1;
    delete(&mut sessions, &gone).await;
    let oldest = list(&mut sessions).await.1;
    stop(&mut sessions, &kept).await;
    server.terminate();
    let store = SqliteStore::open(&folder.path().join("agent-runtime.db")).await.expect("the database");
    store.purge(Timestamp(Timestamp::now().0 + 1_000_000)).await.expect("purged");
    store.close().await;

    let server = Server::start_on(folder.path(), &[]);
    let mut sessions = server.sessions().await;
    let after = |revision| WatchSessionsRequest { after_revision: Some(revision), ..Default::default() };
    let refused = sessions.watch_sessions(after(before)).await.expect_err("too old");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::OutOfRange, "SEQUENCE_TRUNCATED"));
    let details = refused.get_details_error_info().expect("details").metadata;
    assert_eq!((&details["after_revision"], &details["oldest_revision"]), (&before.to_string(), &oldest.to_string()));
    let mut watching = Watching::open(&mut sessions, after(oldest)).await;
    assert_eq!(watching.synced().await, [(Modified, kept.clone())]);
    let newest = watching.revision;
    let refused = sessions.watch_sessions(after(newest + 1)).await.expect_err("not of this list");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::OutOfRange, "SEQUENCE_AHEAD"));
    let details = refused.get_details_error_info().expect("details").metadata;
    assert_eq!(details["head_revision"], newest.to_string());
    let mut whole = Watching::open(&mut sessions, WatchSessionsRequest::default()).await;
    assert_eq!(whole.synced().await, [(Added, kept)]);
}

#[tokio::test]
async fn sessions_come_into_a_filter_and_go_out_of_it() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let running = || WatchSessionsRequest { status: SessionStatus::Running.into(), ..Default::default() };
    let team = WatchSessionsRequest { labels: [("team".into(), "a".into())].into(), ..Default::default() };
    let other = WatchSessionsRequest { profile_id: "prof_other".into(), ..Default::default() };
    let idle = scripted(&mut sessions).await.session_id;
    let mut by_status = Watching::open(&mut sessions, running()).await;
    let mut by_label = Watching::open(&mut sessions, team).await;
    let mut by_profile = Watching::open(&mut sessions, other).await;
    for watching in [&mut by_status, &mut by_label, &mut by_profile] {
        assert_eq!(watching.synced().await, []);
    }
    let ours = labelled(&mut sessions, "a").await;
    labelled(&mut sessions, "b").await;
    assert_eq!(by_label.until(|list| !list.is_empty()).await, [(Added, ours.clone())]);
    let since = by_status.revision;
    let pause = r#"[{"pause_ms":600000}]"#;
    send(&mut sessions, &ours, pause).await.expect("accepted");
    let changes = by_status.until(|list| !list.is_empty()).await;
    assert_eq!(changes, [(Added, ours.clone())]);
    let changes = by_label.until(|list| list[&ours].status() == SessionStatus::Running).await;
    assert!(changes.iter().all(|(_, id)| *id == ours));
    // Whoever was away hears of what came in, and of what went out.
    send(&mut sessions, &idle, pause).await.expect("accepted");
    by_status.until(|list| list.len() == 2).await;
    let (away, held) = (by_status.revision, by_status.list.clone());
    stop(&mut sessions, &ours).await;
    let changes = by_status.until(|list| list.len() == 1).await;
    assert_eq!(changes.iter().filter(|(kind, _)| *kind == Removed).collect::<Vec<_>>(), [&(Removed, ours.clone())]);
    let request = WatchSessionsRequest { after_revision: Some(away), ..running() };
    let mut resumed = Watching { list: held, ..Watching::open(&mut sessions, request).await };
    resumed.synced().await;
    assert_eq!(resumed.list, by_status.list);
    let request = WatchSessionsRequest { after_revision: Some(since), ..running() };
    let mut resumed = Watching::open(&mut sessions, request).await;
    let changes = resumed.synced().await;
    assert!(changes.contains(&(Added, idle.clone())), "{changes:?}");
    assert_eq!(resumed.list, by_status.list);
    delete(&mut sessions, &ours).await;
    by_label.until(BTreeMap::is_empty).await;
    delete(&mut sessions, &idle).await;
    by_status.until(BTreeMap::is_empty).await;
    assert!(by_profile.list.is_empty());
}

/// A reader never finds a change without the revision that tells of it.
#[tokio::test]
async fn a_change_and_its_revision_are_stored_at_once() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let options = SqliteConnectOptions::new().filename(server.data().join("agent-runtime.db")).read_only(true);
    let mut db = options.connect().await.expect("the database");
    let mut turns = JoinSet::new();
    turns.spawn(async move {
        for _ in 0..10 {
            play(&mut sessions, &id, "hello").await;
        }
    });
    let mut seen: HashMap<i64, Vec<u8>> = HashMap::new();
    while !is_over(&mut turns) {
        let sql = "SELECT revision, CAST(status || coalesce(json_extract(substr(record, 2), '$.sandbox'), '') AS BLOB) FROM session";
        let (revision, shown): (i64, Vec<u8>) = sqlx::query_as(sql).fetch_one(&mut db).await.expect("a row");
        let held = seen.entry(revision).or_insert_with(|| shown.clone());
        assert_eq!(*held, shown, "revision {revision} stands for two states");
        tokio::task::yield_now().await;
    }
    assert!(seen.len() > 10, "only {} revisions were seen", seen.len());
}

#[tokio::test]
async fn ten_thousand_sessions_come_in_pages() {
    const MANY: usize = 10_000;
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start_on(folder.path(), &[]);
    scripted(&mut server.sessions().await).await;
    server.terminate();
    let options = SqliteConnectOptions::new().filename(folder.path().join("agent-runtime.db"));
    let mut db = options.connect().await.expect("the database");
    let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 9999)
        INSERT INTO session (tenant_id, session_id, uid, epoch, head, last_activity, status, profile_id, external_id,
        create_time, sandbox_running, record, revision, added_revision, filed_revision)
        SELECT tenant_id, format('ses_%05d', n), uid, epoch, head, last_activity, status, profile_id, external_id,
        create_time, sandbox_running, CAST(replace(CAST(record AS TEXT), session_id, format('ses_%05d', n)) AS BLOB),
        revision + n, added_revision + n, filed_revision + n FROM session CROSS JOIN n;
        UPDATE tenant SET revision = (SELECT MAX(revision) FROM session)";
    sqlx::raw_sql(sql).execute(&mut db).await.expect("copied");
    sqlx::Connection::close(db).await.expect("closed");

    let server = Server::start_on(folder.path(), &[]);
    let mut sessions = server.sessions().await;
    let mut watching = Watching::open(&mut sessions, WatchSessionsRequest::default()).await;
    let (mut responses, mut order) = (0, Vec::new());
    loop {
        let response = watching.next().await;
        order.extend(response.changes.iter().map(|change| change.session.clone().expect("a session").session_id));
        responses += 1;
        assert_eq!(response.revision != 0, response.synced, "there is a place to resume at before the end");
        if response.synced {
            break;
        }
    }
    assert_eq!((watching.list.len(), order.len()), (MANY, MANY));
    assert!((20..=40).contains(&responses), "{responses} responses");
    assert!(order.is_sorted_by(|one, other| one > other), "not newest first");
    let request = WatchSessionsRequest { after_revision: Some(0), ..Default::default() };
    let mut resumed = Watching::open(&mut sessions, request).await;
    assert_eq!(resumed.synced().await.len(), MANY);
    assert_eq!((resumed.list, resumed.revision), (watching.list, watching.revision));
}

#[tokio::test]
async fn a_list_and_a_watch_after_it_miss_nothing() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    for _ in 0..6 {
        scripted(&mut sessions).await;
    }
    let mut others = JoinSet::new();
    for number in 0..3 {
        let mut caller = server.sessions().await;
        others.spawn(async move {
            let began = Instant::now();
            for round in 0.. {
                let id = scripted(&mut caller).await.session_id;
                play(&mut caller, &id, "hello").await;
                if (round + number) % 2 == 0 {
                    delete(&mut caller, &id).await;
                }
                if began.elapsed() > Duration::from_secs(5) {
                    return;
                }
            }
        });
    }
    let mut seen: HashMap<i64, usize> = HashMap::new();
    let mut watches = Vec::new();
    for _ in 0..8 {
        let mut held = Vec::new();
        let mut request = proto::ListSessionsRequest { page_size: 2, ..Default::default() };
        let mut revision = None;
        loop {
            let page = sessions.list_sessions(request.clone()).await.expect("a page").into_inner();
            assert_eq!(*revision.get_or_insert(page.revision), page.revision, "a later page has another revision");
            held.extend(page.sessions);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let revision = revision.expect("a page");
        *seen.entry(revision).or_default() += 1;
        let request = WatchSessionsRequest { after_revision: Some(revision), ..Default::default() };
        watches.push(Watching { list: by_id(held), ..Watching::open(&mut sessions, request).await });
        watches.push(Watching::open(&mut sessions, WatchSessionsRequest::default()).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    while let Some(done) = others.join_next().await {
        done.expect("callers");
    }
    assert!(seen.len() > 4, "nothing changed meanwhile");
    let (listed, revision) = list(&mut sessions).await;
    let listed = by_id(listed);
    for watching in &mut watches {
        while watching.revision < revision {
            watching.next().await;
        }
        assert_eq!(watching.list, listed);
    }
}

//! What is kept of a log, and beside it: compaction, retention, and what only a file can show of them.

use std::time::Duration;

use agent_runtime::{
    domain::{Block, BlockId, BlockState, Event, Failure, Kind, Reason, SessionState, Timestamp},
    log::{EventLog, Start},
    store::{Batch, Beside, BlobBytes, Error, SqliteStore, Store, TextPiece},
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::ahead;
use crate::make::{Owner, delta, key, log_line, store_one, text_block};

/// Whoever read up to any sequence goes on without a hole, and folds the state that the whole log folds to.
pub(crate) async fn resumes(store: &dyn Store, owner: &Owner, page: usize) {
    let whole = owner.folded();
    let step = owner.log.len() / 40 + 1;
    for cut in (0..=owner.log.len()).rev().step_by(step) {
        let mut state = SessionState::fold(&owner.log[..cut]);
        let rest = read(store, owner, cut, page).await;
        for event in &rest {
            if let (Some(state), Kind::BlockDelta { block_id, offset, .. }) = (&state, &event.kind) {
                let held = state.block(block_id).and_then(|block| block.content.growing()).map_or(0, str::len);
                assert!(*offset <= i64::try_from(held).unwrap(), "cut {cut}: text is missing before {event:?}");
            }
            match &mut state {
                Some(state) => drop(state.apply(event)),
                None => state = SessionState::fold([event]),
            }
        }
        assert_eq!(state.unwrap(), whole, "cut {cut}");
    }
}

/// What follows a sequence, in pages; each range follows the one before.
async fn read(store: &dyn Store, owner: &Owner, after: usize, page: usize) -> Vec<Event> {
    let mut cursor = i64::try_from(after).unwrap();
    let mut read = Vec::new();
    while cursor < owner.head() {
        let found = store.events(&owner.key, cursor, page).await.unwrap();
        assert_eq!(found.head, owner.head());
        assert!(!found.events.is_empty(), "a page after {cursor} leads nowhere");
        for event in found.events {
            assert_eq!(event.first_sequence, cursor + 1, "{event:?}");
            cursor = event.sequence;
            read.push(event);
        }
    }
    read
}

fn start(id: &str) -> Kind {
    Kind::BlockStart { block: text_block(id, "", BlockState::Streaming) }
}

fn complete(id: &str, text: &str) -> Kind {
    let block = text_block(id, text, BlockState::Complete);
    Kind::BlockComplete { block: Block { complete_time: Some(Timestamp(2)), ..block } }
}

/// Blocks that overlap in every way; nothing is open before sequence 2, at 9 and at the end, 17.
fn interleaved() -> Vec<Kind> {
    vec![
        start("a"),
        delta("a", "1", 0),
        start("b"),
        delta("b", "1", 0),
        delta("a", "2", 1),
        complete("a", "12"),
        delta("b", "2", 1),
        complete("b", "12"),
        start("c"),
        delta("c", "1", 0),
        start("d"),
        complete("d", ""),
        delta("c", "2", 1),
        log_line("x"),
        delta("c", "3", 2),
        complete("c", "123"),
    ]
}

/// The time after which an event of this sequence is old.
fn after(owner: &Owner, sequence: i64) -> Timestamp {
    Timestamp(owner.live.session.create_time.0 + sequence + 1)
}

async fn deltas(store: &dyn Store, owner: &Owner) -> Vec<i64> {
    let from = usize::try_from(store.session(&owner.key).await.unwrap().unwrap().oldest_sequence - 1).unwrap();
    let all = read(store, owner, from, 100).await;
    let deltas = all.iter().filter(|event| matches!(event.kind, Kind::BlockDelta { .. }));
    deltas.map(|event| event.sequence).collect()
}

pub(crate) async fn every_cut_of_a_compacted_log_folds_to_the_same_state(store: &dyn Store) {
    for old in 0..=17 {
        let mut owner = Owner::create(store, key("t"), |_| {}).await;
        owner.append(store, interleaved()).await;
        store.compact(after(&owner, old)).await.unwrap();
        for page in [1, 2, 3, 100] {
            resumes(store, &owner, page).await;
        }
        assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), owner.folded());
        let left = deltas(store, &owner).await;
        match old {
            0..=8 => assert_eq!(left, [3, 5, 6, 8, 11, 14, 16], "old {old}"),
            9..=16 => assert_eq!(left, [11, 14, 16], "old {old}"),
            _ => assert_eq!(left, [] as [i64; 0], "old {old}"),
        }
    }
}

pub(crate) async fn text_that_is_open_or_young_keeps_its_deltas(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    owner.append(store, [start("open"), log_line("x"), start("b"), delta("b", "1", 0), complete("b", "1")]).await;
    owner.append(store, [delta("open", "1", 0), start("c"), delta("c", "1", 0), complete("c", "1")]).await;
    store.compact(after(&owner, 100)).await.unwrap();
    // A block that is open but has no text yet is no reason to keep others'.
    assert_eq!(deltas(store, &owner).await, [7, 9]);
    // Nothing is left to do until the log grows, and then what was open goes too.
    store.compact(after(&owner, 100)).await.unwrap();
    owner.acquire(store).await;
    assert_eq!(owner.live.blocks[0].content.growing(), Some("1"));
    owner.append(store, [delta("open", "2", 1), complete("open", "12")]).await;
    resumes(store, &owner, 2).await;
    store.compact(after(&owner, 11)).await.unwrap();
    assert_eq!(deltas(store, &owner).await, [7, 9, 11], "the end is too young");
    store.compact(after(&owner, 12)).await.unwrap();
    assert_eq!(deltas(store, &owner).await, [] as [i64; 0]);
    resumes(store, &owner, 2).await;
}

pub(crate) async fn events_that_are_old_go_but_never_the_newest(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    owner.append(store, interleaved()).await;
    let state = owner.folded();
    let oldest = async |owner: &Owner| {
        let view = store.session(&owner.key).await.unwrap().unwrap();
        let listed = store.sessions(&owner.key.tenant, &crate::make::all()).await.unwrap();
        let listed = listed.into_iter().find(|held| held.session.session_id == owner.key.session).unwrap();
        assert_eq!(listed.oldest_sequence, view.oldest_sequence);
        view.oldest_sequence
    };
    // Only what is compacted goes.
    store.trim(after(&owner, 100)).await.unwrap();
    assert_eq!(oldest(&owner).await, 1);
    store.compact(after(&owner, 9)).await.unwrap();
    store.trim(after(&owner, 4)).await.unwrap();
    assert_eq!(oldest(&owner).await, 5);
    let gone = store.events(&owner.key, 3, 100).await.unwrap();
    assert_eq!((gone.trimmed, gone.events.len(), gone.head), (4, 0, 17));
    let kept = store.events(&owner.key, 4, 100).await.unwrap();
    assert_eq!((kept.trimmed, kept.events[0].first_sequence, kept.events[0].sequence), (4, 5, 7));
    for (old, left) in [(9, 9), (100, 9)] {
        store.trim(after(&owner, old)).await.unwrap();
        assert_eq!(oldest(&owner).await - 1, left);
    }
    store.compact(after(&owner, 100)).await.unwrap();
    store.trim(after(&owner, 100)).await.unwrap();
    // What stood between the newest event and the one before went with its deltas.
    assert_eq!(oldest(&owner).await - 1, 15);
    let last = store.events(&owner.key, 15, 100).await.unwrap().events;
    assert_eq!(last.iter().map(|event| (event.first_sequence, event.sequence)).collect::<Vec<_>>(), [(16, 17)]);
    assert_eq!(store.events(&owner.key, 17, 100).await.unwrap().events, []);
    assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), state);
    owner.acquire(store).await;
    owner.append(store, [log_line("on")]).await;
    assert_eq!(store.events(&owner.key, 17, 100).await.unwrap().events, owner.log[17..]);
}

async fn tamper(db: &std::path::Path, sql: &str) {
    let mut direct = SqliteConnectOptions::new().filename(db).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut direct).await.unwrap();
    direct.close().await.unwrap();
}

async fn count(db: &std::path::Path, what: &str) -> i64 {
    let mut direct = SqliteConnectOptions::new().filename(db).connect().await.unwrap();
    let sql = AssertSqlSafe(format!("SELECT COUNT(*) FROM {what}"));
    let count = sqlx::query_scalar(sql).fetch_one(&mut direct).await.unwrap();
    direct.close().await.unwrap();
    count
}

/// A crash between two steps leaves the mark and some of the deltas: nobody is given them, and the next process removes
/// them. A deletion of events that no mark explains is damage, also in a compacted log.
#[tokio::test]
async fn a_compaction_that_was_cut_short_reads_like_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    let store = SqliteStore::open(&db).await.unwrap();
    let mut owner = Owner::create(&store, key("t"), |_| {}).await;
    owner.append(&store, interleaved()).await;
    for cleared in 0..17 {
        let sql = format!(
            "UPDATE session SET compacted_to = 17, cleared_to = {cleared};
            DELETE FROM event WHERE block_id IS NOT NULL AND sequence <= {cleared}"
        );
        tamper(&db, &sql).await;
        resumes(&store, &owner, 2).await;
        assert_eq!(store.snapshot(&owner.key).await.unwrap().unwrap(), owner.folded());
    }
    assert_eq!(count(&db, "event WHERE block_id IS NOT NULL").await, 0);
    tamper(&db, "UPDATE session SET compacted_to = 9, cleared_to = 9").await;
    let error = store.events(&owner.key, 10, 1).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(text) if text.contains("has no event 11")), "{error:?}");
    assert_eq!(store.events(&owner.key, 2, 1).await.unwrap().events[0].first_sequence, 3);
    store.close().await;
}

#[tokio::test]
async fn the_next_process_goes_on_with_what_one_did_not_come_to() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    let store = SqliteStore::open(&db).await.unwrap();
    let mut owner = Owner::create(&store, key("t"), |_| {}).await;
    owner.append(&store, interleaved()).await;
    let mut other = Owner::create(&store, key("t"), |_| {}).await;
    other.append(&store, interleaved()).await;
    tamper(
        &db,
        &format!("UPDATE session SET compacted_to = 17, cleared_to = 5 WHERE session_id = '{}'", owner.key.session),
    )
    .await;
    drop(store);
    let store = SqliteStore::open(&db).await.unwrap();
    store.compact(after(&other, 100)).await.unwrap();
    assert_eq!(count(&db, "event WHERE block_id IS NOT NULL AND sequence > 5").await, 0);
    for owner in [&owner, &other] {
        resumes(&store, owner, 3).await;
    }
    store.close().await;
}

/// Whoever reads so slowly that retention passes is told, and what it was given before is whole.
#[tokio::test]
async fn a_watch_that_retention_passes_is_told() {
    let store = std::sync::Arc::new(SqliteStore::in_memory().await.unwrap());
    let tasks = tokio_util::task::TaskTracker::new();
    let log = EventLog::start(std::sync::Arc::clone(&store) as std::sync::Arc<dyn Store>, &tasks);
    let mut owner = Owner::create(&*store, key("t"), |_| {}).await;
    for _ in 0..20 {
        owner.append(&*store, (0..100).map(|_| log_line("x"))).await;
    }
    let from = |after| Start { after: Some(after), ..Start::default() };
    let mut watch = log.watch(&owner.key, from(0)).await.unwrap().watch;
    store.compact(after(&owner, 3000)).await.unwrap();
    store.trim(after(&owner, 1500)).await.unwrap();
    let mut next = async || tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("no hang");
    let first = next().await.unwrap().unwrap();
    assert_eq!(first[0].events()[0].sequence, 1);
    let refused = next().await.unwrap_err();
    let cursor = watch.cursor();
    let told = |failure: &Failure, after: i64| {
        assert_eq!(failure.reason, Reason::SequenceTruncated);
        assert_eq!(failure.metadata["after_sequence"], after.to_string());
        assert_eq!(failure.metadata["oldest_sequence"], "1501");
    };
    told(&refused, cursor);
    for after in [0, 1, 1499] {
        told(&log.watch(&owner.key, from(after)).await.unwrap_err(), after);
        let opened = log.watch(&owner.key, Start { or_snapshot: true, ..from(after) }).await.unwrap();
        assert_eq!(*opened.snapshot.unwrap().state(), owner.folded());
    }
    for after in [1500, 1501, 2001] {
        assert!(log.watch(&owner.key, from(after)).await.unwrap().snapshot.is_none());
    }
    log.close();
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_purge_leaves_nothing_in_any_table() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("store.db");
    let store = SqliteStore::open(&db).await.unwrap();
    let mut owner = Owner::create(&store, key("t"), |_| {}).await;
    let beside = Beside {
        texts: vec![TextPiece { block_id: BlockId::new("a"), offset: 0, data: b"text".into(), anew: true }],
        blobs: vec![BlobBytes { sha256: "hash".into(), data: b"bytes".into() }],
        names: vec!["ahead".into()],
    };
    let pieces = ahead::pieces("ahead", &[1; 10], 5);
    store.put_blobs(&owner.key.tenant, "one", &pieces).await.unwrap();
    store.put_blobs(&owner.key.tenant, "one", &ahead::pieces("begun", &[1; 10], 5)[..1]).await.unwrap();
    let batch = owner.batch(interleaved());
    store_one(&store, Batch { beside, ..batch }).await.unwrap();
    let batch = ahead::checkpointed(&mut owner, "ahead", &["hash"], &[]);
    store_one(&store, batch).await.unwrap();
    owner.delete(&store).await;
    store.purge(after(&owner, 100)).await.unwrap();
    store.collect_blobs(Timestamp(i64::MAX)).await.unwrap();
    let mut direct = SqliteConnectOptions::new().filename(&db).connect().await.unwrap();
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut direct).await.unwrap();
    direct.close().await.unwrap();
    assert!(tables.len() > 15, "{tables:?}");
    for table in tables {
        // Of the session a tombstone, of its tenant how far its list had come; and whose sandboxes elsewhere are.
        let left = i64::from(["owner", "session", "tenant"].contains(&table.as_str()));
        assert_eq!(count(&db, &table).await, left, "{table}");
    }
    store.close().await;
}

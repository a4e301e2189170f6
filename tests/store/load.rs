//! Figures: what must be fast, with room to spare for a slow machine and a build without optimization.

use std::time::{Duration, Instant};

use agent_runtime::{
    domain::{BlockState, Kind, TenantId},
    store::{SqliteStore, Store as _},
};

use crate::make::{Owner, all, delta, key, text_block};

/// A page of 100 out of 10,000 sessions. A scan or a sort of all of them takes a hundred times as long.
#[tokio::test]
async fn a_page_of_sessions_does_not_cost_all_of_them() {
    let store = SqliteStore::in_memory().await.unwrap();
    for _ in 0..10_000 {
        Owner::create(&store, key("t"), |session| {
            session.labels.insert("a".into(), "b".into());
        })
        .await;
    }
    for labels in [[].into(), [("a".to_owned(), "b".to_owned())].into()] {
        let mut best = Duration::MAX;
        let mut query = agent_runtime::store::SessionQuery { limit: 100, labels, ..all() };
        for _ in 0..10 {
            let start = Instant::now();
            let page = store.sessions(&TenantId::new("t"), &query).await.unwrap();
            best = best.min(start.elapsed());
            assert_eq!(page.len(), 100);
            let last = &page[99].session;
            query.before = Some((last.create_time, last.session_id.clone()));
        }
        println!("a page of 100 of 10,000 sessions: {best:?}");
        assert!(best < Duration::from_millis(50), "{best:?}");
    }
}

/// Many sessions that stream: one append has a delta of each.
#[tokio::test]
async fn deltas_of_many_sessions_share_one_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("store.db")).await.unwrap();
    let mut owners = Vec::new();
    for _ in 0..100 {
        let mut owner = Owner::create(&store, key("t"), |_| {}).await;
        owner.append(&store, [Kind::BlockStart { block: text_block("b", "", BlockState::Streaming) }]).await;
        owners.push(owner);
    }
    let text = "x".repeat(100);
    let start = Instant::now();
    for round in 0..20 {
        let batches: Vec<_> = owners.iter_mut().map(|owner| owner.batch([delta("b", &text, round * 100)])).collect();
        assert!(store.append(&batches).await.unwrap().iter().all(Result::is_ok));
    }
    let each = start.elapsed() / 20;
    println!("one append of 100 deltas of 100 sessions: {each:?}");
    assert!(each < Duration::from_millis(500), "{each:?}");
    store.close().await;
}

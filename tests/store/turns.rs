//! What every store must do: how turns are told, one by one and in pages.

use agent_runtime::{
    domain::{Kind, SessionKey, TenantId, Turn, TurnId, TurnStatus, UserMessage},
    store::{Store, TurnPage, TurnQuery},
};

use crate::make::{Owner, key, turn};

fn query() -> TurnQuery {
    TurnQuery { limit: 100, max_bytes: usize::MAX, ..TurnQuery::default() }
}

/// All pages, one after the other, and how many they are.
async fn paged(store: &dyn Store, key: &SessionKey, query: &TurnQuery) -> (Vec<Turn>, usize) {
    let (mut all, mut pages, mut query) = (Vec::new(), 0, query.clone());
    loop {
        let TurnPage { turns, next } = store.turns(key, &query).await.unwrap().unwrap();
        pages += 1;
        all.extend(turns);
        query.after = next;
        if next.is_none() {
            return (all, pages);
        }
    }
}

pub(crate) async fn turns_are_listed_in_order(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let mut turns: Vec<_> = (0..7).map(|at| turn(&format!("turn_{at}"), TurnStatus::Queued)).collect();
    owner.append(store, turns.iter().map(|turn| Kind::TurnQueued { turn: turn.clone() })).await;
    // What changes keeps its place.
    for at in [4, 1] {
        turns[at].status = TurnStatus::Cancelled;
        owner.append(store, [Kind::TurnUpdated { turn: turns[at].clone() }]).await;
    }
    let back: Vec<_> = turns.iter().rev().cloned().collect();
    for limit in [1, 2, 3, 7, 100] {
        let asked = TurnQuery { limit, ..query() };
        let (all, pages) = paged(store, &owner.key, &asked).await;
        assert_eq!((&all, pages), (&turns, turns.len().div_ceil(limit)));
        assert_eq!(paged(store, &owner.key, &TurnQuery { newest_first: true, ..asked }).await.0, back);
    }
    let cancelled = TurnQuery { status: Some(TurnStatus::Cancelled), limit: 1, ..query() };
    assert_eq!(paged(store, &owner.key, &cancelled).await, (vec![turns[1].clone(), turns[4].clone()], 2));
    let none = TurnQuery { status: Some(TurnStatus::Lost), ..query() };
    assert_eq!(paged(store, &owner.key, &none).await, (Vec::new(), 1));
    for turn in &turns {
        assert_eq!(store.turn(&owner.key, &turn.turn_id).await.unwrap().as_ref(), Some(turn));
    }
    let other = SessionKey { tenant: TenantId::new("u"), ..owner.key.clone() };
    assert_eq!(store.turn(&other, &turns[0].turn_id).await.unwrap(), None);
    assert_eq!(store.turns(&other, &query()).await.unwrap(), None);
    assert_eq!(store.turn(&owner.key, &TurnId::new("turn_none")).await.unwrap(), None);
    owner.delete(store).await;
    assert_eq!(store.turn(&owner.key, &turns[0].turn_id).await.unwrap(), None);
    assert_eq!(store.turns(&owner.key, &query()).await.unwrap(), None);
}

pub(crate) async fn a_page_of_turns_has_a_size(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let message =
        UserMessage { parts: vec![agent_runtime::domain::ContentPart::Text("x".repeat(1000))], created_by: None };
    let long = |at: usize| Turn { message: Some(message.clone()), ..turn(&format!("turn_{at}"), TurnStatus::Queued) };
    let turns: Vec<_> = (0..5).map(long).collect();
    owner.append(store, turns.iter().map(|turn| Kind::TurnQueued { turn: turn.clone() })).await;
    for (max_bytes, expected) in [(1, 5), (3000, 3), (1 << 20, 1)] {
        let (all, pages) = paged(store, &owner.key, &TurnQuery { max_bytes, ..query() }).await;
        assert_eq!((all, pages), (turns.clone(), expected), "{max_bytes}");
    }
}

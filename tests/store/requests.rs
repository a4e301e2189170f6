//! What every store must do: calls that may be repeated. Functions over `dyn Store`, run against each one.

use agent_runtime::{
    domain::{
        FirstAnswer, Kind, REQUEST_RETENTION, Remembered, Request, RequestId, SessionId, SessionKey, TenantId,
        Timestamp, TurnId, TurnStatus,
    },
    store::{Batch, Error, Store},
};

use crate::make::{Owner, key, log_line, profile, store_one, turn};

/// A call of that id, which asks for what `asks` stands for.
pub(crate) fn call(id: &str, asks: u8) -> Remembered {
    let request = Request { id: RequestId::new(id), method: "SessionService/StopSession".into(), hash: [asks; 32] };
    Remembered::now(request, FirstAnswer::Deleted)
}

pub(crate) async fn known(store: &dyn Store, tenant: &str, id: &str) -> Option<Remembered> {
    store.request(&TenantId::new(tenant), &RequestId::new(id), Timestamp::now()).await.unwrap()
}

pub(crate) async fn a_call_is_stored_with_its_effect_or_not_at_all(store: &dyn Store) {
    let (owner, creation) = Owner::creation(key("t"), |_| {});
    let creation = Batch { calls: vec![call("create", 1)], ..creation };
    let wrong = Batch { epoch: 1, ..creation.clone() };
    store.create_session(&owner.live.session, &wrong).await.unwrap_err();
    assert_eq!(known(store, "t", "create").await, None, "nothing was created");
    store.create_session(&owner.live.session, &creation).await.unwrap();
    assert_eq!(known(store, "t", "create").await, Some(creation.calls[0].clone()));

    let mut owner = owner;
    let batch = Batch { calls: vec![call("a", 1), call("b", 2)], ..owner.batch([log_line("two")]) };
    let wrong = Batch { epoch: 7, ..batch.clone() };
    assert_eq!(store_one(store, wrong).await, Err(Error::Conflict { epoch: 0, head: 1 }));
    assert_eq!(known(store, "t", "a").await, None, "the batch was not stored");
    store_one(store, batch.clone()).await.unwrap();
    assert_eq!(known(store, "t", "a").await, Some(batch.calls[0].clone()));
    assert_eq!(known(store, "t", "b").await, Some(batch.calls[1].clone()));
    // Sent again, because nobody knew whether it was stored.
    assert_eq!(store_one(store, batch).await, Err(Error::Conflict { epoch: 0, head: 2 }));

    let tenant = TenantId::new("t");
    let made = call("profile", 1);
    store.put_profile(&tenant, &profile("p", 2, "n"), Some(&made)).await.unwrap_err();
    assert_eq!(known(store, "t", "profile").await, None, "the profile was not stored");
    store.put_profile(&tenant, &profile("p", 1, "n"), Some(&made)).await.unwrap();
    assert_eq!(known(store, "t", "profile").await, Some(made));
}

pub(crate) async fn an_id_stands_for_one_call_of_its_tenant(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let first = call("r", 1);
    let batch = Batch { calls: vec![first.clone()], ..owner.batch([log_line("two")]) };
    store_one(store, batch).await.unwrap();
    let taken = Error::RequestIdInUse(RequestId::new("r"));

    // Refused with all that it asks for; others of the same transaction are not.
    let mut other = Owner::create(store, key("t"), |_| {}).await;
    let refused = Batch { calls: vec![call("r", 2)], ..owner.clone().batch([log_line("three")]) };
    let outcomes = store.append(&[refused, other.batch([log_line("two")])]).await.unwrap();
    assert_eq!(outcomes, [Err(taken.clone()), Ok(())]);
    assert_eq!(store.events(&owner.key, 0, 10).await.unwrap().events, owner.log);
    let (new, creation) = Owner::creation(key("t"), |_| {});
    let creation = Batch { calls: vec![call("r", 2)], ..creation };
    assert_eq!(store.create_session(&new.live.session, &creation).await, Err(taken.clone()));
    assert!(store.session(&new.key).await.unwrap().is_none());
    let tenant = TenantId::new("t");
    let put = store.put_profile(&tenant, &profile("p", 1, "n"), Some(&call("r", 2))).await;
    assert_eq!(put, Err(taken.clone()));
    assert_eq!(store.profiles(&tenant, None, 10).await.unwrap(), []);
    // Two of one transaction, too.
    let batches = [(&mut owner, 3), (&mut other, 4)]
        .map(|(owner, asks)| Batch { calls: vec![call("s", asks)], ..owner.clone().batch([log_line("x")]) });
    assert_eq!(store.append(&batches).await.unwrap(), [Ok(()), Err(Error::RequestIdInUse(RequestId::new("s")))]);

    assert_eq!(known(store, "t", "r").await, Some(first));
    assert_eq!(known(store, "other", "r").await, None, "it is another tenant's");
    let mut theirs = Owner::create(store, key("other"), |_| {}).await;
    let batch = Batch { calls: vec![call("r", 2)], ..theirs.batch([log_line("two")]) };
    store_one(store, batch).await.unwrap();
}

pub(crate) async fn a_call_is_remembered_also_when_there_was_nothing_to_do(store: &dyn Store) {
    let owner = Owner::create(store, key("t"), |_| {}).await;
    let batch = Batch { calls: vec![call("stop", 1)], ..Batch::new(owner.key.clone(), 0, owner.head()) };
    for _ in 0..2 {
        // Again, because nobody knew whether it was stored: without events the head does not tell.
        store_one(store, batch.clone()).await.unwrap();
        assert_eq!(known(store, "t", "stop").await, Some(batch.calls[0].clone()));
    }
    assert_eq!(store.events(&owner.key, 0, 10).await.unwrap().events, owner.log);
}

pub(crate) async fn a_call_outlives_its_session(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let batch = Batch { calls: vec![call("r", 1)], ..owner.batch([log_line("two")]) };
    store_one(store, batch).await.unwrap();
    owner.delete(store).await;
    store.purge(Timestamp(i64::MAX)).await.unwrap();
    assert!(known(store, "t", "r").await.is_some());
}

pub(crate) async fn a_call_is_forgotten_when_its_time_is_over(store: &dyn Store) {
    let tenant = TenantId::new("t");
    let at = |id: &str, expires: i64| Remembered { expires: Timestamp(expires), ..call(id, 1) };
    let day = i64::try_from(REQUEST_RETENTION.as_micros()).unwrap();
    assert_eq!(day, 24 * 3600 * 1_000_000);
    let left = call("now", 1).expires.0 - Timestamp::now().0;
    assert!(left <= day && left > day - 60_000_000, "{left}");

    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let calls = vec![at("old", 1000), at("older", 999), call("new", 1)];
    store_one(store, Batch { calls: calls.clone(), ..owner.batch([log_line("two")]) }).await.unwrap();
    let find = async |id: &str, now: i64| store.request(&tenant, &RequestId::new(id), Timestamp(now)).await.unwrap();
    assert_eq!(find("old", 999).await, Some(calls[0].clone()));
    assert_eq!(find("old", 1000).await, None, "its time is over, whether or not it was removed");
    // The id is as good as new.
    let again = call("older", 2);
    store_one(store, Batch { calls: vec![again.clone()], ..owner.batch([log_line("three")]) }).await.unwrap();
    assert_eq!(find("older", 1000).await, Some(again.clone()));

    assert_eq!(store.forget_requests(Timestamp(999)).await.unwrap(), 0);
    assert_eq!(store.forget_requests(Timestamp(1000)).await.unwrap(), 1);
    assert_eq!(find("old", 0).await, None);
    assert_eq!((find("older", 0).await, find("new", 0).await), (Some(again), Some(calls[2].clone())));
}

pub(crate) async fn the_end_of_a_turn_is_found(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let updated = |id: &str, status| Kind::TurnUpdated { turn: turn(id, status) };
    owner.append(store, [updated("one", TurnStatus::Running)]).await;
    let end = async |id: &str, after| store.turn_end(&owner.key, &TurnId::new(id), after).await.unwrap();
    assert_eq!(end("one", 0).await, None);
    let mut owner = owner.clone();
    let ends = [updated("one", TurnStatus::Completed), log_line("x"), updated("two", TurnStatus::Running)];
    owner.append(store, ends).await;
    owner.append(store, [updated("two", TurnStatus::Failed)]).await;
    assert_eq!((end("one", 0).await, end("one", 2).await, end("one", 3).await), (Some(3), Some(3), None));
    assert_eq!((end("two", 0).await, end("three", 0).await), (Some(6), None));
    let other = SessionKey { tenant: TenantId::new("other"), session: SessionId::new(owner.key.session.as_str()) };
    assert_eq!(store.turn_end(&other, &TurnId::new("one"), 0).await.unwrap(), None);
    owner.delete(store).await;
    assert_eq!(store.turn_end(&owner.key, &TurnId::new("one"), 0).await.unwrap(), None);
}

//! Profiles that go: what is left of them, and for whom.

use agent_runtime::{
    domain::{ProfileId, TenantId, Timestamp},
    store::{Error, Store},
};

use crate::make::{Owner, key, profile};

pub(crate) async fn a_deleted_profile_is_for_those_who_have_it(store: &dyn Store) {
    let tenant = TenantId::new("t");
    let id = ProfileId::new("default");
    let put = async |revision| store.put_profile(&tenant, &profile("default", revision, "n"), None).await;
    put(1).await.unwrap();
    put(2).await.unwrap();
    let mut owner = Owner::create(store, key("t"), |_| {}).await;

    let gone = |head| Err(Error::Conflict { epoch: 0, head });
    let delete = async |revision| store.delete_profile(&tenant, &id, revision, None).await;
    assert_eq!(delete(1).await, gone(2), "somebody changed it meanwhile");
    assert_eq!(store.delete_profile(&TenantId::new("other"), &id, 2, None).await, gone(0));
    delete(2).await.unwrap();
    assert_eq!(delete(2).await, gone(0));
    for revision in [1, 2, 3] {
        assert_eq!(put(revision).await, gone(0), "no revision follows a deletion");
    }
    assert_eq!(store.profile(&tenant, &id, 0).await.unwrap(), None);
    assert_eq!(store.profiles(&tenant, None, 10).await.unwrap(), []);
    // The session is pinned to one of them; nothing says that it is not the first.
    for revision in [1, 2] {
        assert_eq!(store.profile(&tenant, &id, revision).await.unwrap(), Some(profile("default", revision, "n")));
    }
    let create = async || {
        let (late, batch) = Owner::creation(key("t"), |_| {});
        store.create_session(&late.live.session, &batch).await
    };
    assert_eq!(create().await, Err(Error::ProfileDeleted(id.clone())), "a session that was being created");

    owner.delete(store).await;
    assert!(store.profile(&tenant, &id, 2).await.unwrap().is_some(), "until the session is purged");
    store.purge(Timestamp(i64::MAX)).await.unwrap();
    for revision in [1, 2] {
        assert_eq!(store.profile(&tenant, &id, revision).await.unwrap(), None);
        assert_eq!(put(revision).await, gone(0), "the id stays taken");
    }
    assert_eq!(create().await, Err(Error::ProfileDeleted(id)));
}

pub(crate) async fn a_profile_that_nobody_needs_goes_at_once(store: &dyn Store) {
    let tenant = TenantId::new("t");
    let mut owner = Owner::create(store, key("t"), |session| session.profile_id = ProfileId::new("p")).await;
    store.put_profile(&tenant, &profile("p", 1, "n"), None).await.unwrap();
    store.put_profile(&tenant, &profile("q", 1, "n"), None).await.unwrap();
    owner.delete(store).await;
    store.delete_profile(&tenant, &ProfileId::new("p"), 1, None).await.unwrap();
    assert_eq!(store.profile(&tenant, &ProfileId::new("p"), 1).await.unwrap(), None);
    assert_eq!(store.profile(&tenant, &ProfileId::new("q"), 1).await.unwrap(), Some(profile("q", 1, "n")));
}

pub(crate) async fn a_list_of_profiles_leaves_out_what_they_set_up(store: &dyn Store) {
    let tenant = TenantId::new("t");
    let mut large = profile("p", 1, "n");
    large.setup.system_prompt = "x".repeat(1000);
    store.put_profile(&tenant, &large, None).await.unwrap();
    assert_eq!(store.profiles(&tenant, None, 10).await.unwrap(), [profile("p", 1, "n")]);
    assert_eq!(store.profile(&tenant, &ProfileId::new("p"), 0).await.unwrap(), Some(large));
}

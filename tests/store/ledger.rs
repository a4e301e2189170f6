//! What every store must do: rows of sandboxes elsewhere, and whose they are.

use agent_runtime::{
    domain::{
        LedgerEntry, LedgerFacts, LedgerSnapshot, LedgerState, SandboxId, SessionId, SessionKey, TenantId, Timestamp,
    },
    store::Store,
};

use crate::make::{Owner, key};

fn entry(id: &str, provider: &str) -> LedgerEntry {
    let session = SessionKey { tenant: TenantId::new("t"), session: SessionId::new("ses_none") };
    let facts = LedgerFacts { create_time: Timestamp(7), ..LedgerFacts::default() };
    let (provider, state) = (provider.to_owned(), LedgerState::Intended);
    LedgerEntry { id: SandboxId::new(id), session, generation: 2, provider, state, facts }
}

pub(crate) async fn a_sandbox_elsewhere_has_one_row(store: &dyn Store) {
    let (mut one, other) = (entry("sbx_1", "modal"), entry("sbx_2", "other"));
    store.remove_entry(&one.id).await.unwrap();
    store.put_entry(&one).await.unwrap();
    store.put_entry(&other).await.unwrap();
    assert_eq!(store.entry(&one.id).await.unwrap(), Some(one.clone()));
    one.state = LedgerState::Created;
    one.facts.external_id = "sb-1".into();
    store.put_entry(&one).await.unwrap();
    assert_eq!(store.entries("modal").await.unwrap(), [one.clone()], "it stands in the place of the one before");
    one.state = LedgerState::Ended;
    one.facts.snapshot = Some(LedgerSnapshot { image_id: "im-1".into(), expire_time: Timestamp(9) });
    store.put_entry(&one).await.unwrap();
    assert_eq!(store.entry(&one.id).await.unwrap(), Some(one.clone()));
    store.remove_entry(&one.id).await.unwrap();
    assert_eq!(store.entries("modal").await.unwrap(), []);
    assert_eq!(store.entry(&other.id).await.unwrap(), Some(other));
}

pub(crate) async fn a_row_outlives_its_session(store: &dyn Store) {
    let mut owner = Owner::create(store, key("t"), |_| {}).await;
    let kept = LedgerEntry { session: owner.key.clone(), ..entry("sbx_1", "modal") };
    store.put_entry(&kept).await.unwrap();
    owner.delete(store).await;
    store.purge(Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(store.entry(&kept.id).await.unwrap(), Some(kept));
}

pub(crate) async fn whose_sandboxes_are_is_known_and_stays(store: &dyn Store) {
    let owner = store.owner().await.unwrap();
    assert!(owner.starts_with("own_") && owner.len() == 36, "{owner}");
    assert_eq!(store.owner().await.unwrap(), owner);
    assert!(store.is_owner());
}

//! The sandboxes of a tenant: those elsewhere, which the ledger has, and those of this machine, which only sessions name.

use super::Manager;
use crate::{
    domain::{Failure, ListedSandbox},
    log::unavailable,
    store::LedgerQuery,
};

impl Manager {
    /// A tenant's sandboxes, by id, which is as they were minted.
    ///
    /// # Errors
    /// [`crate::domain::Reason::StorageUnavailable`].
    pub async fn sandboxes(&self, query: &LedgerQuery) -> Result<Vec<ListedSandbox>, Failure> {
        let store = self.log().store();
        // In this order: one that gets its row in between is in both, and never in neither.
        let of_sessions = store.session_sandboxes(query).await.map_err(|error| unavailable(&error))?;
        let elsewhere = store.tenant_entries(query).await.map_err(|error| unavailable(&error))?;
        let elsewhere = elsewhere.into_iter().map(|entry| {
            let inventory = self.config().providers.get(&entry.provider).and_then(|provider| provider.inventory());
            let out_of_reach = inventory.and_then(|inventory| inventory.out_of_reach(&entry));
            ListedSandbox::Elsewhere { entry: Box::new(entry), out_of_reach }
        });
        let mut all: Vec<_> = elsewhere.chain(of_sessions.into_iter().map(ListedSandbox::OfSession)).collect();
        // A stable order: of the same one the row comes first, which says more.
        all.sort_by(|one, other| one.id().cmp(other.id()));
        all.dedup_by(|one, other| one.id() == other.id());
        all.truncate(query.limit);
        Ok(all)
    }
}

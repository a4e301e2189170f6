//! The ledger of sandboxes elsewhere, kept in the server's database, and the right to change anything there: that this
//! process owns the database.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    domain::{LedgerEntry, SandboxId},
    sandbox::{Error, lease::Lease, ledger::Ledger},
    store::{self, Store},
};

/// See the module.
#[derive(Debug)]
pub struct StoredLedger {
    store: Arc<dyn Store>,
    owner: String,
}

impl StoredLedger {
    /// Reads who the sandboxes belong to.
    ///
    /// # Errors
    /// What the store says.
    pub async fn new(store: Arc<dyn Store>) -> Result<Self, store::Error> {
        let owner = store.owner().await?;
        Ok(Self { store, owner })
    }
}

impl Lease for StoredLedger {
    fn held(&self) -> bool {
        self.store.is_owner()
    }
}

#[async_trait]
impl Ledger for StoredLedger {
    fn owner(&self) -> &str {
        &self.owner
    }

    async fn put(&self, entry: &LedgerEntry) -> Result<(), Error> {
        self.store.put_entry(entry).await.map_err(unavailable)
    }

    async fn find(&self, id: &SandboxId) -> Result<Option<LedgerEntry>, Error> {
        self.store.entry(id).await.map_err(unavailable)
    }

    async fn all(&self, provider: &str) -> Result<Vec<LedgerEntry>, Error> {
        self.store.entries(provider).await.map_err(unavailable)
    }

    async fn remove(&self, id: &SandboxId) -> Result<(), Error> {
        self.store.remove_entry(id).await.map_err(unavailable)
    }
}

/// Whoever asks stops there: nothing is made that is not written down.
fn unavailable(error: store::Error) -> Error {
    Error::Unavailable(format!("the ledger: {error}"))
}

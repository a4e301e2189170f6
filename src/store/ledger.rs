//! The rows of the ledger: what a provider elsewhere was asked to make. They are written one at a time, apart from any log,
//! because they come before what they stand for and outlive the session that it was made for.

use async_trait::async_trait;

use super::Error;
use crate::domain::{LedgerEntry, SandboxId, SessionSandbox, TenantId};

/// Which sandboxes, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Also of what is over.
    pub include_ended: bool,
    /// Id of the last one of the page before.
    pub after: Option<SandboxId>,
    /// At most so many.
    pub limit: usize,
}

/// The part of a store that keeps sandboxes from being forgotten.
///
/// # Errors
/// All methods: [`Error::Unavailable`], [`Error::Full`]; those that read also [`Error::Corrupt`], and those that write
/// [`Error::Owned`] where this process is not the owner any more.
#[async_trait]
pub trait LedgerRows {
    /// Who sandboxes elsewhere belong to: made with the database, and never another one.
    async fn owner(&self) -> Result<String, Error>;

    /// Whether this process still owns the database. False for good once it was false.
    fn is_owner(&self) -> bool;

    /// Writes a row, in the place of the one of the same id.
    async fn put_entry(&self, entry: &LedgerEntry) -> Result<(), Error>;

    /// The row of a sandbox.
    async fn entry(&self, id: &SandboxId) -> Result<Option<LedgerEntry>, Error>;

    /// All rows of a provider, by id.
    async fn entries(&self, provider: &str) -> Result<Vec<LedgerEntry>, Error>;

    /// Rows of a tenant, by id, which is as they were minted.
    async fn tenant_entries(&self, query: &LedgerQuery) -> Result<Vec<LedgerEntry>, Error>;

    /// Sandboxes of a tenant's sessions that have no row, by id: for those on this machine the session's own record is what
    /// was written down before.
    async fn session_sandboxes(&self, query: &LedgerQuery) -> Result<Vec<SessionSandbox>, Error>;

    /// Takes a row away; one that is not there is no error.
    async fn remove_entry(&self, id: &SandboxId) -> Result<(), Error>;

    /// The sandboxes of all sessions, also of those that are deleted and not purged: each session's newest one.
    async fn sandboxes(&self) -> Result<Vec<SandboxId>, Error>;
}

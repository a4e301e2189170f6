//! Where a provider writes down what it is about to make elsewhere: the row comes before the sandbox, so that a server that
//! ends in between leaves a trace. A provider whose sandboxes are folders of this machine needs none.
//!
//! It must not know where the rows are kept. They do not go with the session.

use std::fmt;

use async_trait::async_trait;

use super::Error;
use crate::domain::{LedgerEntry, SandboxId};

/// The rows of one server's sandboxes.
///
/// # Errors
/// All methods: [`Error::Unavailable`] when it cannot be written or read now; nothing must be made then.
#[async_trait]
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Who writes here, the same for as long as the database lives: what sandboxes are tagged with at their provider.
    fn owner(&self) -> &str;

    /// Writes a row, in the place of the one of the same id: before a sandbox is made, and whenever something of it changed.
    /// Durable when it returns.
    async fn put(&self, entry: &LedgerEntry) -> Result<(), Error>;

    /// The row of a sandbox.
    async fn find(&self, id: &SandboxId) -> Result<Option<LedgerEntry>, Error>;

    /// All rows of a provider, also of what is over.
    async fn all(&self, provider: &str) -> Result<Vec<LedgerEntry>, Error>;

    /// Takes a row away: what it stood for is proven to be over, and nobody will ask for what it kept. One that is not
    /// there is no error.
    async fn remove(&self, id: &SandboxId) -> Result<(), Error>;
}

//! What a provider elsewhere holds, asked of the provider itself: what the ledger is compared with, so that nothing runs that
//! nobody knows of.
//!
//! It must not know what becomes of what is found.

use std::fmt;

use async_trait::async_trait;

use super::Error;
use crate::domain::{LedgerEntry, SandboxId, Timestamp};

/// Asks a provider what is there, and ends it.
#[async_trait]
pub trait Inventory: fmt::Debug + Send + Sync {
    /// All sandboxes with this owner's tag that are not over: complete, or an error.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when any part of the list cannot be read.
    async fn list(&self) -> Result<Vec<Listed>, Error>;

    /// Why the provider, as it was told to, is not the one to ask about a sandbox: it was made elsewhere. `None`: it is the one,
    /// as far as is known without asking. For people.
    fn out_of_reach(&self, entry: &LedgerEntry) -> Option<String>;

    /// Whether the sandbox that a row names is over. One that the provider says it does not know is over, if it was made
    /// where that was said.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when that cannot be known now, [`Error::OutOfReach`].
    async fn is_over(&self, entry: &LedgerEntry) -> Result<bool, Error>;

    /// The provider's own id of the sandbox that runs under ours, for one whose making was cut short before its answer.
    /// `None`: none runs.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when that cannot be known now, [`Error::OutOfReach`].
    async fn running(&self, entry: &LedgerEntry) -> Result<Option<String>, Error>;

    /// Ends a sandbox of a row, by the provider's own id, with all that is in it, and returns when it is over; one that is over is
    /// no error. Keeps no snapshot.
    ///
    /// # Errors
    /// [`Error::Stale`] when this process may change nothing any more, [`Error::Unavailable`], [`Error::OutOfReach`].
    async fn end(&self, entry: &LedgerEntry, external_id: &str) -> Result<(), Error>;

    /// Drops the files of a sandbox that is over: those that its row names, and those that it left. What is not there any
    /// more was dropped before.
    ///
    /// # Errors
    /// [`Error::Stale`] when this process may change nothing any more, [`Error::Unavailable`] and [`Error::OutOfReach`] when
    /// some may still be there.
    async fn drop_kept(&self, entry: &LedgerEntry) -> Result<(), Error>;
}

/// A sandbox as its provider lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The provider's own id.
    pub external_id: String,
    /// Ours, as it is tagged; `None`: there is no such tag.
    pub id: Option<SandboxId>,
    /// The session, as it is tagged; empty: there is no such tag.
    pub session: String,
    /// When the provider made it.
    pub create_time: Timestamp,
}

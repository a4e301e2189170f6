//! What is written down of a sandbox that a provider elsewhere makes, so that none is ever forgotten there.

use serde::{Deserialize, Serialize};

use super::{ModalSettings, SandboxId, SandboxStatus, SessionKey, Timestamp};

/// One sandbox, also one that is over and whose snapshot can bring it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Ours, minted before the sandbox was made.
    pub id: SandboxId,
    /// Whose it is.
    pub session: SessionKey,
    /// Which one of the session's.
    pub generation: i32,
    /// As `SandboxSpec.provider` names it.
    pub provider: String,
    /// Where it stands.
    pub state: LedgerState,
    /// The rest.
    pub facts: LedgerFacts,
}

/// A sandbox as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedSandbox {
    /// Away from this machine, as the ledger has it.
    Elsewhere {
        /// Its row.
        entry: Box<LedgerEntry>,
        /// Why its provider cannot know now how it is; `None`: it can.
        out_of_reach: Option<String>,
    },
    /// As its session has it: on this machine, or about to be made.
    OfSession(SessionSandbox),
}

impl ListedSandbox {
    /// Lists are in this order.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        match self {
            Self::Elsewhere { entry, .. } => &entry.id,
            Self::OfSession(sandbox) => &sandbox.id,
        }
    }
}

/// The sandbox of a session that the ledger has no row of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSandbox {
    /// Minted before it was made.
    pub id: SandboxId,
    /// Whose it is.
    pub session: SessionKey,
    /// Which one of the session's.
    pub generation: i32,
    /// As `SandboxSpec.provider` names it.
    pub provider: String,
    /// How it is.
    pub status: SandboxStatus,
}

/// Where a sandbox stands, as far as is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LedgerState {
    /// It is about to be made; it may be there already.
    Intended,
    /// It was made.
    Created,
    /// The provider said that it is over. What it kept can be had while the row is there.
    Ended,
}

/// What is known of a sandbox beside what it is looked for by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerFacts {
    /// The provider's own id; empty before it is known.
    pub external_id: String,
    /// Of what runs in it, in the provider's words.
    pub task_id: String,
    /// When it was made, or was about to be.
    pub create_time: Timestamp,
    /// When the provider ends it by itself.
    pub expire_time: Option<Timestamp>,
    /// When it was known to be over.
    pub end_time: Option<Timestamp>,
    /// What it was made with, defaults filled in: what it costs, and how it is made again.
    pub settings: ModalSettings,
    /// The newest snapshot of its files.
    pub snapshot: Option<LedgerSnapshot>,
    /// Where it was made, or was to be; `None`: nobody noted that, and it is taken for where the provider makes them now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<LedgerOrigin>,
}

/// Where a provider makes sandboxes: only there is it known that one is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerOrigin {
    /// Address of the provider's API.
    pub server: String,
    /// What holds the sandboxes there, in the provider's words: no two accounts have the same.
    pub app_id: String,
    /// What the server was told to call that.
    pub app: String,
    /// The part of the account that it was told to use; empty: the account's default.
    pub environment: String,
    /// The id, which is no secret, of the token that it was told to use: an account has several, but none is of two.
    pub token_id: String,
}

/// Files of a sandbox that its provider keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSnapshot {
    /// In the provider's words.
    pub image_id: String,
    /// When the provider drops it.
    pub expire_time: Timestamp,
}

//! Profiles: how to set up an agent. Each update is a new revision, and none changes.

use serde::{Deserialize, Serialize};

use super::{Agent, Principal, ProfileId, Timestamp};

/// One revision of a profile. Fields of the contract's `AgentProfile` that stand not here are refused by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Minted by the server; "default" always exists.
    pub profile_id: ProfileId,
    /// 1, 2, 3.
    pub revision: i64,
    /// For people.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// `None`: the server's default.
    pub agent: Option<Agent>,
    /// Who made this revision.
    pub created_by: Option<Principal>,
    /// When the first revision was made.
    pub create_time: Timestamp,
    /// When this revision was made.
    pub update_time: Timestamp,
    /// Of this revision.
    pub etag: String,
}

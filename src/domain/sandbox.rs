//! Where an agent runs, as the log tells it.

use serde::{Deserialize, Serialize};

use super::{ModalSettings, SandboxId, Timestamp};

/// Where the session's agent runs now, or ran last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The provider's id; `None` while it is being created.
    pub sandbox_id: Option<SandboxId>,
    /// "local" or "modal".
    pub provider: String,
    /// How it is.
    pub status: SandboxStatus,
    /// For people; may be empty.
    pub status_message: String,
    /// 1 for the session's first sandbox.
    pub generation: i32,
    /// How well it is walled off.
    pub isolation: Isolation,
    /// Sequence of the checkpoint it was brought back from.
    pub restored_to_sequence: i64,
    /// Settings of the spec that the provider does not apply.
    pub not_applied: Vec<String>,
    /// When the provider ends it.
    pub expire_time: Option<Timestamp>,
    /// Unset before the first check.
    pub last_health_check_time: Option<Timestamp>,
}

/// The life of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxStatus {
    /// Being created.
    Starting,
    /// The agent runs or can run.
    Ready,
    /// Does not answer.
    Unhealthy,
    /// Gone.
    Terminated,
}

/// How well an agent is walled off, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A plain process of the server's user.
    Process,
    /// Bubblewrap.
    Namespace,
    /// Away from the server.
    Remote,
}

/// Which sandbox to use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Empty: the server's default.
    pub provider: String,
    /// Refuse to start with less.
    pub min_isolation: Option<Isolation>,
    /// Refuse settings that the provider does not apply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// For the provider "modal".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modal: Option<ModalSettings>,
}

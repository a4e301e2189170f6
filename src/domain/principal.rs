//! Who did something, and what a credential allows.

use serde::{Deserialize, Serialize};

use super::TenantId;

/// Somebody or something that acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Stable within the tenant.
    pub subject: String,
    /// For people; may be empty.
    pub display_name: String,
    /// What sort of actor.
    pub kind: PrincipalKind,
}

impl Principal {
    /// The agent inside a session.
    #[must_use]
    pub fn agent() -> Self {
        Self { subject: "agent".into(), display_name: String::new(), kind: PrincipalKind::Agent }
    }

    /// The runtime itself.
    #[must_use]
    pub fn system() -> Self {
        Self { subject: "system".into(), display_name: String::new(), kind: PrincipalKind::System }
    }
}

/// The sorts of actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program with a key of its own.
    Service,
    /// The agent inside the session.
    Agent,
    /// The runtime.
    System,
}

/// What a credential allows; none contains another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Get, list, watch, read.
    Read,
    /// Create, send, interrupt, stop, delete; write files.
    Write,
    /// Answer permission requests and questions.
    Approve,
    /// Change profiles; manage keys.
    Admin,
}

impl Scope {
    /// All of them, in the contract's order.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Approve, Self::Admin];
}

/// Who makes a call: what the authentication layer found out, and all the rest of the house trusts.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Whose sessions the caller sees.
    pub tenant: TenantId,
    /// Who the caller is.
    pub principal: Principal,
    /// What the caller may do.
    pub scopes: Vec<Scope>,
}

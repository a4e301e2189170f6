//! Identifiers, each a type of its own, so that none can stand where another is meant.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::Timestamp;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes an id that already exists: from a request, a row, or an agent.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        id!($(#[$doc])* $name);

        impl $name {
            /// A new id, never given before: a prefix that says what it names, and a ULID.
            #[must_use]
            pub fn mint() -> Self {
                Self(format!(concat!($prefix, "_{}"), Ulid::new()).into())
            }
        }
    };
}

id!(
    /// Names a session; never reused.
    SessionId,
    "ses"
);
id!(
    /// Names a turn.
    TurnId,
    "turn"
);
id!(
    /// Names a profile.
    ProfileId,
    "prof"
);
id!(
    /// Names a sandbox, in the words of its provider.
    SandboxId,
    "sbx"
);
impl SandboxId {
    /// When it was minted, to the millisecond; `None`: not here.
    #[must_use]
    pub fn mint_time(&self) -> Option<Timestamp> {
        let ulid: Ulid = self.as_str().strip_prefix("sbx_")?.parse().ok()?;
        i64::try_from(ulid.timestamp_ms()).ok().map(Timestamp::from_millis)
    }
}

id!(
    /// Names one run of a program inside a sandbox.
    ExecId,
    "exec"
);
id!(
    /// Identity of one event log: sequences remembered under another one mean nothing.
    LogUid,
    "log"
);
id!(
    /// Names a block within its session: the agent's own id where it has one.
    BlockId,
    "blk"
);
id!(
    /// Names a conversation within its session: "main", or a subagent's id.
    ConversationId
);
id!(
    /// Whose data it is.
    TenantId
);
id!(
    /// Names a call within its tenant, in the words of its caller.
    RequestId
);

impl ConversationId {
    /// The conversation between the user and the agent.
    #[must_use]
    pub fn main() -> Self {
        Self::new("main")
    }

    /// What events carry that concern the whole session.
    #[must_use]
    pub fn none() -> Self {
        Self::new("")
    }
}

impl ProfileId {
    /// The profile that always exists: of sessions that name none.
    #[must_use]
    pub fn default_profile() -> Self {
        Self::new("default")
    }
}

impl TenantId {
    /// The one tenant of a single-tenant server.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self::new("default")
    }
}

/// What every query about a session is keyed by: the tenant first, so that another tenant's id finds nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// Whose session.
    pub tenant: TenantId,
    /// Which one.
    pub session: SessionId,
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.session)
    }
}

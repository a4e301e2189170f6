//! Why an actor begins, and whether that may be forgotten.

use crate::{session::turn::Prompt, store};

/// Why an actor begins.
pub(in crate::session) enum Begin {
    /// Somebody asks for something; nothing runs, unless an earlier server left it.
    Asked,
    /// An earlier server left something.
    Left,
    /// The active turn was accepted just now and its agent is to be started.
    Accepted(Prompt),
    /// The session was created just now, and its sandbox is to be ready.
    Opened,
    /// What the actor before decided last may be stored or not, and what ran runs on.
    InDoubt,
    /// The same, and it cannot be stored what the agent prints: nobody can go on with it.
    GiveUp(store::Error),
}

impl Begin {
    /// Something waits for this actor that no call will ask for again.
    pub(in crate::session) fn must_not_be_forgotten(&self) -> bool {
        match self {
            Self::Asked => false,
            Self::Left | Self::Accepted(_) | Self::Opened | Self::InDoubt | Self::GiveUp(_) => true,
        }
    }
}

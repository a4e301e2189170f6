//! What becomes of every field that a request of a built RPC can carry, and which RPCs are not built.
//!
//! A table to be read and to be tested: `tests/contract` walks the descriptors and fails for a field that is not here,
//! for one that is said to have an effect but names no test of it, and for one that is said to be refused but is not.
//! What lies below a refused field is refused with it.

mod profiles;
mod sessions;
mod workspace;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It takes effect, as the named test shows ("tests/FILE.rs::TEST").
    Effective(&'static str),
    /// It is refused by name when set.
    Refused,
}

/// What becomes of each field of a message.
pub type Fields = &'static [(&'static str, Use)];

/// RPCs that answer `NOT_IMPLEMENTED` whatever they are asked.
pub const UNBUILT: &[&str] = &[
    "SessionService/ExportTranscript",
    "RuntimeService/CreateApiKey",
    "RuntimeService/ListApiKeys",
    "RuntimeService/RevokeApiKey",
];

/// Every field of every message that a request of a built RPC consists of, by message.
pub const FIELDS: &[&[(&str, Fields)]] = &[sessions::FIELDS, workspace::FIELDS, profiles::FIELDS];

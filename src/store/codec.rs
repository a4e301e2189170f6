//! How values are written into rows: one byte of format version, then the value. Version 1 is the JSON of the domain's
//! own serde derives; `tests/golden/store/v1` holds a sample of everything that is stored, so that a renamed field shows.
//!
//! It knows no database. What it cannot read is [`Error::Corrupt`] with the place named, never the content.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use super::{Error, Held};
use crate::domain::{
    Block, Checkpoint, Conversation, FirstAnswer, Kind, LedgerFacts, PermissionRequest, PermissionRule, Principal,
    Profile, Question, Session, Turn, WorkspaceFile,
};

#[cfg(test)]
mod golden;

/// Format that this build writes.
const VERSION: u8 = 1;

/// What may be written into a row.
pub(super) trait Stored: Serialize + DeserializeOwned {
    /// As errors and golden files call it.
    const NAME: &'static str;
}

macro_rules! stored {
    ($($type:ty = $name:literal,)*) => {
        $(impl Stored for $type {
            const NAME: &'static str = $name;
        })*

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name,)*];
    };
}

stored! {
    Kind = "event",
    Principal = "actor",
    Session = "record",
    Turn = "turn",
    Block = "block",
    Conversation = "conversation",
    PermissionRequest = "permission",
    Question = "question",
    Vec<PermissionRule> = "permission_rules",
    WorkspaceFile = "file",
    Profile = "profile",
    FirstAnswer = "answer",
    Checkpoint = "checkpoint",
    Vec<Held> = "held",
    LedgerFacts = "ledger",
}

/// The bytes of a row's body.
pub(super) fn encode<T: Stored>(value: &T) -> Vec<u8> {
    let mut body = vec![VERSION];
    serde_json::to_writer(&mut body, value).expect("what is stored is plain data with text for keys");
    body
}

/// The value of a row's body; `place` says which row, for whoever has to look after it.
pub(super) fn decode<T: Stored>(body: &[u8], place: fmt::Arguments<'_>) -> Result<T, Error> {
    let name = T::NAME;
    match body.split_first() {
        Some((&VERSION, json)) => serde_json::from_slice(json).map_err(|error| {
            let (class, line, column) = (error.classify(), error.line(), error.column());
            Error::Corrupt(format!("{name} of {place}: {class:?} error at line {line}, column {column}"))
        }),
        Some((other, _)) => {
            Err(Error::Corrupt(format!("{name} of {place}: format {other} is not known to this build")))
        }
        None => Err(Error::Corrupt(format!("{name} of {place}: empty"))),
    }
}

/// The sort of an event, as its row and its JSON spell it.
pub(super) fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::BlockStart { .. } => "block_start",
        Kind::BlockDelta { .. } => "block_delta",
        Kind::BlockUpdate { .. } => "block_update",
        Kind::BlockComplete { .. } => "block_complete",
        Kind::TurnUpdated { .. } => "turn_updated",
        Kind::TurnQueued { .. } => "turn_queued",
        Kind::ConversationUpdated { .. } => "conversation_updated",
        Kind::SessionCreated { .. } => "session_created",
        Kind::SessionUpdated(_) => "session_updated",
        Kind::StatusChanged { .. } => "status_changed",
        Kind::SandboxChanged { .. } => "sandbox_changed",
        Kind::PermissionRequested { .. } => "permission_requested",
        Kind::PermissionResolved { .. } => "permission_resolved",
        Kind::PermissionRulesChanged { .. } => "permission_rules_changed",
        Kind::QuestionRequested { .. } => "question_requested",
        Kind::QuestionResolved { .. } => "question_resolved",
        Kind::FilesChanged { .. } => "files_changed",
        Kind::ErrorOccurred { .. } => "error_occurred",
        Kind::Log { .. } => "log",
        Kind::UnparsedOutput { .. } => "unparsed_output",
    }
}

//! Images and documents in messages: kept beside the log as the message is accepted, and read again where a program is given
//! the message by somebody who did not accept it.

use super::pending::Pending;
use crate::{
    agent,
    domain::{Agent, Blob, BlobData, ContentPart, Failure, SessionKey, SessionState},
    store::{Piece, Store},
};

/// The bytes that a part of a message names, to be looked at.
fn name(part: &ContentPart) -> Option<&Blob> {
    match part {
        ContentPart::Image(blob) | ContentPart::Attachment(blob) => Some(blob),
        ContentPart::Text(_) | ContentPart::ImageUri(_) | ContentPart::FilePath(_) => None,
    }
}

/// The bytes that a part of a message names.
fn named(part: &mut ContentPart) -> Option<&mut Blob> {
    match part {
        ContentPart::Image(blob) | ContentPart::Attachment(blob) => Some(blob),
        ContentPart::Text(_) | ContentPart::ImageUri(_) | ContentPart::FilePath(_) => None,
    }
}

/// Refuses a message with a part that the agent cannot be given.
pub(super) fn takeable(agent: Agent, parts: &[ContentPart]) -> Result<(), Failure> {
    match parts.iter().position(|part| !agent::takes(agent, part)) {
        Some(at) => Err(Failure::invalid(format!("parts[{at}]"), format!("{agent} cannot be given such a part"))),
        None => Ok(()),
    }
}

/// All the bytes that a message names are in memory.
pub(super) fn is_loaded(parts: &[ContentPart]) -> bool {
    parts.iter().filter_map(name).all(|blob| blob.data.bytes().is_some())
}

/// Reads the bytes that messages name which wait for their turn.
pub(super) async fn load_waiting(store: &dyn Store, key: &SessionKey, state: &mut SessionState) {
    let waiting = state.turns.iter_mut().filter_map(|turn| turn.message.as_mut());
    for message in waiting {
        if let Err(error) = load(store, key, &mut message.parts).await {
            // Its turn is lost when it begins, and says so.
            tracing::warn!(%key, error, "a message that waits cannot be read");
        }
    }
}

impl Pending {
    /// Keeps the bytes of a message, and returns it as the log has it: with their names alone.
    pub(super) fn keep_bytes(&mut self, mut parts: Vec<ContentPart>) -> Vec<ContentPart> {
        for blob in parts.iter_mut().filter_map(named) {
            if let Some(bytes) = std::mem::take(&mut blob.data).bytes() {
                self.put_blob(blob.sha256.clone(), bytes.to_vec());
            }
        }
        parts
    }
}

/// Reads the bytes that parts of a stored message name.
pub(super) async fn load(store: &dyn Store, key: &SessionKey, parts: &mut [ContentPart]) -> Result<(), String> {
    for blob in parts.iter_mut().filter_map(named).filter(|blob| blob.data.bytes().is_none()) {
        let mut data = Vec::new();
        loop {
            let piece = store.blob(key, &blob.sha256, data.len() as u64).await;
            let Piece { data: more, end } = piece
                .map_err(|error| format!("a part of the message cannot be read: {error}"))?
                .ok_or_else(|| format!("the bytes {} of the message are not kept", blob.sha256))?;
            data.extend_from_slice(&more);
            if more.is_empty() || data.len() as u64 >= end {
                break;
            }
        }
        blob.data = BlobData::new(data);
    }
    Ok(())
}

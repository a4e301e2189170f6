//! Images and documents in messages: kept beside the log as the message is accepted, and read again where a program is given
//! the message by somebody who did not accept it.

use super::pending::Pending;
use crate::{
    domain::{Blob, ContentPart, Held, SessionKey},
    store::{Piece, Store},
};

/// The bytes that a part of a message names.
fn named(part: &mut ContentPart) -> Option<&mut Blob> {
    match part {
        ContentPart::Image(blob) | ContentPart::Attachment(blob) => Some(blob),
        ContentPart::Text(_) | ContentPart::ImageUri(_) | ContentPart::FilePath(_) => None,
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
        blob.data = Held::new(data);
    }
    Ok(())
}

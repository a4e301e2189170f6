//! Reads of long texts and of bytes.

use super::{check::Check, path::is_sha256};
use crate::{
    domain::{BlockId, Failure, SessionId},
    proto,
};

/// Ids of blocks, in characters: agents make them.
const MAX_BLOCK_ID: usize = 256;

/// A block's text to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBlockContent {
    /// Of which session.
    pub session_id: SessionId,
    /// Of which block.
    pub block_id: BlockId,
    /// From this byte on.
    pub offset: u64,
}

/// Bytes to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBlob {
    /// Of which session.
    pub session_id: SessionId,
    /// Their name.
    pub sha256: String,
    /// From this byte on.
    pub offset: u64,
}

/// Checks a `ReadBlockContent` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn read_block_content(request: proto::ReadBlockContentRequest) -> Result<ReadBlockContent, Failure> {
    let proto::ReadBlockContentRequest { session_id, block_id, offset } = request;
    let mut check = Check::default();
    let session_id = SessionId::new(check.id("session_id", session_id));
    if block_id.is_empty() {
        check.refuse("block_id", "required");
    }
    let block_id = BlockId::new(check.text("block_id", block_id, MAX_BLOCK_ID));
    let offset = from(&mut check, offset);
    check.finish(ReadBlockContent { session_id, block_id, offset })
}

/// Checks a `ReadBlob` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn read_blob(request: proto::ReadBlobRequest) -> Result<ReadBlob, Failure> {
    let proto::ReadBlobRequest { session_id, sha256, offset } = request;
    let mut check = Check::default();
    let session_id = SessionId::new(check.id("session_id", session_id));
    if !is_sha256(&sha256) {
        check.refuse("sha256", "64 lower-case hex digits");
    }
    let offset = from(&mut check, offset);
    check.finish(ReadBlob { session_id, sha256, offset })
}

/// The byte to read from.
pub(super) fn from(check: &mut Check, offset: i64) -> u64 {
    if offset < 0 {
        check.refuse("offset", "must not be negative");
    }
    u64::try_from(offset).unwrap_or_default()
}

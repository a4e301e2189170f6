//! SHA-256 of streams, as the contract spells it.

use std::{
    fmt::Write as _,
    io::{self, Read, Write},
};

use sha2::{Digest as _, Sha256};

/// Bytes moved at once.
pub(super) const CHUNK: usize = 128 * 1024;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    /// 64 lower-case hex digits.
    pub(super) sha256: String,
    pub(super) size: u64,
}

/// Copies all of `from` to `to` and says what it was; `None` once it is over `limit`.
pub(super) fn copy(from: &mut dyn Read, to: &mut dyn Write, limit: u64) -> io::Result<Option<Digest>> {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0_u64, vec![0; CHUNK]);
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => return Ok(Some(Digest { sha256: hex(&hash.finalize()), size })),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        size += got as u64;
        if size > limit {
            return Ok(None);
        }
        hash.update(&buffer[..got]);
        to.write_all(&buffer[..got])?;
    }
}

/// The SHA-256 of all of `from`, and its size; `None` once it is over `limit`.
///
/// # Errors
/// When it cannot be read.
pub fn digest(from: &mut dyn Read, limit: u64) -> io::Result<Option<(String, u64)>> {
    let digest = copy(from, &mut io::sink(), limit)?;
    Ok(digest.map(|Digest { sha256, size }| (sha256, size)))
}

/// Of bytes in memory.
pub(super) fn of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

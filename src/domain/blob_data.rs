//! Bytes that travel beside their name.

use std::{fmt, sync::Arc};

/// The bytes that a hash names, for as long as somebody has them in memory: they are never stored with the name, and make no
/// difference between two names.
#[derive(Clone, Default)]
pub struct BlobData(Option<Arc<[u8]>>);

impl BlobData {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(Some(bytes.into()))
    }

    /// The bytes; `None`: whoever needs them reads them by their name.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

impl PartialEq for BlobData {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for BlobData {}

impl fmt::Debug for BlobData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(bytes) => write!(f, "{} bytes", bytes.len()),
            None => f.write_str("not held"),
        }
    }
}

//! Contents of files by their hash, as the store keeps them for a session.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};

use crate::{
    domain::SessionKey,
    log::EventLog,
    sandbox::{self, Contents},
    store,
};

/// What a session names.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) log: EventLog,
    pub(super) key: SessionKey,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Named {
    /// All bytes of a hash, in memory. `None`: the session does not name them.
    pub(super) async fn all(&self, sha256: &str) -> Result<Option<Vec<u8>>, store::Error> {
        let mut all = Vec::new();
        loop {
            let Some(piece) = self.log.store().blob(&self.key, sha256, all.len() as u64).await? else {
                return Ok(None);
            };
            all.extend_from_slice(&piece.data);
            if piece.data.is_empty() || all.len() as u64 >= piece.end {
                return Ok(Some(all));
            }
        }
    }
}

#[async_trait]
impl Contents for Named {
    async fn open(&self, sha256: &str) -> Result<BoxStream<'static, Result<Bytes, sandbox::Error>>, sandbox::Error> {
        let pieces = stream::try_unfold((self.clone(), sha256.to_owned(), Some(0)), |(named, sha256, at)| async move {
            let Some(offset) = at else { return Ok(None) };
            let lost = |why: String| sandbox::Error::Unavailable(format!("content {sha256} cannot be read: {why}"));
            let piece =
                named.log.store().blob(&named.key, &sha256, offset).await.map_err(|error| lost(error.to_string()))?;
            let piece = piece.ok_or_else(|| lost("the session does not name it".to_owned()))?;
            let next = offset + piece.data.len() as u64;
            let more = (!piece.data.is_empty() && next < piece.end).then_some(next);
            Ok(Some((Bytes::from(piece.data), (named, sha256, more))))
        });
        Ok(pieces.boxed())
    }
}

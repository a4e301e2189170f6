//! What blocks hold beside the log, as streams: the whole text of one, and bytes they name by hash.

use futures::{StreamExt as _, stream::BoxStream};
use tonic::Status;

use super::{pieces, validate};
use crate::{
    domain::{Failure, Reason, SessionKey, TenantId},
    log::{EventLog, failure},
    proto,
};

/// The whole text of a block.
pub(super) async fn block(
    log: EventLog,
    tenant: TenantId,
    wanted: validate::ReadBlockContent,
) -> Result<BoxStream<'static, Result<proto::ReadBlockContentResponse, Status>>, Failure> {
    let validate::ReadBlockContent { session_id, block_id, offset } = wanted;
    let key = SessionKey { tenant, session: session_id };
    let read = move |offset| {
        let (log, key, block_id) = (log.clone(), key.clone(), block_id.clone());
        async move {
            let piece = log.store().block_text(&key, &block_id, offset).await.map_err(|error| failure(error, &key))?;
            let missing =
                || Failure::new(Reason::BlockNotFound, format!("there is no block {block_id} in the session"));
            piece.ok_or_else(|| missing().with("block_id", &block_id))
        }
    };
    let pieces = pieces::from(offset, None, read).await?;
    Ok(pieces.map(|data| Ok(proto::ReadBlockContentResponse { data: data? })).boxed())
}

/// Bytes that the session names.
pub(super) async fn blob(
    log: EventLog,
    tenant: TenantId,
    wanted: validate::ReadBlob,
) -> Result<BoxStream<'static, Result<proto::ReadBlobResponse, Status>>, Failure> {
    let validate::ReadBlob { session_id, sha256, offset } = wanted;
    let key = SessionKey { tenant, session: session_id };
    let read = move |offset| {
        let (log, key, sha256) = (log.clone(), key.clone(), sha256.clone());
        async move {
            let piece = log.store().blob(&key, &sha256, offset).await.map_err(|error| failure(error, &key))?;
            let missing = || Failure::new(Reason::BlobNotFound, format!("the session does not hold {sha256}"));
            piece.ok_or_else(|| missing().with("sha256", &sha256))
        }
    };
    let pieces = pieces::from(offset, None, read).await?;
    Ok(pieces.map(|data| Ok(proto::ReadBlobResponse { data: data? })).boxed())
}

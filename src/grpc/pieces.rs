//! Long texts and bytes on the wire, piece by piece: each is read when the one before was taken.

use std::future::Future;

use bytes::Bytes;
use futures::{Stream, stream};
use tonic::Status;

use crate::{domain::Failure, store::Piece};

/// What follows `offset`, at most `limit` of it, as of the first piece: what is added meanwhile is not part of it.
pub(super) async fn from<R, F>(
    offset: u64,
    limit: Option<u64>,
    read: R,
) -> Result<impl Stream<Item = Result<Bytes, Status>>, Failure>
where
    R: Fn(u64) -> F,
    F: Future<Output = Result<Piece, Failure>>,
{
    let first = read(offset).await?;
    if offset > first.end {
        return Err(Failure::invalid("offset", format!("must not be beyond the end, which is {}", first.end)));
    }
    let end = limit.map_or(first.end, |limit| first.end.min(offset.saturating_add(limit)));
    Ok(stream::try_unfold((offset, Some(first), read), move |(at, piece, read)| async move {
        if at >= end {
            return Ok(None);
        }
        let piece = match piece {
            Some(piece) => piece,
            None => read(at).await?,
        };
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let mut data = Bytes::from(piece.data);
        data.truncate(left);
        let next = at + data.len() as u64;
        Ok((!data.is_empty()).then_some((data, (next, None, read))))
    }))
}

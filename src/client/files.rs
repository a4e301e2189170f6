//! Bytes that come and go as streams: files, and what is kept beside the log.

use std::io;

use bytes::Bytes;
use futures::{
    Stream, StreamExt as _, future,
    stream::{self, BoxStream},
};
use tokio::sync::oneshot;
use tonic::Status;

use super::{Client, Error, once};
use crate::proto::{
    ReadBlobRequest, ReadBlockContentRequest, ReadFileRequest, UploadFileHeader, UploadFileRequest, UploadFileResponse,
    WorkspaceFile, read_file_response, upload_file_request::Payload,
};

/// The most that one request of an upload carries.
const PIECE: usize = 1 << 20;

/// Bytes, piece by piece.
pub type FileBytes = BoxStream<'static, Result<Bytes, Error>>;

impl Client {
    /// What a file is, and its bytes as they are now.
    ///
    /// # Errors
    /// What the server refuses, or the connection's failure.
    pub async fn read_file(&self, request: ReadFileRequest) -> Result<(WorkspaceFile, FileBytes), Error> {
        let odd = || Error::odd("a file without what it is");
        let mut responses = self.workspace.clone().read_file(request).await?.into_inner();
        let first = responses.message().await?.and_then(|response| response.payload);
        let Some(read_file_response::Payload::File(file)) = first else { return Err(odd()) };
        let bytes = responses.map(|response| match response?.payload {
            Some(read_file_response::Payload::Data(data)) => Ok(data),
            Some(read_file_response::Payload::File(_)) | None => Err(Error::odd("something that is no part of a file")),
        });
        Ok((file, bytes.boxed()))
    }

    /// The text of a block, from a byte of it on, also what is not inline. A piece may be cut inside a character.
    ///
    /// # Errors
    /// What the server refuses, or the connection's failure.
    pub async fn read_block_content(&self, request: ReadBlockContentRequest) -> Result<FileBytes, Error> {
        let responses = self.sessions.clone().read_block_content(request).await?.into_inner();
        Ok(responses.map(|response| Ok(response?.data)).boxed())
    }

    /// Bytes that a block names by their hash.
    ///
    /// # Errors
    /// What the server refuses, or the connection's failure.
    pub async fn read_blob(&self, request: ReadBlobRequest) -> Result<FileBytes, Error> {
        let responses = self.sessions.clone().read_blob(request).await?.into_inner();
        Ok(responses.map(|response| Ok(response?.data)).boxed())
    }

    /// Writes a file, or unpacks an archive, whose bytes are asked for again when the call is made again. Nothing is
    /// written unless all of them came.
    ///
    /// # Errors
    /// What the server refuses, the connection's failure, or what the bytes could not be read for.
    pub async fn upload_file<S>(
        &self,
        header: UploadFileHeader,
        bytes: impl Fn() -> S,
    ) -> Result<UploadFileResponse, Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let call = once::once(header, |header| {
            let (mut stub, bytes) = (self.workspace.clone(), bytes());
            async move {
                let (broken, breaks) = oneshot::channel();
                // A stream that just ends would pass for the whole file: a broken one stays open until the call is dropped.
                let call = stub.upload_file(requests(header, bytes, broken));
                tokio::select! {
                    answer = call => answer,
                    Ok(error) = breaks => Err(Status::failed_precondition(format!("the file cannot be read: {error}"))),
                }
            }
        });
        self.bounded(Box::pin(call)).await
    }
}

/// The header, then the bytes, cut to fit. An error is told to `broken`, and nothing follows it, not even the end.
fn requests(
    header: UploadFileHeader,
    bytes: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    broken: oneshot::Sender<io::Error>,
) -> impl Stream<Item = UploadFileRequest> + Send + 'static {
    let request = |payload| UploadFileRequest { payload: Some(payload) };
    let mut broken = Some(broken);
    let pieces = bytes.flat_map(move |bytes| match bytes {
        Ok(bytes) => stream::iter(cut(bytes)).left_stream(),
        Err(error) => {
            if let Some(broken) = broken.take() {
                // Whoever waited for the answer may be gone.
                let _ = broken.send(error);
            }
            stream::once(future::pending()).right_stream()
        }
    });
    stream::iter([request(Payload::Header(header))]).chain(pieces.map(move |data| request(Payload::Data(data))))
}

fn cut(mut bytes: Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        pieces.push(bytes.split_to(bytes.len().min(PIECE)));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn data(request: UploadFileRequest) -> usize {
        match request.payload {
            Some(Payload::Data(data)) => data.len(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn bytes_are_cut_to_fit_and_an_error_is_no_end() {
        let error = || Err(io::Error::other("gone"));
        for broken in [false, true] {
            let pieces = [Ok(Bytes::from(vec![0; 2 * PIECE + 1])), Ok(Bytes::new()), Ok(Bytes::from_static(b"x"))];
            let pieces = pieces.into_iter().chain(broken.then(error)).chain([Ok(Bytes::from_static(b"after"))]);
            let (tell, mut told) = oneshot::channel();
            let mut requests = Box::pin(requests(UploadFileHeader::default(), stream::iter(pieces), tell));
            assert!(matches!(requests.next().await.unwrap().payload, Some(Payload::Header(_))));
            for size in [PIECE, PIECE, 1, 1] {
                assert_eq!(data(requests.next().await.unwrap()), size);
            }
            if broken {
                assert!(requests.next().now_or_never().is_none(), "it ended, and would pass for a whole file");
                assert_eq!(told.try_recv().unwrap().to_string(), "gone");
            } else {
                assert_eq!(data(requests.next().await.unwrap()), 5);
                assert!(requests.next().await.is_none());
            }
        }
    }
}

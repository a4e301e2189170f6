//! Calls of any method with any bytes.

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::support::Server;

#[derive(Clone, Copy)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buf.copy_to_bytes(buf.remaining()).to_vec()))
    }
}

/// Calls `SERVICE/METHOD` of the contract with one message of these bytes. As a stream, which any method looks like.
pub(crate) async fn call(
    server: &Server,
    method: &str,
    key: Option<&str>,
    body: Vec<u8>,
) -> Result<Response<Streaming<Vec<u8>>>, Status> {
    call_as(server, method, key, body, None).await
}

/// As [`call`], compressed.
pub(crate) async fn call_as(
    server: &Server,
    method: &str,
    key: Option<&str>,
    body: Vec<u8>,
    compression: Option<CompressionEncoding>,
) -> Result<Response<Streaming<Vec<u8>>>, Status> {
    let mut request = Request::new(futures::stream::iter([body]));
    if let Some(key) = key {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().expect("a key is ASCII"));
    }
    let path = PathAndQuery::try_from(format!("/agentruntime.v1.{method}")).expect("a path");
    let mut grpc = Grpc::new(server.channel().await);
    if let Some(encoding) = compression {
        grpc = grpc.send_compressed(encoding);
    }
    grpc.ready().await.expect("the server is there");
    grpc.streaming(request, path, Bytes).await
}

/// The refusal of such a call.
pub(crate) async fn refusal(server: &Server, method: &str, key: Option<&str>, body: Vec<u8>) -> Status {
    match call(server, method, key, body).await {
        Err(status) => status,
        Ok(answer) => match answer.into_inner().message().await {
            Err(status) => status,
            Ok(message) => panic!("{method} was answered: {message:?}"),
        },
    }
}

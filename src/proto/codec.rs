//! How messages go over the wire: as prost writes them, but for those that are bytes already. What cannot be read is the
//! sender's mistake and is answered as one, with the field where prost can name it; prost's own codec calls it an internal
//! error.

use std::marker::PhantomData;

use bytes::{BufMut as _, Bytes};
use prost::{DecodeError, Message, Name};
use tonic::{
    Code, Status,
    codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_types::{ErrorDetails, StatusExt};

use super::{ERROR_DOMAIN, ErrorReason};

/// The codec of every generated client and server.
#[derive(Clone, Debug)]
pub struct Codec<T, U> {
    messages: PhantomData<(T, U)>,
}

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self { messages: PhantomData }
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Send + 'static,
    U: Message + Name + Default + Send + 'static,
    MessageEncoder<T>: Encoder<Item = T, Error = Status>,
{
    type Encode = T;
    type Decode = U;
    type Encoder = MessageEncoder<T>;
    type Decoder = MessageDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        MessageEncoder { message: PhantomData }
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder { message: PhantomData }
    }
}

/// A message that is encoded already, in pieces: one after the other they are what prost would write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// In order.
    pub pieces: Vec<Bytes>,
}

/// Writes messages.
#[derive(Clone, Debug)]
pub struct MessageEncoder<T> {
    message: PhantomData<T>,
}

impl<T: Message> Encoder for MessageEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buf).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Encoder for MessageEncoder<Encoded> {
    type Item = Encoded;
    type Error = Status;

    fn encode(&mut self, message: Encoded, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(message.pieces.iter().map(Bytes::len).sum());
        for piece in message.pieces {
            buf.put(piece);
        }
        Ok(())
    }
}

/// Reads messages, and says in the contract's words what is wrong with those it cannot read.
#[derive(Clone, Debug)]
pub struct MessageDecoder<U> {
    message: PhantomData<U>,
}

impl<U: Message + Name + Default> Decoder for MessageDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(buf).map(Some).map_err(|error| {
            // A response that cannot be read is no mistake of the client that reads it.
            if U::NAME.ends_with("Request") { malformed(&error) } else { Status::internal(error.to_string()) }
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// The refusal of a request that is not a message of its type.
fn malformed(error: &DecodeError) -> Status {
    let text = error.to_string();
    let (field, problem) = locate(&text);
    let rule = format!("must be valid protobuf: {problem}");
    let reason = ErrorReason::InvalidField.as_str_name().trim_start_matches("ERROR_REASON_");
    let mut details = ErrorDetails::with_error_info(
        reason,
        ERROR_DOMAIN,
        [("field".to_owned(), field.clone()), ("rule".to_owned(), rule.clone())],
    );
    details.add_bad_request_violation(&field, &rule);
    let at = if field.is_empty() { "the request" } else { &field };
    Status::with_error_details(Code::InvalidArgument, format!("{at}: {rule}"), details)
}

/// Takes apart what prost prints, for example "failed to decode Protobuf message: Inner.b: Outer.a: invalid varint":
/// the path from the outermost field to the innermost, and the problem. Prost hands these out in no other way.
fn locate(text: &str) -> (String, &str) {
    let mut rest = text.strip_prefix("failed to decode Protobuf message: ").unwrap_or(text);
    let mut path = Vec::new();
    while let Some((head, tail)) = rest.split_once(": ") {
        let Some((message, field)) = head.split_once('.') else { break };
        if ![message, field].iter().all(|name| !name.is_empty() && name.bytes().all(is_identifier)) {
            break;
        }
        path.push(field.strip_prefix("r#").unwrap_or(field));
        rest = tail;
    }
    path.reverse();
    (path.join("."), rest)
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'#'
}

#[cfg(test)]
mod tests {
    use super::{Code, Message, StatusExt, locate, malformed};
    use crate::proto::{CreateSessionRequest, SendMessageRequest};

    #[test]
    fn text_that_is_not_utf8_names_its_field() {
        let wire = [0x12, 2, 0xff, 0xfe];
        let status = malformed(&SendMessageRequest::decode(wire.as_slice()).unwrap_err());
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_FIELD", "agentruntime.v1"));
        assert!(info.metadata["rule"].contains("UTF-8"), "{info:?}");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "text");
    }

    #[test]
    fn the_path_goes_from_the_outside_in() {
        // options (5) { model (1): one byte that is no UTF-8 }
        let wire = [0x2a, 3, 0x0a, 1, 0xff];
        let error = CreateSessionRequest::decode(wire.as_slice()).unwrap_err();
        assert_eq!(locate(&error.to_string()).0, "options.model");
    }

    #[test]
    fn bytes_that_are_no_message_name_no_field() {
        let status = malformed(&SendMessageRequest::decode([0xff; 11].as_slice()).unwrap_err());
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, "");
    }
}

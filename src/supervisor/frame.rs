//! Messages on a socket: each behind its length. Both sides use it; what the messages mean stands in `protocol`.

use std::io::{self, ErrorKind};

use bytes::{Buf as _, BytesMut};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::protocol::{Answer, Ask, MESSAGE_MAX, Reply, Request};

/// Room for what is read at once; a longer message gets what it needs.
const ROOM: usize = 8 << 10;

/// Most bytes of a varint that holds a length.
const LENGTH_MAX: usize = 5;

/// Tag of [`Reply::Chunk`].
const CHUNK: u32 = 5;

/// A socket that messages come and go on.
#[derive(Debug)]
pub struct Frames {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Frames {
    /// On a socket that nothing was read from.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next message; `None` when the other side has hung up between two. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Of the socket; [`ErrorKind::InvalidData`] for what is no message.
    pub async fn next<M: Message + Default>(&mut self) -> io::Result<Option<M>> {
        loop {
            let needed = match length(&self.buffer)? {
                Some((head, body)) if self.buffer.len() >= head + body => {
                    self.buffer.advance(head);
                    let message = M::decode(self.buffer.split_to(body).freeze());
                    return message.map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error));
                }
                Some((head, body)) => head + body - self.buffer.len(),
                None => 1,
            };
            // Small messages share what room there is, also while those before them are still in use.
            if self.buffer.capacity() - self.buffer.len() < needed.max(ROOM / 8) {
                self.buffer.reserve(needed.max(ROOM));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Sends messages in one piece.
    ///
    /// # Errors
    /// Of the socket.
    pub async fn send<M: Message>(&mut self, messages: &[M]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend(message.encode_length_delimited_to_vec());
        }
        self.stream.write_all(&bytes).await
    }

    /// The socket, for who goes on without messages of the other side.
    #[must_use]
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }
}

impl From<Request> for Ask {
    fn from(request: Request) -> Self {
        Self { request: Some(request) }
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self { reply: Some(reply) }
    }
}

/// What stands on the wire before `size` bytes of output, so that they can be sent from where they are.
pub(super) fn before_chunk(size: usize) -> Vec<u8> {
    let inner = key_len(CHUNK) + encoded_len_varint(size as u64) + size;
    let mut head = Vec::with_capacity(2 * LENGTH_MAX + 1);
    encode_varint(inner as u64, &mut head);
    encode_key(CHUNK, WireType::LengthDelimited, &mut head);
    encode_varint(size as u64, &mut head);
    head
}

/// How long the next message's length and the message itself are, once that is known.
fn length(buffer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut body = 0_usize;
    for (index, byte) in buffer.iter().take(LENGTH_MAX).enumerate() {
        body |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            if body > MESSAGE_MAX {
                break;
            }
            return Ok(Some((index + 1, body)));
        }
    }
    if buffer.len() < LENGTH_MAX && body <= MESSAGE_MAX {
        return Ok(None);
    }
    Err(io::Error::new(ErrorKind::InvalidData, "a message is longer than any"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_sent_as_the_message_it_is() {
        for size in [1, 127, 128, 300, 64 << 10] {
            let data = vec![7; size];
            let whole = Answer::from(Reply::Chunk(data.clone().into())).encode_length_delimited_to_vec();
            assert_eq!([before_chunk(size), data].concat(), whole, "{size}");
        }
    }

    #[test]
    fn lengths_are_read_as_they_are_written() {
        for size in [0, 1, 127, 128, 20_000, MESSAGE_MAX] {
            let mut bytes = Vec::new();
            encode_varint(size as u64, &mut bytes);
            assert_eq!(length(&bytes).unwrap(), Some((bytes.len(), size)));
            assert_eq!(length(&bytes[..bytes.len() - 1]).unwrap(), None);
        }
        assert!(length(&[0xFF; 5]).is_err());
        let mut bytes = Vec::new();
        encode_varint(MESSAGE_MAX as u64 + 1, &mut bytes);
        assert!(length(&bytes).is_err());
    }
}

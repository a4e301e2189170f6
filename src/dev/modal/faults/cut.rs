//! An answer that breaks off after some of its messages. It knows of the wire only where a message begins and ends.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderValue},
};
use http_body::Frame;
use tonic::Status;

/// Bytes in front of each message: a flag and a length.
const PREFIX: usize = 5;

/// See the module.
pub(super) struct Cut {
    body: Body,
    /// Asked once, when it breaks off; `None`: it is over.
    status: Option<Box<dyn FnOnce() -> Status + Send>>,
    /// Messages that may pass.
    left: u64,
    /// Bytes to the end of the message that is passing.
    skip: usize,
    /// The beginning of what stands before the next one.
    begun: Vec<u8>,
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cut").field("left", &self.left).field("skip", &self.skip).finish_non_exhaustive()
    }
}

impl Cut {
    /// Lets so many messages pass, then says this. An answer that ends before is as it was.
    pub(super) fn after(messages: u64, body: Body, status: impl FnOnce() -> Status + Send + 'static) -> Self {
        Self { body, status: Some(Box::new(status)), left: messages, skip: 0, begun: Vec::new() }
    }

    /// How much of these bytes may pass; less than all when the last message that may ends in them.
    fn measure(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len() - at);
                (self.skip, at) = (self.skip - step, at + step);
                if self.skip == 0 && self.left == 0 {
                    return at;
                }
                continue;
            }
            self.begun.push(bytes[at]);
            at += 1;
            if let [_, a, b, c, d] = self.begun[..] {
                self.skip = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.begun.clear();
                self.left -= 1;
                if self.skip == 0 && self.left == 0 {
                    return at;
                }
            }
        }
        debug_assert!(self.begun.len() < PREFIX, "a prefix that is whole is read");
        at
    }
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let breaks_off = self.left == 0 && self.skip == 0;
        let Some(status) = self.status.take_if(|_| breaks_off) else {
            if self.status.is_none() {
                return Poll::Ready(None);
            }
            return self.pass(cx);
        };
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status())))))
    }
}

impl Cut {
    fn pass(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let passes = self.measure(&data);
                    Poll::Ready(Some(Ok(Frame::data(data.slice(..passes)))))
                }
                // The answer ended before its time.
                Err(frame) => {
                    self.status = None;
                    Poll::Ready(Some(Ok(frame)))
                }
            },
            other => Poll::Ready(other),
        }
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", HeaderValue::from(i32::from(status.code())));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_behind_a_whole_message() {
        let message = |size: u8| [&[0, 0, 0, 0, size][..], &vec![7; usize::from(size)]].concat();
        let cut = |left| Cut::after(left, Body::empty(), || Status::unavailable("x"));
        let all = [message(3), message(0), message(9)].concat();
        for (left, wanted) in [(1, 8), (2, 13), (3, all.len()), (4, all.len())] {
            let mut whole = cut(left);
            assert_eq!(whole.measure(&all), wanted);
            // The same, a byte at a time.
            let mut slow = cut(left);
            let passed = all.iter().take_while(|byte| {
                !(slow.left == 0 && slow.skip == 0) && slow.measure(std::slice::from_ref(byte)) == 1
            });
            assert_eq!(passed.count(), wanted);
        }
    }
}

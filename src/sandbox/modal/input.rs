//! A program's input as far as it is known here: what it has, and the end of it, to tell when somebody says otherwise.
//!
//! Modal tells how much input a program has, and never which: so other bytes at the same offset are told from what one process
//! remembers of its own, and only of the newest part. Sessions do not depend on more: what they give at an offset is a row
//! that was committed before it was given the first time, and a row never changes, so after a restart the same bytes come
//! again. Only a database that was put back to an earlier state could say otherwise, and that is not seen here.
//!
//! It must not know how input is given.

use bytes::{Bytes, BytesMut};

use crate::sandbox::{Error, StdinStatus};

/// How much of what was given is remembered. Further back nothing can be compared, and what is given again there is believed.
const REMEMBERED: usize = 1 << 20;

/// What a program was given.
#[derive(Debug)]
pub(super) struct Input {
    accepted: u64,
    closed: bool,
    tail: BytesMut,
    /// It is over; whatever else it is given, nobody reads.
    pub(super) unread: bool,
}

/// What is new in what somebody gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    /// Where it begins.
    pub(super) offset: u64,
    pub(super) data: Bytes,
    pub(super) eof: bool,
}

impl Input {
    /// Of a program about which only this is known.
    pub(super) fn known(status: StdinStatus) -> Self {
        let StdinStatus { accepted, closed } = status;
        Self { accepted, closed, tail: BytesMut::new(), unread: false }
    }

    pub(super) fn status(&self) -> StdinStatus {
        StdinStatus { accepted: self.accepted, closed: self.closed }
    }

    /// What of this it does not have; `None`: nothing. What was given before must not be told otherwise.
    pub(super) fn news(&self, offset: u64, data: &[u8], eof: bool) -> Result<Option<News>, Error> {
        let Self { accepted, closed, ref tail, unread: _ } = *self;
        if offset > accepted {
            return Err(Error::Offset { offset, from: 0, to: accepted });
        }
        let behind = usize::try_from(accepted - offset).unwrap_or(usize::MAX).min(data.len());
        let (again, new) = data.split_at(behind);
        // Only the end of what was given is here to compare with.
        let remembered_from = accepted - tail.len() as u64;
        let unknown = usize::try_from(remembered_from.saturating_sub(offset)).unwrap_or(usize::MAX).min(again.len());
        let first = usize::try_from((offset + unknown as u64).saturating_sub(remembered_from)).unwrap_or(tail.len());
        let differs = again[unknown..].iter().zip(&tail[first.min(tail.len())..]).position(|(one, other)| one != other);
        if let Some(at) = differs {
            return Err(Error::StdinConflict { offset: offset + (unknown + at) as u64 });
        }
        let end = offset + data.len() as u64;
        if (eof && end < accepted) || (closed && !new.is_empty()) {
            // An end before what was given, or something after the end.
            return Err(Error::StdinConflict { offset: end.min(accepted) });
        }
        if new.is_empty() && (closed || !eof) {
            return Ok(None);
        }
        Ok(Some(News { offset: accepted, data: Bytes::copy_from_slice(new), eof }))
    }

    /// Nobody will give the same again and be told that it is something else.
    pub(super) fn forget(&mut self) {
        self.tail = BytesMut::new();
    }

    /// It has this now.
    pub(super) fn gave(&mut self, news: &News) {
        self.accepted += news.data.len() as u64;
        self.closed |= news.eof;
        self.tail.extend_from_slice(&news.data);
        let too_much = self.tail.len().saturating_sub(REMEMBERED);
        let _ = self.tail.split_to(too_much);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &[u8], closed: bool) -> Input {
        let mut input = Input::known(StdinStatus { accepted: 0, closed: false });
        input.gave(&News { offset: 0, data: Bytes::copy_from_slice(text), eof: closed });
        input
    }

    #[test]
    fn only_what_is_new_is_given() {
        let input = given(b"abcdef", false);
        let news = |offset, data: &[u8], eof| input.news(offset, data, eof);
        assert_eq!(news(0, b"abc", false), Ok(None));
        assert_eq!(news(3, b"defgh", false), Ok(Some(News { offset: 6, data: Bytes::from_static(b"gh"), eof: false })));
        assert_eq!(news(6, b"", true), Ok(Some(News { offset: 6, data: Bytes::new(), eof: true })));
        assert_eq!(news(2, b"cdXf", false), Err(Error::StdinConflict { offset: 4 }));
        assert_eq!(news(7, b"h", false), Err(Error::Offset { offset: 7, from: 0, to: 6 }));
        assert_eq!(news(0, b"ab", true), Err(Error::StdinConflict { offset: 2 }));
        let closed = given(b"abc", true);
        assert_eq!(closed.news(3, b"d", false), Err(Error::StdinConflict { offset: 3 }));
        assert_eq!(closed.news(1, b"bc", true), Ok(None));
    }

    #[test]
    fn what_is_long_past_is_believed() {
        let mut input = given(&[7; 100], false);
        input.gave(&News { offset: 100, data: Bytes::from(vec![8; REMEMBERED]), eof: false });
        assert_eq!(input.news(0, &[1; 100], false), Ok(None));
        let mut data = vec![1; 100];
        data.extend_from_slice(&[8, 8, 9]);
        assert_eq!(input.news(0, &data, false), Err(Error::StdinConflict { offset: 102 }));
        // Of another server's program nothing is known but how much it has.
        let known = Input::known(StdinStatus { accepted: 5, closed: false });
        assert_eq!(known.news(0, b"hello", false), Ok(None));
        assert_eq!(known.news(3, b"lo!", false).unwrap().unwrap().offset, 5);
    }
}

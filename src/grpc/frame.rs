//! Responses that carry events, as bytes. What an event is on the wire is made once for all who watch; what differs for a
//! watcher comes after it: a field may be said again, and the last one counts, so a wider range is a suffix.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};

use crate::{
    domain::Event,
    log,
    proto::{self, Encoded, SessionEvent},
};

/// `events` of `WatchSessionResponse` and `RunTurnResponse`.
const EVENTS: u32 = 1;
/// `SessionEvent.first_sequence`.
const FIRST_SEQUENCE: u32 = 2;
/// Bytes of a key here: all field numbers are below 16.
const KEY: usize = 1;

/// Puts responses together.
#[derive(Default)]
pub(super) struct Frame {
    pieces: Vec<Bytes>,
}

impl Frame {
    /// One whose fields beside the events are these.
    pub(super) fn new(rest: Bytes) -> Self {
        Self { pieces: vec![rest] }
    }

    /// The response.
    pub(super) fn finish(self) -> Encoded {
        Encoded { pieces: self.pieces }
    }

    /// Adds an event that is this watcher's own: a bookmark, or part of a snapshot.
    pub(super) fn own(mut self, event: &SessionEvent) -> Self {
        let mut bytes = BytesMut::with_capacity(event.encoded_len() + 2 * KEY + 8);
        put_event(event, &mut bytes);
        self.pieces.push(bytes.freeze());
        self
    }

    /// Adds the first `count` events of what a watch handed out.
    pub(super) fn shown(&mut self, shown: &log::Shown, count: usize) {
        let encoded = shown.segment.encoded(encode);
        let start_of = |at: usize| at.checked_sub(1).map_or(0, |before| encoded.ends[before]);
        let (mut from, to) = (shown.range.start, shown.range.start + count);
        if let Some(first_sequence) = shown.first_sequence {
            self.stamped(&encoded.bytes[start_of(from)..encoded.ends[from]], first_sequence);
            from += 1;
        }
        if from < to {
            self.pieces.push(encoded.bytes.slice(start_of(from)..encoded.ends[to - 1]));
        }
    }

    /// Adds an event that stands for more than it says.
    fn stamped(&mut self, event: &[u8], first_sequence: i64) {
        let first = first_sequence.cast_unsigned();
        let head = KEY + event[KEY..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
        let body = &event[head..];
        let stamped = body.len() + KEY + encoded_len_varint(first);
        let mut bytes = BytesMut::with_capacity(KEY + encoded_len_varint(stamped as u64) + stamped);
        encode_key(EVENTS, WireType::LengthDelimited, &mut bytes);
        encode_varint(stamped as u64, &mut bytes);
        bytes.put_slice(body);
        encode_key(FIRST_SEQUENCE, WireType::Varint, &mut bytes);
        encode_varint(first, &mut bytes);
        self.pieces.push(bytes.freeze());
    }
}

/// Events as every watcher is sent them.
fn encode(events: &[Event]) -> log::Encoded {
    let mut bytes = BytesMut::new();
    let mut ends = Vec::with_capacity(events.len());
    for event in events {
        put_event(&proto::SessionEvent::from(event.clone()), &mut bytes);
        ends.push(bytes.len());
    }
    log::Encoded { bytes: bytes.freeze(), ends: ends.into() }
}

fn put_event(event: &SessionEvent, bytes: &mut BytesMut) {
    prost::encoding::message::encode(EVENTS, event, bytes);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{BlockId, ConversationId, Kind, Timestamp};

    fn delta(sequence: i64, size: usize) -> Event {
        let kind = Kind::BlockDelta { block_id: BlockId::new("a"), delta: "x".repeat(size), offset: 0 };
        let (conversation_id, time) = (ConversationId::main(), Timestamp(sequence));
        Event { sequence, first_sequence: sequence, conversation_id, time, actor: None, kind }
    }

    fn decoded(frame: Frame) -> proto::WatchSessionResponse {
        let bytes = frame.finish().pieces.concat();
        proto::WatchSessionResponse::decode(bytes.as_slice()).unwrap()
    }

    /// Lengths of one, two and three bytes, and those that a stamp makes longer by one.
    #[test]
    fn events_come_as_they_are_and_the_first_says_what_it_stands_for() {
        let rest = proto::WatchSessionResponse { session_id: "s".into(), uid: "u".into(), ..Default::default() };
        let sizes = (80..120).chain(16_340..16_384);
        let events: Vec<Event> = (2..).zip(sizes).map(|(sequence, size)| delta(sequence, size)).collect();
        let wire: Vec<SessionEvent> = events.iter().cloned().map(Into::into).collect();
        let segment = Arc::new(log::Segment::of(events));
        for start in 0..wire.len() {
            for first_sequence in [None, Some(1)] {
                let range = start..wire.len();
                let count = range.len().min(3);
                let mut frame = Frame::new(rest.encode_to_vec().into());
                frame.shown(&log::Shown { segment: Arc::clone(&segment), range, first_sequence }, count);
                let mut expected = wire[start..start + count].to_vec();
                expected[0].first_sequence = first_sequence.unwrap_or_default();
                assert_eq!(decoded(frame), proto::WatchSessionResponse { events: expected, ..rest.clone() });
            }
        }
    }
}

//! Segments: events that were stored, as one commit or one page of the store brought them, and what a transport made of
//! them, once for all who watch.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use crate::domain::{Event, Kind};

/// Bytes that one delta may grow to when deltas that were read from the store are merged.
const MERGED_BYTES: usize = 16 * 1024;

/// Bytes that an event takes beside its text: itself, its ids, and what a transport makes of them.
const OVERHEAD: usize = 512;

/// Events that follow each other and are stored, at least one. Only the log makes one, so whoever holds one may show it.
#[derive(Debug)]
pub struct Segment {
    events: Vec<Event>,
    weight: usize,
    encoded: OnceLock<Encoded>,
}

/// Events as a transport sends them, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// All of them.
    pub bytes: Bytes,
    /// Where each one ends.
    pub ends: Box<[usize]>,
}

/// Events of one segment that a watcher is to be shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Where they are.
    pub segment: Arc<Segment>,
    /// Which ones; at least one.
    pub range: Range<usize>,
    /// What the first one stands for, where this watcher was not shown what came before it.
    pub first_sequence: Option<i64>,
}

impl Segment {
    /// Of events as they were committed. `None`: there are none.
    pub(super) fn committed(events: Vec<Event>) -> Option<Self> {
        let weight = events.iter().map(|event| event.weight() + OVERHEAD).sum();
        (!events.is_empty()).then(|| Self { events, weight, encoded: OnceLock::new() })
    }

    /// For tests of what becomes of one.
    #[cfg(test)]
    pub(crate) fn of(events: Vec<Event>) -> Self {
        Self::committed(events).expect("events")
    }

    /// Of events that the store was asked for again: deltas of one block that follow each other are one.
    pub(super) fn read(events: Vec<Event>) -> Option<Self> {
        let mut merged: Vec<Event> = Vec::with_capacity(events.len());
        for event in events {
            if !merged.last_mut().is_some_and(|last| merge(last, &event)) {
                merged.push(event);
            }
        }
        Self::committed(merged)
    }

    /// The events.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// About how many bytes it holds on to.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Sequence of its last event.
    pub(super) fn last(&self) -> i64 {
        self.events.last().map_or(0, |event| event.sequence)
    }

    /// Its events as they are sent: made by the first who asks.
    pub fn encoded(&self, encode: impl FnOnce(&[Event]) -> Encoded) -> &Encoded {
        self.encoded.get_or_init(|| encode(&self.events))
    }
}

impl Shown {
    /// The events.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.segment.events[self.range.clone()]
    }
}

/// Adds a delta to the one before it. Only what follows without a gap, so that ranges never overlap.
fn merge(last: &mut Event, next: &Event) -> bool {
    let follows = next.first_sequence == last.sequence + 1 && next.conversation_id == last.conversation_id;
    let (
        Kind::BlockDelta { block_id, delta, offset },
        Kind::BlockDelta { block_id: next_block, delta: more, offset: next_offset },
    ) = (&mut last.kind, &next.kind)
    else {
        return false;
    };
    let touches = *offset + i64::try_from(delta.len()).unwrap_or(i64::MAX) == *next_offset;
    if !follows || !touches || block_id != next_block || delta.len() + more.len() > MERGED_BYTES {
        return false;
    }
    delta.push_str(more);
    last.sequence = next.sequence;
    last.time = next.time;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BlockId, ConversationId, LogLevel, Timestamp};

    fn event(sequence: i64, kind: Kind) -> Event {
        let (conversation_id, time) = (ConversationId::main(), Timestamp(sequence));
        Event { sequence, first_sequence: sequence, conversation_id, time, actor: None, kind }
    }

    fn delta(sequence: i64, block: &str, text: &str, offset: i64) -> Event {
        event(sequence, Kind::BlockDelta { block_id: BlockId::new(block), delta: text.into(), offset })
    }

    fn ranges(events: Vec<Event>) -> Vec<(i64, i64)> {
        let segment = Segment::read(events).unwrap();
        segment.events().iter().map(|event| (event.first_sequence, event.sequence)).collect()
    }

    #[test]
    fn only_deltas_of_one_block_that_follow_each_other_are_one() {
        let log = event(6, Kind::Log { level: LogLevel::Info, message: "x".into() });
        let events = vec![
            delta(1, "a", "12", 0),
            delta(2, "a", "34", 2),
            delta(3, "b", "x", 0),
            delta(4, "a", "5", 4),
            delta(5, "a", "6", 5),
            log,
            delta(7, "a", "7", 6),
            // A hole, and text that does not touch, are no reason to guess.
            delta(9, "a", "8", 7),
            delta(10, "a", "9", 9),
        ];
        assert_eq!(ranges(events), [(1, 2), (3, 3), (4, 5), (6, 6), (7, 7), (9, 9), (10, 10)]);
    }

    #[test]
    fn a_merged_delta_holds_the_text_from_its_first_offset_at_its_last_time() {
        let segment = Segment::read(vec![delta(4, "a", "12", 7), delta(5, "a", "34", 9)]).unwrap();
        let merged = Event { first_sequence: 4, time: Timestamp(5), ..delta(5, "a", "1234", 7) };
        assert_eq!(segment.events(), [merged]);
    }

    #[test]
    fn a_merged_delta_stays_of_a_size_any_client_takes() {
        let text = "x".repeat(MERGED_BYTES / 2);
        let half = i64::try_from(text.len()).unwrap();
        let events = vec![delta(1, "a", &text, 0), delta(2, "a", &text, half), delta(3, "a", "y", 2 * half)];
        assert_eq!(ranges(events), [(1, 2), (3, 3)]);
    }
}

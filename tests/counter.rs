//! The benchmarks' own counter: what it is shown wrongly, it must not let pass. The streams are made up; each is right
//! first, then one thing in it is changed.

#[allow(dead_code, reason = "the benchmarks use the rest of it")]
#[path = "../benches/suite/load/count.rs"]
mod count;

use agent_runtime::proto::{
    AssistantText, Block, BlockDelta, Bookmark, SessionEvent, SessionState, SnapshotChunk, SnapshotComplete,
    SnapshotStart, Turn, TurnStatus, TurnUpdated, WatchSessionResponse, block::Content, session_event::Kind,
};
use count::{Count, PLAIN, STAMPED};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const NUMBERS: u64 = 12;

/// So many numbers as text.
fn numbers(range: std::ops::RangeInclusive<u64>) -> String {
    range.map(|number| format!("{number:019} ")).collect::<Vec<_>>().concat()
}

fn event(first: i64, last: i64, kind: Kind) -> SessionEvent {
    SessionEvent { sequence: last, first_sequence: first, kind: Some(kind), ..Default::default() }
}

fn delta(first: i64, last: i64, text: &str) -> SessionEvent {
    event(first, last, Kind::BlockDelta(BlockDelta { delta: text.into(), ..Default::default() }))
}

fn end(sequence: i64) -> SessionEvent {
    let turn = Turn { status: TurnStatus::Completed.into(), ..Default::default() };
    event(0, sequence, Kind::TurnUpdated(Box::new(TurnUpdated { turn: Some(turn) })))
}

/// One delta an event, one of three numbers that were merged, one number cut in two, and the end.
fn right() -> Vec<SessionEvent> {
    let mut events: Vec<_> = (1..=8).map(|at| delta(0, at, &numbers(at.unsigned_abs()..=at.unsigned_abs()))).collect();
    events.push(delta(9, 11, &numbers(9..=11)));
    let last = numbers(12..=12);
    events.extend([delta(0, 12, &last[..7]), delta(0, 13, &last[7..]), end(14)]);
    events
}

fn judge(events: Vec<SessionEvent>) -> Result<Count, Failure> {
    let mut count = Count::new(0, PLAIN);
    for event in events {
        count.response(WatchSessionResponse { events: vec![event], ..Default::default() });
    }
    count.check(NUMBERS)?;
    assert!(count.is_over(), "the turn has ended");
    Ok(count)
}

/// The text of the delta at this place is this instead; its place stays right.
fn said(at: usize, text: &str) -> Vec<SessionEvent> {
    let mut events = right();
    let sequences = (events[at].first_sequence, events[at].sequence);
    events[at] = delta(sequences.0, sequences.1, text);
    events
}

#[test]
fn a_right_stream_passes() {
    let count = judge(right()).unwrap();
    assert_eq!((count.last, count.events, count.cursor, count.responses), (12, 14, 14, 12));
}

/// Each place in turn, also those where the numbers would not tell.
#[test]
fn an_event_that_is_dropped_is_seen() {
    for at in 0..right().len() - 1 {
        let mut events = right();
        events.remove(at);
        assert!(judge(events).is_err(), "without event {at}");
    }
}

#[test]
fn an_event_that_comes_twice_is_seen() {
    for at in 0..right().len() - 1 {
        let mut events = right();
        events.insert(at, events[at].clone());
        assert!(judge(events).is_err(), "event {at} twice");
        let mut events = right();
        events.insert(right().len() - 1, events[at].clone());
        assert!(judge(events).is_err(), "event {at} again at the end");
    }
}

#[test]
fn two_events_that_change_places_are_seen() {
    for at in 0..right().len() - 2 {
        let mut events = right();
        events.swap(at, at + 1);
        assert!(judge(events).is_err(), "events {at} and {}", at + 1);
    }
}

/// The events stand where they should, and what they say is not what the agent said.
#[test]
fn a_number_that_is_lost_doubled_or_out_of_place_is_seen() {
    let error = |events| judge(events).err().expect("it is seen").to_string();
    assert!(error(said(3, "")).contains("lost=1 doubled=0 gaps=0"), "{}", error(said(3, "")));
    assert!(error(said(3, &numbers(3..=3))).contains("lost=1 doubled=1 gaps=0"));
    assert!(error(said(3, &numbers(4..=4).repeat(2))).contains("lost=0 doubled=1 gaps=0"));
    assert!(error(said(8, &(numbers(10..=10) + &numbers(9..=9) + &numbers(11..=11)))).contains("doubled=1"));
    assert!(error(said(8, &(numbers(9..=9) + &numbers(11..=11)))).contains("lost=1"));
    // A byte too few or too many shifts what follows.
    assert!(judge(said(3, &numbers(4..=4)[1..])).is_err());
    assert!(judge(said(3, &(numbers(4..=4) + "0"))).is_err());
    assert!(judge(said(3, &numbers(4..=4).replace('4', "x"))).is_err());
}

#[test]
fn an_end_that_comes_too_early_or_too_late_is_seen() {
    let mut events = right();
    events.drain(9..events.len() - 1);
    events[9] = end(12);
    assert!(judge(events).is_err(), "the last number is missing");
    let mut events = right();
    events.insert(11, delta(0, 14, &numbers(13..=13)));
    events[12] = end(15);
    assert!(judge(events).is_err(), "one number too many");
}

/// Ranges may be merged in other ways, but never with a hole or an overlap.
#[test]
fn a_range_that_is_too_wide_or_too_narrow_is_seen() {
    for (first, last) in [(10, 11), (8, 11), (9, 10), (9, 12), (9, 8)] {
        let mut events = right();
        events[8] = delta(first, last, &numbers(9..=11));
        assert!(judge(events).is_err(), "{first} to {last}");
    }
}

#[test]
fn a_bookmark_moves_the_cursor_only_where_it_may() {
    let bookmark = |first, last| event(first, last, Kind::Bookmark(Bookmark::default()));
    let with = |at: usize, bookmark| {
        let mut events = right();
        events.insert(at, bookmark);
        judge(events)
    };
    assert!(with(0, bookmark(1, 0)).is_ok());
    assert!(with(5, bookmark(6, 5)).is_ok());
    assert!(with(5, bookmark(6, 6)).is_err(), "it stands for an event that comes after it");
    assert!(with(5, bookmark(7, 6)).is_err(), "it is early");
    assert!(with(5, bookmark(5, 4)).is_err(), "it goes back");
}

#[test]
fn a_snapshot_counts_as_what_was_said_before_it() {
    let snapshot = |text: &str, sequence| {
        let content = Some(Content::AssistantText(AssistantText { text: text.into(), ..Default::default() }));
        let state = SessionState { blocks: vec![Block { content, ..Default::default() }], ..Default::default() };
        vec![
            event(0, 0, Kind::SnapshotStart(SnapshotStart {})),
            event(0, 0, Kind::SnapshotChunk(Box::new(SnapshotChunk { state: Some(state) }))),
            event(0, sequence, Kind::SnapshotComplete(SnapshotComplete {})),
        ]
    };
    let after = |mut start: Vec<SessionEvent>, from: usize| {
        start.extend(right().into_iter().skip(from));
        start
    };
    assert!(judge(after(snapshot(&numbers(1..=5), 5), 5)).is_ok());
    assert!(judge(after(snapshot(&numbers(1..=4), 5), 5)).is_err(), "it is behind its sequence");
    assert!(judge(after(snapshot(&numbers(1..=6), 5), 5)).is_err(), "it is ahead of its sequence");
    assert!(judge(after(snapshot(&numbers(1..=5), 4), 5)).is_err(), "the next event does not follow");
    let mut unfinished = after(snapshot(&numbers(1..=5), 5), 5);
    unfinished.remove(2);
    assert!(judge(unfinished).is_err(), "it has no end");
}

/// One who comes late need not wait for an end that was before.
#[test]
fn a_snapshot_of_what_is_over_is_whole_at_its_end() {
    let mut count = Count::new(0, PLAIN);
    let turn = Turn { status: TurnStatus::Completed.into(), ..Default::default() };
    let content = Some(Content::AssistantText(AssistantText { text: numbers(1..=NUMBERS), ..Default::default() }));
    let blocks = vec![Block { content, ..Default::default() }];
    let state = Some(SessionState { turns: vec![turn], blocks, ..Default::default() });
    let frames = [
        event(0, 0, Kind::SnapshotStart(SnapshotStart {})),
        event(0, 0, Kind::SnapshotChunk(Box::new(SnapshotChunk { state }))),
        event(0, 14, Kind::SnapshotComplete(SnapshotComplete {})),
    ];
    for frame in frames {
        assert!(!count.is_over());
        count.response(WatchSessionResponse { events: vec![frame], ..Default::default() });
    }
    assert!(count.is_over());
    count.check(NUMBERS).unwrap();
}

#[test]
fn times_do_not_hide_a_number() {
    let stamped = |numbers: &[u64]| {
        let mut count = Count::new(0, STAMPED);
        let text = numbers.iter().map(|number| format!("{number:010} 000000000001 ")).collect::<Vec<_>>().concat();
        count.response(WatchSessionResponse { events: vec![delta(0, 1, &text), end(2)], ..Default::default() });
        (count.check(3).is_ok(), count.latencies.len())
    };
    assert_eq!(stamped(&[1, 2, 3]), (true, 3));
    assert!(!stamped(&[1, 3]).0);
    assert!(!stamped(&[1, 2, 2, 3]).0);
    assert!(!stamped(&[1, 3, 2]).0);
}

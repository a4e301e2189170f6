//! What the scripted agent counts: the times behind its numbers, which latencies are measured by, and several blocks.

use serde_json::json;

use super::{printed, read, text_of};

/// A stamp takes its bytes from the size, and is the time of that very delta by the clock that all processes share.
#[test]
fn a_stamped_number_tells_when_it_was_written() {
    let micros = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        (now.tv_sec * 1_000_000 + now.tv_nsec / 1000) % 1_000_000_000_000
    };
    let before = micros();
    let script = json!([{ "count": 3, "size": 24, "stamp": true, "pace_ms": 2 }, { "count": 1, "size": 24 }]);
    let actions = read(&printed(&[&script.to_string()]).0);
    let after = micros();
    let text = text_of(&actions, "blk_0/1");
    assert_eq!(text.len(), 3 * 24, "{text:?}");
    let (mut numbers, mut times) = (Vec::new(), Vec::new());
    for delta in text.as_bytes().chunks(24) {
        let delta = std::str::from_utf8(delta).unwrap();
        assert_eq!((&delta[10..11], &delta[23..]), (" ", " "), "{delta:?}");
        numbers.push(delta[..10].parse::<u64>().unwrap());
        times.push(delta[11..23].parse::<i64>().unwrap());
    }
    assert_eq!(numbers, [1, 2, 3]);
    // The clock begins again once in eleven days.
    let since = |time: i64| (time - before).rem_euclid(1_000_000_000_000);
    assert!(since(times[0]) < since(times[1]) && since(times[1]) < since(times[2]), "{before} {times:?}");
    assert!(since(times[1]) >= 2000 && since(times[2]) >= 4000, "{before} {times:?}");
    assert!(since(times[2]) <= since(after), "{times:?} {after}");
    assert_eq!(text_of(&actions, "blk_0/2"), "00000000000000000000004 ", "without it the number has all the bytes");
}

/// Blocks that are open at once, as an agent has that does several things.
#[test]
fn several_blocks_take_the_numbers_in_turn() {
    let actions = read(&printed(&[&json!([{ "count": 5, "size": 4, "blocks": 2 }]).to_string()]).0);
    assert_eq!(text_of(&actions, "blk_0/1"), "001 003 005 ");
    assert_eq!(text_of(&actions, "blk_0/2"), "002 004 ");
}

//! Ordered: sequences grow. Unique: none comes twice.

use super::Faults;
use crate::case::{Case, first, is_frame, is_of_snapshot};

/// In every stream what comes has a higher sequence than what came.
pub fn ordered(case: &Case, faults: &mut Faults) {
    for stream in &case.streams {
        let mut last = stream.open.after.unwrap_or(0);
        for event in stream.events() {
            if is_of_snapshot(event) {
                // It starts over.
                last = 0;
                continue;
            }
            if event.sequence < last {
                faults.say(format!("{}: {} comes after {last}", stream.name(), event.sequence));
            }
            last = event.sequence;
        }
    }
}

/// In every stream no sequence comes twice, and none that the client has already.
pub fn unique(case: &Case, faults: &mut Faults) {
    for stream in &case.streams {
        let mut reached = stream.open.after.unwrap_or(0);
        for event in stream.events() {
            if is_of_snapshot(event) {
                reached = 0;
                continue;
            }
            if !is_frame(event) && first(event) <= reached {
                faults.say(format!(
                    "{}: {} to {} comes again, all up to {reached} was there",
                    stream.name(),
                    first(event),
                    event.sequence
                ));
            }
            reached = reached.max(event.sequence);
        }
    }
}

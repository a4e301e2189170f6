//! Time: nobody is shown less than what somebody was shown before, and times never go back.

use std::collections::BTreeMap;

use agent_runtime::proto::session_event::Kind;

use super::Faults;
use crate::{
    case::{Case, is_of_snapshot},
    history::Answer,
};

pub fn time(case: &Case, faults: &mut Faults) {
    // By session: what anybody was told, by place, growing.
    let mut told: BTreeMap<&str, Vec<(usize, i64)>> = BTreeMap::new();
    for stream in &case.streams {
        for frame in &stream.frames {
            let sequences = frame.events.iter().filter(|event| !is_of_snapshot(event)).map(|event| event.sequence);
            if let Some(last) = sequences.max() {
                told.entry(&stream.open.session).or_default().push((frame.place, last));
            }
        }
    }
    for called in &case.calls {
        if let Some((place, Answer::Ok { session, sequence, .. })) = &called.answer {
            told.entry(session).or_default().push((*place, *sequence));
        }
    }
    for told in told.values_mut() {
        told.sort_unstable();
        let mut most = 0;
        for (_, sequence) in told {
            most = most.max(*sequence);
            *sequence = most;
        }
    }
    let known = |session: &str, place: usize| {
        let told = told.get(session)?;
        let at = told.partition_point(|(told, _)| *told < place);
        at.checked_sub(1).map(|at| told[at].1)
    };
    // The stream of a turn was opened with its call, before the answer that named its cursor.
    for stream in case.streams.iter().filter(|stream| stream.open.of_call.is_none()) {
        let Some(before) = known(&stream.open.session, stream.place) else { continue };
        for event in stream.events().take(64) {
            let head = match &event.kind {
                Some(Kind::Bookmark(bookmark)) => bookmark.head_sequence,
                Some(Kind::SnapshotComplete(_)) => event.sequence,
                _ => continue,
            };
            if head < before {
                faults.say(format!("{}: goes back to {head}, {before} was known before", stream.name()));
            }
            break;
        }
    }
    for (id, session) in &case.sessions {
        let stamp = |at: &agent_runtime::proto::SessionEvent| at.event_time.map(|time| (time.seconds, time.nanos));
        for pair in session.log.windows(2) {
            if stamp(&pair[1]) < stamp(&pair[0]) {
                faults.say(format!("the time of {} in the log of {id} goes back", pair[1].sequence));
            }
        }
    }
}

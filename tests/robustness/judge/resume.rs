//! Resumable: after a sequence that a client was given it gets what followed, and no excuse.

use std::collections::{BTreeMap, BTreeSet};

use agent_runtime::proto::session_event::Kind;

use super::Faults;
use crate::{
    case::{Case, Stream, is_of_snapshot},
    history::Answer,
};

pub fn resumable(case: &Case, faults: &mut Faults) {
    let given = given(case);
    for stream in &case.streams {
        let Some(after) = stream.open.after else { continue };
        let key = (stream.client, stream.open.session.clone());
        let was_given =
            given.get(&key).is_some_and(|given| given.range(..(stream.place, 0)).any(|(_, cursor)| *cursor == after));
        if after > 0 && !was_given {
            faults.say(format!("{}: resumes after a sequence that it was never given", stream.name()));
        }
        first_frame(stream, after, faults);
        refused(case, stream, was_given, faults);
    }
}

/// Every cursor that a client was given, with where.
fn given(case: &Case) -> BTreeMap<(u32, String), BTreeSet<(usize, i64)>> {
    let mut given: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for stream in &case.streams {
        let cursors = given.entry((stream.client, stream.open.session.clone())).or_default();
        for frame in &stream.frames {
            let sequences = frame.events.iter().filter(|event| !is_of_snapshot(event)).map(|event| event.sequence);
            cursors.extend(sequences.map(|sequence| (frame.place, sequence)));
        }
    }
    for called in &case.calls {
        if let Some((place, Answer::Ok { session, sequence, .. })) = &called.answer {
            given.entry((called.client, session.clone())).or_default().insert((*place, *sequence));
        }
    }
    given
}

/// A resumed watch begins with an empty bookmark, so that the client knows at once where the head is.
fn first_frame(stream: &Stream, after: i64, faults: &mut Faults) {
    let Some(event) = stream.events().next() else { return };
    let began = match &event.kind {
        Some(Kind::Bookmark(_)) => event.sequence == after && event.first_sequence == after + 1,
        Some(Kind::SnapshotStart(_)) => stream.open.or_snapshot,
        _ => stream.open.of_call.is_some(),
    };
    if !began {
        faults.say(format!("{}: does not begin with an empty bookmark but with {event:?}", stream.name()));
    }
}

/// A cursor of this log is never ahead of it, nor of another log; a session is not gone unless it was deleted.
fn refused(case: &Case, stream: &Stream, was_given: bool, faults: &mut Faults) {
    let Some((_, _, reason)) = &stream.close else { return };
    let deleted = || {
        let of = |called: &&crate::case::Called| {
            called.call.method == "DeleteSession" && called.call.session == stream.open.session
        };
        case.calls.iter().any(|called| of(&called))
    };
    let wrong = match reason.as_str() {
        "SEQUENCE_AHEAD" | "SESSION_REPLACED" => was_given || stream.open.after == Some(0),
        "SEQUENCE_TRUNCATED" => case
            .sessions
            .get(&stream.open.session)
            .is_some_and(|session| stream.open.after.is_some_and(|after| after >= session.trimmed) && session.whole),
        "SESSION_NOT_FOUND" => !deleted(),
        _ => false,
    };
    if wrong {
        faults.say(format!("{}: refused with {reason}", stream.name()));
    }
}

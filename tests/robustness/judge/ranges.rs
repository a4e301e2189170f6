//! Ranges: every frame but the three of a snapshot begins right after the cursor; a snapshot is whole and comes only where
//! it was asked for.

use agent_runtime::proto::session_event::Kind;

use super::Faults;
use crate::case::{Case, Stream, first};

pub fn ranges(case: &Case, faults: &mut Faults) {
    for stream in &case.streams {
        if let Err(what) = check(stream) {
            faults.say(format!("{}: {what}", stream.name()));
        }
    }
    // The log as it is stored is dense as well; only compaction widens a range.
    for (id, session) in &case.sessions {
        let mut cursor = session.trimmed;
        for event in &session.log {
            if first(event) != event.sequence && !session.compacts {
                faults.say(format!("the log of {id} has nothing from {} to {}", first(event), event.sequence - 1));
            }
            if first(event) != cursor + 1 {
                faults.say(format!("the log of {id} goes on with {} after {cursor}", first(event)));
            }
            cursor = event.sequence;
        }
    }
}

fn check(stream: &Stream) -> Result<(), String> {
    let mut cursor = stream.open.after;
    let mut in_snapshot = false;
    let mut begun = false;
    for frame in &stream.frames {
        if frame.events.is_empty() && stream.open.of_call.is_none() {
            return Err("a frame without an event".into());
        }
        for event in &frame.events {
            let at = event.sequence;
            let may_snapshot = !begun && (stream.open.after.is_none() || stream.open.or_snapshot);
            match &event.kind {
                Some(Kind::SnapshotStart(_)) if !may_snapshot => return Err("a snapshot that nobody asked for".into()),
                Some(Kind::SnapshotStart(_) | Kind::SnapshotChunk(_)) if at != 0 || event.first_sequence != 0 => {
                    return Err(format!("a frame inside a snapshot has the sequence {at}"));
                }
                Some(Kind::SnapshotStart(_)) => (in_snapshot, cursor) = (true, None),
                Some(Kind::SnapshotChunk(_)) if in_snapshot => {}
                Some(Kind::SnapshotComplete(_)) if in_snapshot => (in_snapshot, cursor) = (false, Some(at)),
                Some(Kind::SnapshotChunk(_) | Kind::SnapshotComplete(_)) => {
                    return Err("a part of a snapshot outside one".into());
                }
                _ if in_snapshot => return Err(format!("{at} comes inside a snapshot")),
                _ => match cursor {
                    None => return Err(format!("{at} comes before the snapshot that was asked for")),
                    Some(held) if first(event) != held + 1 => {
                        return Err(format!("{} to {at} comes after {held}", first(event)));
                    }
                    Some(held) if at < held => return Err(format!("the cursor goes back from {held} to {at}")),
                    Some(_) => cursor = Some(at),
                },
            }
            begun = true;
        }
    }
    Ok(())
}

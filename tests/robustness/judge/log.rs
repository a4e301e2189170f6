//! What came over a stream against what is in the log. Reliable: nothing of the log is left out. Durable: nothing came that
//! is not in the log.

use agent_runtime::proto::{SessionEvent, session_event::Kind};

use super::{Faults, acknowledged::of_turn, atomic::is_final, shown::View};
use crate::{
    case::{Case, Session, Stream, first, is_frame, is_of_snapshot},
    history::kind_of,
};

/// Every event of the log that a stream passed over was delivered by it.
pub fn reliable(case: &Case, faults: &mut Faults) {
    for (stream, session) in case.known() {
        let view = View::of(case, stream, session);
        let mut cursor = stream.open.after.unwrap_or(0);
        for event in stream.events().filter(|event| !is_of_snapshot(event)) {
            if matches!(event.kind, Some(Kind::SnapshotComplete(_))) {
                cursor = event.sequence;
                continue;
            }
            // From the cursor and not from what the event claims: a hole in the stream is one here as well.
            let passed = session.placed(cursor + 1, event.sequence);
            let missing = passed.iter().filter(|logged| view.shows(logged));
            for logged in missing
                .filter(|logged| is_frame(event) || (logged.sequence < event.sequence && !is_part(logged, event)))
            {
                faults.say(format!("{}: {} {} was left out", stream.name(), logged.sequence, kind_of(logged)));
            }
            cursor = event.sequence;
        }
        // The stream of a turn ends with the turn, which may have ended before the place it was taken up at.
        let is_over = stream.close.as_ref().is_some_and(|(_, code, _)| code == "Ok");
        let before = session.placed(1, stream.open.after.unwrap_or(0));
        let ends = |event: &SessionEvent, id: &str| {
            of_turn(event).is_some_and(|turn| turn.turn_id == id && is_final(turn.status()))
        };
        if let Some(turn) = view.turn.filter(|_| is_over)
            && !stream.events().next_back().is_some_and(|event| ends(event, turn))
            && !before.iter().any(|event| ends(event, turn))
        {
            faults.say(format!("{}: is over before {turn} is", stream.name()));
        }
    }
}

/// Every event that came is in the log, the same.
pub fn durable(case: &Case, faults: &mut Faults) {
    for (stream, session) in case.known() {
        for event in stream.events().filter(|event| !is_frame(event)) {
            if let Err(what) = is_logged(stream, session, event) {
                faults.say(format!("{}: {} {} {what}", stream.name(), event.sequence, kind_of(event)));
            }
        }
        let shown = stream.events().map(|event| event.sequence).max().unwrap_or(0);
        if session.whole && shown > session.head() {
            faults.say(format!("{}: came up to {shown}, the log ends at {}", stream.name(), session.head()));
        }
    }
    for called in &case.calls {
        let Some((_, crate::history::Answer::Ok { session, sequence, .. })) = &called.answer else { continue };
        if let Some(held) = case.sessions.get(session).filter(|held| held.whole && held.head() < *sequence) {
            faults.say(format!("{session}: an answer told of {sequence}, the log ends at {}", held.head()));
        }
    }
}

fn is_logged(stream: &Stream, session: &Session, event: &SessionEvent) -> Result<(), String> {
    // Of a session that was lost nothing is known; other judges say so.
    if !session.whole || event.sequence <= session.trimmed {
        return Ok(());
    }
    let Some(Kind::BlockDelta(delta)) = &event.kind else {
        return match session.placed(event.sequence, event.sequence) {
            [one] if is_same(one, event) => Ok(()),
            [one, ..] => Err(format!("is something else in the log: {one:?} and not {event:?}")),
            [] => Err("is not in the log".into()),
        };
    };
    // What a filter left out only widens the range.
    let is_plain = stream.open.filter.is_none() && stream.open.of_call.is_none();
    let of_block =
        |logged: &&SessionEvent| matches!(&logged.kind, Some(Kind::BlockDelta(d)) if d.block_id == delta.block_id);
    let logged = session.placed(first(event), event.sequence).iter();
    let parts: Vec<&SessionEvent> = logged.filter(|logged| is_plain || of_block(logged)).collect();
    if merged(&parts).is_some_and(|merged| is_same(&merged, event)) {
        return Ok(());
    }
    // Compacted since: what is left of it must fit, and its text is held against the whole block's.
    let fits = |part: &&SessionEvent| of_block(part) && is_part(part, event);
    match parts.as_slice() {
        parts if session.is_compacted(first(event), event.sequence) && parts.iter().all(fits) => Ok(()),
        [] => Err("is not in the log".into()),
        _ => Err("is not what its parts are in the log".into()),
    }
}

/// Whether the logged event is what came, or was merged into it.
fn is_part(logged: &SessionEvent, event: &SessionEvent) -> bool {
    match (&logged.kind, &event.kind) {
        (Some(Kind::BlockDelta(part)), Some(Kind::BlockDelta(whole))) => {
            let at = usize::try_from(part.offset - whole.offset).ok();
            part.block_id == whole.block_id
                && at.and_then(|at| whole.delta.get(at..)).is_some_and(|rest| rest.starts_with(&part.delta))
        }
        _ => false,
    }
}

/// Consecutive deltas of one block as one.
fn merged(events: &[&SessionEvent]) -> Option<SessionEvent> {
    let mut whole = (*events.first()?).clone();
    for event in &events[1..] {
        let (Some(Kind::BlockDelta(held)), Some(Kind::BlockDelta(next))) = (&mut whole.kind, &event.kind) else {
            return None;
        };
        let end = held.offset + i64::try_from(held.delta.len()).ok()?;
        if held.block_id != next.block_id || end != next.offset {
            return None;
        }
        held.delta.push_str(&next.delta);
        (whole.sequence, whole.event_time) = (event.sequence, event.event_time);
    }
    Some(whole)
}

/// Equal but for how the range is told.
fn is_same(logged: &SessionEvent, event: &SessionEvent) -> bool {
    let plain = |event: &SessionEvent| SessionEvent { first_sequence: 0, ..event.clone() };
    plain(logged) == plain(event)
}

//! Lived: no turn is lost with a server that is killed, and each comes to an end. What may be lost is lost with the power, or
//! with the sandbox.

use std::collections::{BTreeMap, BTreeSet};

use agent_runtime::proto::{SessionEvent, Turn, TurnStatus, session_event::Kind};

use super::{Faults, acknowledged::of_turn};
use crate::case::{Case, Session};

pub fn lived(case: &Case, faults: &mut Faults) {
    for (id, turn) in &case.stuck {
        faults.say(format!("{id}: {turn} does not end"));
    }
    if case.fates.iter().any(|fate| fate == "power lost") {
        return;
    }
    for (id, session) in &case.sessions {
        // Each time that one was taken may have cost a turn, but not the next ones.
        let excused = sandboxes(session).filter_map(|sandbox| case.destroyed.get(sandbox)).sum();
        let lost = session.log.iter().filter_map(of_turn).filter(|turn| turn.status() == TurnStatus::Lost);
        for turn in lost.skip(excused) {
            faults.say(format!("{id}: {} is lost, and nobody took its sandbox: {:?}", turn.turn_id, turn.error));
        }
    }
}

/// Every sandbox that a session had.
pub fn sandboxes(session: &Session) -> impl Iterator<Item = &str> {
    let changes = session.log.iter().filter_map(|event| match &event.kind {
        Some(Kind::SandboxChanged(e)) => e.sandbox.as_ref().map(|sandbox| sandbox.sandbox_id.as_str()),
        _ => None,
    });
    changes.collect::<BTreeSet<_>>().into_iter()
}

/// A turn that came to its end, from its first event to its last, by the clock of the log in microseconds.
pub struct Span<'a> {
    pub from: i64,
    pub to: i64,
    pub turn: &'a Turn,
}

/// The turns of a session that came to their end.
pub fn spans(session: &Session) -> Vec<Span<'_>> {
    let mut spans: BTreeMap<&str, Span<'_>> = BTreeMap::new();
    for event in &session.log {
        let Some(turn) = of_turn(event) else { continue };
        let at = micros(event);
        let span = spans.entry(&turn.turn_id).or_insert(Span { from: at, to: at, turn });
        (span.to, span.turn) = (at, turn);
    }
    spans.into_values().filter(|span| span.turn.status() == TurnStatus::Completed).collect()
}

/// When an event happened.
pub fn micros(event: &SessionEvent) -> i64 {
    event.event_time.map_or(0, |time| time.seconds * 1_000_000 + i64::from(time.nanos) / 1000)
}

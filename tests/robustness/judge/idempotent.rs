//! Idempotent: the same request_id has one effect and one answer, and nothing is interrupted that nobody interrupted.

use std::collections::{BTreeMap, BTreeSet};

use agent_runtime::proto::TurnStatus;

use super::{Faults, acknowledged::of_turn};
use crate::{
    case::{Called, Case},
    history::Answer,
};

pub fn idempotent(case: &Case, faults: &mut Faults) {
    let mut by_id: BTreeMap<&str, Vec<&Called>> = BTreeMap::new();
    for called in case.calls.iter().filter(|called| !called.call.request_id.is_empty()) {
        by_id.entry(&called.call.request_id).or_default().push(called);
    }
    for (id, calls) in by_id {
        let answers: Vec<&Answer> = calls.iter().filter_map(|called| Some(&called.answer.as_ref()?.1)).collect();
        let good: Vec<&&Answer> = answers.iter().filter(|answer| matches!(answer, Answer::Ok { .. })).collect();
        if good.windows(2).any(|pair| pair[0] != pair[1]) {
            faults.say(format!("{id} has two answers: {good:?}"));
        }
    }
    interruptions(case, faults);
}

/// Each turn that was interrupted has a call of its own that did it.
fn interruptions(case: &Case, faults: &mut Faults) {
    for (id, session) in &case.sessions {
        let interrupted: BTreeSet<&str> = session
            .log
            .iter()
            .filter_map(of_turn)
            .filter(|turn| turn.status() == TurnStatus::Interrupted)
            .map(|turn| turn.turn_id.as_str())
            .collect();
        let causes: BTreeSet<String> = case
            .calls
            .iter()
            .filter(|called| called.call.session == *id && called.call.interrupts)
            .map(|called| match called.call.request_id.as_str() {
                "" => called.call.call.to_string(),
                request_id => request_id.to_owned(),
            })
            .collect();
        if interrupted.len() > causes.len() {
            faults.say(format!("{id}: {} turns were interrupted by {} calls", interrupted.len(), causes.len()));
        }
    }
}

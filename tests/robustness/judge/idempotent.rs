//! Idempotent: the same request_id has one effect and one answer, and nothing is interrupted that nobody interrupted.

use std::collections::{BTreeMap, BTreeSet};

use agent_runtime::proto::TurnStatus;

use super::{
    Faults,
    acknowledged::{may_have_effect, of_turn},
};
use crate::{
    case::{Called, Case, Session},
    history::Answer,
};

pub fn idempotent(case: &Case, faults: &mut Faults) {
    let mut by_id: BTreeMap<&str, Vec<&Called>> = BTreeMap::new();
    for called in case.calls.iter().filter(|called| !called.call.request_id.is_empty()) {
        by_id.entry(&called.call.request_id).or_default().push(called);
    }
    for (id, calls) in by_id {
        let good: Vec<(Option<i64>, &Answer)> = calls
            .iter()
            .filter_map(|called| Some((called.call.after, &called.answer.as_ref()?.1)))
            .filter(|(_, answer)| matches!(answer, Answer::Ok { .. }))
            .collect();
        if good.windows(2).any(|pair| !agree(pair[0], pair[1])) {
            faults.say(format!("{id} has two answers: {good:?}"));
        }
    }
    interruptions(case, faults);
}

/// The same answer; who takes up a turn again behind a sequence is told that one.
fn agree((after, one): (Option<i64>, &Answer), (behind, other): (Option<i64>, &Answer)) -> bool {
    let (Answer::Ok { turn, sequence, .. }, Answer::Ok { turn: of_other, sequence: other_sequence, .. }) = (one, other)
    else {
        return false;
    };
    let told = |after: Option<i64>, sequence: &i64| after.is_none_or(|after| after == *sequence);
    match (after, behind) {
        (None, None) => one == other,
        _ => turn == of_other && told(after, sequence) && told(behind, other_sequence),
    }
}

/// Each turn that was interrupted has a call of its own that did it.
fn interruptions(case: &Case, faults: &mut Faults) {
    for (id, session) in &case.sessions {
        let (interrupted, causes) = interrupted(case, id, session);
        if interrupted > causes {
            faults.say(format!("{id}: {interrupted} turns were interrupted by {causes} calls"));
        }
    }
}

/// How many turns were interrupted, and how many calls may have done that.
pub fn interrupted(case: &Case, id: &str, session: &Session) -> (usize, usize) {
    let turns: BTreeSet<&str> = session
        .log
        .iter()
        .filter_map(of_turn)
        .filter(|turn| turn.status() == TurnStatus::Interrupted)
        .map(|turn| turn.turn_id.as_str())
        .collect();
    let causes: BTreeSet<String> = case
        .calls
        .iter()
        .filter(|called| called.call.session == id && called.call.interrupts && may_have_effect(called))
        .map(|called| match called.call.request_id.as_str() {
            "" => called.call.call.to_string(),
            request_id => request_id.to_owned(),
        })
        .collect();
    (turns.len(), causes.len())
}

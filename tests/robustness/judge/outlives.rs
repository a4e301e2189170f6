//! Turns outlive their server: however it was killed, nobody's turn is lost with it. Only a loss of power takes agents along.

use agent_runtime::proto::TurnStatus;

use super::{Faults, acknowledged::of_turn};
use crate::case::Case;

pub fn outlives(case: &Case, faults: &mut Faults) {
    if case.power_lost {
        return;
    }
    for (id, session) in &case.sessions {
        for turn in session.log.iter().filter_map(of_turn).filter(|turn| turn.status() == TurnStatus::Lost) {
            let why = turn.error.as_ref().map(|error| (&error.message, error.metadata.get("cause")));
            faults.say(format!("{id}: {} is lost, though its agent need not be: {why:?}", turn.turn_id));
        }
    }
}

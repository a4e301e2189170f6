//! How an agent is run: the options of a session, as they come with its creation, its update, or a profile.

use std::time::Duration;

use super::{MAX_ID, check::Check};
use crate::{
    domain::{Budget, SessionOptions},
    proto,
};

/// The longest and shortest silence after which a sandbox is stopped.
const IDLE: [Duration; 2] = [Duration::from_secs(10), Duration::from_hours(24)];

/// How an agent is run; `field` is where it stands in the request.
pub(super) fn session_options(check: &mut Check, field: &str, options: proto::SessionOptions) -> SessionOptions {
    let proto::SessionOptions { model, permission_mode, budget, idle_timeout } = options;
    SessionOptions {
        model: check.model(&format!("{field}.model"), model),
        // Which there are depends on the agent, and that on the profile.
        permission_mode: check.text(format_args!("{field}.permission_mode"), permission_mode, MAX_ID),
        budget: budget.map(|budget| self::budget(check, &format!("{field}.budget"), budget)),
        idle_timeout: idle_timeout.and_then(|silence| {
            let silence = duration(silence).filter(|silence| (IDLE[0]..=IDLE[1]).contains(silence));
            if silence.is_none() {
                check.refuse(format!("{field}.idle_timeout"), "10 s to 24 h");
            }
            silence
        }),
    }
}

fn budget(check: &mut Check, field: &str, budget: proto::Budget) -> Budget {
    let proto::Budget { session_cost_micro_usd, turn_cost_micro_usd, turn_steps, turn_duration } = budget;
    let numbers = [
        ("session_cost_micro_usd", session_cost_micro_usd),
        ("turn_cost_micro_usd", turn_cost_micro_usd),
        ("turn_steps", turn_steps.into()),
    ];
    for (name, number) in numbers {
        if number < 0 {
            check.refuse(format!("{field}.{name}"), "must not be negative; 0 is no limit");
        }
    }
    let turn_duration = turn_duration.and_then(|limit| {
        let limit = duration(limit);
        if limit.is_none() {
            check.refuse(format!("{field}.turn_duration"), "a duration that is not negative; 0 is no limit");
        }
        limit.filter(|limit| !limit.is_zero())
    });
    Budget { session_cost_micro_usd, turn_cost_micro_usd, turn_steps, turn_duration }
}

/// `None`: it is negative, or none.
fn duration(wire: prost_types::Duration) -> Option<Duration> {
    wire.try_into().ok()
}

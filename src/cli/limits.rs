//! Limits of a session, as flags: how much it may cost and take, and how long it may be silent.

use std::time::Duration;

use super::{age, render::cost};
use crate::proto::{Budget, SessionOptions};

/// What has a flag is set, and the rest stays as it is.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Limits {
    /// Stop the sandbox after this silence, for example 90s or 2h.
    #[arg(long, value_name = "TIME", value_parser = age::parse)]
    idle_timeout: Option<Duration>,
    /// Dollars that all turns together may cost; 0: no limit.
    #[arg(long, value_name = "USD", value_parser = micro_usd)]
    budget_session: Option<i64>,
    /// Dollars that one turn may cost; 0: no limit.
    #[arg(long, value_name = "USD", value_parser = micro_usd)]
    budget_turn: Option<i64>,
    /// Model calls that one turn may make; 0: no limit.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(0..))]
    budget_steps: Option<i32>,
    /// Time that one turn may work, for example 10m; 0s: no limit.
    #[arg(long, value_name = "TIME", value_parser = age::parse)]
    budget_time: Option<Duration>,
}

impl Limits {
    /// Sets what has a flag.
    pub(super) fn apply(&self, options: &mut SessionOptions) {
        if let Some(silence) = self.idle_timeout {
            options.idle_timeout = Some(wire(silence));
        }
        if !self.has_budget() {
            return;
        }
        let budget = options.budget.get_or_insert_with(Budget::default);
        budget.session_cost_micro_usd = self.budget_session.unwrap_or(budget.session_cost_micro_usd);
        budget.turn_cost_micro_usd = self.budget_turn.unwrap_or(budget.turn_cost_micro_usd);
        budget.turn_steps = self.budget_steps.unwrap_or(budget.turn_steps);
        if let Some(time) = self.budget_time {
            budget.turn_duration = (!time.is_zero()).then(|| wire(time));
        }
    }

    /// A flag of the budget is set.
    pub(super) fn has_budget(&self) -> bool {
        let Self { idle_timeout: _, budget_session, budget_turn, budget_steps, budget_time } = self;
        budget_session.is_some() || budget_turn.is_some() || budget_steps.is_some() || budget_time.is_some()
    }

    /// The flag of the silence is set.
    pub(super) fn has_idle_timeout(&self) -> bool {
        self.idle_timeout.is_some()
    }
}

fn wire(time: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

/// The silence and the budget, for people; empty where they are not set.
pub(super) fn shown(options: &SessionOptions) -> (String, String) {
    let seconds = |time: &prost_types::Duration| format!("{} s", time.seconds);
    let silence = options.idle_timeout.as_ref().map(seconds).unwrap_or_default();
    let budget = options.budget.unwrap_or_default();
    let cost = |micro: i64, of: &str| (micro > 0).then(|| format!("{} a {of}", cost(micro)));
    let parts = [
        cost(budget.session_cost_micro_usd, "session"),
        cost(budget.turn_cost_micro_usd, "turn"),
        (budget.turn_steps > 0).then(|| format!("{} calls a turn", budget.turn_steps)),
        budget.turn_duration.as_ref().map(|time| format!("{} a turn", seconds(time))),
    ];
    (silence, parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Reads "2" or "0.25", exactly.
fn micro_usd(text: &str) -> Result<i64, String> {
    let rule = || "dollars, with at most six decimals, for example 2 or 0.25".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 6 || !digits(whole) || !digits(part) {
        return Err(rule());
    }
    let micro: i64 = format!("{part:0<6}").parse().map_err(|_| rule())?;
    let whole: i64 = whole.parse().map_err(|_| rule())?;
    whole.checked_mul(1_000_000).and_then(|whole| whole.checked_add(micro)).ok_or_else(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_exactly() {
        for (text, micro) in [("2", 2_000_000), ("0.25", 250_000), ("0.000001", 1), ("0", 0), ("1.", 1_000_000)] {
            assert_eq!(micro_usd(text), Ok(micro), "{text}");
        }
        for text in ["", ".5", "-1", "1e3", "0.0000001", "1,5", "99999999999999999999"] {
            assert!(micro_usd(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_without_a_flag_stays() {
        let budget = Budget { turn_steps: 3, ..Budget::default() };
        let mut options = SessionOptions { budget: Some(budget), ..SessionOptions::default() };
        Limits { budget_turn: Some(5), ..Limits::default() }.apply(&mut options);
        assert_eq!(options.budget, Some(Budget { turn_steps: 3, turn_cost_micro_usd: 5, ..Budget::default() }));
        assert_eq!(options.idle_timeout, None);
    }
}

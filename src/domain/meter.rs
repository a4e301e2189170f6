//! What a turn may use and has used: enough to end it in time, also in another process than the one it began in. Not in the
//! contract's record; who is shown what a turn used finds it in its usage.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Budget, Failure, Reason, Timestamp};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meter {
    /// What it may use: as the session's options said when it began to run.
    pub budget: Budget,
    /// How long it worked, up to `since`.
    pub worked: Duration,
    /// It works since then; `None`: it does not run, or waits.
    pub since: Option<Timestamp>,
    /// Model calls in processes of its agent that are gone.
    pub steps: i32,
    /// What those processes told of its cost.
    pub cost_micro_usd: i64,
    /// It is being ended, because this limit is reached.
    pub reached: Option<Limit>,
}

impl Meter {
    /// Nothing was measured yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// When the turn has worked as long as it may, if it works on.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let left = self.budget.turn_duration?.saturating_sub(self.worked);
        let left = i64::try_from(left.as_micros()).unwrap_or(i64::MAX);
        Some(Timestamp(self.since?.0.saturating_add(left)))
    }
}

/// One of the limits of a [`Budget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// What all turns of the session cost.
    SessionCost,
    /// What the turn costs.
    TurnCost,
    /// Model calls of the turn.
    TurnSteps,
    /// Time that the turn works.
    TurnDuration,
}

impl Limit {
    /// As the contract's `Budget` names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SessionCost => "session_cost_micro_usd",
            Self::TurnCost => "turn_cost_micro_usd",
            Self::TurnSteps => "turn_steps",
            Self::TurnDuration => "turn_duration",
        }
    }

    /// Tells that it is reached, and what it is in this budget.
    #[must_use]
    pub fn reached(self, budget: &Budget) -> Failure {
        let (value, said) = match self {
            Self::SessionCost => {
                let limit = budget.session_cost_micro_usd;
                (limit.to_string(), format!("the session has cost {} or more, which is its limit", Usd(limit)))
            }
            Self::TurnCost => {
                let limit = budget.turn_cost_micro_usd;
                (limit.to_string(), format!("the turn has cost {} or more, which is its limit", Usd(limit)))
            }
            Self::TurnSteps => {
                let limit = budget.turn_steps;
                (limit.to_string(), format!("the turn made {limit} model calls, which is its limit"))
            }
            Self::TurnDuration => {
                let limit = budget.turn_duration.unwrap_or_default().as_secs_f64();
                (format!("{limit}s"), format!("the turn has worked for {limit} s, which is its limit"))
            }
        };
        let message = format!("{said}; raise options.budget.{self} by UpdateSession to go on");
        Failure::new(Reason::BudgetExhausted, message).with("limit", self).with("value", value)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Millionths of a dollar, for people.
struct Usd(i64);

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_itself_and_its_value() {
        let budget = Budget {
            session_cost_micro_usd: 5_000_000,
            turn_cost_micro_usd: 1,
            turn_steps: 3,
            turn_duration: Some(Duration::from_millis(1500)),
        };
        let told = [Limit::SessionCost, Limit::TurnCost, Limit::TurnSteps, Limit::TurnDuration].map(|limit| {
            let failure = limit.reached(&budget);
            assert!(failure.message.contains(limit.as_str()), "{failure}");
            (failure.metadata["limit"].clone(), failure.metadata["value"].clone())
        });
        let expected = [
            ("session_cost_micro_usd", "5000000"),
            ("turn_cost_micro_usd", "1"),
            ("turn_steps", "3"),
            ("turn_duration", "1.5s"),
        ];
        assert_eq!(told, expected.map(|(limit, value)| (limit.to_owned(), value.to_owned())));
        assert!(Limit::SessionCost.reached(&budget).message.contains("$5.000000"));
    }

    #[test]
    fn a_turn_works_only_while_it_does_not_wait() {
        let budget = Budget { turn_duration: Some(Duration::from_secs(10)), ..Budget::default() };
        let meter = Meter { budget, worked: Duration::from_secs(4), ..Meter::default() };
        assert_eq!(meter.deadline(), None);
        let works = Meter { since: Some(Timestamp(1_000_000)), ..meter };
        assert_eq!(works.deadline(), Some(Timestamp(7_000_000)));
        assert_eq!(Meter { budget: Budget::default(), ..works }.deadline(), None);
    }
}

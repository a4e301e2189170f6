//! What was used: from the CLI's running totals to what one turn used.

use serde::{Deserialize, Serialize};

use super::wire::{ModelUsage, ResultLine, TurnUsage};
use crate::domain::Usage;

/// Tokens and money, in all. Money is counted in billionths of a dollar: a floating-point sum is a little off, and it
/// would change on its way through a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) input: i64,
    pub(super) output: i64,
    pub(super) cache_read: i64,
    pub(super) cache_write: i64,
    pub(super) thinking: i64,
    pub(super) nano_usd: i64,
}

/// What a result tells of its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Of the turn, subagents included.
    pub(super) turn: Totals,
    /// Of its main conversation.
    pub(super) main: Totals,
    /// All of the session, to compare the next result with.
    pub(super) totals: Totals,
}

impl Told {
    /// What `line` tells, when `before` is what the result before it told of all.
    pub(super) fn read(line: &ResultLine<'_>, before: Totals) -> Self {
        let main = line.usage.as_ref().map(Totals::from).unwrap_or_default();
        let nano_usd = line.total_cost_usd.map_or(before.nano_usd, nano);
        let totals = Self::totals(line, before.plus(main), nano_usd);
        let turn = match (&line.model_usage_since_last_result, &line.model_usage) {
            // Right also where the totals began anew unseen: a process that was killed had not stored them.
            (Some(models), _) => Totals::sum(models),
            (None, Some(_)) => totals.since(before),
            (None, None) => {
                let cost = |totals: Totals| Totals { nano_usd: totals.nano_usd, ..Totals::default() };
                main.plus(cost(totals).since(cost(before)))
            }
        };
        // Of a call that broke off the main conversation counts what it read; the totals do not, and money follows them.
        Self { turn, main: Totals { nano_usd: turn.nano_usd, ..main.least(turn) }, totals }
    }

    fn totals(line: &ResultLine<'_>, otherwise: Totals, nano_usd: i64) -> Totals {
        Totals { nano_usd, ..line.model_usage.as_ref().map_or(otherwise, Totals::sum) }
    }
}

impl Totals {
    fn sum<'a, K: 'a>(models: impl IntoIterator<Item = (&'a K, &'a ModelUsage)>) -> Self {
        models.into_iter().fold(Self::default(), |sum, (_, model)| {
            sum.plus(Self {
                input: model.input_tokens,
                output: model.output_tokens,
                cache_read: model.cache_read_input_tokens,
                cache_write: model.cache_creation_input_tokens,
                thinking: model.thinking_tokens,
                nano_usd: nano(model.cost_usd),
            })
        })
    }

    /// The difference, never negative. Where a total fell, a new process began to count anew.
    fn since(self, before: Self) -> Self {
        let fell = self.input < before.input || self.output < before.output || self.nano_usd < before.nano_usd;
        if fell { self } else { self.minus(before) }
    }

    /// The sum.
    pub(super) fn plus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_add)
    }

    /// What is more than in `other`.
    pub(super) fn minus(self, other: Self) -> Self {
        self.zip(other, |a, b| a.saturating_sub(b).max(0))
    }

    /// What is in both.
    pub(super) fn least(self, other: Self) -> Self {
        self.zip(other, |a, b| a.min(b).max(0))
    }

    /// All of it in parts, by weights for what was read and for what was written. Without a weight nothing is given.
    pub(super) fn spread(self, read: &[i64], written: &[i64]) -> Vec<Self> {
        let parts = read.iter().zip(written).enumerate().map(|(index, (r, w))| {
            let of_read = |all| part(all, index, *r, read);
            let of_written = |all| part(all, index, *w, written);
            Self {
                input: of_read(self.input),
                output: of_written(self.output),
                cache_read: of_read(self.cache_read),
                cache_write: of_read(self.cache_write),
                thinking: of_written(self.thinking),
                nano_usd: 0,
            }
        });
        parts.collect()
    }

    fn zip(self, other: Self, f: impl Fn(i64, i64) -> i64) -> Self {
        Self {
            input: f(self.input, other.input),
            output: f(self.output, other.output),
            cache_read: f(self.cache_read, other.cache_read),
            cache_write: f(self.cache_write, other.cache_write),
            thinking: f(self.thinking, other.thinking),
            nano_usd: f(self.nano_usd, other.nano_usd),
        }
    }
}

impl From<&TurnUsage> for Totals {
    fn from(usage: &TurnUsage) -> Self {
        Self {
            input: usage.input_tokens,
            output: usage.output_tokens,
            cache_read: usage.cache_read_input_tokens,
            cache_write: usage.cache_creation_input_tokens,
            thinking: usage.output_tokens_details.as_ref().map_or(0, |details| details.thinking_tokens),
            nano_usd: 0,
        }
    }
}

impl From<Totals> for Usage {
    fn from(totals: Totals) -> Self {
        Self {
            input_tokens: totals.input,
            output_tokens: totals.output,
            cache_read_tokens: totals.cache_read,
            cache_write_tokens: totals.cache_write,
            thinking_tokens: totals.thinking,
            cost_micro_usd: micro(totals.nano_usd),
        }
    }
}

/// The part of the one at `index` with this weight; the first one that has any gets what cannot be divided.
fn part(all: i64, index: usize, weight: i64, weights: &[i64]) -> i64 {
    let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if sum <= 0 || weight <= 0 {
        return 0;
    }
    let share = |weight: i64| i128::from(all) * i128::from(weight) / sum;
    let is_first = weights.iter().position(|weight| *weight > 0) == Some(index);
    let rest = if is_first { i128::from(all) - weights.iter().map(|weight| share(*weight)).sum::<i128>() } else { 0 };
    i64::try_from(share(weight) + rest).unwrap_or(i64::MAX)
}

/// Dollars as billionths, without the noise of a floating-point sum.
#[expect(clippy::cast_possible_truncation, reason = "rounded before, and a cast saturates")]
pub(super) fn nano(usd: f64) -> i64 {
    ((usd * 1e9).round() as i64).max(0)
}

/// Billionths as millionths, rounded half up.
pub(super) fn micro(nano: i64) -> i64 {
    nano.saturating_add(500) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(line: &str, before: Totals) -> Usage {
        Told::read(&serde_json::from_str(line).unwrap(), before).turn.into()
    }

    fn cost(total: &str, before: i64) -> i64 {
        let before = Totals { nano_usd: before, ..Totals::default() };
        turn(&format!(r#"{{"total_cost_usd":{total}}}"#), before).cost_micro_usd
    }

    #[test]
    fn a_turn_costs_what_the_total_grew_by_rounded_half_up() {
        assert_eq!(cost("0.0014500000000000001", 0), 1450);
        assert_eq!(cost("0.015352500000000003", 14_160_000), 1193);
        assert_eq!(cost("0.0000004", 0), 0);
        assert_eq!(cost("0.0000005", 0), 1);
        assert_eq!(cost("0.002", 2_000_000), 0);
        // Fallen: a new count.
        assert_eq!(cost("0.001", 2_000_000), 1000);
        assert_eq!(cost("-1", 0), 0);
        assert_eq!(cost("null", 2_000_000), 0);
        assert_eq!(cost("1e300", 0), i64::MAX / 1000);
    }

    #[test]
    fn without_totals_a_turn_used_what_its_main_conversation_used() {
        let before = Totals { input: 100, output: 100, nano_usd: 5, ..Totals::default() };
        let usage = turn(r#"{"usage":{"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":null}}"#, before);
        assert_eq!(usage, Usage { input_tokens: 3, output_tokens: 4, ..Usage::default() });
    }
}

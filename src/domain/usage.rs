//! Tokens and money.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What was used, as the agent reports it; 0 where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Not read from or written to a cache.
    pub input_tokens: i64,
    /// Written by the model.
    pub output_tokens: i64,
    /// Read from a cache.
    pub cache_read_tokens: i64,
    /// Written to a cache.
    pub cache_write_tokens: i64,
    /// Contained in `output_tokens`.
    pub thinking_tokens: i64,
    /// Millionths of a US dollar.
    pub cost_micro_usd: i64,
}

impl Usage {
    /// Input, output and both cache counters.
    #[must_use]
    pub fn total_tokens(&self) -> i64 {
        let more = [self.output_tokens, self.cache_read_tokens, self.cache_write_tokens];
        more.into_iter().fold(self.input_tokens, i64::saturating_add)
    }
}

/// Agents print what they like, also numbers that no sum holds.
impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let Self {
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            thinking_tokens,
            cost_micro_usd,
        } = other;
        self.input_tokens = self.input_tokens.saturating_add(input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(output_tokens);
        self.cache_read_tokens = self.cache_read_tokens.saturating_add(cache_read_tokens);
        self.cache_write_tokens = self.cache_write_tokens.saturating_add(cache_write_tokens);
        self.thinking_tokens = self.thinking_tokens.saturating_add(thinking_tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(cost_micro_usd);
    }
}

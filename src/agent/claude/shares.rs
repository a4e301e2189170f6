//! Shares: what each subagent used of what a result tells of all.
//!
//! The CLI tells no sum for a subagent. It tells what each call of the model read as the call begins, and what the last call
//! wrote when the subagent is done; the rest of what was written is only in the total of all, and is split by the calls of
//! which nothing is told. So one subagent gets exactly its own, and several add up.

use serde::{Deserialize, Serialize};

use super::usage::Totals;

/// What is known of one subagent's use since the last result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Share {
    /// What was told.
    told: Totals,
    /// What the newest call read.
    newest: Totals,
    /// Calls that were told to have read, and not what they wrote.
    unwritten: i64,
    /// Calls of which nothing is told.
    unknown: i64,
    /// A call was seen at all: some versions keep to themselves what subagents of subagents say.
    is_seen: bool,
    /// The newest call ended with calls of tools, so another one follows.
    calls_tools: bool,
    /// What the newest call wrote, once that was told.
    last: Option<Totals>,
}

impl Share {
    /// A call of the model began; `read` is what it was told to read.
    pub(super) fn begin(&mut self, read: Option<Totals>) {
        self.is_seen = true;
        self.calls_tools = false;
        self.last = None;
        self.newest = Totals { output: 0, thinking: 0, nano_usd: 0, ..read.unwrap_or_default() };
        self.told = self.told.plus(self.newest);
        *(if read.is_some() { &mut self.unwritten } else { &mut self.unknown }) += 1;
    }

    /// The newest call asks for a tool.
    pub(super) fn calls_tool(&mut self) {
        self.calls_tools = true;
    }

    /// The subagent is done, and its last call read and wrote so many tokens.
    pub(super) fn end_with(&mut self, tokens: i64) {
        if !self.is_seen {
            self.unknown = 1;
        }
        // The last call asks for nothing; if one is seen that does, the last one is not.
        if tokens <= 0 || self.calls_tools || (self.unwritten == 0 && self.last.is_none()) {
            return;
        }
        let Totals { input, cache_read, cache_write, .. } = self.newest;
        let read = input.saturating_add(cache_read).saturating_add(cache_write);
        self.wrote(Totals { output: tokens.saturating_sub(read).max(0), ..Totals::default() });
    }

    /// The subagent is done, and this is what its last call used: exact, where the tokens told before may be of a moment
    /// before its end.
    pub(super) fn end(&mut self, last: Totals) {
        let is_told = self.last.is_some() || (self.unwritten > 0 && !self.calls_tools);
        if is_told {
            self.wrote(Totals { output: last.output, thinking: last.thinking, ..Totals::default() });
        } else {
            if !self.is_seen {
                self.unknown = 0;
            }
            self.told = self.told.plus(Totals { nano_usd: 0, ..last });
        }
    }

    fn wrote(&mut self, last: Totals) {
        match self.last.replace(last) {
            Some(before) => self.told = self.told.minus(before),
            None => self.unwritten -= 1,
        }
        self.told = self.told.plus(last);
    }

    /// A result told of all; what comes now belongs to the next one.
    fn settle(&mut self) {
        (self.told, self.unwritten, self.unknown, self.last) = (Totals::default(), 0, 0, None);
    }
}

/// Splits what all subagents used; the last part is what none of them did.
pub(super) fn split(rest: Totals, shares: &mut [&mut Share]) -> (Vec<Totals>, Totals) {
    let mut left = rest;
    let mut parts: Vec<Totals> = shares
        .iter()
        .map(|share| {
            let part = share.told.least(left);
            left = left.minus(part);
            part
        })
        .collect();
    let read: Vec<i64> = shares.iter().map(|share| share.unknown).collect();
    let written: Vec<i64> = shares.iter().map(|share| share.unknown.saturating_add(share.unwritten)).collect();
    for (part, more) in parts.iter_mut().zip(left.spread(&read, &written)) {
        *part = part.plus(more);
    }
    for share in shares.iter_mut() {
        share.settle();
    }
    let given = parts.iter().fold(Totals::default(), |sum, part| sum.plus(*part));
    (parts, rest.minus(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: i64) -> Totals {
        // Calls tell that they wrote something as they begin; that is no number to count on.
        Totals { input, output: 1, ..Totals::default() }
    }

    fn totals(input: i64, output: i64) -> Totals {
        Totals { input, output, ..Totals::default() }
    }

    #[test]
    fn what_is_told_is_exact_and_the_rest_goes_by_the_calls_of_which_nothing_is_told() {
        let (mut a, mut b) = (Share::default(), Share::default());
        // One call, told whole.
        a.begin(Some(read(100)));
        a.end_with(103);
        // Told again it is counted once, and as it is told last.
        a.end(totals(100, 7));
        // Two calls; the last one was not forwarded.
        b.begin(Some(read(10)));
        b.calls_tool();
        b.end_with(99);
        b.end(totals(20, 5));
        let (parts, none) = split(totals(131, 40), &mut [&mut a, &mut b]);
        assert_eq!(parts, [totals(100, 7), totals(30, 33)]);
        assert_eq!(none, totals(1, 0));
        // Nothing is left of it for the next result.
        assert_eq!(split(totals(3, 3), &mut [&mut a, &mut b]), (vec![totals(0, 0); 2], totals(3, 3)));
    }

    #[test]
    fn parts_add_up_to_no_more_than_all() {
        let (mut a, mut b, mut c) = (Share::default(), Share::default(), Share::default());
        for share in [&mut a, &mut b, &mut c] {
            share.begin(None);
        }
        let (parts, none) = split(totals(11, 2), &mut [&mut a, &mut b, &mut c]);
        assert_eq!(parts.iter().fold(none, |sum, part| sum.plus(*part)), totals(11, 2));
        assert_eq!(parts[0].input, 5);
        a.begin(Some(read(50)));
        a.end(totals(50, 50));
        assert_eq!(split(totals(20, 20), &mut [&mut a]), (vec![totals(20, 20)], totals(0, 0)));
        a.begin(Some(totals(i64::MAX, i64::MAX)));
        a.end_with(i64::MIN);
        a.end(totals(i64::MAX, i64::MAX));
        split(totals(i64::MAX, i64::MAX), &mut [&mut a]);
    }
}

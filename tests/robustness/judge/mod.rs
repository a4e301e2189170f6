//! Judges: pure functions over a history. Each holds one promise of the contract against what clients saw and what was
//! there at the end. They share no code with the server nor with its client, but for the messages of the contract.

mod acknowledged;
mod agent;
mod answered;
mod atomic;
mod bookmarks;
mod delivered;
mod fold;
mod idempotent;
mod left;
mod lived;
mod log;
mod offsets;
mod order;
mod play;
mod played;
mod ranges;
mod resume;
mod shown;
mod time;
mod uid;

use std::fmt;

use crate::{case::Case, history::Line};

pub use acknowledged::{message, of_turn};
pub use agent::{input, prompts};
pub use fold::Folded;
pub use idempotent::interrupted;
pub use lived::{Span, micros, spans};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The judge that found it.
    pub judge: &'static str,
    pub what: String,
}

type Judge = fn(&Case, &mut Faults);

/// Every judge by its name. The first six are what a watch promises.
pub const JUDGES: [(&str, Judge); 21] = [
    ("ordered", order::ordered),
    ("unique", order::unique),
    ("reliable", log::reliable),
    ("atomic", atomic::atomic),
    ("resumable", resume::resumable),
    ("bookmarkable", bookmarks::bookmarkable),
    ("ranges", ranges::ranges),
    ("offsets", offsets::offsets),
    ("fold", fold::fold),
    ("durable", log::durable),
    ("time", time::time),
    ("uid", uid::uid),
    ("acknowledged", acknowledged::acknowledged),
    ("turns", acknowledged::turns),
    ("agent", agent::agent),
    ("played", played::played),
    ("delivered", delivered::delivered),
    ("answered", answered::answered),
    ("lived", lived::lived),
    ("left", left::left),
    ("idempotent", idempotent::idempotent),
];

/// What judges say.
#[derive(Default)]
pub struct Faults {
    judge: &'static str,
    found: Vec<Violation>,
}

impl Faults {
    pub fn say(&mut self, what: impl Into<String>) {
        self.found.push(Violation { judge: self.judge, what: what.into() });
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.judge, self.what)
    }
}

/// Everything that is wrong with a history.
pub fn judge(history: &[Line]) -> Vec<Violation> {
    let case = Case::new(history);
    let mut faults = Faults::default();
    for (name, judge) in JUDGES {
        faults.judge = name;
        judge(&case, &mut faults);
    }
    faults.found
}

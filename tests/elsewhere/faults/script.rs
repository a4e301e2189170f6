//! What the agent of one run is told to do, by its seed, and what must come of that, to the byte.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

/// A block, as far as the script says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    User(String),
    Text(String),
    Thought(String),
    Call(Value),
    Result(String),
}

/// A message, and what it leads to.
#[derive(Debug, Default)]
pub(crate) struct Part {
    steps: Vec<Value>,
    said: Vec<Said>,
    logged: Vec<String>,
}

impl Part {
    /// The message.
    pub(crate) fn message(&self) -> String {
        Value::from(self.steps.clone()).to_string()
    }

    /// The blocks of its turn.
    pub(crate) fn said(&self) -> Vec<Said> {
        let message = Said::User(self.message());
        std::iter::once(message).chain(self.said.iter().cloned()).collect()
    }

    /// What is written on standard error.
    pub(crate) fn logged(&self) -> &[String] {
        &self.logged
    }

    /// So many characters, in small pieces at a pace or in large ones at once.
    pub(crate) fn says(mut self, rng: &mut StdRng, length: usize, piece: usize, pace_us: u64) -> Self {
        let text = words(rng, length);
        self.steps.push(json!({ "say": text, "size": piece, "pace_us": pace_us }));
        self.said.push(Said::Text(text));
        self
    }

    pub(crate) fn thinks(mut self, rng: &mut StdRng, length: usize) -> Self {
        let text = words(rng, length);
        self.steps.push(json!({ "think": text }));
        self.said.push(Said::Thought(text));
        self
    }

    /// Numbers in several blocks at once.
    pub(crate) fn counts(mut self, numbers: usize, blocks: usize) -> Self {
        const SIZE: usize = 100;
        self.steps.push(json!({ "count": numbers, "size": SIZE, "blocks": blocks, "pace_us": 200 }));
        let number = |text: String, at| text + &format!("{:01$} ", at + 1, SIZE - 1);
        let of = |block: usize| (block..numbers).step_by(blocks).fold(String::new(), number);
        self.said.extend((0..blocks).map(|block| Said::Text(of(block))));
        self
    }

    /// A command that is really run, and all it prints.
    pub(crate) fn runs(mut self, command: &str, prints: &str) -> Self {
        self.steps.push(json!({ "run": command }));
        self.said.extend([Said::Call(json!({ "command": command })), Said::Result(prints.to_owned())]);
        self
    }

    pub(crate) fn warns(mut self, rng: &mut StdRng) -> Self {
        let text = format!("warning {}", rng.random::<u64>());
        self.steps.push(json!({ "stderr": text }));
        self.logged.push(text);
        self
    }

    /// Asks for permission, goes on when it is given.
    pub(crate) fn asks(mut self, rng: &mut StdRng) -> Self {
        let (input, then) = (json!({ "command": "true" }), words(rng, 200));
        self.steps.push(json!({ "ask": { "tool": "Bash", "input": input }, "then": [{ "say": then }] }));
        self.said.extend([Said::Call(input.clone()), Said::Result(input.to_string()), Said::Text(then)]);
        self
    }
}

/// Text with everything in it that is written otherwise on the way.
fn words(rng: &mut StdRng, length: usize) -> String {
    const LETTERS: [&str; 12] = ["a", "e", "n", "s", "0", " ", " ", "\n", "\"", "\\", "ä", "🚀"];
    (0..length).map(|_| *LETTERS.choose(rng).expect("some")).collect()
}

//! What agents print on standard error: lines for people who look after the runtime.

use super::{
    Action, Draft,
    lines::{Line, Lines},
};
use crate::domain::LogLevel;

/// Turns standard error into log lines.
#[derive(Clone, Debug, Default)]
pub struct Stderr {
    lines: Lines,
}

impl Stderr {
    /// Goes on at this offset, which is the beginning of a line.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        Self { lines: Lines::at(offset) }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8], actions: &mut Vec<Action>) {
        self.lines.feed(bytes, |line| actions.extend(log(line)));
    }

    /// The output is over.
    pub fn finish(&mut self, actions: &mut Vec<Action>) {
        self.lines.finish(|line| actions.extend(log(line)));
    }

    /// Bytes up to the end of the last whole line.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.lines.offset()
    }
}

fn log(line: Line<'_>) -> Option<Action> {
    let bytes = match line {
        Line::Whole(bytes) | Line::Partial(bytes) | Line::TooLong { head: bytes, .. } => bytes,
    };
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end();
    (!text.is_empty()).then(|| Action::Emit(Draft::Log(LogLevel::Warn, text.to_owned())))
}

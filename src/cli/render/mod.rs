//! Events as people want to see them: blocks in order, each exactly once, growing in place.
//!
//! One block is printed at a time, in the order of the state; what other blocks do meanwhile waits until it is their turn.
//! What is printed of a block is its folded content, so that it makes no difference whether it came in pieces, merged or
//! whole.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write},
};

use crate::{
    client::State,
    proto::{SandboxStatus, SessionEvent, Turn, TurnStatus, session_event::Kind},
};

mod block;
mod markdown;
mod notice;
mod printer;
mod spinner;
pub(super) mod style;
#[cfg(test)]
mod tests;
mod words;

use block::Shown;
use printer::Printer;
use spinner::Spinner;
pub(super) use words::cost;

/// Prints a session as it goes on.
pub(super) struct Renderer<W> {
    out: Printer<W>,
    spinner: Spinner,
    /// Blocks before this place in the state are done with.
    next: usize,
    shown: HashMap<String, Shown>,
    /// Tool call whose header was printed last and nothing since: a result right below it needs no name.
    last_tool: Option<String>,
    ended: HashSet<String>,
    /// The error that was printed last: a turn that failed of it need not say it again.
    last_error: String,
    in_snapshot: bool,
    /// Somebody else asks the person at the terminal what the agent asks.
    leaves_questions: bool,
}

impl<W: Write> Renderer<W> {
    /// `terminal`: somebody looks at it.
    pub(super) fn new(out: W, terminal: bool) -> Self {
        Self {
            out: Printer::new(out),
            spinner: Spinner::new(terminal),
            next: 0,
            shown: HashMap::new(),
            last_tool: None,
            ended: HashSet::new(),
            last_error: String::new(),
            in_snapshot: false,
            leaves_questions: false,
        }
    }

    /// While the agent asks, nothing moves: somebody else asks the person at the terminal.
    pub(super) fn leaves_questions(&mut self) {
        self.leaves_questions = true;
    }

    /// Prints what is new, after the event was folded into the state.
    pub(super) fn event(&mut self, event: &SessionEvent, state: &State) -> io::Result<()> {
        match &event.kind {
            Some(Kind::SnapshotStart(_)) => (self.next, self.in_snapshot) = (0, true),
            Some(Kind::SnapshotComplete(_)) => self.in_snapshot = false,
            _ => {}
        }
        if self.in_snapshot {
            return Ok(());
        }
        self.blocks(state)?;
        if let Some(kind) = &event.kind {
            self.notice(kind)?;
        }
        self.turn_ends(state)?;
        self.out.flush()?;
        self.wait(state);
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.spinner.stop();
        self.out.fresh_line()?;
        self.out.flush()
    }

    fn blocks(&mut self, state: &State) -> io::Result<()> {
        while let Some(block) = state.as_proto().blocks.get(self.next) {
            if !self.block(block, state)? {
                break;
            }
            self.next += 1;
        }
        Ok(())
    }

    /// A line for every turn that is over, below its blocks.
    fn turn_ends(&mut self, state: &State) -> io::Result<()> {
        if self.next < state.as_proto().blocks.len() {
            return Ok(());
        }
        let turns = &state.as_proto().turns;
        // Of a snapshot's turns only the last is worth a line: the others stand far above.
        let seen_live = !self.ended.is_empty() || turns.len() == 1;
        for (index, turn) in turns.iter().enumerate() {
            let over = match turn.status() {
                TurnStatus::Completed => (style::GOOD, "✓ completed"),
                TurnStatus::Interrupted => (style::WARN, "■ interrupted"),
                TurnStatus::Cancelled => (style::WARN, "■ cancelled"),
                TurnStatus::Failed => (style::ERROR, "✗ failed"),
                TurnStatus::BudgetExhausted => (style::ERROR, "✗ out of budget"),
                TurnStatus::Lost => (style::ERROR, "✗ lost"),
                TurnStatus::Unspecified
                | TurnStatus::Queued
                | TurnStatus::Running
                | TurnStatus::AwaitingInput
                | TurnStatus::Parked => continue,
            };
            if self.ended.insert(turn.turn_id.clone()) && (seen_live || index + 1 == turns.len()) {
                self.turn_end(turn, over)?;
            }
        }
        Ok(())
    }

    fn turn_end(&mut self, turn: &Turn, (mark, what): (anstyle::Style, &str)) -> io::Result<()> {
        self.spinner.stop();
        self.out.set_margin("");
        self.out.gap()?;
        let totals = words::totals(turn);
        let totals = if totals.is_empty() { totals } else { format!("  {totals}") };
        self.out.line(&[(mark, what), (style::DIM, &totals)])?;
        if let Some(error) = turn.error.as_ref().filter(|error| error.message != self.last_error) {
            self.out.line(&[(style::ERROR_TEXT, &format!("  {}", error.message))])?;
        }
        Ok(())
    }

    /// Shows what is waited for, while the agent works and no text grows.
    fn wait(&mut self, state: &State) {
        let state = state.as_proto();
        let Some(turn) = state
            .turns
            .iter()
            .find(|turn| matches!(turn.status(), TurnStatus::Running | TurnStatus::AwaitingInput | TurnStatus::Parked))
        else {
            self.spinner.stop();
            return;
        };
        if state.blocks.get(self.next).is_some_and(|block| self.shown.contains_key(&block.block_id)) {
            self.spinner.hide();
            return;
        }
        let starting = state
            .session
            .as_ref()
            .and_then(|session| session.sandbox.as_ref())
            .is_some_and(|sandbox| sandbox.status() == SandboxStatus::Starting);
        if self.leaves_questions && turn.status() != TurnStatus::Running {
            self.spinner.stop();
            return;
        }
        let what = match turn.status() {
            TurnStatus::AwaitingInput | TurnStatus::Parked => "waiting for an answer".to_owned(),
            _ if starting => "starting the sandbox".to_owned(),
            _ => block::running_tool(&state.blocks).unwrap_or_else(|| "working".to_owned()),
        };
        self.spinner.show(&what);
    }
}

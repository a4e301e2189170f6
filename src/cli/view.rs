//! The two ways a stream of events is shown: as JSON, or for people.

use std::io::{self, IsTerminal as _, Write as _};

use super::{output, render::Renderer};
use crate::{client::State, proto::SessionEvent};

/// Shows events on standard output.
pub(super) enum View {
    /// One JSON object a line.
    Json,
    /// Blocks as they grow.
    Blocks(Box<Renderer<anstream::AutoStream<io::Stdout>>>),
}

impl View {
    pub(super) fn new(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        let terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        Self::Blocks(Box::new(Renderer::new(anstream::stdout(), terminal)))
    }

    /// Shows an event, which was just folded into the state.
    pub(super) fn event(&mut self, event: &SessionEvent, state: &State) -> io::Result<()> {
        match self {
            Self::Json => writeln!(io::stdout().lock(), "{}", output::json("SessionEvent", event)),
            Self::Blocks(renderer) => renderer.event(event, state),
        }
    }

    /// Somebody else asks the person at the terminal what the agent asks: nothing may move there meanwhile.
    pub(super) fn leaves_questions(&mut self) {
        match self {
            Self::Json => {}
            Self::Blocks(renderer) => renderer.leaves_questions(),
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Json => Ok(()),
            Self::Blocks(renderer) => renderer.end(),
        }
    }
}

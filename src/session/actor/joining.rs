//! Calls to a session whose program is being looked for, which takes long where a provider elsewhere does not answer. What only
//! has to be recorded is taken at once. What ends all there is lets a program that is found soon end its turn itself, and then
//! overtakes the search. What needs the program or its sandbox is waited with for as long, and then told to come back.
//!
//! On this machine the search takes moments, and calls wait for its end.

use std::{collections::VecDeque, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use super::Actor;
use crate::{
    domain::{Failure, Reason},
    session::{Command, after::Sought, side::Side},
};

/// How long a call waits for what it needs to be found.
const FOUND_WITHIN: Duration = Duration::from_secs(2);

/// Calls that wait until it is known what runs, and until when.
#[derive(Default)]
pub(super) struct Joining(VecDeque<(Instant, Command)>);

impl Joining {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A call waits.
    pub(super) fn wait(&mut self, command: Command) {
        self.0.push_back((Instant::now() + FOUND_WITHIN, command));
    }

    /// What is waited for does not come.
    pub(super) fn refuse(&mut self, failure: &Failure) {
        self.0.drain(..).for_each(|(_, command)| command.refuse(failure.clone()));
    }

    /// What is to be taken next: what waited comes first, once what runs is `known`. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, commands: &mut mpsc::Receiver<Command>, known: bool) -> Option<Command> {
        if known && let Some((_, command)) = self.0.pop_front() {
            return Some(command);
        }
        commands.recv().await
    }
}

impl Actor {
    /// It is not known yet what runs.
    pub(super) fn is_sought(&self) -> bool {
        matches!(self.side, Side::Finding(_))
    }

    /// The same, of a sandbox on this machine.
    pub(super) fn is_sought_here(&self) -> bool {
        self.is_sought() && self.shared.config.providers.of(&self.pending.state().session).shares_machine()
    }

    /// Where what is looked for is, so that it can be ended all the same.
    pub(super) fn sought(&self) -> Option<Sought> {
        let mark = self.mark.as_ref().filter(|_| self.is_sought())?;
        let provider = self.shared.config.providers.of(&self.pending.state().session);
        Some(Sought { provider, id: mark.sandbox_id.clone() })
    }

    /// When somebody has waited for long enough.
    pub(super) fn put_off_at(&self) -> Option<Instant> {
        self.joining.0.front().filter(|_| self.is_sought()).map(|(until, _)| *until)
    }

    /// Tells those who have waited for long enough to come back.
    pub(super) fn put_off(&mut self) {
        let now = Instant::now();
        while let Some((_, command)) = self.joining.0.pop_front_if(|(until, _)| *until <= now) {
            let session = &self.pending.state().session;
            let message = "the session's sandbox is asked what runs in it, and does not answer yet; try again, or stop the session";
            let failure = Failure::new(Reason::SandboxFailed, message)
                .with("provider", self.shared.config.providers.of(session).name())
                .with("cause", "unreachable");
            command.refuse(failure);
        }
    }
}

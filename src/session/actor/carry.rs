//! What is at work when the life of its sandbox ends: it is ended in time, its files are saved, and the turn goes on in the
//! next sandbox.

use tokio::time::Instant;

use super::{Actor, files::Step};
use crate::{
    domain::{Kind, LogLevel, Moving, SandboxStatus, Timestamp, Usage},
    session::{lifetime::Lifetime, turn::Prompt},
};

/// Why a sandbox is not there any more that was left.
const LEFT: &str = "its lifetime ends soon; the session goes on in another one";
/// What is said while an agent is made to leave.
const LEAVING: &str = "its lifetime ends soon; the agent is interrupted, and goes on in another one";

impl Actor {
    /// The times of the sandbox, where its provider ends it.
    fn lifetime(&self) -> Option<Lifetime> {
        let session = &self.pending.state().session;
        let expires = session.sandbox.as_ref()?.expire_time?;
        Some(Lifetime::of(&session.sandbox_spec, expires))
    }

    /// Nothing more is to begin in it.
    pub(super) fn is_to_be_left(&self) -> bool {
        self.has_files() && self.lifetime().is_some_and(|times| times.leave <= Timestamp::now())
    }

    /// Something is done in the sandbox that ends with it. A turn that waits for an answer is parked.
    fn is_at_work(&self) -> bool {
        (self.pending.state().active_turn().is_some() && !self.pending.waits()) || self.pending.has_subagents()
    }

    /// When it is left, or something more is done so that it can be.
    pub(super) fn moves_at(&self) -> Option<Instant> {
        if !self.has_files() || !self.files.is_quiet() {
            return None;
        }
        if self.pending.leaves() {
            return Some(self.life.leaves_by.unwrap_or_else(Instant::now));
        }
        let ends = self.pending.interrupted().is_some() || self.pending.is_cut();
        let times = self.lifetime()?;
        let at = match self.is_at_work() {
            false => times.leave,
            // It is being ended by somebody else.
            true if ends => return None,
            true => times.carry,
        };
        Some(Instant::now() + at.since(Timestamp::now()))
    }

    /// The sandbox is left, once what is at work in it has ended. What changed in it is saved first. The next message finds it
    /// again, with its files, as after a long silence.
    pub(super) fn move_out(&mut self) {
        if !self.is_at_work() {
            return self.hold(Step::Move);
        }
        // It was asked, and did not end.
        if self.pending.leaves() && self.life.leaves_by.take().is_some() {
            return self.hold(Step::Move);
        }
        self.send_away();
    }

    /// What is at work is told to end.
    fn send_away(&mut self) {
        let Some(turn) = self.pending.state().active_turn().filter(|_| !self.pending.waits()) else {
            self.pending.log(LogLevel::Warn, "subagents are ended with their sandbox, whose lifetime ends".to_owned());
            return self.hold(Step::Move);
        };
        // What a subagent in the background does is no turn of its program, which will not tell of an end.
        let nobody_tells = turn.start_time.is_some() && !self.is_at_turn();
        tracing::info!(key = %self.key, turn = %turn.turn_id, "a turn leaves its sandbox, whose lifetime ends");
        self.pending.leave();
        let sandbox = self.sandbox(self.sandbox_status().unwrap_or(SandboxStatus::Ready), LEAVING);
        self.pending.record_session(None, Kind::SandboxChanged { sandbox });
        if nobody_tells {
            return self.hold(Step::Move);
        }
        let grace = self.lifetime().map_or(self.shared.config.interrupt_grace, |times| times.grace);
        self.life.leaves_by = Some(Instant::now() + grace.min(self.shared.config.interrupt_grace));
        self.ask_to_end();
    }

    /// It was looked at.
    pub(super) fn moved_out(&mut self) {
        let Some(turn) = self.pending.state().active_turn() else { return self.shut(LEFT) };
        let is_taken_up = turn.start_time.is_some();
        if self.pending.park() {
            self.shut(LEFT);
        } else if self.pending.leaves() && !is_taken_up {
            let message = "the lifetime of the sandbox ended before its agent took up the message; send it again";
            self.pending.lose_turn("sandbox_expired", message);
            self.shut(LEFT);
        } else {
            // One that began meanwhile goes first.
            self.pending.leave_off(Usage::default());
        }
    }

    /// A turn that has left its sandbox goes on in the next one.
    pub(super) fn go_on_elsewhere(&mut self) {
        if self.pending.moving() != Some(Moving::Left) {
            return;
        }
        self.shut(LEFT);
        let memory = self.mark.as_ref().and_then(|mark| mark.parser_state.as_deref());
        if let Some(prompt) = self.pending.arrive(memory) {
            self.give(prompt);
        }
    }

    /// Gives a prompt to a program in the next sandbox.
    pub(super) fn move_on(&mut self, prompt: Prompt) {
        self.shut(LEFT);
        self.give(prompt);
    }
}

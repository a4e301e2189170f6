//! Going on where an earlier owner stood, and leaving so that the next one can.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Actor, files::FilesSide};
use crate::{
    domain::{Moving, SandboxStatus, Turn, TurnStatus},
    session::{
        after::{After, Halt},
        attach::{self, Found, Left, Lost},
        side::Side,
    },
    store::{self, StdinRow},
};

impl Actor {
    /// Looks for what an earlier owner left, if it left anything.
    pub(super) fn take_over(&mut self, stdin: Vec<StdinRow>, in_doubt: bool) {
        let runs = self.mark.as_ref().is_some_and(|mark| !mark.ended);
        let needs = |turn: &Turn| turn.status != TurnStatus::Parked && turn.moving != Some(Moving::Left);
        if runs || in_doubt || self.pending.state().active_turn().is_some_and(needs) {
            let left = self.left(stdin, in_doubt);
            self.side = Side::Finding(Box::pin(attach::find(Arc::clone(&self.shared), left)));
        } else if self.sandbox_status() == Some(SandboxStatus::Starting) {
            // Somebody asked for it, and no server lived long enough to make it.
            self.prepare(None);
        } else {
            self.sandbox_gone("nothing runs in it any more");
        }
    }

    /// Ends what an earlier owner left: what it prints cannot be stored, and so it would be for whoever reads it again.
    pub(super) fn give_up(&mut self, error: &store::Error) {
        let left = self.left(Vec::new(), true);
        let message = format!("what the agent did cannot be stored: {error}");
        self.side = Side::Finding(Box::pin(async move {
            Found::Nothing(Lost::new("not_stored", message, attach::reach(&left).await))
        }));
    }

    fn left(&mut self, stdin: Vec<StdinRow>, in_doubt: bool) -> Left {
        let barred = self.barred.teller();
        let state = self.pending.state();
        Left {
            key: self.key.clone(),
            epoch: self.epoch,
            agent: state.session.agent,
            profile: (state.session.profile_id.clone(), state.session.profile_revision),
            provider: self.shared.config.providers.of(&state.session),
            mark: self.mark.clone(),
            stdin,
            turn: state.active_turn().cloned(),
            in_doubt,
            barred,
        }
    }

    /// What was looked for is found.
    pub(super) fn found(&mut self, found: Found) {
        self.idle_since = Instant::now();
        match found {
            Found::Program { mut running, rest, given, values } => {
                self.pending.recall(&values);
                tracing::info!(key = %self.key, exec = %running.exec_id, rest = rest.len(), "going on with what runs");
                for row in rest {
                    running.write(row);
                }
                self.given = given;
                self.on(running);
                if self.sandbox_status() == Some(SandboxStatus::Unhealthy) {
                    self.life.look_now();
                }
            }
            Found::Message(prompt) => {
                if !self.end_interrupted() {
                    tracing::info!(key = %self.key, "a message that no agent was given is given to one");
                    self.give(prompt);
                }
            }
            Found::Nothing(lost) => self.lose(lost),
            // The next server looks again.
            Found::Unknown => self.leave(),
            Found::OutOfReach => self.leave_as_it_is(),
        }
    }

    /// What was decided is not stored, so it did not happen: this actor ends, and the next one begins from what is. What
    /// runs knows nothing of it, and runs on: what it printed since can be read again.
    pub(super) fn not_stored(&mut self, error: &store::Error, after: Vec<After>) {
        tracing::error!(key = %self.key, %error, "a session's events could not be stored; what runs is left to its next owner");
        for after in after.into_iter().chain(std::mem::take(&mut self.after)) {
            match after {
                After::Reply(answer) | After::Halt(Halt { reply: Some(answer), .. }) => {
                    answer(Err(crate::log::failure(error.clone(), &self.key)));
                }
                After::Halt(_) | After::Prepare(_) | After::Start(..) | After::Write(_) | After::Leave => {}
            }
        }
        if let Side::Starting(starting, ..) = std::mem::replace(&mut self.side, Side::Off) {
            self.wait_for(starting);
        }
        self.stdin.clear();
        self.calls.clear();
        self.closing = None;
        // Calls that wait go to the next one, by whom files are looked at anew.
        self.files = FilesSide::default();
        self.checkpoint = None;
        // What was decided since follows what is not stored.
        self.pending.drain();
        self.over = true;
        self.not_stored = Some(error.clone());
    }
}

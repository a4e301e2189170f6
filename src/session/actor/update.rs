//! Calls that change the record, and calls that save what there is: each is answered once that is stored.

use super::Actor;
use crate::{
    agent::Adapt,
    domain::{Failure, FirstAnswer, Principal, Request, SessionOptions},
    session::{Reply, after::After, side::Side, turn::Prompt, update::Update},
    store::SessionView,
};

impl Actor {
    pub(super) fn update(
        &mut self,
        update: Update,
        defaults: &SessionOptions,
        by: &Principal,
        request: Option<Request>,
        reply: Reply<SessionView>,
    ) {
        match self.pending.change_record(update, defaults, by) {
            // Whoever hung up does not want to know.
            Err(failure) => drop(reply.send(Err(failure))),
            Ok(()) => self.answer_with_session(request, reply),
        }
    }

    /// The files were looked at since the call, where there was something to look at.
    pub(super) fn sync(&mut self, request: Option<Request>, reply: Reply<SessionView>) {
        match self.files.not_looked() {
            Some(failure) => drop(reply.send(Err(failure))),
            None => self.answer_with_session(request, reply),
        }
    }

    /// Tells the program that runs how it is to run from now on, where that is another way than before. True: it cannot be
    /// told.
    pub(super) fn adapt(&mut self) -> bool {
        let Side::On(running) = &mut self.side else { return false };
        match running.parser.adapt(&self.pending.state().session.options) {
            Adapt::Keep => {}
            Adapt::Tell(data) => {
                self.tell(data);
                // In another mode they are said otherwise.
                self.tell_rules();
            }
            Adapt::Restart => return true,
        }
        false
    }

    /// Gives a prompt to another program in the place of the one that runs.
    pub(super) fn restart(&mut self, prompt: Prompt) {
        self.shut("another program takes its place, with other options");
        self.give(prompt);
    }

    fn answer_with_session(&mut self, request: Option<Request>, reply: Reply<SessionView>) {
        let view = self.pending.view(self.oldest_sequence);
        self.remember(request, || FirstAnswer::Session {
            session: Box::new(view.session.clone()),
            oldest_sequence: view.oldest_sequence,
            turns: view.active_turn.iter().chain(&view.queued_turns).cloned().collect(),
        });
        let answer = move |stored: Result<(), Failure>| drop(reply.send(stored.map(|()| view)));
        self.after.push(After::Reply(Box::new(answer)));
    }
}

//! What each command does, or who knows. What is decided of it stands with what it is about.

use super::{Actor, files::Step};
use crate::{
    domain::{FirstAnswer, SessionStatus},
    session::{
        Command,
        after::{After, Halt},
        edit::Edit,
        once,
        update::etag_mismatch,
    },
};

impl Actor {
    /// Takes a command: at once, or when what it needs is there.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Delete { etag: Some(etag), reply, .. } if etag != self.pending.state().session.etag => {
                drop(reply.send(Err(etag_mismatch(&self.pending.state().session.etag))));
            }
            Command::Stop { .. } | Command::Delete { .. } => self.close(command),
            Command::Sync { .. } | Command::Edit { .. } | Command::Resolve { .. } | Command::Answer { .. }
                if self.is_sought() =>
            {
                self.joining.wait(command);
            }
            Command::Sync { .. } if self.has_files() => self.hold(Step::Command(command)),
            Command::Sync { .. } => {
                // What an earlier look failed for is nothing of this call.
                self.files.not_looked();
                self.decide(command);
            }
            Command::Send { .. }
            | Command::Interrupt { .. }
            | Command::Cancel { .. }
            | Command::Resolve { .. }
            | Command::Answer { .. }
            | Command::DeleteRule { .. }
            | Command::Update { .. }
            | Command::Edit { .. } => self.decide(command),
        }
    }

    /// Decides it now.
    pub(super) fn decide(&mut self, command: Command) {
        match command {
            Command::Edit { change, by, request, reply } => self.edit(Edit { change, by, request, reply }),
            Command::Update { update, defaults, by, request, reply } => {
                self.update(*update, &defaults, &by, request, reply);
            }
            Command::Sync { request, reply } => self.sync(request, reply),
            Command::Send { parts, busy, by, request, reply } => self.send(parts, busy, &by, request, reply),
            Command::Interrupt { turn_id, by, request, reply } => {
                self.interrupt_turn(turn_id.as_ref(), &by, request, reply);
            }
            Command::Cancel { turn_id, by, request, reply } => self.cancel_turn(&turn_id, &by, request, reply),
            Command::Resolve { permission_id, decision, by, request, reply } => {
                self.resolve(&permission_id, &decision, &by, request, reply);
            }
            Command::Answer { question_id, reaction, by, request, reply } => {
                self.answer_question(&question_id, &reaction, &by, request, reply);
            }
            Command::DeleteRule { rule_id, by, request, reply } => self.delete_rule(&rule_id, &by, request, reply),
            Command::Stop { by, request, reply } => {
                let sought = self.sought();
                let sandbox = self.halt("stopped by a call", SessionStatus::Stopped, &by);
                let session = self.pending.state().session.clone();
                let oldest = self.oldest_sequence;
                let first = || FirstAnswer::Stopped { session: Box::new(session.clone()), oldest_sequence: oldest };
                self.remember(request, first);
                let view = once::stopped(session, oldest);
                let answer = Box::new(move |stored: Result<(), _>| drop(reply.send(stored.map(|()| view))));
                self.after.push(After::Halt(Halt { sandbox, sought, destroy: None, reply: Some(answer) }));
            }
            Command::Delete { etag: _, by, request, reply } => {
                let sandbox = self.pending.state().session.sandbox.as_ref();
                let destroy = sandbox.and_then(|sandbox| sandbox.sandbox_id.clone());
                let sought = self.sought();
                let sandbox = self.halt("deleted by a call", SessionStatus::Deleted, &by);
                self.remember(request, || FirstAnswer::Deleted);
                let answer = Box::new(move |stored| drop(reply.send(stored)));
                self.after.push(After::Halt(Halt { sandbox, sought, destroy, reply: Some(answer) }));
                self.deletes = true;
                self.after.push(After::Leave);
            }
        }
    }
}

//! What the actor decided, on its way to the log: submitted as one batch at a time, and followed by what may be done only
//! when it is stored.

use std::{sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::time::Instant;

use super::Actor;
use crate::{
    session::{
        after::{After, Halt, InFlight},
        running::Offsets,
        side::Side,
    },
    store::{self, Batch, ExecMark, parts_of},
};

impl Actor {
    /// Submits what waits, if it may not wait longer: only text does, and only after other text went out just now.
    pub(super) fn submit_if_due(&mut self) {
        let waits = !self.pending.is_empty()
            || !self.stdin.is_empty()
            || !self.after.is_empty()
            || !self.calls.is_empty()
            || self.checkpoint.is_some();
        if self.in_flight.is_some() || self.files.is_holding() || !waits {
            return;
        }
        let pause_over = self.last_submit.is_none_or(|at| at.elapsed() >= self.window());
        if self.pending.is_urgent() || !self.after.is_empty() || pause_over || self.leaving.is_some() {
            self.submit();
        }
    }

    /// When text that waits must go out, where that is in the future.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        if self.in_flight.is_some() || self.pending.is_empty() {
            return None;
        }
        Some(self.last_submit? + self.window())
    }

    fn window(&self) -> Duration {
        let config = &self.shared.config;
        if self.shared.log.is_watched(&self.key) { config.delta_window } else { config.unwatched_delta_window }
    }

    pub(super) fn submit(&mut self) {
        let (mut read, mut stdin_taken) = (Offsets::default(), None);
        if let (Side::On(running), Some(mark)) = (&mut self.side, &mut self.mark) {
            running.note(mark);
            read = Offsets::of(mark);
            stdin_taken = running.forget();
        }
        if let Some(mark) = &mut self.mark {
            mark.held = self.pending.held();
            mark.parser_state.iter_mut().for_each(|state| self.pending.hide(state));
        }
        let drained = self.pending.drain();
        let (record, parts) = parts_of(self.pending.state(), &drained.changes);
        self.pending.prune();
        let exec = self.changed_mark();
        let batch = Batch {
            events: drained.events,
            record,
            parts,
            exec,
            stdin: std::mem::take(&mut self.stdin),
            calls: std::mem::take(&mut self.calls),
            beside: drained.beside,
            checkpoint: self.checkpoint.take(),
            stdin_taken,
            deletes: self.deletes,
            ..Batch::new(self.key.clone(), self.epoch.0, drained.head)
        };
        let log = self.shared.log.clone();
        let outcome = Box::pin(async move { log.append(batch).await });
        self.in_flight = Some(InFlight { outcome, read, after: std::mem::take(&mut self.after) });
        self.last_submit = Some(Instant::now());
    }

    /// The mark, where it is not stored as it is; its parser's state, where that changed.
    fn changed_mark(&mut self) -> Option<ExecMark> {
        if self.mark == self.stored {
            return None;
        }
        let mut changed = self.mark.clone()?;
        let same_program = self.stored.as_ref().filter(|stored| stored.exec_id == changed.exec_id);
        if same_program.is_some_and(|stored| stored.parser_state == changed.parser_state) {
            changed.parser_state = None;
        }
        self.stored.clone_from(&self.mark);
        Some(changed)
    }

    pub(super) fn committed(&mut self, outcome: Result<(), store::Error>) {
        let Some(InFlight { after, read, outcome: _ }) = self.in_flight.take() else { return };
        if let Err(error) = outcome {
            return self.not_stored(&error, after);
        }
        if let Side::On(running) = &mut self.side {
            running.stored(read);
        }
        for after in after {
            match after {
                After::Reply(answer) => answer(Ok(())),
                After::Prepare(prompt) => self.prepare(prompt),
                After::Start(sandbox, program) => {
                    if let Side::Starting(starting, _, _) = &mut self.side {
                        *starting = Some(Box::pin(program.start(sandbox, self.epoch)));
                    }
                }
                After::Write(row) => {
                    if let Side::On(running) = &mut self.side {
                        running.write(row);
                    }
                }
                After::Halt(halt) => self.carry_out(halt),
                After::Leave => self.over = true,
            }
        }
    }

    /// Ends what runs, after what is being ended already.
    pub(super) fn carry_out(&mut self, halt: Halt) {
        let (before, shared, epoch) = (self.halting.take(), Arc::clone(&self.shared), self.epoch);
        let halting = async move {
            if let Some(before) = before {
                before.await;
            }
            halt.carry_out(shared, epoch).await;
        };
        self.halting = Some(halting.boxed().shared());
    }
}

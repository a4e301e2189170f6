//! Which message has its turn, and turns that are made to end: by the agent's own protocol first, so that it keeps what it
//! said; then its program is ended, for an agent that does not listen must not keep a session for ever.

use std::time::Duration;

use tokio::time::Instant;

use super::{Actor, files::Step};
use crate::{
    agent,
    domain::{
        Busy, Command as Table, ContentPart, Effect, Failure, FirstAnswer, InputOutcome, Principal, Reason, Request,
        Turn, TurnId, TurnOrigin, TurnStatus, Usage,
    },
    sandbox::Signal,
    session::{
        Command, Reply,
        after::After,
        images,
        queue::{Cause, When},
        side::Side,
        turn::{Accepted, Prompt},
    },
};

/// How long an agent may take to end its turn when its session is stopped or deleted.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What is done next about an agent that was asked to end its turn, and when.
#[derive(Clone, Copy)]
pub(super) struct Pressing {
    next: Means,
    at: Instant,
}

/// Ways to end a turn, each harder than the one before.
#[derive(Clone, Copy)]
enum Means {
    /// The program is asked to end.
    Terminate,
    /// It is ended.
    Kill,
    /// What runs in the sandbox is ended, whatever it is.
    Sandbox,
}

/// A command that waits until the agent has ended its turn.
pub(super) struct Closing {
    command: Command,
    at: Instant,
}

impl Actor {
    /// A caller gives the agent a message: now, or when it is its turn.
    pub(super) fn send(
        &mut self,
        parts: Vec<ContentPart>,
        busy: Busy,
        by: &Principal,
        request: Option<Request>,
        reply: Reply<Accepted>,
    ) {
        let admitted = images::takeable(self.pending.state().session.agent, &parts)
            .and_then(|()| self.pending.within_budget())
            .and_then(|()| self.pending.admit(&parts, busy));
        let when = match admitted {
            Ok(when) => when,
            // Whoever hung up does not want to know.
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        if when == When::First {
            self.interrupt_active(InputOutcome::Interrupted, by);
        }
        let accepted = match when {
            When::Last => self.pending.queue(parts, by, false),
            When::First if self.pending.state().active_turn().is_some() => self.pending.queue(parts, by, true),
            When::Now | When::First => {
                let (accepted, prompt) = self.pending.accept(parts, by);
                self.give(prompt);
                accepted
            }
        };
        self.remember(request, || accepted.clone().into());
        let answer = move |stored: Result<(), Failure>| drop(reply.send(stored.map(|()| accepted)));
        self.after.push(After::Reply(Box::new(answer)));
    }

    /// A caller ends a turn: this one, or whichever is active. What is not open any more is told from what is stored.
    pub(super) fn interrupt_turn(
        &mut self,
        turn_id: Option<&TurnId>,
        by: &Principal,
        request: Option<Request>,
        reply: Reply<Option<Turn>>,
    ) {
        let state = self.pending.state();
        let found = match turn_id {
            Some(id) => state.turns.iter().find(|turn| turn.turn_id == *id && !turn.status.is_final()),
            None => state.active_turn(),
        };
        let (found, named) = (found.map(|turn| (turn.turn_id.clone(), turn.status)), turn_id.is_some());
        let turn = found.and_then(|(id, status)| match Table::Interrupt.effect(status) {
            Effect::End(TurnStatus::Cancelled) => self.pending.cancel(&id, Cause::InterruptTurn, by),
            Effect::End(_) => {
                self.interrupt_active(InputOutcome::Interrupted, by);
                self.pending.state().turns.iter().find(|turn| turn.turn_id == id).cloned()
            }
            Effect::Proceed | Effect::Refuse(_) | Effect::GoOn | Effect::Wait | Effect::Overtake => None,
        });
        if turn.is_some() || !named {
            self.remember(request, || FirstAnswer::Interrupted { turn: turn.clone().map(Box::new) });
        }
        let answer = move |stored: Result<(), Failure>| drop(reply.send(stored.map(|()| turn)));
        self.after.push(After::Reply(Box::new(answer)));
    }

    /// A caller takes a turn out of the queue. What is not open any more is told from what is stored.
    pub(super) fn cancel_turn(
        &mut self,
        turn_id: &TurnId,
        by: &Principal,
        request: Option<Request>,
        reply: Reply<Option<Turn>>,
    ) {
        let open = self.pending.state().turns.iter().find(|turn| turn.turn_id == *turn_id);
        if let Some(turn) = open
            && let Effect::Refuse(reason @ Reason::TurnStarted) = Table::Cancel.effect(turn.status)
        {
            let message = "the turn has begun, so its message may have reached the agent; interrupt it";
            return drop(reply.send(Err(Failure::new(reason, message).with("turn_id", turn_id))));
        }
        let turn = self.pending.cancel(turn_id, Cause::CancelTurn, by);
        if let Some(turn) = &turn {
            self.remember(request, || FirstAnswer::Cancelled { turn: Box::new(turn.clone()) });
        }
        let answer = move |stored: Result<(), Failure>| drop(reply.send(stored.map(|()| turn)));
        self.after.push(After::Reply(Box::new(answer)));
    }

    /// A caller ends all there is to do. An agent at work is asked to end its turn first, so that what it said is kept; what
    /// it changed until then is told before the end.
    pub(super) fn close(&mut self, command: Command) {
        let (by, cause) = match &command {
            Command::Stop { by, .. } => (by.clone(), Cause::StopSession),
            Command::Delete { by, .. } => (by.clone(), Cause::DeleteSession),
            Command::Send { .. }
            | Command::Interrupt { .. }
            | Command::Cancel { .. }
            | Command::Resolve { .. }
            | Command::Answer { .. }
            | Command::DeleteRule { .. }
            | Command::Update { .. }
            | Command::Sync { .. }
            | Command::Edit { .. } => return self.decide(command),
        };
        self.pending.cancel_all(cause, &by);
        if !matches!(self.side, Side::On(_)) && !self.is_sought() {
            return self.decide(command);
        }
        self.interrupt_active(InputOutcome::Withdrawn, &by);
        if self.is_sought() || self.pending.state().active_turn().is_some() {
            self.closing = Some(Closing { command, at: Instant::now() + STOP_GRACE });
        } else {
            self.hold(Step::Command(command));
        }
    }

    /// Nothing of the session can be stopped from here, so a stop that waits is taken back.
    pub(super) fn refuse_stop(&mut self, failure: &Failure) {
        if let Some(closing) = self.closing.take_if(|closing| matches!(closing.command, Command::Stop { .. })) {
            closing.command.refuse(failure.clone());
        }
    }

    /// What follows from the end of a turn: the command that waited for it, or the turn that did.
    pub(super) fn follow_up(&mut self) {
        if self.files.is_holding() || self.leaving.is_some() || self.over || self.deletes {
            return;
        }
        // A program that is found soon can still end its turn itself, and what it changed be looked at.
        let is_over = self.pending.state().active_turn().is_none() && !self.is_sought();
        if let Some(closing) = self.closing.take_if(|closing| is_over || closing.at <= Instant::now()) {
            if matches!(self.side, Side::On(_)) {
                self.hold(Step::Command(closing.command));
            } else {
                self.decide(closing.command);
            }
        }
        // What runs is known before anything is decided about it.
        let decided = self.closing.is_some() || self.files.is_holding() || self.deletes;
        if decided || self.is_sought() {
            return;
        }
        self.go_on_elsewhere();
        if let Some(prompt) = self.pending.begin_next() {
            self.give(prompt);
        }
    }

    /// Makes the active turn end. It is over at once where no program was given its message, or none is there any more.
    fn interrupt_active(&mut self, outcome: InputOutcome, by: &Principal) {
        let Some(turn) = self.pending.state().active_turn() else { return };
        if turn.interrupt_time.is_some() {
            return;
        }
        let is_parked = turn.status == TurnStatus::Parked;
        // Where nothing is known of its program yet, that is told once it is found.
        let is_background = !self.is_sought() && self.is_in_background();
        if is_background {
            self.ask_to_end();
        }
        if is_background || is_parked || self.take_back().is_some() {
            self.pending.withdraw_all(outcome);
            self.pending.end_turn(TurnStatus::Interrupted, None, Usage::default(), Some(by));
            return self.pending.record_status_after_turn();
        }
        self.pending.interrupt(outcome, by);
        if !self.is_sought() {
            self.press();
        }
    }

    /// What a subagent in the background does is no turn of its program, which will not tell of an end.
    fn is_in_background(&self) -> bool {
        let by_itself = self.pending.state().active_turn().is_some_and(|turn| turn.origin == TurnOrigin::Agent);
        by_itself && !self.is_at_turn()
    }

    /// Whether the program that runs is at a turn, as far as it was read.
    pub(super) fn is_at_turn(&self) -> bool {
        match &self.side {
            Side::On(running) => running.parser.is_at_turn(),
            Side::Off | Side::Finding(_) | Side::Preparing(..) | Side::Starting(..) => false,
        }
    }

    /// Takes the message of the active turn back from where it waits for a program. `None`: one was given it.
    pub(super) fn take_back(&mut self) -> Option<Prompt> {
        let in_flight = self.in_flight.iter_mut().flat_map(|in_flight| &mut in_flight.after);
        let decided = self.after.iter_mut().chain(in_flight).filter_map(|after| match after {
            After::Prepare(prompt) => prompt.take(),
            After::Reply(_) | After::Start(..) | After::Write(_) | After::Halt(_) | After::Leave => None,
        });
        let decided = decided.last();
        let waiting = self.files.waiting();
        let preparing = match &mut self.side {
            Side::Preparing(_, prompt, _) => prompt.take(),
            Side::Off | Side::Finding(_) | Side::Starting(..) | Side::On(_) => None,
        };
        decided.or(waiting).or(preparing)
    }

    /// Asks the agent to end its turn, and gives it some time for that.
    fn press(&mut self) {
        self.pressing =
            Some(Pressing { next: Means::Terminate, at: Instant::now() + self.shared.config.interrupt_grace });
        self.ask_to_end();
    }

    /// Asks the agent to end its turn.
    pub(super) fn ask_to_end(&mut self) {
        let session = &self.pending.state().session;
        if let (Side::On(running), Some(turn)) = (&mut self.side, self.pending.state().active_turn()) {
            let id = running.unique(turn.turn_id.as_str());
            let row = running.input(agent::interrupt(session.agent, &id));
            self.write_once_stored(row);
        }
    }

    /// A message was taken up: one whose turn is to end is nothing that its agent may go on with. Before, it may not have
    /// known that there is anything to end.
    pub(super) fn taken_up(&mut self) {
        if self.pending.interrupted().is_some() || self.pending.is_cut() || self.pending.leaves() {
            self.ask_to_end();
        }
    }

    /// A program runs. What it was asked before it may not have been told.
    pub(super) fn press_on(&mut self) {
        if let Some(closing) = &mut self.closing {
            closing.at = Instant::now() + STOP_GRACE;
        }
        if self.pending.interrupted().is_none() {
            return;
        }
        if self.is_in_background() {
            self.ask_to_end();
            self.end_interrupted();
            return;
        }
        if self.pressing.is_some() { self.ask_to_end() } else { self.press() }
    }

    /// Ends the active turn where it is to end and there is nobody any more who could. False: it is not to end.
    pub(super) fn end_interrupted(&mut self) -> bool {
        if self.pending.interrupted().is_none() {
            return false;
        }
        self.pending.end_turn(TurnStatus::Interrupted, None, Usage::default(), None);
        self.pending.record_status_after_turn();
        true
    }

    /// When something more is done about a turn that does not end.
    pub(super) fn press_at(&self) -> Option<Instant> {
        let pressing = self.pressing.filter(|_| self.pending.interrupted().is_some());
        let closing = self.closing.as_ref().map(|closing| closing.at);
        [pressing.map(|pressing| pressing.at), closing].into_iter().flatten().min()
    }

    /// The agent was asked to end its turn, and did not.
    pub(super) fn press_harder(&mut self) {
        let Some(Pressing { next, at }) = self.pressing else { return };
        if at > Instant::now() || self.pending.interrupted().is_none() {
            return;
        }
        let soon = Instant::now() + self.shared.config.interrupt_grace / 2;
        let (signal, next) = match next {
            Means::Terminate => (Signal::Terminate, Means::Kill),
            Means::Kill => (Signal::Kill, Means::Sandbox),
            Means::Sandbox => {
                self.pressing = None;
                self.pending.end_subagents();
                self.pending.end_turn(TurnStatus::Interrupted, None, Usage::default(), None);
                self.pending.record_status_after_turn();
                return self.shut("the agent did not end its turn when it was told to");
            }
        };
        tracing::warn!(key = %self.key, ?signal, "an agent does not end its turn; its program is told to end");
        self.pressing = Some(Pressing { next, at: soon });
        if let Side::On(running) = &mut self.side {
            running.signal(signal);
        }
    }
}

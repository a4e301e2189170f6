//! The actor: one for each session that has something to do. It alone decides what happens in the session, appends it, and
//! drives the agent. Whatever takes time (a commit, a sandbox, the agent's output) is a future that its loop polls, so that
//! it never waits for one thing while another one happens; and nothing is done outside before what caused it is stored.

mod submit;

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, Shared as SharedFuture};
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument as _;

use super::{
    Command,
    after::{After, Halt, InFlight},
    launch, once,
    pending::Pending,
    running::{Happened, maybe},
    shared::Shared,
    side::{Side, SideTurn},
    turn::Prompt,
};
use crate::{
    agent::Action,
    domain::{
        Failure, FirstAnswer, Kind, LogLevel, Principal, Reason, Remembered, Request, Sandbox, SandboxStatus,
        SessionKey, SessionStatus, TurnId, TurnStatus, Usage,
    },
    sandbox::{self, Epoch, Exit},
    store::{self, Acquired, ExecMark, StdinRow},
};

/// Bytes of unsubmitted text above which the agent's output is left unread.
const BACKLOG: usize = 1 << 20;

/// The end of what ran, for all who wait for it.
type Shutdown = SharedFuture<BoxFuture<'static, ()>>;

/// See the module.
pub(super) struct Actor {
    shared: Arc<Shared>,
    key: SessionKey,
    epoch: Epoch,
    oldest_sequence: i64,
    pending: Pending,
    commands: mpsc::Receiver<Command>,
    side: Side,
    mark: Option<ExecMark>,
    stored: Option<ExecMark>,
    stdin: Vec<StdinRow>,
    /// What the program was started for, until it takes that up.
    given: Option<Prompt>,
    deletes: bool,
    calls: Vec<Remembered>,
    after: Vec<After>,
    in_flight: Option<InFlight>,
    halting: Option<Shutdown>,
    last_submit: Option<Instant>,
    idle_since: Instant,
    traced: Option<(TurnId, tracing::Span)>,
    actions: Vec<Action>,
    over: bool,
    not_stored: Option<store::Error>,
    deserted: bool,
}

/// What an actor leaves.
pub(super) struct Ended {
    /// With what is in it.
    pub(super) commands: mpsc::Receiver<Command>,
    /// Why what it decided last is not stored, where it is not.
    pub(super) not_stored: Option<store::Error>,
}

impl Actor {
    pub(super) fn new(
        shared: Arc<Shared>,
        key: SessionKey,
        commands: mpsc::Receiver<Command>,
        acquired: Acquired,
    ) -> Self {
        Self {
            shared,
            key,
            epoch: Epoch(acquired.epoch),
            oldest_sequence: acquired.oldest_sequence,
            pending: Pending::new(acquired.open),
            commands,
            side: Side::Off,
            stored: acquired.exec.clone(),
            mark: acquired.exec,
            stdin: Vec::new(),
            given: None,
            deletes: false,
            calls: Vec::new(),
            after: Vec::new(),
            in_flight: None,
            halting: None,
            last_submit: None,
            idle_since: Instant::now(),
            traced: None,
            actions: Vec::new(),
            over: false,
            not_stored: None,
            deserted: false,
        }
    }

    /// Runs until there is nothing to do. With `prompt` the active turn was accepted just now and its agent is to be
    /// started; without, an active turn is one that an earlier owner left and nobody can go on with.
    pub(super) async fn run(mut self, prompt: Option<Prompt>) -> Ended {
        match prompt {
            Some(prompt) => self.prepare(prompt),
            None => self.clean_up(),
        }
        while !self.is_done() {
            self.submit_if_due();
            let span = self.turn_span();
            self.step().instrument(span).await;
        }
        Ended { commands: self.commands, not_stored: self.not_stored }
    }

    /// The span of the turn that is active; one for as long as it is.
    fn turn_span(&mut self) -> tracing::Span {
        let active = self.pending.state().active_turn().map(|turn| &turn.turn_id);
        if active != self.traced.as_ref().map(|(id, _)| id) {
            self.traced = active.map(|id| (id.clone(), tracing::info_span!("turn", turn = %id)));
        }
        self.traced.as_ref().map_or_else(tracing::Span::none, |(_, span)| span.clone())
    }

    fn is_done(&self) -> bool {
        let quiet = self.in_flight.is_none() && self.halting.is_none() && self.after.is_empty();
        let nothing = self.pending.is_empty() && self.stdin.is_empty();
        quiet && (self.over || (nothing && matches!(self.side, Side::Off) && self.commands.is_empty()))
    }

    async fn step(&mut self) {
        let read = self.pending.bytes() < BACKLOG;
        let flush_at = self.flush_at();
        let idle_at = self.idle_at();
        // Nothing follows a deletion: who comes now is told by the next one that there is no session.
        let answering = self.halting.is_none() && !self.over && !self.deserted && !self.deletes;
        let drain = self.shared.drain.clone();
        tokio::select! {
            biased;
            outcome = InFlight::outcome(&mut self.in_flight) => self.committed(outcome),
            () = maybe(&mut self.halting) => self.halting = None,
            () = drain.cancelled(), if answering && !matches!(self.side, Side::Off) => self.drain(),
            command = self.commands.recv(), if answering => match command {
                Some(command) => self.command(command),
                None => self.deserted(),
            },
            turn = self.side.next(read) => self.side_turned(turn),
            () = until(flush_at) => self.submit(),
            () = until(idle_at) => self.stop_idle(),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Send { parts, by, request, reply } => match self.pending.accept(parts, &by) {
                Err(failure) => drop(reply.send(Err(failure))),
                Ok((accepted, prompt)) => {
                    self.give(prompt);
                    self.remember(request, || accepted.clone().into());
                    let answer = move |stored: Result<(), Failure>| drop(reply.send(stored.map(|()| accepted)));
                    self.after.push(After::Reply(Box::new(answer)));
                }
            },
            Command::Stop { by, request, reply } => {
                let sandbox = self.halt("stopped by a call", SessionStatus::Stopped, &by);
                let session = self.pending.state().session.clone();
                let oldest = self.oldest_sequence;
                let first = || FirstAnswer::Stopped { session: Box::new(session.clone()), oldest_sequence: oldest };
                self.remember(request, first);
                let view = once::stopped(session, oldest);
                let answer = Box::new(move |stored: Result<(), _>| drop(reply.send(stored.map(|()| view))));
                self.after.push(After::Halt(Halt { sandbox, destroy: None, reply: Some(answer) }));
            }
            Command::Delete { etag, by, request, reply } => {
                let held = &self.pending.state().session.etag;
                if etag.is_some_and(|etag| etag != *held) {
                    let message = "the session changed since you read it; read it again";
                    let failure = Failure::new(Reason::EtagMismatch, message).with("etag", held);
                    return drop(reply.send(Err(failure)));
                }
                let sandbox = self.pending.state().session.sandbox.as_ref();
                let destroy = sandbox.and_then(|sandbox| sandbox.sandbox_id.clone());
                let sandbox = self.halt("deleted by a call", SessionStatus::Deleted, &by);
                self.remember(request, || FirstAnswer::Deleted);
                let answer = Box::new(move |stored| drop(reply.send(stored)));
                self.after.push(After::Halt(Halt { sandbox, destroy, reply: Some(answer) }));
                self.deletes = true;
                self.after.push(After::Leave);
            }
        }
    }

    /// What a call is answered is stored with its effect, also when there is nothing else to store.
    fn remember(&mut self, request: Option<Request>, answer: impl FnOnce() -> FirstAnswer) {
        self.calls.extend(request.map(|request| Remembered::now(request, answer())));
    }

    /// Gives the agent a prompt: to the one that runs, else to the one that is started for it.
    fn give(&mut self, prompt: Prompt) {
        if let Side::On(running) = &mut self.side {
            running.parser.prompted(&prompt.block_id);
            let row = running.input(prompt.bytes);
            self.write_once_stored(row);
        } else {
            let sandbox = launch::announce(&self.shared.config, &self.pending.state().session);
            self.pending.record_session(None, Kind::SandboxChanged { sandbox });
            self.after.push(After::Prepare(prompt));
        }
    }

    /// Input goes out only when what caused it, and it itself, are stored.
    fn write_once_stored(&mut self, row: StdinRow) {
        self.stdin.push(row.clone());
        self.after.push(After::Write(row));
    }

    fn prepare(&mut self, prompt: Prompt) {
        let memory = self.mark.as_ref().and_then(|mark| mark.parser_state.clone());
        let config = self.shared.config.clone();
        let session = self.pending.state().session.clone();
        let (before, key, epoch) = (self.halting.clone(), self.key.clone(), self.epoch);
        let preparing = async move {
            // The same sandbox may just be ending: what is started now must not end with it.
            if let Some(before) = before {
                before.await;
            }
            launch::prepare(config, key, epoch, session, memory).await
        };
        self.side = Side::Preparing(Box::pin(preparing), prompt);
    }

    fn side_turned(&mut self, turn: SideTurn) {
        match turn {
            SideTurn::Prepared(Ok(mut prepared), prompt) => {
                prepared.parser.prompted(&prompt.block_id);
                let sandbox = self.sandbox(SandboxStatus::Ready, "");
                let mark = prepared.mark(sandbox.generation);
                self.pending.record_session(None, Kind::SandboxChanged { sandbox });
                let row = StdinRow { exec_id: mark.exec_id.clone(), offset: 0, data: prompt.bytes.clone() };
                self.given = Some(prompt);
                self.stdin.push(row.clone());
                self.mark = Some(mark);
                self.side = Side::Starting(None, Arc::clone(&prepared.sandbox), vec![row]);
                self.after.push(After::Start(prepared));
            }
            SideTurn::Started(Ok(running), rows) => {
                let mut running = Box::new(running);
                for row in rows {
                    running.write(row);
                }
                self.side = Side::On(running);
            }
            SideTurn::Prepared(Err(failure), _) | SideTurn::Started(Err(failure), _) => {
                tracing::warn!(key = %self.key, %failure, "the agent could not be started");
                self.end_exec();
                self.sandbox_gone(&failure.message);
                self.pending.start_failed(failure);
            }
            SideTurn::Happened(Happened::Printed(fd, bytes)) => {
                let mut actions = std::mem::take(&mut self.actions);
                if let Side::On(running) = &mut self.side {
                    running.parse(fd, &bytes, &mut actions);
                }
                self.act(&mut actions);
                self.actions = actions;
            }
            SideTurn::Happened(Happened::Ended(exit)) => self.ended(exit),
            SideTurn::Happened(Happened::Failed(error)) => {
                let failure = Failure::new(Reason::SandboxFailed, error.to_string());
                self.pending.end_turn(
                    TurnStatus::Failed,
                    Some(failure.into_session_error(true)),
                    Usage::default(),
                    None,
                );
                self.pending.record_status_after_turn();
                self.shut("a command to the sandbox failed");
            }
        }
    }

    /// Does what the output asks for. True: another program is started in its place.
    fn act(&mut self, actions: &mut Vec<Action>) -> bool {
        let mut again = None;
        for action in actions.drain(..) {
            match &action {
                Action::TurnStarted { .. } => self.given = None,
                Action::TurnEnded(_) => self.idle_since = Instant::now(),
                Action::Forgotten => again = self.given.take(),
                Action::Emit(_) | Action::Write(_) => {}
            }
            if let Some(data) = self.pending.act(action)
                && let Side::On(running) = &mut self.side
            {
                let row = running.input(data);
                self.write_once_stored(row);
            }
        }
        let Some(prompt) = again else { return false };
        self.shut("the agent could not go on from what it had stored, and begins anew");
        self.give(prompt);
        true
    }

    /// The program ended: what it left open ends with it.
    fn ended(&mut self, exit: Result<Exit, sandbox::Error>) {
        let mut actions = std::mem::take(&mut self.actions);
        let mut on = std::mem::replace(&mut self.side, Side::Off);
        if let Side::On(running) = &mut on {
            running.finish(&mut actions);
            self.mark.iter_mut().for_each(|mark| running.note(mark));
        }
        if self.act(&mut actions) {
            return;
        }
        let agent = self.pending.state().session.agent;
        let (said, code) = match &exit {
            Ok(Exit::Code(code)) => (format!("{agent} ended with exit code {code}"), code.to_string()),
            Ok(Exit::Signal(signal)) => (format!("{agent} was ended by signal {signal}"), format!("signal {signal}")),
            Err(error) => (error.to_string(), "unknown".to_owned()),
        };
        let failure = Failure::new(Reason::AgentFailed, format!("{said} before the turn was over"))
            .with("agent", agent)
            .with("exit_code", code);
        let error = failure.into_session_error(true);
        let cut = self.pending.state().active_turn().is_some();
        if cut {
            self.pending.record_session(None, Kind::ErrorOccurred { error: error.clone() });
        }
        self.pending.end_turn(TurnStatus::Failed, Some(error), Usage::default(), None);
        self.pending.record_status_after_turn();
        if !cut && exit != Ok(Exit::Code(0)) {
            self.pending.log(LogLevel::Warn, said.clone());
        }
        self.end_exec();
        self.sandbox_gone(&said);
    }

    /// Records the end of the active turn and of what runs, and what the session is now. What is returned must be ended.
    fn halt(&mut self, message: &str, status: SessionStatus, by: &Principal) -> Option<Arc<dyn sandbox::Sandbox>> {
        self.pending.stop_turn(by);
        let sandbox = self.take_down(message);
        self.pending.record_status(status, message, None, Some(by));
        sandbox
    }

    /// Ends what runs in the sandbox, once it is stored that it does.
    fn shut(&mut self, message: &str) {
        let sandbox = self.take_down(message);
        self.after.push(After::Halt(Halt { sandbox, destroy: None, reply: None }));
    }

    fn take_down(&mut self, message: &str) -> Option<Arc<dyn sandbox::Sandbox>> {
        if let (Side::On(running), Some(mark)) = (&self.side, &mut self.mark) {
            running.note(mark);
        }
        let sandbox = self.off();
        self.end_exec();
        self.sandbox_gone(message);
        sandbox
    }

    fn stop_idle(&mut self) {
        let silence = self.shared.config.idle_timeout;
        self.shut(&format!("stopped after {} s of silence", silence.as_secs()));
    }

    /// The server stops: agents end with it, and their turns with them.
    fn drain(&mut self) {
        self.pending
            .lose_turn("server_stopped", "the server was stopped, and its agents with it; send the message again");
        self.shut("the server was stopped");
        self.after.push(After::Leave);
    }

    /// Nobody is left who could ask for anything.
    fn deserted(&mut self) {
        self.deserted = true;
        self.drain();
    }

    /// What an earlier owner left: its agent is gone, so its turn is lost and its sandbox not running.
    fn clean_up(&mut self) {
        self.pending.lose_turn("server_restarted", "the server that ran this turn is gone; send the message again");
        self.end_exec();
        self.sandbox_gone("the server that ran it is gone");
    }

    /// Takes what runs away from the loop: nothing of it is read again.
    fn off(&mut self) -> Option<Arc<dyn sandbox::Sandbox>> {
        self.idle_since = Instant::now();
        self.given = None;
        self.after.retain(|after| match after {
            After::Prepare(_) | After::Start(_) | After::Write(_) => false,
            After::Reply(_) | After::Halt(_) | After::Leave => true,
        });
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.after.retain(|after| !matches!(after, After::Prepare(_) | After::Start(_) | After::Write(_)));
        }
        match std::mem::replace(&mut self.side, Side::Off) {
            Side::Off | Side::Preparing(..) => None,
            Side::Starting(_, sandbox, _) => Some(sandbox),
            Side::On(running) => Some(running.sandbox),
        }
    }

    /// Records that the program's output is over. What its parser knows stays for the next one.
    fn end_exec(&mut self) {
        if let Some(mark) = &mut self.mark {
            mark.ended = true;
        }
    }

    fn sandbox(&self, status: SandboxStatus, message: &str) -> Sandbox {
        let held = self.pending.state().session.sandbox.clone();
        let held = held.unwrap_or_else(|| launch::announce(&self.shared.config, &self.pending.state().session));
        Sandbox { status, status_message: message.to_owned(), ..held }
    }

    fn sandbox_gone(&mut self, message: &str) {
        let held = self.pending.state().session.sandbox.as_ref();
        if held.is_some_and(|sandbox| sandbox.status != SandboxStatus::Terminated) {
            let sandbox = self.sandbox(SandboxStatus::Terminated, message);
            self.pending.record_session(None, Kind::SandboxChanged { sandbox });
        }
    }

    /// When text that waits must go out, where that is in the future.
    fn flush_at(&self) -> Option<Instant> {
        if self.in_flight.is_some() || self.pending.is_empty() {
            return None;
        }
        Some(self.last_submit? + self.window())
    }

    fn window(&self) -> Duration {
        let config = &self.shared.config;
        if self.shared.log.is_watched(&self.key) { config.delta_window } else { config.unwatched_delta_window }
    }

    fn idle_at(&self) -> Option<Instant> {
        let idle = matches!(self.side, Side::On(_)) && self.pending.state().active_turn().is_none();
        idle.then(|| self.idle_since + self.shared.config.idle_timeout)
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

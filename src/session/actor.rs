//! The actor: one for each session that has something to do. It alone decides what happens in the session, appends it, and
//! drives the agent. Whatever takes time (a commit, a sandbox, the agent's output) is a future that its loop polls, so that
//! it never waits for one thing while another one happens; and nothing is done outside before what caused it is stored.

mod asking;
mod barred;
mod begin;
mod budget;
mod carry;
mod commands;
mod files;
mod joining;
mod leave;
mod life;
mod submit;
mod takeover;
mod turns;
mod update;

use std::sync::Arc;

use futures::future::{BoxFuture, Shared as SharedFuture};
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument as _;

pub(super) use self::begin::Begin;
use self::{
    barred::Barred,
    files::{CREATED, FilesSide, Step},
    joining::Joining,
    life::Life,
    turns::{Closing, Pressing},
};
use super::{
    Command,
    after::{After, Halt, InFlight},
    launch::{self, Prepared, Wanted},
    pending::Pending,
    provide::{self, Filled, NotProvided},
    redact::Values,
    running::{Happened, Running, maybe},
    shared::Shared,
    side::{Side, SideTurn},
    turn::Prompt,
};
use crate::{
    agent::{Action, Draft},
    domain::{
        Failure, FirstAnswer, Kind, PermissionPolicy, Remembered, Request, SandboxId, SessionKey, Timestamp, TurnId,
    },
    sandbox::{Epoch, Sandbox},
    store::{self, Acquired, ExecMark, NewCheckpoint, StdinRow},
};

/// Bytes of unsubmitted text above which the agent's output is left unread.
const BACKLOG: usize = 1 << 20;

/// Words about what takes its time that wait to be told.
const PROGRESS: usize = 16;

/// The end of what ran, for all who wait for it.
type Halting = SharedFuture<BoxFuture<'static, ()>>;

/// See the module.
pub(super) struct Actor {
    shared: Arc<Shared>,
    key: SessionKey,
    epoch: Epoch,
    oldest_sequence: i64,
    /// Of the profile.
    policy: PermissionPolicy,
    pending: Pending,
    commands: mpsc::Receiver<Command>,
    /// Those that wait until it is known what runs.
    joining: Joining,
    side: Side,
    barred: Barred,
    mark: Option<ExecMark>,
    stored: Option<ExecMark>,
    stdin: Vec<StdinRow>,
    /// What the program was started for, until it takes that up.
    given: Option<Prompt>,
    deletes: bool,
    calls: Vec<Remembered>,
    after: Vec<After>,
    in_flight: Option<InFlight>,
    halting: Option<Halting>,
    last_submit: Option<Instant>,
    idle_since: Instant,
    traced: Option<(TurnId, tracing::Span)>,
    actions: Vec<Action>,
    /// A message that is to be given to a new program, because this one knows nothing of what was before.
    again: Option<Prompt>,
    files: FilesSide,
    life: Life,
    /// What the program's sandbox was told of the last open request.
    waits_until: Option<Timestamp>,
    /// When the program is ended, if it does not end its turn before.
    cut_at: Option<Instant>,
    checkpoint: Option<NewCheckpoint>,
    over: bool,
    not_stored: Option<store::Error>,
    leaving: Option<Leaving>,
    /// An agent was asked to end its turn.
    pressing: Option<Pressing>,
    closing: Option<Closing>,
}

/// The server ends, and the actor with it.
#[derive(Clone, Copy)]
enum Leaving {
    /// Once all that was read is stored, and all that is stored was given.
    Detach,
    /// Once the agent has ended its turn, or at this time without.
    Stop(Instant),
}

/// What an actor leaves.
pub(super) struct Ended {
    /// With what is in it.
    pub(super) commands: mpsc::Receiver<Command>,
    /// Why what it decided last is not stored, where it is not.
    pub(super) not_stored: Option<store::Error>,
    /// Where something may run on.
    pub(super) sandbox: Option<SandboxId>,
}

impl Actor {
    /// With the input that is stored of the newest program.
    pub(super) fn new(
        shared: Arc<Shared>,
        key: SessionKey,
        commands: mpsc::Receiver<Command>,
        acquired: Acquired,
        (values, policy): (Arc<Values>, PermissionPolicy),
    ) -> (Self, Vec<StdinRow>) {
        let held = acquired.exec.as_ref().map_or(&[][..], |exec| &exec.held);
        let actor = Self {
            shared,
            key,
            epoch: Epoch(acquired.epoch),
            oldest_sequence: acquired.oldest_sequence,
            policy,
            pending: Pending::new(acquired.open).hiding(values, held),
            commands,
            joining: Joining::default(),
            side: Side::Off,
            barred: Barred::default(),
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
            again: None,
            files: FilesSide::default(),
            life: Life::default(),
            waits_until: None,
            cut_at: None,
            checkpoint: None,
            over: false,
            not_stored: None,
            leaving: None,
            pressing: None,
            closing: None,
        };
        (actor, acquired.stdin)
    }

    /// Runs until there is nothing to do.
    pub(super) async fn run(mut self, begin: Begin, stdin: Vec<StdinRow>) -> Ended {
        match begin {
            Begin::Accepted(prompt) => self.prepare(Some(prompt)),
            Begin::Opened => self.prepare(None),
            Begin::Asked | Begin::Left => self.take_over(stdin, false),
            Begin::InDoubt => self.take_over(stdin, true),
            Begin::GiveUp(error) => self.give_up(&error),
        }
        self.follow_up();
        while !self.is_done() {
            self.begin_job();
            self.limit_the_wait();
            self.hold_to_budget();
            self.submit_if_due();
            let span = self.turn_span();
            self.step().instrument(span).await;
            self.follow_up();
        }
        let sandbox = self.pending.state().session.sandbox.as_ref().and_then(|sandbox| sandbox.sandbox_id.clone());
        Ended { commands: self.commands, not_stored: self.not_stored, sandbox }
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
        let quiet =
            self.in_flight.is_none() && self.halting.is_none() && self.after.is_empty() && self.files.is_quiet();
        let nothing = self.pending.is_empty() && self.stdin.is_empty();
        let settled = match &self.side {
            Side::Off => {
                let nobody = self.joining.is_empty() && self.commands.is_empty();
                let nobody = nobody && !self.files.is_housed() && !self.pending.waits();
                self.leaving.is_some() || nobody
            }
            Side::On(running) => self.is_detaching() && running.is_quiet(),
            Side::Finding(_) | Side::Preparing(..) | Side::Starting(..) => false,
        };
        quiet && (self.over || (nothing && settled))
    }

    async fn step(&mut self) {
        let holding = self.files.is_holding();
        let read = self.pending.bytes() < BACKLOG && !self.is_detaching();
        let flush_at = self.flush_at();
        let idle_at = self.idle_at();
        let stop_at = self.stop_at();
        // Nothing follows a deletion: who comes now is told by the next one that there is no session.
        let open = self.halting.is_none() && !self.over && !self.deletes && self.leaving.is_none();
        // Nobody gets in between a stop and the end that it waits for.
        let open = open && self.closing.is_none();
        let press_at = self.press_at();
        // What runs is known before anything is decided about it, where that is known soon.
        let (known, taking) = (open && !holding && !self.is_sought(), open && !holding && !self.is_sought_here());
        let put_off_at = self.put_off_at();
        let (look_at, check_at, moves_at) = (self.files.look_at(), self.check_at(), self.moves_at());
        let expires_at = self.expires_at();
        let (works_until, cut_at) = (self.works_until(), self.cut_at);
        let drain = self.shared.drain.clone();
        tokio::select! {
            biased;
            outcome = InFlight::outcome(&mut self.in_flight) => self.committed(outcome),
            () = maybe(&mut self.halting) => self.halting = None,
            () = drain.cancelled(), if open && !holding && self.has_to_leave() => self.leave(),
            command = self.joining.next(&mut self.commands, known), if taking => match command {
                Some(command) => self.hear(command),
                // Nobody is left who could ask for anything.
                None => self.leave(),
            },
            () = until(stop_at), if !holding => self.stop_now(),
            turn = self.files.next() => self.files_turned(turn),
            turn = self.side.next(read), if !holding => self.side_turned(turn),
            () = until(flush_at), if !holding => self.submit(),
            () = until(look_at) => {}
            () = self.barred.told() => self.tell_barred(),
            checked = self.life.checked(), if !holding => self.checked(checked),
            () = until(check_at) => self.check(),
            () = until(moves_at), if !holding => self.move_out(),
            // What changed since the last turn is saved first.
            () = until(idle_at) => self.hold(Step::Idle),
            () = until(press_at), if !holding => self.press_harder(),
            () = until(expires_at), if known => self.expire(),
            () = until(works_until), if known => self.time_is_up(),
            () = until(cut_at), if known => self.cut_off(),
            () = until(put_off_at) => self.put_off(),
        }
    }

    /// There is something that must not go on as it does when the server ends.
    fn has_to_leave(&self) -> bool {
        match &self.side {
            // Nothing runs, and files may be asked for, or somebody waits for the answer that starts it again.
            Side::Off => self.files.is_housed() || self.pending.waits(),
            // What is to be ended, or to be told of, must be found first.
            Side::Finding(_) => false,
            Side::Preparing(..) | Side::Starting(..) | Side::On(_) => true,
        }
    }

    /// What a call is answered is stored with its effect, also when there is nothing else to store.
    fn remember(&mut self, request: Option<Request>, answer: impl FnOnce() -> FirstAnswer) {
        self.calls.extend(request.map(|request| Remembered::now(request, answer())));
    }

    /// Gives the agent a prompt: to the one that runs, else to the one that is started for it.
    fn give(&mut self, prompt: Prompt) {
        if self.is_to_be_left() {
            return self.move_on(prompt);
        }
        if self.adapt() {
            return self.restart(prompt);
        }
        if let Side::On(running) = &mut self.side {
            running.parser.prompted(&prompt.block_id);
            let row = running.input(prompt.bytes);
            self.write_once_stored(row);
        } else {
            self.announce();
            self.after.push(After::Prepare(Some(prompt)));
        }
    }

    /// Makes a sandbox ready in which no program runs yet.
    fn open_house(&mut self) {
        self.announce();
        self.after.push(After::Prepare(None));
    }

    /// Records the sandbox that is to be made, before it is made; one that was made is looked for first.
    fn announce(&mut self) {
        let session = &self.pending.state().session;
        if session.sandbox.as_ref().is_none_or(|sandbox| sandbox.sandbox_id.is_none()) {
            let sandbox = launch::announce(&self.shared.config, session);
            self.pending.record_session(None, Kind::SandboxChanged { sandbox });
        }
    }

    /// Gives the program that runs more input.
    fn tell(&mut self, data: Vec<u8>) {
        if let Side::On(running) = &mut self.side {
            let row = running.input(data);
            self.write_once_stored(row);
        }
    }

    /// Input goes out only when what caused it, and it itself, are stored.
    fn write_once_stored(&mut self, row: StdinRow) {
        self.stdin.push(row.clone());
        self.after.push(After::Write(row));
    }

    fn prepare(&mut self, prompt: Option<Prompt>) {
        match (&self.side, prompt) {
            // The next server takes up what was accepted.
            _ if self.is_detaching() => {}
            (Side::Off, prompt) => self.make_ready(prompt),
            (Side::On(_), Some(prompt)) => self.give(prompt),
            // What is being made or found is waited for.
            (Side::Finding(_) | Side::Preparing(..) | Side::Starting(..), Some(prompt)) => self.files.wait(prompt),
            (Side::Finding(_) | Side::Preparing(..) | Side::Starting(..) | Side::On(_), None) => {}
        }
    }

    fn make_ready(&mut self, prompt: Option<Prompt>) {
        let memory = self.mark.as_ref().and_then(|mark| mark.parser_state.clone());
        let mut session = self.pending.state().session.clone();
        // A turn that goes on in another process goes on as it began.
        if let Some(turn) = self.pending.state().active_turn().filter(|turn| turn.start_time.is_some()) {
            session.options.model.clone_from(&turn.meter.model);
            session.options.permission_mode.clone_from(&turn.meter.permission_mode);
        }
        let (before, shared, key, epoch) =
            (self.halting.clone(), Arc::clone(&self.shared), self.key.clone(), self.epoch);
        let wanted = prompt.is_some().then(|| Wanted { strict: self.pending.strict(&self.policy), memory });
        let (progress, told) = mpsc::channel(PROGRESS);
        let preparing = async move {
            // The same sandbox may just be ending: what is started now must not end with it.
            if let Some(before) = before {
                before.await;
            }
            launch::prepare(shared, key, epoch, session, wanted, progress).await
        };
        self.side = Side::Preparing(Box::pin(preparing), prompt, told);
    }

    /// What makes the sandbox take its time.
    fn still_preparing(&mut self, what: &str) {
        let Some(status) = self.sandbox_status() else { return };
        let sandbox = self.sandbox(status, what);
        self.pending.record_session(None, Kind::SandboxChanged { sandbox });
    }

    fn prepared(&mut self, prepared: Prepared, prompt: Option<Prompt>) {
        let Prepared { sandbox, replaces, filled, program } = prepared;
        let described = self.ready(sandbox.expires(), replaces);
        let generation = described.generation;
        self.pending.record_session(None, Kind::SandboxChanged { sandbox: described });
        if let Some((filled, seen)) = filled {
            self.files.forget();
            let made = self.saw(Ok(seen), None);
            match filled {
                // It is as the session began: no message is known to an agent that is brought back to it.
                Filled::Seeded => self.keep_as(made, None, CREATED, None),
                Filled::Restored(_) => {}
            }
        }
        let (Some(mut program), Some(prompt)) = (program, prompt) else { return self.housed(sandbox) };
        self.pending.learn(&program.values);
        program.parser.prompted(&prompt.block_id);
        let mark = program.mark(sandbox.id(), generation);
        let data = [program.greeting(), &prompt.bytes].concat();
        let row = StdinRow { exec_id: mark.exec_id.clone(), offset: 0, data };
        self.given = Some(prompt);
        self.stdin.push(row.clone());
        self.mark = Some(mark);
        self.side = Side::Starting(None, Arc::clone(&sandbox), vec![row]);
        self.after.push(After::Start(sandbox, Box::new(program)));
    }

    /// The sandbox that was there is lost: the next one is recorded, then made.
    fn lost(&mut self, why: &str, restores: Option<i64>, prompt: Option<Prompt>) {
        tracing::warn!(key = %self.key, why, "the sandbox of a session is gone; another one takes its place");
        let session = &self.pending.state().session;
        let before = session.sandbox.as_ref().and_then(|sandbox| sandbox.sandbox_id.clone());
        let sandbox = provide::next(&self.shared.config, session, why, restores);
        self.end_exec();
        self.files.forget();
        self.pending.record_session(None, Kind::SandboxChanged { sandbox });
        // What is left of it must not stay.
        self.after.push(After::Halt(Halt { destroy: before, ..Halt::default() }));
        self.after.push(After::Prepare(prompt));
    }

    fn side_turned(&mut self, turn: SideTurn) {
        match turn {
            SideTurn::Found(found) => self.found(found),
            SideTurn::Progress(what) => self.still_preparing(&what),
            SideTurn::Prepared(Ok(prepared), prompt) => self.prepared(prepared, prompt),
            SideTurn::Prepared(Err(NotProvided::Lost { why, restores }), prompt) => self.lost(&why, restores, prompt),
            SideTurn::Started(Ok(running), _, rows) => {
                let mut running = Box::new(running);
                for row in rows {
                    running.write(row);
                }
                self.on(running);
            }
            SideTurn::Prepared(Err(NotProvided::Failed(failure)), _) => self.not_started(failure, None),
            SideTurn::Started(Err(failure), sandbox, _) => self.not_started(failure, Some(sandbox)),
            SideTurn::Happened(Happened::Printed(fd, bytes)) => {
                let mut actions = std::mem::take(&mut self.actions);
                if let Side::On(running) = &mut self.side {
                    running.parse(fd, &bytes, &mut actions);
                }
                self.act(&mut actions);
                self.actions = actions;
            }
            SideTurn::Happened(Happened::Given) => {}
            SideTurn::Happened(Happened::Ended(Ok(exit))) => self.ended(exit),
            SideTurn::Happened(Happened::Ended(Err(error)) | Happened::Failed(error)) => self.fell(&error),
        }
    }

    /// There is no agent: those who wait for one, or for its sandbox, are told.
    fn not_started(&mut self, failure: Failure, sandbox: Option<Arc<dyn Sandbox>>) {
        tracing::warn!(key = %self.key, %failure, "the agent could not be started");
        self.off();
        self.pending.end_subagents();
        self.end_interrupted();
        self.end_exec();
        self.sandbox_gone(&failure.message);
        self.files.refuse(&failure);
        self.pending.start_failed(failure);
        // It may have been started all the same.
        if sandbox.is_some() {
            self.after.push(After::Halt(Halt { sandbox, ..Halt::default() }));
        }
    }

    /// A program runs.
    fn on(&mut self, running: Box<Running>) {
        self.waits_until = None;
        self.files.follow(&running.sandbox);
        self.side = Side::On(running);
        // They may have changed while it was started, or while nobody had hold of it.
        self.tell_rules();
        self.press_on();
        if let Some(prompt) = self.files.waiting() {
            self.give(prompt);
        }
    }

    /// Does what the output asks for; the end of a turn, and what comes after it, waits for a look at the files.
    fn act(&mut self, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            if self.files.is_holding() || matches!(action, Action::TurnEnded(_)) {
                self.hold(Step::Act(action));
            } else {
                self.do_now(action);
            }
        }
        self.begin_anew();
    }

    fn do_now(&mut self, action: Action) {
        // Only programs print, and what is known of a program begins with its mark.
        let Some(exec_id) = self.mark.as_ref().map(|mark| mark.exec_id.clone()) else { return };
        // Rules judge what the agent does, and what is recorded of it says less.
        let given = if let Action::Ask(ask) = &action { Some(ask.clone()) } else { None };
        let Some(action) = self.pending.redact(action) else { return };
        match action.action() {
            Action::TurnStarted { .. } => self.given = None,
            Action::TurnEnded(_) | Action::Emit(Draft::Conversation { .. }) => self.idle_since = Instant::now(),
            Action::Forgotten => self.again = self.given.take(),
            Action::Ask(shown) if self.answer_now(given.as_ref().unwrap_or(shown), shown, &exec_id) => return,
            Action::Emit(_) | Action::Write(_) | Action::Ask(_) | Action::AskWithdrawn { .. } => {}
        }
        let starts = matches!(action.action(), Action::TurnStarted { .. });
        if let Some(data) = self.pending.act(action, &exec_id, self.patience()) {
            self.tell(data);
        }
        if starts {
            self.taken_up();
        }
    }

    /// Starts another program in the place of one that has forgotten.
    fn begin_anew(&mut self) {
        let Some(prompt) = self.again.take() else { return };
        self.shut("the agent could not go on from what it had stored, and begins anew");
        if !self.end_interrupted() {
            self.give(prompt);
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

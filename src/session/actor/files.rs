//! The files of the session, from the actor's side: what changed is told before the turn that changed it ends, in one batch
//! with its end and the checkpoint of both; calls that change files take their turn between looks.
//!
//! One job at a time looks or writes. What must not be recorded before a look is held: nothing is read or submitted
//! meanwhile, so that what is stored is always of one moment.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::time::Instant;

use super::Actor;
use crate::{
    agent::Action,
    domain::{
        Checkpoint, Failure, FileChangeOrigin, Kind, LogLevel, ParserState, Principal, Reason, SandboxId, TurnId,
    },
    sandbox::{Exit, Sandbox},
    session::{
        Command,
        after::After,
        edit::{self, Edit, Edited},
        look::{Eyes, Known, Look, Made, Seen},
        running::maybe,
        side::Side,
        turn::Prompt,
        watching::{Heard, Watching},
    },
    store::NewCheckpoint,
    workspace,
};

/// Time between a hint that something changed and the look at it: most changes come in numbers.
const QUIET: Duration = Duration::from_secs(1);

/// A session's newest event when nothing but its creation is recorded.
pub(super) const CREATED: i64 = 2;

/// See the module.
#[derive(Default)]
pub(super) struct FilesSide {
    known: Option<Known>,
    /// In which sandbox, and what.
    job: Option<(SandboxId, BoxFuture<'static, Done>)>,
    held: VecDeque<Step>,
    watching: Option<Watching>,
    look_at: Option<Instant>,
    edits: VecDeque<Edit>,
    /// A sandbox without a program, for the calls that change its files.
    house: Option<Arc<dyn Sandbox>>,
    /// A message that waits until the sandbox is ready.
    waiting: Option<Prompt>,
    /// Why the last look that steps waited for saw nothing.
    not_looked: Option<Failure>,
    /// The last look saw nothing.
    fails: bool,
}

/// What is held until the files were looked at.
pub(super) enum Step {
    Act(Action),
    Exit(Exit),
    Command(Command),
    Idle,
    Move,
}

/// What a job came to.
pub(super) enum Done {
    Looked(Box<Result<Seen, Failure>>, Held),
    Edited(Box<Edited>),
}

/// What happens about the files.
pub(super) enum FilesTurn {
    /// The job that was under way in this sandbox is done.
    Done(Option<SandboxId>, Done),
    /// Something may have changed.
    Heard(Heard),
}

/// Whether a look is one that steps wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Steps,
    Nothing,
}

impl FilesSide {
    /// Nothing may be recorded now but what a look finds.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// There is nothing to wait for.
    pub(super) fn is_quiet(&self) -> bool {
        self.job.is_none() && self.held.is_empty() && self.edits.is_empty() && self.waiting.is_none()
    }

    /// The sandbox is kept ready although nothing runs in it.
    pub(super) fn is_housed(&self) -> bool {
        self.house.is_some()
    }

    /// Waits for the job that is under way, or for a hint that there should be one. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> FilesTurn {
        let Self { job, watching, look_at, .. } = self;
        let heard = async {
            match watching {
                Some(watching) if look_at.is_none() => watching.next().await,
                Some(_) | None => std::future::pending().await,
            }
        };
        let mut under_way = job.as_mut().map(|(_, job)| job);
        tokio::select! {
            biased;
            done = maybe(&mut under_way) => {
                let of = job.take().map(|(of, _)| of);
                FilesTurn::Done(of, done)
            }
            heard = heard => FilesTurn::Heard(heard),
        }
    }

    /// When the next look is due, with an agent that is at work or not.
    pub(super) fn look_at(&self, works: bool) -> Option<Instant> {
        let unasked = self.watching.as_ref().and_then(|watching| watching.look_at(works));
        self.look_at.into_iter().chain(unasked).min().filter(|_| self.job.is_none())
    }

    /// A program runs, and may change files from now on.
    pub(super) fn follow(&mut self, sandbox: &Arc<dyn Sandbox>) {
        self.house = None;
        self.fails = false;
        self.watching = Some(Watching::new(sandbox.files()));
    }

    /// Nothing runs any more. Returns the sandbox that was kept ready without a program.
    pub(super) fn unfollow(&mut self) -> Option<Arc<dyn Sandbox>> {
        (self.watching, self.look_at, self.waiting) = (None, None, None);
        self.house.take()
    }

    /// A message waits until what is under way is there.
    pub(super) fn wait(&mut self, prompt: Prompt) {
        self.waiting = Some(prompt);
    }

    /// Why the last look that steps waited for saw nothing, where it did not.
    pub(super) fn not_looked(&mut self) -> Option<Failure> {
        self.not_looked.take()
    }

    /// The message that waits.
    pub(super) fn waiting(&mut self) -> Option<Prompt> {
        self.waiting.take()
    }

    /// Nothing more is begun: calls that wait did nothing, and are told so by that.
    pub(super) fn dismiss(&mut self) {
        self.edits.clear();
        self.waiting = None;
    }

    /// There is no sandbox for those who wait for one.
    pub(super) fn refuse(&mut self, failure: &Failure) {
        for edit in self.edits.drain(..) {
            drop(edit.reply.send(Err(failure.clone())));
        }
    }

    /// What was known is of a sandbox that is gone.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }
}

impl Actor {
    /// Holds this until the files were looked at.
    pub(super) fn hold(&mut self, step: Step) {
        self.files.held.push_back(step);
    }

    /// Takes a call that changes files; it is carried out when it is its turn.
    pub(super) fn edit(&mut self, edit: Edit) {
        self.files.edits.push_back(edit);
    }

    /// Begins the next job, if there is one and none is under way.
    pub(super) fn begin_job(&mut self) {
        if self.files.job.is_some() {
            return;
        }
        if self.files.is_holding() {
            return self.begin_look(Held::Steps);
        }
        if !self.files.edits.is_empty() {
            return self.begin_edit();
        }
        if self.files.look_at(self.works()).is_some_and(|at| at <= Instant::now()) {
            self.begin_look(Held::Nothing);
        }
    }

    /// There are files to be looked at now.
    pub(super) fn has_files(&self) -> bool {
        self.open_sandbox().is_some()
    }

    /// The agent has something to do, as far as is known.
    pub(super) fn works(&self) -> bool {
        self.pending.state().active_turn().is_some() || self.pending.has_subagents()
    }

    /// A sandbox whose files can be looked at now.
    pub(super) fn open_sandbox(&self) -> Option<Arc<dyn Sandbox>> {
        match &self.side {
            Side::On(running) => Some(Arc::clone(&running.sandbox)),
            Side::Off => self.files.house.clone(),
            Side::Finding(_) | Side::Preparing(..) | Side::Starting(..) => None,
        }
    }

    /// The sandbox is ready, and no program is to run in it now.
    pub(super) fn housed(&mut self, sandbox: Arc<dyn Sandbox>) {
        self.idle_since = Instant::now();
        self.files.house = Some(sandbox);
        if let Some(prompt) = self.files.waiting() {
            self.prepare(Some(prompt));
        }
    }

    fn eyes(&self, sandbox: &Arc<dyn Sandbox>) -> Eyes {
        Eyes::new(&self.shared, &self.key, self.pending.state().session.agent, sandbox)
    }

    fn begin_look(&mut self, held: Held) {
        (self.files.look_at, self.files.not_looked) = (None, None);
        let Some(sandbox) = self.open_sandbox() else { return self.release() };
        let (eyes, known) = (self.eyes(&sandbox), self.files.known.clone());
        let look = Look { origin: FileChangeOrigin::Agent, checkpoint: held == Held::Steps };
        let job = Box::pin(async move { Done::Looked(Box::new(eyes.look(known, look).await), held) });
        if let Some(watching) = &mut self.files.watching {
            watching.begin();
        }
        self.files.job = Some((sandbox.id().clone(), job));
    }

    fn begin_edit(&mut self) {
        let Some(sandbox) = self.open_sandbox() else {
            // What is being found, or will be started, is waited for.
            if matches!(self.side, Side::Off) && self.halting.is_none() && !self.prepares_next() {
                self.open_house();
            }
            return;
        };
        let Some(edit) = self.files.edits.pop_front() else { return };
        let (eyes, known) = (self.eyes(&sandbox), self.files.known.clone());
        let checkpoint = self.pending.state().active_turn().is_none();
        self.idle_since = Instant::now();
        let job = Box::pin(async move { Done::Edited(Box::new(edit::run(eyes, known, edit, checkpoint).await)) });
        self.files.job = Some((sandbox.id().clone(), job));
    }

    /// A sandbox is made ready as soon as what was decided is stored.
    fn prepares_next(&self) -> bool {
        let in_flight = self.in_flight.iter().flat_map(|in_flight| &in_flight.after);
        self.after.iter().chain(in_flight).any(|after| matches!(after, After::Prepare(_)))
    }

    /// Something was looked at or written, or should be looked at.
    pub(super) fn files_turned(&mut self, turn: FilesTurn) {
        match turn {
            FilesTurn::Done(of, done) => {
                let now = self.pending.state().session.sandbox.as_ref().and_then(|sandbox| sandbox.sandbox_id.as_ref());
                if of.as_ref() == now { self.job_done(done) } else { self.outlived(done) }
            }
            FilesTurn::Heard(heard) => {
                self.files.look_at = Some(Instant::now() + QUIET);
                match heard {
                    Heard::Change => {}
                    Heard::Blind(error) => {
                        let provider = self.open_sandbox().map(|sandbox| sandbox.provider().to_owned());
                        self.shared.told.blind(&provider.unwrap_or_default(), &error);
                    }
                }
            }
        }
    }

    /// What a job found is of a sandbox that is not the session's any more.
    fn outlived(&mut self, done: Done) {
        match done {
            Done::Looked(_, Held::Steps) => {
                let message = "the sandbox was lost while its files were looked at; try again";
                self.files.not_looked =
                    Some(Failure::new(Reason::SandboxFailed, message).with("cause", "sandbox_lost"));
                self.release();
            }
            Done::Looked(_, Held::Nothing) => {}
            Done::Edited(edited) => {
                let message = "the sandbox was lost while its files were changed; try again";
                let failure = Failure::new(Reason::SandboxFailed, message).with("cause", "sandbox_lost");
                drop(edited.edit.reply.send(Err(failure)));
            }
        }
    }

    fn job_done(&mut self, done: Done) {
        match done {
            Done::Looked(seen, held) => {
                let turn = self.pending.state().active_turn().map(|turn| turn.turn_id.clone());
                let not_looked = seen.as_ref().as_ref().err().cloned();
                if let Some(watching) = &mut self.files.watching {
                    watching.end(not_looked.is_none());
                }
                let failed = std::mem::replace(&mut self.files.fails, not_looked.is_some());
                // One that nobody waits for, and that fails like the one before it, has nothing to tell.
                let again = failed && not_looked.is_some() && held == Held::Nothing;
                let made = if again { None } else { self.saw(*seen, None) };
                if held == Held::Steps {
                    self.files.not_looked = not_looked;
                    self.release();
                    self.keep(made, turn);
                }
            }
            Done::Edited(edited) => self.edited(*edited),
        }
    }

    /// Records what a look saw; a look that failed is told, and the next one sees what it did not.
    pub(super) fn saw(&mut self, seen: Result<Seen, Failure>, by: Option<&Principal>) -> Option<Made> {
        let seen = match seen {
            Ok(seen) => seen,
            Err(failure) => {
                tracing::warn!(key = %self.key, %failure, "the files of a session could not be looked at");
                self.pending.log(LogLevel::Warn, format!("the workspace could not be looked at: {failure}"));
                return None;
            }
        };
        let Seen { known, changes, names, made, notes } = seen;
        self.files.known = Some(known);
        for note in notes {
            self.pending.log(LogLevel::Warn, note);
        }
        let mut batches = workspace::batches(changes).into_iter().peekable();
        while let Some(changes) = batches.next() {
            let more = batches.peek().is_some();
            self.pending.record_session(by, Kind::FilesChanged { changes, more });
        }
        self.pending.name(names);
        made
    }

    /// What goes with the next batch: conversation and files as they are now.
    fn keep(&mut self, made: Option<Made>, turn_id: Option<TurnId>) {
        let sequence = self.pending.head();
        let running = match &self.side {
            Side::On(running) => Some(running.parser.checkpoint()),
            Side::Off | Side::Finding(_) | Side::Preparing(..) | Side::Starting(..) => None,
        };
        let mut parser = match (running, &self.mark) {
            (Some(at), _) => Some(ParserState { version: at.version, state: at.state }),
            (None, Some(mark)) => {
                mark.parser_state.clone().map(|state| ParserState { version: mark.parser_version, state })
            }
            (None, None) => None,
        };
        if let Some(parser) = &mut parser {
            self.pending.hide(&mut parser.state);
        }
        self.keep_as(made, turn_id, sequence, parser);
    }

    /// The same, as of an earlier event.
    pub(super) fn keep_as(
        &mut self,
        made: Option<Made>,
        turn_id: Option<TurnId>,
        sequence: i64,
        parser: Option<ParserState>,
    ) {
        let Some(Made { manifest, adds, drops, files, bytes }) = made else { return };
        let generation = self.pending.state().session.sandbox.as_ref().map_or(1, |sandbox| sandbox.generation);
        let create_time = self.pending.time();
        let checkpoint = Checkpoint { turn_id, sequence, generation, parser, manifest, files, bytes, create_time };
        // Of two that go with one batch the second says what the first added as well.
        let (mut adds, mut drops) = (adds, drops);
        if let Some(before) = self.checkpoint.take() {
            adds.extend(before.adds);
            drops.extend(before.drops);
        }
        self.checkpoint = Some(NewCheckpoint { checkpoint, adds, drops });
    }

    /// Does what was held. What needs a look of its own waits for that, and what came after it too.
    pub(super) fn release(&mut self) {
        let mut held = std::mem::take(&mut self.files.held);
        let mut first = true;
        while let Some(step) = held.pop_front() {
            if !first && matches!(step, Step::Act(Action::TurnEnded(_))) {
                held.push_front(step);
                self.files.held = held;
                break;
            }
            first = false;
            match step {
                Step::Act(action) => self.do_now(action),
                Step::Exit(exit) => self.exited(exit),
                Step::Command(command) => self.decide(command),
                Step::Idle => self.stop_idle(),
                Step::Move => self.moved_out(),
            }
        }
        self.begin_anew();
    }

    fn edited(&mut self, edited: Edited) {
        let Edited { edit, before, outcome } = edited;
        let Edit { change: _, by, request, reply } = edit;
        if let Some(before) = before {
            self.saw(Ok(before), None);
        }
        // Whoever hung up does not want to know.
        let (seen, changed) = match outcome {
            Ok(outcome) => outcome,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        let made = self.saw(Ok(seen), Some(&by));
        if made.is_none() || self.pending.state().active_turn().is_none() {
            self.keep(made, None);
        } else {
            // A turn began meanwhile: what was found is of its midst, and no checkpoint. What is stored is looked up again.
            self.files.forget();
        }
        self.remember(request, || changed.clone().into());
        let answer = move |stored: Result<(), Failure>| drop(reply.send(stored.map(|()| changed)));
        self.after.push(After::Reply(Box::new(answer)));
    }
}

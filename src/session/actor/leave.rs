//! Ends: of a program by itself, of what runs by a command, by silence or by the end of the server, and of the actor that
//! leaves what runs to the next server.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::{Instant, timeout};

use super::{Actor, Leaving, files::Step};
use crate::{
    domain::{Failure, Kind, LogLevel, Principal, Reason, Sandbox, SandboxStatus, SessionStatus, TurnStatus, Usage},
    sandbox::{self, Exit, GRACE},
    session::{
        Ending,
        after::{After, Halt},
        attach::Lost,
        launch,
        running::Running,
        side::Side,
    },
};

/// How long a start that is under way is waited for.
const STARTED: Duration = Duration::from_secs(10);
/// How many times as long as usual silence may last while what an agent left at work goes on: a build comes to its end in that
/// time, and a server that nobody uses does not hold its sandbox for ever.
const AT_WORK: u32 = 6;

impl Actor {
    /// The program ended: the files are looked at once more, then what it left open ends with it.
    pub(super) fn ended(&mut self, exit: Exit) {
        self.read_the_rest();
        if matches!(self.side, Side::On(_)) {
            self.hold(Step::Exit(exit));
        }
    }

    /// All that a program that ended changed is told.
    pub(super) fn exited(&mut self, exit: Exit) {
        let sandbox = self.off();
        let agent = self.pending.state().session.agent;
        let (said, code) = match exit {
            Exit::Code(code) => (format!("{agent} ended with exit code {code}"), code.to_string()),
            Exit::Signal(signal) => (format!("{agent} was ended by signal {signal}"), format!("signal {signal}")),
        };
        self.pending.end_subagents();
        let waits = self.end_interrupted() || self.pending.park() || self.pending.leave_off(Usage::default());
        let active = !waits && self.pending.state().active_turn().is_some();
        if self.leaving.is_some_and(Leaving::ends_agents) {
            self.lose_to_the_stop();
        } else if active {
            let failure = Failure::new(Reason::AgentFailed, format!("{said} before the turn was over"))
                .with("agent", agent)
                .with("exit_code", code);
            let error = failure.into_session_error(true);
            self.pending.record_session(None, Kind::ErrorOccurred { error: error.clone() });
            self.pending.end_turn(TurnStatus::Failed, Some(error), Usage::default(), None);
        }
        self.pending.record_status_after_turn();
        if !active && exit != Exit::Code(0) {
            self.pending.log(LogLevel::Warn, said.clone());
        }
        self.end_exec();
        self.sandbox_gone(&said);
        // Nothing runs in it any more, but elsewhere it costs as if something did.
        self.after.push(After::Halt(Halt { sandbox, ..Halt::default() }));
    }

    /// The program can no longer be driven: nobody can know what it does or did.
    pub(super) fn fell(&mut self, error: &sandbox::Error) {
        self.read_the_rest();
        // There is nothing to look at any more.
        self.release();
        if matches!(self.side, Side::On(_)) {
            self.files.forget();
            self.lose(Lost::of(error, None));
        }
    }

    /// Reads what is left of a program's output.
    fn read_the_rest(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        if let Side::On(running) = &mut self.side {
            running.finish(&mut actions);
            self.mark.iter_mut().for_each(|mark| running.note(mark));
        }
        self.act(&mut actions);
        self.actions = actions;
    }

    /// Nobody can go on with what ran: the turn is lost, and what can still be reached is ended.
    pub(super) fn lose(&mut self, lost: Lost) {
        let Lost { cause, message, sandbox } = lost;
        // A message that was taken while it was looked for was given to nobody.
        let untold = self.take_back();
        tracing::warn!(key = %self.key, cause, message, "what ran in a session cannot be gone on with");
        let sandbox = self.off().or(sandbox);
        self.pending.end_subagents();
        // One that was leaving it goes on where the next one stands.
        if untold.is_none() && !self.end_interrupted() && !self.pending.leave_off(Usage::default()) {
            let message = format!("{message}; look at the workspace, then send the message again");
            self.pending.lose_turn(cause, &message);
        }
        self.end_exec();
        self.sandbox_gone(&message);
        self.after.push(After::Halt(Halt { sandbox, ..Halt::default() }));
        if let Some(prompt) = untold {
            self.give(prompt);
        }
    }

    /// Records the end of the active turn and of what runs, and what the session is now. What is returned must be ended.
    pub(super) fn halt(
        &mut self,
        message: &str,
        status: SessionStatus,
        by: &Principal,
    ) -> Option<Arc<dyn sandbox::Sandbox>> {
        self.pending.end_subagents();
        self.pending.stop_turn(by);
        let sandbox = self.take_down(message);
        self.pending.record_status(status, message, None, Some(by));
        sandbox
    }

    /// Ends what runs in the sandbox, once it is stored that it does.
    pub(super) fn shut(&mut self, message: &str) {
        let sought = self.sought();
        let sandbox = self.take_down(message);
        self.after.push(After::Halt(Halt { sandbox, sought, ..Halt::default() }));
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

    /// The silence after which the sandbox is stopped.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.pending.state().session.options.idle_timeout.unwrap_or(self.shared.config.idle_timeout)
    }

    /// When that is, if nothing happens until then; `None`: something is at work, or there is nothing to stop.
    pub(super) fn idle_at(&self) -> Option<Instant> {
        let open = matches!(self.side, Side::On(_)) || self.files.is_housed();
        let works = self.pending.state().active_turn().is_some() || self.pending.has_subagents();
        let idle = open && self.files.is_quiet() && !works;
        idle.then(|| self.idle_since + self.silence())
    }

    /// As long as that, and longer where the agent left something at work, which nobody can tell from what never ends.
    fn silence(&self) -> Duration {
        let times = if self.has_tasks() { AT_WORK } else { 1 };
        self.idle_timeout().saturating_mul(times)
    }

    /// Whether the program left something at work, as far as it was read.
    fn has_tasks(&self) -> bool {
        match &self.side {
            Side::On(running) => running.parser.has_tasks(),
            Side::Off | Side::Finding(_) | Side::Preparing(..) | Side::Starting(..) => false,
        }
    }

    pub(super) fn stop_idle(&mut self) {
        let at_work = if self.has_tasks() { " but for what went on in the background" } else { "" };
        let silence = self.silence().as_secs_f64();
        self.shut(&format!("stopped after {silence} s of silence{at_work}"));
    }

    /// The server ends, or nobody is left who could ask for anything.
    pub(super) fn leave(&mut self) {
        self.files.dismiss();
        // Its caller is told by that to ask the next server.
        self.closing = None;
        match self.shared.ending() {
            Ending::Detach => {
                // What is being made is made again by the next server, from what is stored.
                if let Side::Preparing(..) = self.side {
                    self.side = Side::Off;
                }
                self.leaving = Some(Leaving::Detach);
            }
            Ending::Stop => {
                self.leaving = Some(Leaving::Stop(Instant::now() + GRACE));
                self.interrupt();
            }
        }
    }

    /// Asks the agent to end its turn. Where there is nobody to ask, or nothing to end, all ends now.
    fn interrupt(&mut self) {
        // One that waits for an answer goes on when that comes, and need not end.
        let works = self.pending.state().active_turn().is_some() && !self.pending.waits();
        if works && matches!(self.side, Side::On(_)) { self.ask_to_end() } else { self.stop_now() }
    }

    /// When all ends, where the server's end ends agents: at once if there is no turn to wait for.
    pub(super) fn stop_at(&self) -> Option<Instant> {
        match (self.leaving, &self.side) {
            (Some(Leaving::Stop(at)), Side::On(_)) => {
                Some(if self.pending.state().active_turn().is_some() { at } else { Instant::now() })
            }
            (Some(Leaving::Stop(_) | Leaving::Detach) | None, _) => None,
        }
    }

    /// The server stops: agents end with it, and turns that they did not end themselves.
    pub(super) fn stop_now(&mut self) {
        self.lose_to_the_stop();
        self.shut("the server was stopped");
    }

    fn lose_to_the_stop(&mut self) {
        self.pending.end_subagents();
        self.end_interrupted();
        self.pending
            .lose_turn("server_stopped", "the server was stopped, and its agents with it; send the message again");
    }

    pub(super) fn is_detaching(&self) -> bool {
        matches!(self.leaving, Some(Leaving::Detach))
    }

    /// Takes what runs away from the loop: nothing of it is read again.
    pub(super) fn off(&mut self) -> Option<Arc<dyn sandbox::Sandbox>> {
        self.idle_since = Instant::now();
        self.given = None;
        self.life.look_away();
        let house = self.files.unfollow();
        self.after.retain(|after| match after {
            After::Prepare(_) | After::Start(..) | After::Write(_) => false,
            After::Reply(_) | After::Halt(_) | After::Leave => true,
        });
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.after.retain(|after| !matches!(after, After::Prepare(_) | After::Start(..) | After::Write(_)));
        }
        match std::mem::replace(&mut self.side, Side::Off) {
            Side::Off | Side::Finding(_) | Side::Preparing(..) => house,
            Side::Starting(starting, sandbox, _) => {
                self.wait_for(starting);
                Some(sandbox)
            }
            Side::On(running) => Some(running.sandbox),
        }
    }

    /// A start that is under way is waited for before anything else is done in the sandbox: whoever ends what runs there, or
    /// looks for it, must find it started or not, and not on the way.
    pub(super) fn wait_for(&mut self, starting: Option<BoxFuture<'static, Result<Running, Failure>>>) {
        if let Some(starting) = starting {
            let before = self.halting.take();
            let started = async move {
                if let Some(before) = before {
                    before.await;
                }
                // One that takes longer is left to whoever finds it.
                let _ = timeout(STARTED, starting).await;
            };
            self.halting = Some(started.boxed().shared());
        }
    }

    /// Records that the program's output is over, and its subagents with it. What its parser knows stays for the next one.
    pub(super) fn end_exec(&mut self) {
        self.pending.end_subagents();
        if let Some(mark) = &mut self.mark {
            mark.ended = true;
        }
    }

    pub(super) fn sandbox(&self, status: SandboxStatus, message: &str) -> Sandbox {
        let held = self.pending.state().session.sandbox.clone();
        let held = held.unwrap_or_else(|| launch::announce(&self.shared.config, &self.pending.state().session));
        Sandbox { status, status_message: message.to_owned(), ..held }
    }

    pub(super) fn sandbox_status(&self) -> Option<SandboxStatus> {
        self.pending.state().session.sandbox.as_ref().map(|sandbox| sandbox.status)
    }

    pub(super) fn sandbox_gone(&mut self, message: &str) {
        match self.sandbox_status() {
            None | Some(SandboxStatus::Terminated) => {}
            // It was never ready, so what is there of it is not whole: the next one is made from the beginning.
            Some(SandboxStatus::Starting) => {
                let sandbox = self.sandbox(SandboxStatus::Terminated, message);
                let destroy = sandbox.sandbox_id.clone();
                let sandbox = Sandbox { sandbox_id: None, ..sandbox };
                self.pending.record_session(None, Kind::SandboxChanged { sandbox });
                self.after.push(After::Halt(Halt { destroy, ..Halt::default() }));
            }
            Some(SandboxStatus::Ready | SandboxStatus::Unhealthy) => {
                let sandbox = self.sandbox(SandboxStatus::Terminated, message);
                self.pending.record_session(None, Kind::SandboxChanged { sandbox });
            }
        }
    }
}

impl Leaving {
    fn ends_agents(self) -> bool {
        match self {
            Self::Stop(_) => true,
            Self::Detach => false,
        }
    }
}

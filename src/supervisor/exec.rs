//! One run of one program: its process, its pipes, its end. The thread that starts it is the supervisor's only one that
//! lives as long as the process: bubblewrap dies with the *thread* that started it.

use std::{
    cell::RefCell,
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    rc::Rc,
};

use rustix::process::{Pid, Signal};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    children::Children,
    folder::private_dir,
    group::Group,
    input::Input,
    orphans,
    protocol::{Exit, Refusal, Start},
    record::Record,
    settle::{self, COMPLAINT_MAX, LOOK, START},
    spool::{End, Spool},
};

/// What runs need of the supervisor.
#[derive(Debug)]
pub(super) struct Around {
    pub(super) tasks: TaskTracker,
    pub(super) children: Children,
    /// Told when programs or connections get fewer or more.
    pub(super) changed: Notify,
    /// Most bytes of one output that are kept and not released.
    pub(super) cap: u64,
}

/// One run.
#[derive(Debug)]
pub(super) struct Exec {
    dir: PathBuf,
    pub(super) stdout: Rc<Spool>,
    pub(super) stderr: Rc<Spool>,
    pub(super) input: Rc<Input>,
    life: RefCell<Life>,
    record: RefCell<Record>,
    exit: watch::Sender<Option<Result<Exit, String>>>,
}

/// Whom signals reach.
#[derive(Debug)]
enum Life {
    /// Not known to run.
    Starting,
    Running(Group),
    /// About to be reaped, or reaped: from then on its pid may be somebody else's.
    Over,
}

impl Exec {
    /// Runs the program; returns when it runs. On failure nothing is left behind.
    pub(super) async fn start(dir: PathBuf, start: &Start, around: &Rc<Around>) -> Result<Rc<Self>, String> {
        let started = Self::try_start(&dir, start, around).await;
        if started.is_err()
            && let Err(error) = fs::remove_dir_all(&dir)
        {
            tracing::warn!(dir = %dir.display(), %error, "a failed start left its directory behind");
        }
        started
    }

    async fn try_start(dir: &Path, start: &Start, around: &Rc<Around>) -> Result<Rc<Self>, String> {
        let (exec, child, leader) = Self::spawn(dir, start, around).map_err(|error| error.to_string())?;
        let ended = around.children.claim(leader);
        around.tasks.spawn_local(Rc::clone(&exec).keep(child, leader, ended, Rc::clone(around)));
        match exec.settle(leader, start.bubblewrap).await {
            Ok(Settled::Running) => Ok(exec),
            Ok(Settled::Over) => {
                // All output is in its file then.
                exec.wait().await.ok();
                exec.complaint().map_or(Ok(exec), Err)
            }
            Err(error) => {
                exec.kill_unsettled(leader);
                exec.wait().await.ok();
                Err(error.to_string())
            }
        }
    }

    fn spawn(dir: &Path, start: &Start, around: &Rc<Around>) -> io::Result<(Rc<Self>, Child, Pid)> {
        // A directory without a record is of a start that failed half way: nothing that ran there lives.
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        private_dir(dir)?;
        let stdout = Spool::create(dir.join("stdout"), around.cap)?;
        let stderr = Spool::create(dir.join("stderr"), around.cap)?;
        let input = Input::create(dir.join("stdin"))?;
        let mut child = command(start)?.spawn()?;
        let leader = Pid::from_child(&child);
        let record = Record::of(leader).and_then(|record| record.store(dir).map(|()| record));
        let record = match record {
            Ok(record) => RefCell::new(record),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        let (life, exit) = (RefCell::new(Life::Starting), watch::channel(None).0);
        Ok((Rc::new(Self { dir: dir.to_owned(), stdout, stderr, input, life, record, exit }), child, leader))
    }

    /// One that ran under an earlier supervisor. `Err` says why nothing of it can be had; `None` that nothing ever ran.
    pub(super) fn revive(dir: PathBuf, boot_id: &str) -> Option<Result<Rc<Self>, String>> {
        let record = Record::load(&dir)?;
        if record.boot_id != boot_id {
            return Some(Err(
                "the machine was started anew since; what it had not yet written to disk is lost".to_owned()
            ));
        }
        let lost = "its supervisor ended before it did";
        let (end, exit) = match record.exit {
            Some(exit) => (End::Complete, Ok(exit)),
            None => (End::Lost(lost.to_owned()), Err(lost.to_owned())),
        };
        let open = |name: &str, released| {
            let spool =
                Spool::open(dir.join(name), released, end.clone()).map_err(|error| format!("{name}: {error}"))?;
            spool.check(released).map_err(|_| format!("{name} is shorter than what was read of it"))?;
            Ok::<_, String>(spool)
        };
        let opened = (|| {
            let stdout = open("stdout", record.stdout_released)?;
            let stderr = open("stderr", record.stderr_released)?;
            let input =
                Input::open(dir.join("stdin"), record.input_closed).map_err(|error| format!("stdin: {error}"))?;
            Ok((stdout, stderr, input))
        })();
        Some(opened.map(|(stdout, stderr, input)| {
            let (life, exit) = (RefCell::new(Life::Over), watch::channel(Some(exit)).0);
            Rc::new(Self { dir, stdout, stderr, input, life, record: RefCell::new(record), exit })
        }))
    }

    /// Reaches the program and everything in its group, or nobody when it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if let Life::Running(group) = &*self.life.borrow() {
            group.send(signal);
        }
    }

    /// Whether it has ended, and all it printed is kept.
    pub(super) fn over(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// Waits for the end; the error says why it will never be known.
    pub(super) async fn wait(&self) -> Result<Exit, Refusal> {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await;
        let ended = ended.ok().and_then(|exit| exit.clone());
        ended.expect("the sender lives in self, and only an end ends the wait").map_err(Refusal::Gone)
    }

    /// Writes down what is released and whether the input is closed.
    pub(super) fn note(&self) -> io::Result<()> {
        let mut record = self.record.borrow_mut();
        record.stdout_released = self.stdout.released();
        record.stderr_released = self.stderr.released();
        record.input_closed = self.input.given().closed;
        record.store(&self.dir)
    }

    /// The run's own task, from start to end.
    async fn keep(self: Rc<Self>, mut child: Child, leader: Pid, leader_ended: Rc<Notify>, around: Rc<Around>) {
        let ended = CancellationToken::new();
        let mut pipes = JoinSet::new();
        let stdin = OwnedFd::from(child.stdin.take().expect("asked for"));
        let stdout = OwnedFd::from(child.stdout.take().expect("asked for"));
        let stderr = OwnedFd::from(child.stderr.take().expect("asked for"));
        // A task each: one that is never done must not take the others' turns.
        for (spool, pipe) in [(&self.stdout, stdout), (&self.stderr, stderr)] {
            let (spool, ended) = (Rc::clone(spool), ended.clone());
            pipes.spawn_local(async move { spool.fill(pipe, ended).await });
        }
        let (input, told) = (Rc::clone(&self.input), ended.clone());
        pipes.spawn_local(async move { input.feed(stdin, told).await });

        leader_ended.notified().await;
        // From here on signals reach nobody, so they cannot hit a stranger: until it is reaped, its pid is the group's name
        // and nobody else's.
        let life = self.life.replace(Life::Over);
        match &life {
            Life::Running(group) => group.finish().await,
            Life::Starting | Life::Over => {}
        }
        let status = child.wait();
        around.children.reaped(leader);
        match &life {
            Life::Running(Group::Plain(_)) => orphans::end(&around.children).await,
            // Nothing outlives its pid namespace.
            Life::Running(Group::Namespace { .. }) | Life::Starting | Life::Over => {}
        }
        ended.cancel();
        pipes.join_all().await;
        let exit = status.map(exit).map_err(|error| format!("how the program ended is not known: {error}"));
        // Only now: an end that is written down says that all output is.
        self.record.borrow_mut().exit = exit.clone().ok();
        if let Err(error) = self.note() {
            tracing::warn!(dir = %self.dir.display(), %error, "the end of a program was not written down");
        }
        self.exit.send_replace(Some(exit));
        around.changed.notify_one();
    }

    /// Waits until the program itself runs. A plain one does already: spawning reports a failed exec.
    async fn settle(&self, leader: Pid, bubblewrap: bool) -> io::Result<Settled> {
        let deadline = Instant::now() + START;
        loop {
            if matches!(*self.life.borrow(), Life::Over) {
                return Ok(Settled::Over);
            }
            let group = if bubblewrap {
                settle::entered(leader).map(Group::namespace).transpose()?
            } else {
                Some(Group::Plain(leader))
            };
            if let Some(group) = group {
                self.life.replace(Life::Running(group));
                return Ok(Settled::Running);
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "bubblewrap did not start it in time"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Kills what was spawned but is not known to run the program. Bubblewrap's other processes follow the first.
    fn kill_unsettled(&self, leader: Pid) {
        match &*self.life.borrow() {
            Life::Starting => Group::Plain(leader).send(Signal::KILL),
            Life::Running(group) => group.send(Signal::KILL),
            Life::Over => {}
        }
    }

    /// Why a program that ended before it was seen running never ran, if so: then bubblewrap has ended with 1 and said
    /// it on the program's standard error.
    fn complaint(&self) -> Option<String> {
        if *self.exit.borrow() != Some(Ok(Exit::Code(1))) {
            return None;
        }
        settle::complaint(&self.stderr.head(COMPLAINT_MAX).ok()?)
    }
}

/// How a start went.
enum Settled {
    Running,
    /// It ended before it was seen running.
    Over,
}

/// Ready to be spawned.
fn command(start: &Start) -> io::Result<Command> {
    let text = |bytes: &Vec<u8>| std::ffi::OsStr::from_bytes(bytes).to_owned();
    let [program, arguments @ ..] = &*start.argv else {
        return Err(io::Error::other("no program is named"));
    };
    let mut command = Command::new(text(program));
    command.args(arguments.iter().map(text)).env_clear();
    command.envs(start.env.iter().map(|variable| (text(&variable.name), text(&variable.value))));
    command.current_dir(text(&start.directory)).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// Bubblewrap, like a shell, can report the signal that ended the program only as a code above 128. So that a program's
/// end is the same in every tier, such a code is the signal it stands for, whoever reports it.
fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code @ 129..160), _) => Exit::Signal(code - 128),
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => unreachable!("a process that was waited for has exited or was killed"),
    }
}

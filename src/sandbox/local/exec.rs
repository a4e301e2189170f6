//! One run of one program: its process, its pipes, its end. A thread of its own starts the process and stays until it
//! has ended: bubblewrap dies with the *thread* that started it, so that must not be one that a pool may retire.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::sync::watch;

use super::{bubble, group::Group, layout::private_dir, reap, spool::Spool, stdin::Stdin, wake::Wake};
use crate::sandbox::{Exit, Output, Signal};

/// A program that bubblewrap has not started by then never starts.
const START: Duration = Duration::from_secs(10);

/// How often to look whether bubblewrap has started the program; it takes it a few milliseconds and tells nobody.
const LOOK: Duration = Duration::from_micros(500);

/// What to run.
#[derive(Debug)]
pub(super) struct Plan {
    /// Ready but for its pipes.
    pub(super) command: Command,
    /// Whether the command is bubblewrap and the program its grandchild.
    pub(super) bubble: bool,
}

/// One run.
#[derive(Debug)]
pub(super) struct Exec {
    dir: PathBuf,
    stdout: Arc<Spool>,
    stderr: Arc<Spool>,
    stdin: Arc<Stdin>,
    /// Raised when the program has ended.
    ended: Wake,
    /// `None` once the process was reaped: from then on its pid may be somebody else's.
    group: Mutex<Option<Group>>,
    exit: watch::Sender<Option<Result<Exit, String>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Exec {
    /// Runs the program; returns when it runs. Blocks. On failure nothing is left behind.
    pub(super) fn start(dir: PathBuf, plan: Plan) -> Result<Arc<Self>, String> {
        if reap::recorded(&dir) {
            return Err("this exec id ran under an earlier server; take a new one".to_owned());
        }
        let started = Self::try_start(&dir, plan);
        if started.is_err()
            && let Err(error) = fs::remove_dir_all(&dir)
        {
            tracing::warn!(dir = %dir.display(), %error, "a failed start left its directory behind");
        }
        started
    }

    fn try_start(dir: &Path, plan: Plan) -> Result<Arc<Self>, String> {
        let spools = Spools::create(dir).map_err(|error| error.to_string())?;
        let exec = Arc::new(Self {
            dir: dir.to_owned(),
            stdout: spools.stdout.0,
            stderr: spools.stderr.0,
            stdin: spools.stdin,
            ended: Wake::new().map_err(|error| error.to_string())?,
            group: Mutex::new(None),
            exit: watch::channel(None).0,
            keeper: Mutex::new(None),
        });
        let (tell, told) = mpsc::channel();
        let files = [spools.stdout.1, spools.stderr.1];
        let keeper = {
            let exec = Arc::clone(&exec);
            spawn("sandbox-exec", move || exec.keep(plan, files, &tell)).map_err(|error| error.to_string())?
        };
        let started = told.recv().unwrap_or_else(|_| Err("the thread that starts it died".to_owned()));
        *exec.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        if let Err(cause) = started {
            exec.join();
            return Err(cause);
        }
        Ok(exec)
    }

    pub(super) fn output(&self, fd: Output) -> &Spool {
        match fd {
            Output::Stdout => &self.stdout,
            Output::Stderr => &self.stderr,
        }
    }

    pub(super) fn stdin(&self) -> &Stdin {
        &self.stdin
    }

    /// Reaches the program and everything in its group, or nobody when it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = &*self.group.lock().unwrap_or_else(PoisonError::into_inner) {
            group.send(signal);
        }
    }

    /// Waits for the end; the error says why it will never be known.
    pub(super) async fn wait(&self) -> Result<Exit, String> {
        let mut exit = self.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await;
        ended.ok().and_then(|exit| exit.clone()).expect("the sender lives in self, and only an end ends the wait")
    }

    /// Waits until all threads of this run are done, which is soon after its end. Blocks.
    pub(super) fn join(&self) {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if keeper.is_some_and(|keeper| keeper.join().is_err()) {
            tracing::error!(dir = %self.dir.display(), "a thread of an exec panicked");
        }
    }

    /// The keeper's work, from start to end.
    fn keep(&self, mut plan: Plan, files: [fs::File; 2], tell: &mpsc::Sender<Result<(), String>>) {
        let child = match plan.command.spawn() {
            Ok(child) => child,
            Err(error) => {
                // Sending is refused only when nobody waits for the start; so below.
                let _ = tell.send(Err(error.to_string()));
                return;
            }
        };
        let leader = Pid::from_child(&child);
        let unseen = thread::scope(|scope| {
            let mut child = child;
            let running = self.attach(scope, &mut child, files).and_then(|()| {
                reap::record(&self.dir, leader)?;
                self.settle(leader, plan.bubble)
            });
            let unseen = match running {
                Ok(Settled::Running) => {
                    let _ = tell.send(Ok(()));
                    None
                }
                Ok(Settled::Over) => Some(None),
                Err(error) => {
                    self.kill_unsettled(leader);
                    Some(Some(error.to_string()))
                }
            };
            self.finish(leader, &mut child);
            unseen
        });
        // All output is in its file now.
        if let Some(failure) = unseen {
            let cause = failure.or_else(|| self.complaint());
            let _ = tell.send(cause.map_or(Ok(()), Err));
        }
    }

    /// Hands the pipes to threads that the scope joins.
    fn attach<'scope>(
        &'scope self,
        scope: &'scope thread::Scope<'scope, '_>,
        child: &mut Child,
        files: [fs::File; 2],
    ) -> io::Result<()> {
        let stdin = OwnedFd::from(child.stdin.take().expect("asked for"));
        let stdout = OwnedFd::from(child.stdout.take().expect("asked for"));
        let stderr = OwnedFd::from(child.stderr.take().expect("asked for"));
        let [out, err] = files;
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        named("sandbox-stdin").spawn_scoped(scope, move || self.stdin.feed(stdin))?;
        named("sandbox-stdout").spawn_scoped(scope, move || self.stdout.fill(stdout, out, &self.ended))?;
        named("sandbox-stderr").spawn_scoped(scope, move || self.stderr.fill(stderr, err, &self.ended))?;
        Ok(())
    }

    /// Waits until the program itself runs. A plain one does already: spawning reports a failed exec.
    fn settle(&self, leader: Pid, bubble: bool) -> io::Result<Settled> {
        let deadline = Instant::now() + START;
        let group = loop {
            if !bubble {
                break Group::Plain(leader);
            }
            if let Some(init) = bubble::entered(leader) {
                break Group::namespace(init)?;
            }
            if waitid(WaitId::Pid(leader), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG)?
                .is_some()
            {
                return Ok(Settled::Over);
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "bubblewrap did not start it in time"));
            }
            thread::sleep(LOOK);
        };
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = Some(group);
        Ok(Settled::Running)
    }

    /// Kills what was spawned but is not known to run the program. Bubblewrap's other processes follow the first.
    fn kill_unsettled(&self, leader: Pid) {
        let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        group.get_or_insert(Group::Plain(leader)).send(Signal::Kill);
    }

    /// Waits for the end, kills what the program left behind, reaps it, tells.
    fn finish(&self, leader: Pid, child: &mut Child) {
        // Looks at the end without reaping: until it is reaped, its pid is the group's name and nobody else's.
        while let Err(rustix::io::Errno::INTR) =
            waitid(WaitId::Pid(leader), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        // From here on signals reach nobody, so they can neither wait for what follows nor hit a stranger.
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(group) = group {
            group.finish();
        }
        let status = child.wait();
        self.ended.raise();
        self.stdin.end();
        let exit = status.map(exit).map_err(|error| format!("how the program ended is not known: {error}"));
        self.exit.send_replace(Some(exit));
    }

    /// Why a program that ended before it was seen running never ran, if so: then bubblewrap has ended with 1 and said
    /// it on the program's standard error.
    fn complaint(&self) -> Option<String> {
        if *self.exit.borrow() != Some(Ok(Exit::Code(1))) {
            return None;
        }
        bubble::complaint(&self.stderr.head(bubble::COMPLAINT_MAX).ok()?)
    }
}

/// How a start went.
enum Settled {
    Running,
    /// It ended before it was seen running.
    Over,
}

/// The files of one run.
struct Spools {
    stdout: (Arc<Spool>, fs::File),
    stderr: (Arc<Spool>, fs::File),
    stdin: Arc<Stdin>,
}

impl Spools {
    fn create(dir: &Path) -> io::Result<Self> {
        // A directory without a record is of a start that failed half way: nothing ever ran there.
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        private_dir(dir)?;
        Ok(Self {
            stdout: Spool::create(dir.join("stdout"))?,
            stderr: Spool::create(dir.join("stderr"))?,
            stdin: Stdin::create(dir.join("stdin"))?,
        })
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
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

//! One emulated sandbox: its programs, its snapshots, its tags and its end. It knows neither requests nor who may make them.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OnceCell, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod life;

use super::{
    cell::{Cell, Refused, Start},
    error::Error,
    image::{Images, Made},
    program::{Plan, Program, Sink},
};
use crate::modal_wire::client::{self, GenericResult};

/// Which of Modal's ways of making sandboxes made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// `SandboxCreate`.
    V1,
    /// `SandboxCreateV2`.
    V2,
}

/// What a sandbox is made of, and what is known of it for good.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) task: String,
    pub(super) app: String,
    pub(super) version: Version,
    pub(super) definition: client::Sandbox,
    /// Seconds since 1970; no two sandboxes have the same.
    pub(super) created: f64,
    /// Holds its root and what its programs write.
    pub(super) folder: PathBuf,
    /// Variables of all its programs.
    pub(super) env: Vec<(String, String)>,
    /// Directory of programs that name none.
    pub(super) workdir: String,
    /// What it began with.
    pub(super) made: Arc<Made>,
}

/// Where a sandbox is in its life.
#[derive(Clone, Debug)]
pub(super) enum Life {
    /// Its programs run.
    Running,
    /// It ended like this, then.
    Ended(GenericResult, f64),
}

/// What became of the snapshot at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExitSnapshot {
    /// Nobody asked for one.
    Unwanted,
    /// It is not there yet.
    Pending,
    /// It is this image.
    Kept(String),
    /// It could not be made.
    Failed(String),
}

/// A sandbox.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) facts: Facts,
    tags: Mutex<Vec<client::SandboxTag>>,
    cell: Arc<Cell>,
    tracker: TaskTracker,
    execs: Mutex<HashMap<String, Arc<Exec>>>,
    snapshots: Mutex<HashMap<String, Arc<OnceCell<String>>>>,
    entry: OnceCell<Arc<Program>>,
    activity: Mutex<Activity>,
    life: watch::Sender<Life>,
    exit_snapshot: watch::Sender<ExitSnapshot>,
    /// Somebody asked it to end.
    stop: CancellationToken,
    /// It has ended: nothing of its programs is kept any more.
    over: CancellationToken,
}

/// Whether anybody uses it.
#[derive(Debug)]
struct Activity {
    running: usize,
    since: Instant,
}

/// A program by the id that its starter minted.
#[derive(Debug)]
struct Exec {
    /// What it was started with, to tell whether a start is repeated.
    request: Vec<u8>,
    program: OnceCell<Result<Arc<Program>, Refused>>,
}

/// What to run, as a request says it.
#[derive(Debug)]
pub(super) struct ExecPlan {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) workdir: Option<String>,
    pub(super) stdout: Sink,
    pub(super) stderr: Sink,
    pub(super) timeout: Option<Duration>,
}

impl Sandbox {
    /// A sandbox whose cell was opened just now.
    pub(super) fn new(facts: Facts, tags: Vec<client::SandboxTag>, cell: Arc<Cell>, tracker: TaskTracker) -> Arc<Self> {
        let wanted = facts.definition.experimental_options_v2.get("enable_exit_snapshot");
        let wanted = wanted.is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let first = if wanted { ExitSnapshot::Pending } else { ExitSnapshot::Unwanted };
        Arc::new(Self {
            facts,
            tags: Mutex::new(tags),
            cell,
            tracker,
            execs: Mutex::default(),
            snapshots: Mutex::default(),
            entry: OnceCell::new(),
            activity: Mutex::new(Activity { running: 0, since: Instant::now() }),
            life: watch::Sender::new(Life::Running),
            exit_snapshot: watch::Sender::new(first),
            stop: CancellationToken::new(),
            over: CancellationToken::new(),
        })
    }

    /// Where its root lies on this machine.
    pub(super) fn root(&self) -> PathBuf {
        self.facts.folder.join("root")
    }

    /// Starts a program under an id; the same start again changes nothing. It is started also when whoever asked is gone.
    pub(super) async fn exec(self: &Arc<Self>, id: &str, request: Vec<u8>, plan: ExecPlan) -> Result<(), Error> {
        let exec = {
            let mut execs = lock(&self.execs);
            let fresh = || Arc::new(Exec { request: request.clone(), program: OnceCell::new() });
            Arc::clone(execs.entry(id.to_owned()).or_insert_with(fresh))
        };
        if exec.request != request {
            return Err(Error::Exists(format!("exec {id} was started with something else")));
        }
        let (sandbox, id) = (Arc::clone(self), id.to_owned());
        let started = self.tracker.spawn(async move {
            let program = exec.program.get_or_init(|| sandbox.start(&id, plan, true)).await;
            program.as_ref().map(|_| ()).map_err(Clone::clone)
        });
        match started.await.map_err(|error| Error::internal("a start was ended", error))? {
            Ok(()) => Ok(()),
            Err(Refused::Start(cause)) => Err(Error::Invalid(format!("the process cannot be started: {cause}"))),
            Err(Refused::Over) => Err(self.gone()),
        }
    }

    /// Runs what the definition says the sandbox is for. Nothing: it sleeps until its end.
    pub(super) async fn enter(self: &Arc<Self>) -> Result<(), Error> {
        let argv = self.facts.definition.entrypoint_args.clone();
        if argv.is_empty() {
            return Ok(());
        }
        let plan =
            ExecPlan { argv, env: Vec::new(), workdir: None, stdout: Sink::Pipe, stderr: Sink::Pipe, timeout: None };
        let started = self.start("entrypoint", plan, false).await;
        let program =
            started.map_err(|refused| Error::Invalid(format!("the entrypoint cannot be started: {refused}")))?;
        // Nobody else sets it.
        let _ = self.entry.set(program);
        Ok(())
    }

    async fn start(self: &Arc<Self>, id: &str, plan: ExecPlan, counts: bool) -> Result<Arc<Program>, Refused> {
        let folder = self.facts.folder.join("execs").join(id);
        std::fs::create_dir_all(&folder).map_err(|error| Refused::Start(error.to_string()))?;
        let ExecPlan { argv, env, workdir, stdout, stderr, timeout } = plan;
        let env = self.facts.env.iter().cloned().chain(env).collect();
        let cwd = workdir.unwrap_or_else(|| self.facts.workdir.clone());
        let plan = Plan { start: Start { argv, env, cwd }, stdout, stderr, timeout };
        self.used(usize::from(counts), 0);
        let sandbox = Arc::clone(self);
        let ended = move || sandbox.used(0, usize::from(counts));
        let started = Program::start(&self.cell, plan, &folder, &self.tracker, &self.over, ended).await;
        if started.is_err() {
            self.used(0, usize::from(counts));
        }
        started
    }

    /// A program that was started here.
    pub(super) fn program(&self, id: &str) -> Result<Arc<Program>, Error> {
        let exec = lock(&self.execs).get(id).cloned();
        match exec.as_ref().and_then(|exec| exec.program.get()) {
            Some(Ok(program)) => Ok(Arc::clone(program)),
            Some(Err(_)) | None => Err(Error::NotFound(format!("there is no exec {id} in task {}", self.facts.task))),
        }
    }

    /// The program that the sandbox is for.
    pub(super) fn entry(&self) -> Result<Arc<Program>, Error> {
        self.entry.get().cloned().ok_or_else(|| Error::State("the sandbox has no entrypoint".to_owned()))
    }

    /// Keeps its file system as it is now as an image; the same snapshot again is the same image.
    pub(super) async fn snapshot(
        self: &Arc<Self>,
        id: &str,
        ttl: Option<Duration>,
        images: &Arc<Images>,
    ) -> Result<String, Error> {
        let cell = Arc::clone(lock(&self.snapshots).entry(id.to_owned()).or_default());
        let (sandbox, images) = (Arc::clone(self), Arc::clone(images));
        let taken = self.tracker.spawn(async move {
            let keep = || async { Ok(images.keep(&sandbox.root(), &sandbox.facts.made, ttl).await?.id.clone()) };
            cell.get_or_try_init(keep).await.cloned()
        });
        taken.await.map_err(|error| Error::internal("a snapshot was ended", error))?
    }

    /// Says that input was written, or something else was done with it.
    pub(super) fn touch(&self) {
        self.used(0, 0);
    }

    fn used(&self, begun: usize, ended: usize) {
        let mut activity = lock(&self.activity);
        activity.running = (activity.running + begun).saturating_sub(ended);
        activity.since = Instant::now();
    }

    /// Asks it to end; it does so soon after.
    pub(super) fn terminate(&self) {
        self.stop.cancel();
    }

    /// Ends it at once, as when the machine below it fails.
    pub(super) async fn fail(&self) {
        self.cell.close().await;
    }

    /// Where it is in its life, now and from now on.
    pub(super) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// How it ended, if it did.
    pub(super) fn result(&self) -> Option<GenericResult> {
        match &*self.life.borrow() {
            Life::Running => None,
            Life::Ended(result, _) => Some(result.clone()),
        }
    }

    /// The snapshot at its end, now and from now on.
    pub(super) fn exit_snapshot(&self) -> watch::Receiver<ExitSnapshot> {
        self.exit_snapshot.subscribe()
    }

    /// Its tags.
    pub(super) fn tags(&self) -> Vec<client::SandboxTag> {
        lock(&self.tags).clone()
    }

    /// Replaces its tags.
    pub(super) fn set_tags(&self, tags: Vec<client::SandboxTag>) {
        *lock(&self.tags) = tags;
    }

    /// What is said of it once it has ended.
    pub(super) fn gone(&self) -> Error {
        Error::NotFound(format!("task {} has ended", self.facts.task))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section leaves what it guards whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

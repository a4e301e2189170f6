//! One sandbox at Modal, as those see it who use sandboxes.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{future::join_all, stream::BoxStream};
use tokio::{sync::Mutex as Turn, time::timeout};
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

use super::{
    NAME,
    epochs::Epochs,
    failure,
    files::ModalFiles,
    helper::{self, Helper},
    helpers::Helpers,
    image, names,
    program::{self, Program},
    record::Record,
    remote::{Over, Remote},
    router::{Router, Start},
    scripts::{self, Around, Header},
};
use crate::{
    domain::{ExecId, Isolation, SandboxId, Timestamp},
    sandbox::{Epoch, Error, ExecSpec, Exit, Files, GRACE, Output, Paths, Sandbox, Signal, StdinStatus},
};

/// Where things lie in every sandbox.
pub(super) const WORKSPACE: &str = "/workspace";
const HOME: &str = "/root";
/// Most bytes of a command: the official clients refuse more.
const ARGV_MOST: usize = 64 * 1024;
/// What our own scripts may print.
const SAID_MOST: usize = 4 * 1024;
/// What the variables of a program may take; Linux takes no more.
const VARIABLES_MOST: usize = 8 << 20;
/// How long the end of a program may take to be told once it was killed.
const TOLD: Duration = Duration::from_secs(10);
/// How long a program may take until the sandbox says whether it runs.
const BEGINS: Duration = Duration::from_mins(2);
/// How long a sandbox may take to end its programs itself. What runs in it may keep our scripts from that, and must not keep
/// the sandbox from its end.
const POLITE: Duration = Duration::from_secs(GRACE.as_secs() + 15);

/// A sandbox at Modal. A clone is the same one.
#[derive(Clone)]
pub(super) struct Place(Arc<Shared>);

struct Shared {
    id: SandboxId,
    epochs: Epochs,
    router: Arc<Router>,
    helpers: Arc<Helpers>,
    files: Arc<dyn Files>,
    paths: Paths,
    record: Record,
    phase: Mutex<Phase>,
    programs: Mutex<HashMap<ExecId, Arc<Program>>>,
    /// How many starts of a program failed.
    refused: Mutex<HashMap<ExecId, u32>>,
    starts: Turn<()>,
    ends: Turn<()>,
}

/// What may still be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Anything.
    Open,
    /// It was ended; what is known of its programs can be asked.
    Terminated,
    /// Nothing.
    Destroyed,
}

impl Place {
    pub(super) fn new(
        id: SandboxId,
        router: Arc<Router>,
        epochs: Epochs,
        record: Record,
        staging: &Path,
        tracker: &TaskTracker,
    ) -> Self {
        let paths = Paths { workspace: WORKSPACE.to_owned(), home: HOME.to_owned() };
        let helpers = Arc::new(Helpers::new(Arc::clone(&router), epochs.clone(), tracker.clone()));
        let helper: Arc<dyn Helper> = Arc::clone(&helpers) as _;
        let files = ModalFiles::new(helper, paths.clone(), staging.to_owned(), tracker.clone());
        Self(Arc::new(Shared {
            id,
            epochs,
            router,
            helpers,
            files: Arc::new(files),
            paths,
            record,
            phase: Mutex::new(Phase::Open),
            programs: Mutex::default(),
            refused: Mutex::default(),
            starts: Turn::new(()),
            ends: Turn::new(()),
        }))
    }

    /// Whether programs can start in it, as far as is known here.
    pub(super) fn is_open(&self) -> bool {
        self.0.phase() == Phase::Open
    }

    /// The newest owner's.
    pub(super) fn epoch(&self) -> Epoch {
        self.0.epochs.newest()
    }

    pub(super) fn remote(&self) -> &Remote {
        self.0.router.remote()
    }

    /// Ends what runs in it; more can be started after that.
    pub(super) async fn settle(&self, epoch: Epoch) -> Result<(), Error> {
        let settled = async {
            // What is being started is ended too.
            let _starts = self.0.starts.lock().await;
            self.0.epochs.held(epoch)?;
            self.0.helper(scripts::end(GRACE.as_secs())).await
        };
        let silent = || Err(failure::unavailable(&silent("the script that ends programs", POLITE)));
        timeout(POLITE, settled).await.unwrap_or_else(|_| silent())
    }

    /// Makes it unusable.
    pub(super) fn condemn(&self) {
        *self.0.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Destroyed;
    }
}

impl Shared {
    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_destroyed(&self) -> Result<(), Error> {
        match self.phase() {
            Phase::Open | Phase::Terminated => Ok(()),
            Phase::Destroyed => Err(Error::Gone(format!("{} was removed", self.id))),
        }
    }

    async fn start(&self, epoch: Epoch, spec: &ExecSpec) -> Result<(), Error> {
        self.not_destroyed()?;
        self.epochs.see(epoch)?;
        if self.phase() != Phase::Open {
            return Err(Error::Gone(format!("{} was ended", self.id)));
        }
        let program = spec.argv.first().cloned().unwrap_or_default();
        let failed = |cause: String| Error::Start { program: program.clone(), cause };
        let env = environment(spec).map_err(failed)?;
        if !program.starts_with('/') {
            return Err(failed("the program's path is not absolute".to_owned()));
        }
        let _one = self.starts.lock().await;
        let exec = &spec.exec_id;
        if self.programs.lock().unwrap_or_else(PoisonError::into_inner).contains_key(exec) {
            return Ok(());
        }
        let attempt = self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(exec).copied().unwrap_or(0);
        let id = names::exec(exec, attempt);
        let known: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
        let argv = scripts::run(&Around { mark: &id, workspace: WORKSPACE, names: &known }, &spec.argv);
        if argv.iter().map(|word| word.len() + 1).sum::<usize>() >= ARGV_MOST {
            return Err(failed(format!("its arguments are longer than the {ARGV_MOST} bytes that Modal takes")));
        }
        self.epochs.held(epoch)?;
        let started = self.router.start(Start { exec_id: id.clone(), argv, env }).await;
        if let Err(status) = started {
            return Err(match status.code() {
                Code::InvalidArgument => failed(status.message().to_owned()),
                _ => program::lost(&self.router, &status).await,
            });
        }
        let header = match timeout(BEGINS, program::header(&self.router, &id)).await {
            Ok(Ok(header)) => header,
            Ok(Err(status)) => return Err(program::lost(&self.router, &status).await),
            Err(_) => return Err(program::lost(&self.router, &silent("a program that is started", BEGINS)).await),
        };
        match header {
            Some(Header::Started) => {
                self.keep(exec, id);
                Ok(())
            }
            Some(Header::Refused(cause)) => {
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(exec.clone()).or_default() += 1;
                Err(failed(cause))
            }
            None => Err(program::lost(&self.router, &Status::unavailable("it has no such program")).await),
        }
    }

    fn keep(&self, exec: &ExecId, id: String) -> Arc<Program> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Program::new(exec.clone(), id, Arc::clone(&self.router)));
        Arc::clone(programs.entry(exec.clone()).or_insert_with(new))
    }

    /// A program that was started, by whichever server.
    async fn program(&self, exec: &ExecId) -> Result<Arc<Program>, Error> {
        self.not_destroyed()?;
        if let Some(program) = self.programs.lock().unwrap_or_else(PoisonError::into_inner).get(exec) {
            return Ok(Arc::clone(program));
        }
        if self.phase() != Phase::Open {
            return Err(Error::Gone(format!("{} was ended", self.id)));
        }
        for attempt in 0.. {
            let id = names::exec(exec, attempt);
            match program::header(&self.router, &id).await {
                Ok(Some(Header::Started)) => return Ok(self.keep(exec, id)),
                // A start that failed; perhaps there was another.
                Ok(Some(Header::Refused(_))) => {}
                Ok(None) => break,
                Err(status) => return Err(self.about(exec, &status).await),
            }
        }
        Err(self.about(exec, &Status::not_found("")).await)
    }

    async fn about(&self, exec: &ExecId, status: &Status) -> Error {
        program::about(&self.router, exec, status).await
    }

    async fn helper(&self, argv: Vec<String>) -> Result<(), Error> {
        let done = self.helpers.run(argv, helper::nothing(), SAID_MOST).await?;
        if done.code == 0 {
            return Ok(());
        }
        Err(Error::Unavailable(format!("a script in the sandbox ended with {}: {}", done.code, done.stderr.trim())))
    }

    async fn signal(&self, epoch: Epoch, exec: &ExecId, signal: Signal) -> Result<(), Error> {
        self.not_destroyed()?;
        self.epochs.see(epoch)?;
        let program = self.program(exec).await?;
        if program.exit().is_some() {
            return Ok(());
        }
        self.epochs.held(epoch)?;
        self.helper(scripts::signal(program.id(), signal)).await
    }

    async fn variables(&self, exec: &ExecId) -> Result<Vec<(String, String)>, Error> {
        let program = self.program(exec).await?;
        if program.exit().is_some() {
            return Ok(Vec::new());
        }
        let printed = self.helpers.run(scripts::environment(program.id()), helper::nothing(), VARIABLES_MOST).await?;
        let variables = printed.stdout.split(|byte| *byte == 0).filter_map(|variable| str::from_utf8(variable).ok());
        let pairs = variables.filter_map(|variable| variable.split_once('='));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Ends all programs, keeps the files as an image, then ends the sandbox.
    async fn terminate(&self, epoch: Epoch) -> Result<(), Error> {
        if self.not_destroyed().is_err() {
            return Ok(());
        }
        self.epochs.see(epoch)?;
        let _one = self.ends.lock().await;
        if self.phase() != Phase::Open {
            return Ok(());
        }
        // What is being started is there or not when programs are ended, if that can be waited for.
        let starts = timeout(POLITE, self.starts.lock()).await;
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Terminated;
        drop(starts);
        let ended = self.wind_up(epoch).await;
        if ended.is_ok() {
            let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
            programs.values().for_each(|program| program.forget_input());
        } else {
            // It may live on, and can be asked again.
            *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Open;
        }
        ended
    }

    async fn wind_up(&self, epoch: Epoch) -> Result<(), Error> {
        let remote = self.router.remote();
        if let Some(Over(how)) = remote.over().await.map_err(|status| failure::unavailable(&status))? {
            tracing::info!(sandbox = %self.id, how, "a sandbox that is to be ended is over");
            return self.record.ended(remote, None).await;
        }
        self.epochs.held(epoch)?;
        let asked = timeout(POLITE, self.helper(scripts::end(GRACE.as_secs()))).await;
        match asked.unwrap_or_else(|_| Err(failure::unavailable(&silent("the script that ends programs", POLITE)))) {
            Ok(()) => {
                let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Their ends are told now or never.
                join_all(programs.values().map(|program| timeout(TOLD, program.wait()))).await;
            }
            // Programs end with the sandbox then, less politely.
            Err(error) => tracing::warn!(sandbox = %self.id, %error, "programs could not be asked to end"),
        }
        self.epochs.held(epoch)?;
        let snapshot = self.record.snapshot(&self.router).await;
        if let Err(status) = &snapshot {
            tracing::warn!(sandbox = %self.id, %status, "no snapshot could be made; the sandbox leaves one when it ends");
        }
        self.epochs.held(epoch)?;
        remote.terminate().await.map_err(|status| failure::unavailable(&status))?;
        self.record.ended(remote, snapshot.ok()).await
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remote = self.0.router.remote().sandbox_id();
        f.debug_struct("Place").field("id", &self.0.id).field("remote", &remote).finish_non_exhaustive()
    }
}

#[async_trait]
impl Sandbox for Place {
    fn id(&self) -> &SandboxId {
        &self.0.id
    }

    fn provider(&self) -> &str {
        NAME
    }

    fn isolation(&self) -> Isolation {
        Isolation::Remote
    }

    fn expires(&self) -> Option<Timestamp> {
        self.0.record.expires()
    }

    async fn check(&self) -> Result<(), Error> {
        self.0.not_destroyed()?;
        match self.0.router.remote().over().await {
            Ok(None) => self.0.router.answers().await.map_err(|status| failure::unavailable(&status)),
            Ok(Some(Over(how))) => Err(Error::Gone(how)),
            Err(status) => Err(failure::unavailable(&status)),
        }
    }

    fn paths(&self) -> &Paths {
        &self.0.paths
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::clone(&self.0.files)
    }

    async fn start(&self, epoch: Epoch, exec: &ExecSpec) -> Result<(), Error> {
        self.0.start(epoch, exec).await
    }

    async fn read(
        &self,
        exec: &ExecId,
        fd: Output,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        self.0.program(exec).await?.read(fd, offset).await
    }

    async fn write_stdin(
        &self,
        epoch: Epoch,
        exec: &ExecId,
        offset: u64,
        data: &[u8],
        eof: bool,
    ) -> Result<u64, Error> {
        self.0.not_destroyed()?;
        self.0.epochs.see(epoch)?;
        let program = self.0.program(exec).await?;
        self.0.epochs.held(epoch)?;
        program.give(offset, data, eof).await
    }

    async fn stdin_status(&self, exec: &ExecId) -> Result<StdinStatus, Error> {
        self.0.program(exec).await?.stdin_status().await
    }

    async fn variables(&self, exec: &ExecId) -> Result<Vec<(String, String)>, Error> {
        self.0.variables(exec).await
    }

    async fn wait(&self, exec: &ExecId) -> Result<Exit, Error> {
        self.0.program(exec).await?.wait().await
    }

    async fn signal(&self, epoch: Epoch, exec: &ExecId, signal: Signal) -> Result<(), Error> {
        self.0.signal(epoch, exec, signal).await
    }

    async fn release(&self, epoch: Epoch, exec: &ExecId, fd: Output, offset: u64) -> Result<(), Error> {
        self.0.not_destroyed()?;
        self.0.epochs.see(epoch)?;
        self.0.program(exec).await?.release(fd, offset)
    }

    async fn limit(&self, epoch: Epoch, _: Option<Duration>) -> Result<bool, Error> {
        self.0.not_destroyed()?;
        self.0.epochs.see(epoch)?;
        // Modal has only the limit that a sandbox is made with.
        Ok(false)
    }

    async fn terminate(&self, epoch: Epoch) -> Result<(), Error> {
        self.0.terminate(epoch).await
    }
}

fn silent(what: &str, after: Duration) -> Status {
    Status::unavailable(format!("{what} says nothing for {} s", after.as_secs()))
}

/// All variables of a program.
fn environment(spec: &ExecSpec) -> Result<Vec<(String, String)>, String> {
    let ours = [
        ("PATH", image::search_path()),
        ("HOME", HOME.to_owned()),
        ("TMPDIR", "/tmp".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TERM", "dumb".to_owned()),
    ];
    let said = |name: &str| spec.env.iter().any(|(given, _)| given == name);
    let ours = ours.into_iter().filter(|(name, _)| !said(name)).map(|(name, value)| (name.to_owned(), value));
    for (name, value) in &spec.env {
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !begins || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("{name:?} cannot be the name of a variable at Modal"));
        }
        if value.contains('\0') {
            return Err(format!("the value of {name} holds a byte that none can hold"));
        }
    }
    Ok(ours.chain(spec.env.iter().cloned()).collect())
}

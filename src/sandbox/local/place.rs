//! One local sandbox: its epoch, its programs, its end. What a program is stands in `exec`, what surrounds it in
//! `launch`.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{future::join_all, stream::BoxStream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{exec::Exec, files::LocalFiles, launch::Wall, layout::Layout, reap};
use crate::{
    domain::{ExecId, Isolation, SandboxId},
    sandbox::{Epoch, Error, ExecSpec, Exit, Files, GRACE, Output, Paths, Sandbox, Signal, StdinStatus},
};

/// A killed process that is not gone by then hangs inside the kernel.
const KILLED: Duration = Duration::from_secs(10);

/// A sandbox on this machine.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Shared>);

struct Shared {
    id: SandboxId,
    layout: Layout,
    wall: Wall,
    paths: Paths,
    tracker: TaskTracker,
    state: Mutex<State>,
    /// Held while a program is started, by threads for blocking work only.
    starting: Mutex<()>,
    /// Held while everything is ended.
    ending: tokio::sync::Mutex<()>,
}

struct State {
    epoch: Epoch,
    phase: Phase,
    execs: HashMap<ExecId, Arc<Exec>>,
}

/// How far the sandbox is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// No program may start until it is created again.
    Terminated,
    /// Its files are gone or going.
    Destroyed,
}

impl Place {
    pub(super) fn new(id: SandboxId, layout: Layout, wall: Wall, epoch: Epoch, tracker: TaskTracker) -> Self {
        let state = State { epoch, phase: Phase::Open, execs: HashMap::new() };
        Self(Arc::new(Shared {
            id,
            paths: wall.paths(&layout),
            layout,
            wall,
            tracker,
            state: Mutex::new(state),
            starting: Mutex::new(()),
            ending: tokio::sync::Mutex::new(()),
        }))
    }

    /// Lets programs start again after [`Sandbox::terminate`].
    pub(super) fn reopen(&self, epoch: Epoch) -> Result<(), Error> {
        let mut state = self.0.state();
        state.see(epoch)?;
        if state.phase == Phase::Terminated {
            state.phase = Phase::Open;
        }
        Ok(())
    }

    /// Ends every program, whoever owns it.
    pub(super) async fn end(&self) -> Result<(), Error> {
        let _one = self.0.ending.lock().await;
        let shared = Arc::clone(&self.0);
        let execs = blocking(&self.0.tracker, move || shared.close(Phase::Terminated)).await?;
        for exec in &execs {
            exec.signal(Signal::Terminate);
        }
        let ended = || join_all(execs.iter().map(|exec| exec.wait()));
        if timeout(GRACE, ended()).await.is_err() {
            for exec in &execs {
                exec.signal(Signal::Kill);
            }
            if timeout(KILLED, ended()).await.is_err() {
                return Err(Error::Unavailable("a killed program does not end".to_owned()));
            }
        }
        let shared = Arc::clone(&self.0);
        blocking(&self.0.tracker, move || {
            for exec in execs {
                exec.join();
            }
            match shared.wall {
                Wall::Plain => reap::sweep(std::slice::from_ref(&shared.layout)),
                // Nothing outlives its pid namespace.
                Wall::Bubble(_) => Ok(()),
            }
        })
        .await?
        .map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Ends every program and makes the sandbox unusable.
    pub(super) async fn destroy(&self) -> Result<(), Error> {
        self.end().await?;
        let shared = Arc::clone(&self.0);
        blocking(&self.0.tracker, move || {
            shared.close(Phase::Destroyed);
            shared.state().execs.clear();
            shared.layout.remove()
        })
        .await?
        .map_err(|error| Error::Unavailable(format!("the sandbox's files cannot be removed: {error}")))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, exec: &ExecId) -> Result<Arc<Exec>, Error> {
        let state = self.state();
        state.there(&self.id)?;
        state.execs.get(exec).cloned().ok_or_else(|| Error::UnknownExec(exec.clone()))
    }

    /// The same, for a command.
    fn command(&self, epoch: Epoch, exec: &ExecId) -> Result<Arc<Exec>, Error> {
        self.state().see(epoch)?;
        self.find(exec)
    }

    /// Blocks until no start is under way.
    fn close(&self, phase: Phase) -> Vec<Arc<Exec>> {
        let _none = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        state.phase = phase;
        state.execs.values().cloned().collect()
    }

    /// Blocks.
    fn start(&self, epoch: Epoch, spec: &ExecSpec) -> Result<(), Error> {
        let failed = |cause| Error::Start { program: spec.argv.first().cloned().unwrap_or_default(), cause };
        let _one = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut state = self.state();
            state.see(epoch)?;
            state.there(&self.id)?;
            if state.execs.contains_key(&spec.exec_id) {
                return Ok(());
            }
            if state.phase == Phase::Terminated {
                return Err(Error::Gone(format!("{} was terminated; create it again first", self.id)));
            }
        }
        let dir = self.layout.exec(&spec.exec_id).ok_or_else(|| failed("its exec id is not a name".to_owned()))?;
        let plan = self.wall.plan(&self.layout, spec).map_err(failed)?;
        let exec = Exec::start(dir, plan).map_err(failed)?;
        self.state().execs.insert(spec.exec_id.clone(), exec);
        Ok(())
    }
}

impl State {
    fn see(&mut self, epoch: Epoch) -> Result<(), Error> {
        if epoch < self.epoch {
            return Err(Error::Stale { given: epoch.0, seen: self.epoch.0 });
        }
        self.epoch = epoch;
        Ok(())
    }

    fn there(&self, id: &SandboxId) -> Result<(), Error> {
        match self.phase {
            Phase::Open | Phase::Terminated => Ok(()),
            Phase::Destroyed => Err(Error::Gone(format!("{id} was destroyed"))),
        }
    }
}

/// Nobody can drive these programs any more, so they must not run on.
impl Drop for Shared {
    fn drop(&mut self) {
        for exec in self.state().execs.values() {
            exec.signal(Signal::Kill);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("id", &self.id).field("dir", &self.layout.base()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Sandbox for Place {
    fn id(&self) -> &SandboxId {
        &self.0.id
    }

    fn isolation(&self) -> Isolation {
        self.0.wall.isolation()
    }

    fn paths(&self) -> &Paths {
        &self.0.paths
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::new(LocalFiles::new(&self.0.layout, self.0.tracker.clone()))
    }

    async fn start(&self, epoch: Epoch, exec: &ExecSpec) -> Result<(), Error> {
        let (shared, exec) = (Arc::clone(&self.0), exec.clone());
        // A caller that gives up does not stop this half way: the program is started and known, or neither.
        blocking(&self.0.tracker, move || shared.start(epoch, &exec)).await?
    }

    async fn read(
        &self,
        exec: &ExecId,
        fd: Output,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        self.0.find(exec)?.output(fd).read(offset)
    }

    async fn write_stdin(
        &self,
        epoch: Epoch,
        exec: &ExecId,
        offset: u64,
        data: &[u8],
        eof: bool,
    ) -> Result<u64, Error> {
        self.0.command(epoch, exec)?.stdin().write(offset, data, eof)
    }

    async fn stdin_status(&self, exec: &ExecId) -> Result<StdinStatus, Error> {
        Ok(self.0.find(exec)?.stdin().status())
    }

    async fn wait(&self, exec: &ExecId) -> Result<Exit, Error> {
        self.0.find(exec)?.wait().await.map_err(Error::Gone)
    }

    async fn signal(&self, epoch: Epoch, exec: &ExecId, signal: Signal) -> Result<(), Error> {
        self.0.command(epoch, exec)?.signal(signal);
        Ok(())
    }

    async fn release(&self, epoch: Epoch, exec: &ExecId, fd: Output, offset: u64) -> Result<(), Error> {
        let hole = self.0.command(epoch, exec)?.output(fd).release(offset)?;
        blocking(&self.0.tracker, move || hole.free()).await
    }

    async fn terminate(&self, epoch: Epoch) -> Result<(), Error> {
        self.0.state().see(epoch)?;
        self.end().await
    }
}

/// Runs what may block where it may, as a task that the provider waits for when it shuts down.
pub(super) async fn blocking<T: Send + 'static>(
    tracker: &TaskTracker,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tracker.spawn_blocking(work).await.map_err(|error| Error::Unavailable(error.to_string()))
}

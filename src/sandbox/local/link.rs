//! How a sandbox is reached: its folder, and the supervisor that serves it while there is something to serve. One that is
//! needed and not there is started; one that dies is noticed, and what it left behind is killed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    blocking,
    call::{Call, unexpected},
    ending,
    spawn::Spawner,
};
use crate::{
    domain::{ExecId, SandboxId},
    sandbox::{Epoch, Error},
    supervisor::{
        epoch,
        folder::Folder,
        identity::Identity,
        protocol::{Attach, Reply, Request},
        socket,
    },
};

/// How long a supervisor may take to answer who comes. It does nothing else meanwhile, so one that takes longer hangs.
const ANSWERS: Duration = Duration::from_secs(10);

/// How often a supervisor that is not there is started, or one that dies is asked again.
const ATTEMPTS: usize = 5;

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: SandboxId,
    pub(super) folder: Folder,
    pub(super) identity: Identity,
    pub(super) tracker: TaskTracker,
    spawner: Spawner,
    state: Mutex<State>,
    /// Held while a supervisor is started.
    spawning: tokio::sync::Mutex<()>,
    /// Shared by those that start programs; whoever has closed the sandbox waits until they are through.
    starting: tokio::sync::RwLock<()>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Ends the connection that says that a server is here.
    present: Option<CancellationToken>,
}

/// How far the sandbox is on its way, as far as this server has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// No program may start until it is created again.
    Terminated,
    /// Its files are gone or going.
    Destroyed,
}

impl Link {
    pub(super) fn new(
        id: SandboxId,
        folder: Folder,
        identity: Identity,
        spawner: Spawner,
        tracker: TaskTracker,
    ) -> Self {
        let state = Mutex::new(State { phase: Phase::Open, present: None });
        Self {
            id,
            folder,
            identity,
            tracker,
            spawner,
            state,
            spawning: tokio::sync::Mutex::default(),
            starting: tokio::sync::RwLock::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets programs start again after it was terminated.
    pub(super) fn reopen(&self) {
        let mut state = self.state();
        if state.phase == Phase::Terminated {
            state.phase = Phase::Open;
        }
    }

    /// Lets no program start any more; returns when no start is under way.
    pub(super) async fn close(&self, phase: Phase) {
        self.state().phase = phase;
        drop(self.starting.write().await);
    }

    /// Allows one start, for as long as the guard lives.
    pub(super) async fn starts(&self) -> Result<tokio::sync::RwLockReadGuard<'_, ()>, Error> {
        let guard = self.starting.read().await;
        match self.state().phase {
            Phase::Open => Ok(guard),
            Phase::Terminated => Err(Error::Gone(format!("{} was terminated; create it again first", self.id))),
            Phase::Destroyed => Err(Error::Gone(format!("{} was destroyed", self.id))),
        }
    }

    /// Whether this server has said that it is here.
    pub(super) fn attended(&self) -> bool {
        self.state().present.is_some()
    }

    /// The sandbox must be whole for anything to happen in it.
    pub(super) fn there(&self) -> Result<(), Error> {
        let gone = |why: &str| Err(Error::Gone(format!("{} {why}", self.id)));
        if self.state().phase == Phase::Destroyed {
            return gone("was destroyed");
        }
        match Identity::load(&self.folder) {
            Ok(Some(found)) if found.nonce != self.identity.nonce => gone("was destroyed and made anew"),
            Ok(Some(_)) if !self.folder.workspace().is_dir() => gone("has lost its workspace"),
            Ok(Some(_)) => Ok(()),
            Ok(None) => gone("is not there any more"),
            Err(error) => Err(Error::Unavailable(format!("the sandbox's folder cannot be read: {error}"))),
        }
    }

    pub(super) fn see(&self, given: Epoch) -> Result<(), Error> {
        match epoch::see(&self.folder, given.0) {
            Ok(seen) if seen > given.0 => Err(Error::Stale { given: given.0, seen }),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Unavailable(format!("the epoch of a command cannot be noted: {error}"))),
        }
    }

    pub(super) fn newest(&self) -> Result<Epoch, Error> {
        let newest = epoch::highest(&self.folder);
        newest.map(Epoch).map_err(|error| Error::Unavailable(format!("the sandbox's epoch cannot be read: {error}")))
    }

    /// Asks the supervisor, and starts one if none is there. What it was asked when it died, the next one is asked again.
    pub(super) async fn ask(
        &self,
        epoch: Epoch,
        exec: Option<&ExecId>,
        request: Request,
    ) -> Result<(Call, Reply), Error> {
        for _ in 0..ATTEMPTS {
            if self.state().phase == Phase::Destroyed {
                break;
            }
            if let Some(mut call) = Call::open(&self.folder, &self.identity, epoch.0, request.clone()).await? {
                if let Some(reply) = call.reply().await? {
                    return Ok((call, reply));
                }
                continue;
            }
            self.there()?;
            if let Some(exec) = exec
                && !self.folder.exec(exec.as_str()).is_some_and(|dir| dir.is_dir())
            {
                return Err(Error::UnknownExec(exec.clone()));
            }
            self.supervise().await?;
        }
        self.there()?;
        Err(Error::Unavailable(format!("the supervisors of {} die one after the other", self.id)))
    }

    /// A command about a program.
    pub(super) async fn command(&self, epoch: Epoch, exec: &ExecId, request: Request) -> Result<(Call, Reply), Error> {
        match self.ask(epoch, Some(exec), request).await {
            // A stale one is told first that it is.
            Err(unknown @ Error::UnknownExec(_)) => self.see(epoch).and(Err(unknown)),
            asked => asked,
        }
    }

    /// Starts a supervisor, unless somebody just did.
    async fn supervise(&self) -> Result<(), Error> {
        let _one = self.spawning.lock().await;
        if socket::connect(&self.folder).await.is_ok() {
            return Ok(());
        }
        let started = self.spawner.start(&self.folder).await;
        // Another server's may have been faster.
        if started.is_err() && socket::connect(&self.folder).await.is_ok() {
            return Ok(());
        }
        started
    }

    /// Says that a server is here, if something runs. Then programs have no limit.
    pub(super) async fn attend(self: &Arc<Self>, epoch: Epoch) -> Result<(), Error> {
        if self.state().present.is_some() {
            return Ok(());
        }
        let attach = || self.ask(epoch, None, Request::Attach(Attach {}));
        let (mut call, reply) = if let Ok(asked) = timeout(ANSWERS, attach()).await {
            asked?
        } else {
            self.replace().await?;
            attach().await?
        };
        let Reply::Attached(attached) = reply else { return Err(unexpected(&reply)) };
        if attached.running == 0 {
            return Ok(());
        }
        let token = CancellationToken::new();
        {
            let mut state = self.state();
            if state.present.is_some() || state.phase != Phase::Open {
                return Ok(());
            }
            state.present = Some(token.clone());
        }
        let link = Arc::clone(self);
        self.tracker.spawn(async move {
            tokio::select! {
                () = token.cancelled() => return,
                _ = call.reply() => {}
            }
            link.bereave(&token).await;
        });
        Ok(())
    }

    /// Ends a supervisor that hangs; the next one finds what it wrote down. Its programs cannot be gone on with.
    async fn replace(&self) -> Result<(), Error> {
        tracing::warn!(sandbox = %self.id, "the supervisor of a sandbox hangs, and is ended by force");
        let failed = |error| Error::Unavailable(format!("a supervisor that hangs cannot be ended: {error}"));
        let folder = self.folder.clone();
        blocking(&self.tracker, move || ending::force(&folder)).await?.map_err(failed)
    }

    /// The supervisor is gone, and was not told to go.
    async fn bereave(&self, token: &CancellationToken) {
        if token.is_cancelled() {
            return;
        }
        self.state().present = None;
        tracing::warn!(sandbox = %self.id, "a sandbox has lost its supervisor");
        let folder = self.folder.clone();
        let killed = blocking(&self.tracker, move || ending::bereaved(&folder)).await;
        if let Ok(Err(error)) = killed {
            tracing::warn!(sandbox = %self.id, %error, "programs that lost their supervisor may live on");
        }
    }

    pub(super) fn hang_up(&self) {
        if let Some(token) = self.state().present.take() {
            token.cancel();
        }
    }
}

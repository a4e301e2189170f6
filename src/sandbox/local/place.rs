//! One local sandbox as the server sees it: a folder, and the supervisor that serves it while there is something to serve.
//! What a program is stands in the `supervisor` room, what surrounds it in `launch`.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use rustix::process::Signal as Number;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    call::{Call, unexpected},
    ending,
    launch::Wall,
    reading,
    spawn::Spawner,
};
use crate::{
    domain::{ExecId, Isolation, SandboxId},
    sandbox::{Epoch, Error, ExecSpec, Exit, Output, Paths, Sandbox, Signal, StdinStatus},
    supervisor::{
        epoch,
        folder::Folder,
        identity::Identity,
        protocol::{self, Attach, Given, LIMIT_SINCE, Limit, Release, Reply, Request, WriteStdin},
        socket,
    },
};

/// How often a supervisor that is not there is started, or one that dies is asked again.
const ATTEMPTS: usize = 5;

/// Most input that is given at once; far below the longest message.
const PIECE: usize = 1 << 20;

/// Who asks without commanding.
const NOBODY: Epoch = Epoch(0);

/// A sandbox on this machine.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Shared>);

/// What all sandboxes of a provider share.
#[derive(Clone, Debug)]
pub(super) struct House {
    pub(super) spawner: Spawner,
    pub(super) tracker: TaskTracker,
}

struct Shared {
    id: SandboxId,
    folder: Folder,
    identity: Identity,
    wall: Wall,
    paths: Paths,
    house: House,
    state: Mutex<State>,
    /// Held while a supervisor is started.
    starting: tokio::sync::Mutex<()>,
}

struct State {
    phase: Phase,
    /// Ends the connection that says that a server is here; with it, programs have no limit.
    present: Option<CancellationToken>,
}

/// How far the sandbox is on its way, as far as this server has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// No program may start until it is created again.
    Terminated,
    /// Its files are gone or going.
    Destroyed,
}

impl Place {
    pub(super) fn new(id: SandboxId, folder: Folder, identity: Identity, wall: Wall, house: House) -> Self {
        let state = Mutex::new(State { phase: Phase::Open, present: None });
        let (paths, starting) = (wall.paths(&folder), tokio::sync::Mutex::default());
        Self(Arc::new(Shared { id, folder, identity, wall, paths, house, state, starting }))
    }

    /// Lets programs start again after [`Sandbox::terminate`].
    pub(super) fn reopen(&self, epoch: Epoch) -> Result<(), Error> {
        self.0.there()?;
        self.0.see(epoch)?;
        let mut state = self.0.state();
        if state.phase == Phase::Terminated {
            state.phase = Phase::Open;
        }
        Ok(())
    }

    /// Whether it is this very sandbox that lies in its folder.
    pub(super) fn is(&self, identity: &Identity) -> bool {
        self.0.identity == *identity
    }

    /// Finds what runs, and says that a server is here if something does.
    pub(super) async fn attach(&self) -> Result<(), Error> {
        self.0.attend(self.0.newest()?).await
    }

    /// Hangs up. Programs that run have until the time that is returned, unless a server comes back.
    pub(super) async fn detach(&self) -> Option<(SandboxId, SystemTime)> {
        let epoch = self.0.newest().ok()?;
        self.0.state().present.as_ref()?;
        let asked = Call::open(&self.0.folder, &self.0.identity, epoch.0, Request::Attach(Attach {})).await;
        let reply = match asked {
            Ok(Some(mut call)) => call.reply().await,
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        self.0.hang_up();
        match reply {
            Ok(Some(Reply::Attached(attached))) if attached.running > 0 => {
                Some((self.0.id.clone(), SystemTime::now() + Duration::from_millis(attached.limit_ms)))
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Starts nothing more; whoever ends what runs does not make this a loss.
    pub(super) fn close(&self) {
        self.0.close(Phase::Terminated);
    }

    /// Makes the sandbox unusable.
    pub(super) fn condemn(&self) {
        self.0.close(Phase::Destroyed);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sandbox must be whole for anything to happen in it.
    fn there(&self) -> Result<(), Error> {
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

    fn see(&self, given: Epoch) -> Result<(), Error> {
        match epoch::see(&self.folder, given.0) {
            Ok(seen) if seen > given.0 => Err(Error::Stale { given: given.0, seen }),
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Unavailable(format!("the epoch of a command cannot be noted: {error}"))),
        }
    }

    fn newest(&self) -> Result<Epoch, Error> {
        let newest = epoch::highest(&self.folder);
        newest.map(Epoch).map_err(|error| Error::Unavailable(format!("the sandbox's epoch cannot be read: {error}")))
    }

    /// Asks the supervisor, and starts one if none is there. What it was asked when it died, the next one is asked again.
    async fn ask(&self, epoch: Epoch, exec: Option<&ExecId>, request: Request) -> Result<(Call, Reply), Error> {
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
    async fn command(&self, epoch: Epoch, exec: &ExecId, request: Request) -> Result<(Call, Reply), Error> {
        match self.ask(epoch, Some(exec), request).await {
            // A stale one is told first that it is.
            Err(unknown @ Error::UnknownExec(_)) => self.see(epoch).and(Err(unknown)),
            asked => asked,
        }
    }

    /// Starts a supervisor, unless somebody just did.
    async fn supervise(&self) -> Result<(), Error> {
        let _one = self.starting.lock().await;
        if socket::connect(&self.folder).await.is_ok() {
            return Ok(());
        }
        let started = self.house.spawner.start(&self.folder).await;
        // Another server's may have been faster.
        if started.is_err() && socket::connect(&self.folder).await.is_ok() {
            return Ok(());
        }
        started
    }

    /// Says that a server is here, if something runs.
    async fn attend(self: &Arc<Self>, epoch: Epoch) -> Result<(), Error> {
        if self.state().present.is_some() {
            return Ok(());
        }
        let (mut call, reply) = self.ask(epoch, None, Request::Attach(Attach {})).await?;
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
        let shared = Arc::clone(self);
        self.house.tracker.spawn(async move {
            tokio::select! {
                () = token.cancelled() => return,
                _ = call.reply() => {}
            }
            shared.bereave(&token).await;
        });
        Ok(())
    }

    /// The supervisor is gone, and was not told to go.
    async fn bereave(&self, token: &CancellationToken) {
        if token.is_cancelled() {
            return;
        }
        self.state().present = None;
        tracing::warn!(sandbox = %self.id, "a sandbox has lost its supervisor");
        let folder = self.folder.clone();
        let killed = blocking(&self.house.tracker, move || ending::bereaved(&folder)).await;
        if let Ok(Err(error)) = killed {
            tracing::warn!(sandbox = %self.id, %error, "programs that lost their supervisor may live on");
        }
    }

    fn hang_up(&self) {
        if let Some(token) = self.state().present.take() {
            token.cancel();
        }
    }

    fn close(&self, phase: Phase) {
        self.state().phase = phase;
        self.hang_up();
    }

    async fn start(self: &Arc<Self>, epoch: Epoch, spec: &ExecSpec) -> Result<(), Error> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        let failed = |cause| Error::Start { program: program.clone(), cause };
        self.there()?;
        self.see(epoch)?;
        if self.state().phase == Phase::Terminated {
            return Err(Error::Gone(format!("{} was terminated; create it again first", self.id)));
        }
        let start = self.wall.plan(&self.folder, spec).map_err(failed)?;
        match self.ask(epoch, None, Request::Start(start)).await {
            Ok((_, Reply::Done(_))) => {}
            Ok((_, other)) => return Err(unexpected(&other)),
            Err(Error::Start { cause, .. }) => return Err(failed(cause)),
            Err(error) => return Err(error),
        }
        // Started it is; if its supervisor died since, or its owner was replaced, whoever waits for it is told.
        if let Err(error) = self.attend(epoch).await {
            tracing::debug!(sandbox = %self.id, %error, "a program that was just started is alone");
        }
        Ok(())
    }

    async fn given(&self, epoch: Epoch, exec: &ExecId, request: Request) -> Result<Given, Error> {
        let (_, reply) = self.command(epoch, exec, request).await?;
        given(reply)
    }

    async fn done(&self, epoch: Epoch, exec: &ExecId, request: Request) -> Result<(), Error> {
        match self.command(epoch, exec, request).await? {
            (_, Reply::Done(_)) => Ok(()),
            (_, other) => Err(unexpected(&other)),
        }
    }

    async fn write(&self, epoch: Epoch, exec: &ExecId, offset: u64, data: &[u8], eof: bool) -> Result<u64, Error> {
        let mut from = 0;
        loop {
            let to = data.len().min(from + PIECE);
            // What differs, or follows the end, is found before anything new is accepted: what is known comes first.
            let write = WriteStdin {
                exec_id: exec.to_string(),
                offset: offset + from as u64,
                data: Bytes::copy_from_slice(&data[from..to]),
                eof: eof && to == data.len(),
            };
            let given = self.given(epoch, exec, Request::WriteStdin(write)).await?;
            if to == data.len() {
                return Ok(given.accepted);
            }
            from = to;
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("id", &self.id).field("dir", &self.folder.base()).finish_non_exhaustive()
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

    async fn start(&self, epoch: Epoch, exec: &ExecSpec) -> Result<(), Error> {
        let (shared, exec) = (Arc::clone(&self.0), exec.clone());
        // A caller that gives up does not stop this half way: the program is started and attended, or neither.
        let started = self.0.house.tracker.spawn(async move { shared.start(epoch, &exec).await });
        started.await.map_err(|error| Error::Unavailable(error.to_string()))?
    }

    async fn read(
        &self,
        exec: &ExecId,
        fd: Output,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let read = protocol::Read { exec_id: exec.to_string(), fd: number(fd), offset };
        match self.0.ask(NOBODY, Some(exec), Request::Read(read)).await? {
            (call, Reply::Done(_)) => Ok(reading::chunks(call)),
            (_, other) => Err(unexpected(&other)),
        }
    }

    async fn write_stdin(
        &self,
        epoch: Epoch,
        exec: &ExecId,
        offset: u64,
        data: &[u8],
        eof: bool,
    ) -> Result<u64, Error> {
        self.0.write(epoch, exec, offset, data, eof).await
    }

    async fn stdin_status(&self, exec: &ExecId) -> Result<StdinStatus, Error> {
        let request = Request::StdinStatus(protocol::Exec { exec_id: exec.to_string() });
        let (_, reply) = self.0.ask(NOBODY, Some(exec), request).await?;
        given(reply).map(|given| StdinStatus { accepted: given.accepted, closed: given.closed })
    }

    async fn wait(&self, exec: &ExecId) -> Result<Exit, Error> {
        let request = Request::Wait(protocol::Exec { exec_id: exec.to_string() });
        match self.0.ask(NOBODY, Some(exec), request).await? {
            (_, Reply::Exited(protocol::Exited { exit: Some(protocol::Exit::Code(code)) })) => Ok(Exit::Code(code)),
            (_, Reply::Exited(protocol::Exited { exit: Some(protocol::Exit::Signal(signal)) })) => {
                Ok(Exit::Signal(signal))
            }
            (_, other) => Err(unexpected(&other)),
        }
    }

    async fn signal(&self, epoch: Epoch, exec: &ExecId, signal: Signal) -> Result<(), Error> {
        let number = match signal {
            Signal::Interrupt => Number::INT,
            Signal::Terminate => Number::TERM,
            Signal::Kill => Number::KILL,
        };
        let signal = protocol::Signal { exec_id: exec.to_string(), number: number.as_raw() };
        self.0.done(epoch, exec, Request::Signal(signal)).await
    }

    async fn release(&self, epoch: Epoch, exec: &ExecId, fd: Output, offset: u64) -> Result<(), Error> {
        let release = Release { exec_id: exec.to_string(), fd: number(fd), offset };
        self.0.done(epoch, exec, Request::Release(release)).await
    }

    async fn limit(&self, epoch: Epoch, limit: Option<Duration>) -> Result<bool, Error> {
        let shared = &self.0;
        shared.there()?;
        shared.see(epoch)?;
        let request = Request::Limit(Limit { seconds: limit.map(|limit| limit.as_secs()) });
        match Call::open(&shared.folder, &shared.identity, epoch.0, request).await? {
            Some(call) if call.version() < LIMIT_SINCE => Ok(false),
            Some(mut call) => call.reply().await.map(|reply| reply.is_some()),
            // Nothing runs that it could be said of.
            None => Ok(false),
        }
    }

    async fn terminate(&self, epoch: Epoch) -> Result<(), Error> {
        let shared = &self.0;
        if shared.there().is_err() {
            // Whatever ran there has ended or is about to: a supervisor without its sandbox ends.
            shared.hang_up();
            return Ok(());
        }
        shared.see(epoch)?;
        shared.state().phase = Phase::Terminated;
        let ended = ending::ask(&shared.folder, &shared.identity, epoch.0, false).await?;
        shared.hang_up();
        if !ended {
            let folder = shared.folder.clone();
            blocking(&shared.house.tracker, move || ending::bereaved(&folder))
                .await?
                .map_err(|error| Error::Unavailable(error.to_string()))?;
        }
        Ok(())
    }
}

fn number(fd: Output) -> u32 {
    match fd {
        Output::Stdout => 1,
        Output::Stderr => 2,
    }
}

fn given(reply: Reply) -> Result<Given, Error> {
    match reply {
        Reply::Given(given) => Ok(given),
        other => Err(unexpected(&other)),
    }
}

/// Runs what may block where it may, as a task that the provider waits for when it shuts down.
pub(super) fn blocking<T: Send + 'static>(
    tracker: &TaskTracker,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Error>> {
    let work = tracker.spawn_blocking(work);
    async { work.await.map_err(|error| Error::Unavailable(error.to_string())) }
}

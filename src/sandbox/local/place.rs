//! One local sandbox as those see it who use sandboxes: what is asked of it is put into the words of its supervisor. What a
//! program is stands in the `supervisor` room, what surrounds it in `launch`, how the supervisor is reached in `link`.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use rustix::process::Signal as Number;
use tokio::time::timeout;

use super::{
    NAME, blocking,
    call::{Call, unexpected},
    ending,
    files::LocalFiles,
    launch::Wall,
    link::{Link, Phase},
    reading,
    whole::look,
};
use crate::{
    domain::{ExecId, Isolation, SandboxId},
    sandbox::{Epoch, Error, ExecSpec, Exit, Files, Output, Paths, Sandbox, Signal, StdinStatus},
    supervisor::{
        environment,
        identity::Identity,
        protocol::{self, Attach, Given, LIMIT_SINCE, Limit, Release, Reply, Request, WriteStdin},
    },
};

/// Most input that is given at once; far below the longest message.
const PIECE: usize = 1 << 20;

/// Who asks without commanding.
const NOBODY: Epoch = Epoch(0);

/// How long a supervisor may take to say what it is left with.
const LEAVING: Duration = Duration::from_secs(2);

/// A sandbox on this machine.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Shared>);

struct Shared {
    link: Arc<Link>,
    wall: Wall,
    paths: Paths,
}

impl Place {
    pub(super) fn new(link: Link, wall: Wall) -> Self {
        let paths = wall.paths(&link.folder);
        Self(Arc::new(Shared { link: Arc::new(link), wall, paths }))
    }

    /// Lets programs start again after [`Sandbox::terminate`].
    pub(super) fn reopen(&self, epoch: Epoch) -> Result<(), Error> {
        let link = &self.0.link;
        link.there()?;
        link.see(epoch)?;
        link.reopen();
        Ok(())
    }

    /// Whether it is this very sandbox that lies in its folder.
    pub(super) fn is(&self, identity: &Identity) -> bool {
        self.0.link.identity == *identity
    }

    /// Finds what runs, and says that a server is here if something does.
    pub(super) async fn attach(&self) -> Result<(), Error> {
        self.0.link.attend(self.0.link.newest()?).await
    }

    /// Hangs up. Programs that run have until the time that is returned, unless a server comes back.
    pub(super) async fn detach(&self) -> Option<(SandboxId, SystemTime)> {
        let link = &self.0.link;
        link.close(Phase::Terminated).await;
        if !link.attended() {
            return None;
        }
        let asked = timeout(LEAVING, async {
            let epoch = link.newest()?.0;
            match Call::open(&link.folder, &link.identity, epoch, Request::Attach(Attach {})).await? {
                Some(mut call) => call.reply().await,
                None => Ok(None),
            }
        });
        let asked = asked.await;
        link.hang_up();
        match asked {
            Ok(Ok(Some(Reply::Attached(attached)))) if attached.running > 0 => {
                Some((link.id.clone(), SystemTime::now() + Duration::from_millis(attached.limit_ms)))
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Starts nothing more; that whoever ends what runs does so is no loss.
    pub(super) async fn close(&self) {
        self.0.link.close(Phase::Terminated).await;
        self.0.link.hang_up();
    }

    /// Makes the sandbox unusable.
    pub(super) async fn condemn(&self) {
        self.0.link.close(Phase::Destroyed).await;
        self.0.link.hang_up();
    }
}

impl Shared {
    async fn start(&self, epoch: Epoch, spec: &ExecSpec) -> Result<(), Error> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        let failed = |cause| Error::Start { program: program.clone(), cause };
        let link = &self.link;
        link.there()?;
        link.see(epoch)?;
        let _one = link.starts().await?;
        let start = self.wall.plan(&link.folder, spec).map_err(failed)?;
        match link.ask(epoch, None, Request::Start(start)).await {
            Ok((_, Reply::Done(_))) => {}
            Ok((_, other)) => return Err(unexpected(&other)),
            Err(Error::Start { cause, .. }) => return Err(failed(cause)),
            Err(error) => return Err(error),
        }
        // Started it is; if its supervisor died since, or its owner was replaced, whoever waits for it is told.
        if let Err(error) = link.attend(epoch).await {
            tracing::debug!(sandbox = %link.id, %error, "a program that was just started is alone");
        }
        Ok(())
    }

    async fn given(&self, epoch: Epoch, exec: &ExecId, request: Request) -> Result<Given, Error> {
        let (_, reply) = self.link.command(epoch, exec, request).await?;
        given(reply)
    }

    async fn done(&self, epoch: Epoch, exec: &ExecId, request: Request) -> Result<(), Error> {
        match self.link.command(epoch, exec, request).await? {
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
        f.debug_struct("Place")
            .field("id", &self.link.id)
            .field("dir", &self.link.folder.base())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Sandbox for Place {
    fn id(&self) -> &SandboxId {
        &self.0.link.id
    }

    fn provider(&self) -> &str {
        NAME
    }

    fn isolation(&self) -> Isolation {
        self.0.wall.isolation()
    }

    fn folder(&self) -> Option<&std::path::Path> {
        Some(self.0.link.folder.base())
    }

    async fn check(&self) -> Result<(), Error> {
        let link = &self.0.link;
        let (folder, identity) = (link.folder.clone(), link.identity.clone());
        let looked = blocking(&link.tracker, move || look(&folder)).await?;
        match looked.map_err(|error| Error::Unavailable(format!("its folder cannot be read: {error}")))? {
            Some((found, _)) if found == identity => link.there(),
            Some(_) | None => Err(Error::Gone(format!("{} is not there any more", link.id))),
        }
    }

    fn paths(&self) -> &Paths {
        &self.0.paths
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::new(LocalFiles::new(&self.0.link.folder, self.0.link.tracker.clone()))
    }

    async fn start(&self, epoch: Epoch, exec: &ExecSpec) -> Result<(), Error> {
        let (shared, exec) = (Arc::clone(&self.0), exec.clone());
        // A caller that gives up does not stop this half way: the program is started and attended, or neither.
        let started = self.0.link.tracker.spawn(async move { shared.start(epoch, &exec).await });
        started.await.map_err(|error| Error::Unavailable(error.to_string()))?
    }

    async fn read(
        &self,
        exec: &ExecId,
        fd: Output,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let read = protocol::Read { exec_id: exec.to_string(), fd: number(fd), offset };
        match self.0.link.ask(NOBODY, Some(exec), Request::Read(read)).await? {
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
        let (_, reply) = self.0.link.ask(NOBODY, Some(exec), request).await?;
        given(reply).map(|given| StdinStatus { accepted: given.accepted, closed: given.closed })
    }

    async fn variables(&self, exec: &ExecId) -> Result<Vec<(String, String)>, Error> {
        let link = &self.0.link;
        let Some(dir) = link.folder.exec(exec.as_str()) else { return Ok(Vec::new()) };
        blocking(&link.tracker, move || environment::of(&dir)).await
    }

    async fn wait(&self, exec: &ExecId) -> Result<Exit, Error> {
        let request = Request::Wait(protocol::Exec { exec_id: exec.to_string() });
        match self.0.link.ask(NOBODY, Some(exec), request).await? {
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
        let link = &self.0.link;
        link.there()?;
        link.see(epoch)?;
        let request = Request::Limit(Limit { seconds: limit.map(|limit| limit.as_secs()) });
        match Call::open(&link.folder, &link.identity, epoch.0, request).await? {
            Some(call) if call.version() < LIMIT_SINCE => Ok(false),
            Some(mut call) => call.reply().await.map(|reply| reply.is_some()),
            // Nothing runs that it could be said of.
            None => Ok(false),
        }
    }

    async fn terminate(&self, epoch: Epoch) -> Result<(), Error> {
        let link = &self.0.link;
        if link.there().is_err() {
            // Whatever ran there has ended or is about to: a supervisor without its sandbox ends.
            link.hang_up();
            return Ok(());
        }
        link.see(epoch)?;
        link.close(Phase::Terminated).await;
        let ended = ending::ask(&link.folder, &link.identity, epoch.0, false).await?;
        link.hang_up();
        if !ended {
            let folder = link.folder.clone();
            blocking(&link.tracker, move || ending::bereaved(&folder))
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

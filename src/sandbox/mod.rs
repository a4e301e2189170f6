//! Sandboxes: where agents run. Programs in them are driven by offset, so that whoever drives them can be replaced:
//! any byte of output can be read again, and a byte of input written twice counts once.
//!
//! A room of its own: it knows the domain's ids and nothing of agents, sessions or storage. Every implementation passes
//! [`conformance`](../../tests/sandbox.rs) unchanged.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{
    domain::{ExecId, Isolation, SandboxId, SandboxSpec, Timestamp},
    workspace,
};

mod blocking;
mod files;
pub mod inventory;
pub mod lease;
pub mod ledger;
pub mod local;
pub mod modal;
mod new;
mod project;
mod providers;

pub use files::{Content, Contents, Files, Reading, Root, Source};
pub use new::{ImageContents, NewSandbox, Progress};
pub use project::ImageProject;
pub use providers::Providers;

/// Which owner of a session gives a command. A sandbox refuses commands of an epoch lower than the highest it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

/// Makes sandboxes, and finds those that are there.
#[async_trait]
pub trait Provider: fmt::Debug + Send + Sync {
    /// As `SandboxSpec.provider` names it.
    fn name(&self) -> &str;

    /// How well its sandboxes are walled off.
    fn isolation(&self) -> Isolation;

    /// Whether its sandboxes run on this machine: they can then be shown folders of it, and programs that are installed on
    /// it. Elsewhere what they need comes with their image ([`ImageContents`]).
    fn shares_machine(&self) -> bool;

    /// The settings of a spec that it does not apply, as `SandboxSpec` names them, for example "modal.cpu".
    fn not_applied(&self, spec: &SandboxSpec) -> Vec<String>;

    /// The `PATH` of a program that is started with these as [`ExecSpec::readable`] and names no other.
    fn search_path(&self, readable: &[std::path::PathBuf]) -> String;

    /// Has ready what sandboxes of this spec with these contents are made from, so that the first one need not wait for it.
    /// Who makes one meanwhile waits for the same work. Nothing to do where nothing is built.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Install`]; whoever makes a sandbox has it tried again.
    async fn build_ahead(&self, spec: &SandboxSpec, contents: &ImageContents) -> Result<(), Error> {
        let _ = (spec, contents);
        Ok(())
    }

    /// Makes a sandbox under an id that the caller minted and recorded before; making it again returns the same one,
    /// with the files it holds.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it cannot be made now.
    async fn create(&self, new: NewSandbox) -> Result<Arc<dyn Sandbox>, Error>;

    /// Finds a sandbox that was made before, by whichever owner, with whatever runs in it; nothing is made and nothing is
    /// changed but the epoch.
    ///
    /// # Errors
    /// [`Error::Gone`] when it is not there any more, or not whole: what it held must come from elsewhere;
    /// [`Error::Stale`]; [`Error::Unavailable`] when that cannot be known now, [`Error::OutOfReach`] when it cannot be known
    /// here.
    async fn attach(&self, id: &SandboxId, epoch: Epoch) -> Result<Arc<dyn Sandbox>, Error>;

    /// Finds a sandbox that was made before and in which nothing is to run any more: what does all the same, because nobody
    /// could end it when it was given up, is ended. A provider whose sandboxes do not keep their files when they end makes
    /// another under the same id, with the files that the one before had at its end: the next
    /// generation, told apart by when it ends.
    ///
    /// # Errors
    /// As those of [`Provider::attach`]; [`Error::Unavailable`] also when what runs there cannot be ended.
    async fn resume(&self, new: NewSandbox) -> Result<Arc<dyn Sandbox>, Error> {
        self.attach(&new.id, new.epoch).await?.terminate(new.epoch).await?;
        self.attach(&new.id, new.epoch).await
    }

    /// Removes a sandbox and all its files; one that is not there is removed already.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the provider does not answer; try again. [`Error::OutOfReach`].
    async fn destroy(&self, id: &SandboxId) -> Result<(), Error>;

    /// Ends what runs in sandboxes other than these that are at work: what earlier owners left and nobody will drive any
    /// more. Removes those that no session names: what was given up by a server that ended before it could remove it.
    /// Called once, before anything is created. A provider that has an [`Provider::inventory`] is looked through with that
    /// instead, and does nothing here.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the provider does not answer.
    async fn reap(&self, at_work: &[SandboxId], named: &[SandboxId]) -> Result<(), Error>;

    /// What it holds, asked of it; `None`: its sandboxes are found in a folder of this machine.
    fn inventory(&self) -> Option<&dyn inventory::Inventory> {
        None
    }
}

/// One sandbox.
#[async_trait]
pub trait Sandbox: fmt::Debug + Send + Sync {
    /// Which one.
    fn id(&self) -> &SandboxId;

    /// The name of its provider.
    fn provider(&self) -> &str;

    /// How well this one is walled off.
    fn isolation(&self) -> Isolation;

    /// When the provider ends it, whatever runs in it then; `None`: no limit.
    fn expires(&self) -> Option<Timestamp> {
        None
    }

    /// Asks it for a sign of life.
    ///
    /// # Errors
    /// [`Error::Gone`] when it is over, [`Error::Unavailable`] when it does not answer now.
    async fn check(&self) -> Result<(), Error>;

    /// Where things lie, as programs inside see it.
    fn paths(&self) -> &Paths;

    /// Its folder on this machine, which is there for as long as it is; `None` where it has none.
    fn folder(&self) -> Option<&std::path::Path> {
        None
    }

    /// Its files, with or without a program that runs.
    fn files(&self) -> Arc<dyn Files>;

    /// Starts a program; returns when it runs. Starting the same `exec_id` again changes nothing and is no error. When
    /// the program ends, what it started and left behind is killed.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::Gone`], [`Error::Start`] when the program cannot be run.
    async fn start(&self, epoch: Epoch, exec: &ExecSpec) -> Result<(), Error>;

    /// Reads output from `offset` on, and what follows as it comes; ends when the program has ended and all was read, or
    /// earlier where a sandbox can tell that the program closed the stream. May be called again and again, at any offset
    /// that was not released and is not beyond the end.
    ///
    /// # Errors
    /// [`Error::UnknownExec`], [`Error::Offset`].
    async fn read(
        &self,
        exec: &ExecId,
        fd: Output,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error>;

    /// Gives the program input that stands at `offset` of all it is given, then, with `eof`, closes its input. Bytes it
    /// has already must be the same ones. Returns how many bytes it has. A sandbox that cannot hold what the program does
    /// not read waits until it does, or has ended.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::UnknownExec`], [`Error::Offset`] when it would leave a hole, [`Error::StdinConflict`]
    /// when it says otherwise than what was given before.
    async fn write_stdin(&self, epoch: Epoch, exec: &ExecId, offset: u64, data: &[u8], eof: bool)
    -> Result<u64, Error>;

    /// How much input the program was given.
    ///
    /// # Errors
    /// [`Error::UnknownExec`].
    async fn stdin_status(&self, exec: &ExecId) -> Result<StdinStatus, Error>;

    /// The variables that a program was started with, as far as that can be told while it runs: whoever started it may be gone,
    /// and the values that it was given may be others by now.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn variables(&self, exec: &ExecId) -> Result<Vec<(String, String)>, Error>;

    /// Waits for the end of the program; returns at once when it ended before.
    ///
    /// # Errors
    /// [`Error::UnknownExec`], [`Error::Gone`].
    async fn wait(&self, exec: &ExecId) -> Result<Exit, Error>;

    /// Sends a signal to the program and everything it started. A program that ended is no error.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::UnknownExec`].
    async fn signal(&self, epoch: Epoch, exec: &ExecId, signal: Signal) -> Result<(), Error>;

    /// Output before `offset` is not needed again.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::UnknownExec`], [`Error::Offset`] when it is beyond the end.
    async fn release(&self, epoch: Epoch, exec: &ExecId, fd: Output, offset: u64) -> Result<(), Error>;

    /// Says how long what runs now may run on when no server is there any more; `None`: as long as the provider thinks
    /// fit. Returns whether that is so: a sandbox that cannot tell, or in which nothing runs, goes by its own limit.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::Gone`].
    async fn limit(&self, epoch: Epoch, limit: Option<Duration>) -> Result<bool, Error>;

    /// Ends every program and keeps the files; programs may start again after [`Provider::create`]. Doing it again is no
    /// error.
    ///
    /// # Errors
    /// [`Error::Stale`].
    async fn terminate(&self, epoch: Epoch) -> Result<(), Error>;
}

/// Where things lie inside a sandbox, as absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The agent's working directory.
    pub workspace: String,
    /// `HOME` of the agent: its own settings and transcripts.
    pub home: String,
}

/// A program to run. Of its environment `Debug` shows only the names.
#[derive(Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// Minted and recorded by the caller before the start.
    pub exec_id: ExecId,
    /// The program, an absolute path, and its arguments. Prompts and secrets never stand here.
    pub argv: Vec<String>,
    /// Its whole environment beside `PATH`, `HOME`, `TMPDIR`, `LANG`, `TERM` and `TZ`, which the sandbox sets.
    pub env: Vec<(String, String)>,
    /// Directories of the host that it must be able to read, for example where its program lies.
    pub readable: Vec<std::path::PathBuf>,
    /// A directory in one of them that is to be found as `node_modules` above everything in the sandbox: there Node.js looks for
    /// what a module imports. Elsewhere the image brings it.
    pub modules: Option<std::path::PathBuf>,
}

impl fmt::Debug for ExecSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exec_id, argv, env, readable, modules } = self;
        let names: Vec<_> = env.iter().map(|(name, _)| name).collect();
        let mut spec = f.debug_struct("ExecSpec");
        spec.field("exec_id", exec_id).field("argv", argv).field("env", &names);
        spec.field("readable", readable).field("modules", modules).finish()
    }
}

/// A stream that a program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// What a program was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StdinStatus {
    /// Bytes accepted; they reach the program even if the caller dies now.
    pub accepted: u64,
    /// Its input is closed.
    pub closed: bool,
}

/// How a program ended. Many sandboxes can tell a signal only as shells do, by an exit code above 128; so that the same end
/// is told the same everywhere, a code of 129 to 159 is always the signal 1 to 31 that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// What can be sent to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// What goes wrong with sandboxes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A newer owner has taken over.
    #[error("epoch {given} is stale: the sandbox has seen {seen}")]
    Stale {
        /// Epoch of the command.
        given: i64,
        /// Highest epoch seen.
        seen: i64,
    },
    /// No such program was started here.
    #[error("there is no exec {0} in this sandbox")]
    UnknownExec(ExecId),
    /// The offset is beyond the end, or was released.
    #[error("offset {offset} is outside {from}..={to}")]
    Offset {
        /// Asked for.
        offset: u64,
        /// First that can be had.
        from: u64,
        /// Last that can be had.
        to: u64,
    },
    /// Other bytes were given for the same place before.
    #[error("the program was given other input at offset {offset}")]
    StdinConflict {
        /// First byte that differs.
        offset: u64,
    },
    /// The program cannot be run.
    #[error("{program} cannot be started: {cause}")]
    Start {
        /// Which one.
        program: String,
        /// Why.
        cause: String,
    },
    /// The sandbox is not there any more.
    #[error("the sandbox is gone: {0}")]
    Gone(String),
    /// What was to be in its image cannot be installed there.
    #[error(
        "`{command}` of the tool server {server} failed while the image of the sandbox was built. It said:\n{said}"
    )]
    Install {
        /// Whose project.
        server: String,
        /// What was to install it.
        command: String,
        /// The last of what was said.
        said: String,
    },
    /// It was made where this provider, as it was told to, makes none and asks nobody: it may be there, and run. Says where that is,
    /// and what to do.
    #[error("the sandbox is out of reach: {0}")]
    OutOfReach(String),
    /// Something with its files was refused or failed.
    #[error(transparent)]
    Files(workspace::Error),
    /// The provider does not answer.
    #[error("the sandbox provider does not answer: {0}")]
    Unavailable(String),
}

/// How long programs get between a request to end and being killed.
pub const GRACE: Duration = Duration::from_secs(3);

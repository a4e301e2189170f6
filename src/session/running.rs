//! An agent's program at work: what it prints, what it is given, and how it ends. The commands to its sandbox go out one
//! after the other, so that input stays in order and nothing waits in line behind a slow provider but the next command.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use tokio::time::Instant;

use crate::{
    agent::{Action, Parser, Stderr},
    domain::ExecId,
    sandbox::{self, Epoch, Exit, Output, Sandbox, Signal},
    store::{ExecMark, StdinRow},
};

/// How long output may still come after the program ended, before what holds it open is killed.
const LINGER: Duration = Duration::from_secs(1);
/// Output that is stored is released in steps of this many bytes.
const RELEASE_STEP: u64 = 1 << 20;
/// Input that was taken need not be kept: so said in steps of this many bytes.
const FORGET_STEP: u64 = 64 << 10;

type Chunks = BoxStream<'static, Result<Bytes, sandbox::Error>>;

/// See the module.
pub(super) struct Running {
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) exec_id: ExecId,
    pub(super) parser: Parser,
    pub(super) stderr_parser: Stderr,
    epoch: Epoch,
    stdout: Option<Chunks>,
    stderr: Option<Chunks>,
    exit: BoxFuture<'static, Result<Exit, sandbox::Error>>,
    exited: Option<Result<Exit, sandbox::Error>>,
    kill_at: Option<Instant>,
    given: u64,
    /// Of what was given, what the sandbox has, and what of it nobody keeps any more.
    taken: u64,
    forgotten: u64,
    released: Offsets,
    calls: VecDeque<Call>,
    /// Gives the offset up to which input was taken by it.
    calling: Option<BoxFuture<'static, Result<Option<u64>, sandbox::Error>>>,
}

/// How far each output was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) stdout: u64,
    pub(super) stderr: u64,
}

impl Offsets {
    pub(super) fn of(mark: &ExecMark) -> Self {
        Self { stdout: mark.stdout_offset, stderr: mark.stderr_offset }
    }
}

enum Call {
    Write(StdinRow),
    Release(Output, u64),
    Limit(Option<Duration>),
    Signal(Signal),
}

/// What happens to a program.
pub(super) enum Happened {
    /// It printed.
    Printed(Output, Bytes),
    /// It was given all the input there is.
    Given,
    /// It ended, and all it printed was read; an error: nobody can know how, and more than was read may have been printed.
    Ended(Result<Exit, sandbox::Error>),
    /// It cannot be read any more, or not be given its input.
    Failed(sandbox::Error),
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("exec_id", &self.exec_id).finish_non_exhaustive()
    }
}

impl Running {
    pub(super) fn new(
        sandbox: Arc<dyn Sandbox>,
        epoch: Epoch,
        exec_id: ExecId,
        parser: Parser,
        stderr_parser: Stderr,
        stdout: Chunks,
        stderr: Chunks,
    ) -> Self {
        let exit = Box::pin(end_of(Arc::clone(&sandbox), exec_id.clone()));
        Self {
            sandbox,
            exec_id,
            parser,
            stderr_parser,
            epoch,
            stdout: Some(stdout),
            stderr: Some(stderr),
            exit,
            exited: None,
            kill_at: None,
            given: 0,
            taken: 0,
            forgotten: 0,
            released: Offsets::default(),
            calls: VecDeque::new(),
            calling: None,
        }
    }

    /// The same of a program that an earlier owner drove: `given` bytes of input are stored, and the events of its output
    /// before `read`.
    pub(super) fn going_on(self, given: u64, read: Offsets) -> Self {
        Self { given, released: read, ..self }
    }

    /// The row that gives the program more input; to be stored, then [`Self::write`]n.
    pub(super) fn input(&mut self, data: Vec<u8>) -> StdinRow {
        let row = StdinRow { exec_id: self.exec_id.clone(), offset: self.given, data };
        self.given += row.data.len() as u64;
        row
    }

    /// Gives the program input that is stored.
    pub(super) fn write(&mut self, row: StdinRow) {
        self.given = self.given.max(row.offset + row.data.len() as u64);
        self.calls.push_back(Call::Write(row));
    }

    /// All events of the output before these offsets are stored.
    pub(super) fn stored(&mut self, read: Offsets) {
        let Offsets { stdout, stderr } = &mut self.released;
        for (fd, released, read) in [(Output::Stdout, stdout, read.stdout), (Output::Stderr, stderr, read.stderr)] {
            if read >= *released + RELEASE_STEP {
                *released = read;
                self.calls.push_back(Call::Release(fd, read));
            }
        }
    }

    /// How much of its input need not be kept, where that is worth saying: the sandbox has it.
    pub(super) fn forget(&mut self) -> Option<(ExecId, u64)> {
        if self.taken < self.forgotten + FORGET_STEP {
            return None;
        }
        self.forgotten = self.taken;
        Some((self.exec_id.clone(), self.taken))
    }

    /// Says how long the program may run on without a server.
    pub(super) fn limit(&mut self, limit: Option<Duration>) {
        self.calls.push_back(Call::Limit(limit));
    }

    /// Signals the program and all that it started.
    pub(super) fn signal(&mut self, signal: Signal) {
        self.calls.push_back(Call::Signal(signal));
    }

    /// An id that nothing else which this program is given has.
    pub(super) fn unique(&self, name: &str) -> String {
        format!("{name}@{}", self.given)
    }

    /// Notes where reading stands; to be stored with what was read.
    pub(super) fn note(&self, mark: &mut ExecMark) {
        let checkpoint = self.parser.checkpoint();
        mark.stdout_offset = checkpoint.offset;
        mark.stderr_offset = self.stderr_parser.offset();
        mark.parser_version = checkpoint.version;
        mark.parser_state = Some(checkpoint.state);
    }

    /// Reads bytes that the program printed.
    pub(super) fn parse(&mut self, fd: Output, bytes: &[u8], actions: &mut Vec<Action>) {
        match fd {
            Output::Stdout => self.parser.feed(bytes, actions),
            Output::Stderr => self.stderr_parser.feed(bytes, actions),
        }
    }

    /// Reads what is left when all was printed.
    pub(super) fn finish(&mut self, actions: &mut Vec<Action>) {
        self.parser.finish(actions);
        self.stderr_parser.finish(actions);
    }

    /// Nothing is on its way to the program.
    pub(super) fn is_quiet(&self) -> bool {
        self.calls.is_empty() && self.calling.is_none()
    }

    /// Waits for what happens next; output only while `read`. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, read: bool) -> Happened {
        loop {
            self.call();
            if self.stdout.is_none()
                && self.stderr.is_none()
                && let Some(exit) = self.exited.clone()
            {
                return Happened::Ended(exit);
            }
            let kill = async {
                match self.kill_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                chunk = chunk(&mut self.stdout), if read => match chunk {
                    Some(Ok(bytes)) => return Happened::Printed(Output::Stdout, bytes),
                    Some(Err(error)) => return Happened::Failed(error),
                    None => self.stdout = None,
                },
                chunk = chunk(&mut self.stderr), if read => match chunk {
                    Some(Ok(bytes)) => return Happened::Printed(Output::Stderr, bytes),
                    Some(Err(error)) => return Happened::Failed(error),
                    None => self.stderr = None,
                },
                exit = &mut self.exit, if self.exited.is_none() => {
                    self.exited = Some(exit);
                    self.kill_at = Some(Instant::now() + LINGER);
                }
                () = kill => {
                    self.kill_at = None;
                    match &self.exited {
                        // Whoever knew the program is gone, and with it what may hold the output open.
                        Some(Err(error)) => return Happened::Failed(error.clone()),
                        Some(Ok(_)) | None => self.signal(Signal::Kill),
                    }
                }
                result = maybe(&mut self.calling) => {
                    self.calling = None;
                    match result {
                        Ok(taken) => self.taken = self.taken.max(taken.unwrap_or(0)),
                        Err(error) => return Happened::Failed(error),
                    }
                    if self.calls.is_empty() {
                        return Happened::Given;
                    }
                }
            }
        }
    }

    /// Sends the next command, if none is under way.
    fn call(&mut self) {
        if self.calling.is_some() {
            return;
        }
        let Some(call) = self.calls.pop_front() else { return };
        let (sandbox, exec, epoch) = (Arc::clone(&self.sandbox), self.exec_id.clone(), self.epoch);
        self.calling = Some(Box::pin(async move {
            let tidied = match call {
                Call::Write(row) => {
                    sandbox.write_stdin(epoch, &exec, row.offset, &row.data, false).await?;
                    return Ok(Some(row.offset + row.data.len() as u64));
                }
                Call::Release(fd, offset) => sandbox.release(epoch, &exec, fd, offset).await,
                Call::Limit(limit) => sandbox.limit(epoch, limit).await.map(drop),
                Call::Signal(signal) => sandbox.signal(epoch, &exec, signal).await,
            };
            // Space that stays taken, or a process that is gone already, is no reason to end a turn.
            if let Err(error) = tidied {
                tracing::warn!(%exec, %error, "tidying up in a sandbox failed");
            }
            Ok(None)
        }));
    }
}

/// How the program ends. One that was killed because its sandbox was taken away did not end: it was lost.
async fn end_of(sandbox: Arc<dyn Sandbox>, exec_id: ExecId) -> Result<Exit, sandbox::Error> {
    let exit = sandbox.wait(&exec_id).await?;
    match exit {
        Exit::Code(_) => Ok(exit),
        Exit::Signal(_) => match sandbox.stdin_status(&exec_id).await {
            Err(error @ (sandbox::Error::Gone(_) | sandbox::Error::UnknownExec(_))) => Err(error),
            Ok(_) | Err(_) => Ok(exit),
        },
    }
}

async fn chunk(chunks: &mut Option<Chunks>) -> Option<Result<Bytes, sandbox::Error>> {
    match chunks {
        Some(chunks) => chunks.next().await,
        None => pending().await,
    }
}

/// Waits for the future, if there is one, else for ever.
pub(super) async fn maybe<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

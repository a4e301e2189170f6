//! Programs that a sandbox runs, as Modal's router drives them: output by offset, input by offset, an end that is told as
//! often as it is asked for, and a limit on how long they may take.

use std::{io, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use tokio::{
    net::unix::pipe::{Receiver, Sender},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::cell::{Cell, End, Refused, Start, Streams};

mod input;
mod spool;

pub(super) use input::{Input, Refused as InputRefused};
pub(super) use spool::{CHUNK, Spool};

/// What becomes of an output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// Nobody will read it.
    Null,
    /// It is kept.
    Pipe,
    /// It goes where standard output goes.
    Stdout,
}

/// A program that was started.
#[derive(Debug)]
pub(super) struct Program {
    /// Its standard output.
    pub(super) stdout: Arc<Spool>,
    /// Its standard error.
    pub(super) stderr: Arc<Spool>,
    /// Its standard input.
    pub(super) input: Arc<Input>,
    state: watch::Receiver<State>,
}

/// Where a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It runs.
    Running,
    /// It ended.
    Ended(End),
    /// Its sandbox ended first.
    Gone,
}

/// How a program is run.
#[derive(Debug)]
pub(super) struct Plan {
    /// What to run.
    pub(super) start: Start,
    /// Standard output.
    pub(super) stdout: Sink,
    /// Standard error.
    pub(super) stderr: Sink,
    /// It is killed after this.
    pub(super) timeout: Option<Duration>,
}

impl Program {
    /// Starts a program in a cell and keeps what it writes in a folder. `ended` is called at its end.
    pub(super) async fn start(
        cell: &Arc<Cell>,
        plan: Plan,
        folder: &Path,
        tracker: &TaskTracker,
        over: &CancellationToken,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<Arc<Self>, Refused> {
        let failed = |error: io::Error| Refused::Start(format!("no pipes or files for it can be had: {error}"));
        let (ours, streams) = ends(plan.stdout, plan.stderr).map_err(failed)?;
        let stdout = Spool::new(folder.join("stdout")).map_err(failed)?;
        let stderr = Spool::new(folder.join("stderr")).map_err(failed)?;
        let input = Input::new(ours.stdin);
        let running = cell.start(plan.start, streams).await?;
        for (spool, pipe) in [(&stdout, ours.stdout), (&stderr, ours.stderr)] {
            match pipe {
                Some(pipe) => drop(tracker.spawn(Arc::clone(spool).fill(pipe, over.clone()))),
                None => spool.close(),
            }
        }
        let (sender, state) = watch::channel(State::Running);
        let cell = Arc::clone(cell);
        tracker.spawn(async move {
            let mut end = running.end;
            let told = if let Some(timeout) = plan.timeout {
                if let Ok(told) = tokio::time::timeout(timeout, &mut end).await {
                    told
                } else {
                    cell.kill(running.number).await;
                    end.await
                }
            } else {
                end.await
            };
            sender.send_replace(told.map_or(State::Gone, State::Ended));
            ended();
        });
        Ok(Arc::new(Self { stdout, stderr, input, state }))
    }

    /// Where it is now.
    pub(super) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits for its end, or its sandbox's.
    pub(super) async fn ended(&self) -> State {
        let mut state = self.state.clone();
        match state.wait_for(|state| *state != State::Running).await {
            Ok(state) => *state,
            Err(_) => State::Gone,
        }
    }
}

/// The emulator's ends of a program's streams.
struct Ours {
    stdin: Sender,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
}

fn ends(stdout: Sink, stderr: Sink) -> io::Result<(Ours, Streams)> {
    let (read, write) = io::pipe()?;
    let stdin = Sender::from_owned_fd(OwnedFd::from(write))?;
    let (our_stdout, their_stdout) = output(stdout)?;
    let (our_stderr, their_stderr) = match stderr {
        Sink::Stdout => (None, their_stdout.try_clone()?),
        Sink::Null | Sink::Pipe => output(stderr)?,
    };
    let ours = Ours { stdin, stdout: our_stdout, stderr: our_stderr };
    Ok((ours, [OwnedFd::from(read), their_stdout, their_stderr]))
}

fn output(sink: Sink) -> io::Result<(Option<Receiver>, OwnedFd)> {
    match sink {
        Sink::Pipe => {
            let (read, write) = io::pipe()?;
            Ok((Some(Receiver::from_owned_fd(OwnedFd::from(read))?), OwnedFd::from(write)))
        }
        Sink::Null | Sink::Stdout => {
            Ok((None, OwnedFd::from(std::fs::OpenOptions::new().write(true).open("/dev/null")?)))
        }
    }
}

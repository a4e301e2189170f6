//! A program in a sandbox, by its router's id: what is known of its output, its input and its end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::{
    sync::{Mutex as Turn, OnceCell},
    time::timeout,
};
use tonic::{Code, Status};

use super::{
    failure,
    input::{Input, News},
    remote::Over,
    router::{Ended, Given, Router},
    scripts::{HEADER, Header},
};
use crate::{
    domain::ExecId,
    sandbox::{Error, Exit, Output, StdinStatus},
};

/// Longest piece of output.
const CHUNK: usize = 64 * 1024;
/// How long a router may take to show a byte that is there.
const THERE: Duration = Duration::from_secs(10);
/// Signals as shells tell them.
const SIGNALLED: std::ops::RangeInclusive<i32> = 129..=159;

/// One program that was started.
#[derive(Debug)]
pub(super) struct Program {
    exec: ExecId,
    id: String,
    router: Arc<Router>,
    outputs: Mutex<[Extent; 2]>,
    /// `None`: the router is to be asked.
    input: Turn<Option<Input>>,
    exit: OnceCell<Exit>,
}

/// What is known of one output.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    released: u64,
    /// So much there is.
    seen: u64,
    /// And no more than that.
    ended: bool,
}

impl Program {
    pub(super) fn new(exec: ExecId, id: String, router: Arc<Router>) -> Self {
        Self { exec, id, router, outputs: Mutex::default(), input: Turn::default(), exit: OnceCell::new() }
    }

    /// The router's id of it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What it prints from `offset` on.
    pub(super) async fn read(
        self: &Arc<Self>,
        fd: Output,
        offset: u64,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let Extent { released, seen, ended } = self.extent(fd);
        let beyond = Error::Offset { offset, from: released, to: seen };
        if offset < released || (ended && offset > seen) {
            return Err(beyond);
        }
        if offset <= seen {
            let bytes = self.router.follow(&self.id, fd, shift(fd) + offset);
            return Ok(self.follow(fd, offset, Bytes::new(), bytes));
        }
        // Whether there is so much nobody knows yet: the byte before it shows it.
        let mut bytes = self.router.follow(&self.id, fd, shift(fd) + offset - 1);
        match timeout(THERE, bytes.next()).await {
            Ok(Some(Ok(first))) => Ok(self.follow(fd, offset, first.slice(1..), bytes)),
            Ok(Some(Err(status))) if !matches!(status.code(), Code::OutOfRange | Code::InvalidArgument) => {
                Err(self.about(&status).await)
            }
            Ok(Some(Err(_)) | None) => Err(beyond),
            // Slow is not lost.
            Err(_) => Err(self.about(&Status::unavailable("its output does not come")).await),
        }
    }

    /// Output before `offset` is not needed again: it is not given to anybody, and Modal keeps it until the sandbox ends.
    pub(super) fn release(&self, fd: Output, offset: u64) -> Result<(), Error> {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let extent = &mut outputs[number(fd)];
        if extent.ended && offset > extent.seen {
            return Err(Error::Offset { offset, from: extent.released, to: extent.seen });
        }
        extent.released = extent.released.max(offset);
        Ok(())
    }

    /// Gives it input; returns how much it has.
    pub(super) async fn give(&self, offset: u64, data: &[u8], eof: bool) -> Result<u64, Error> {
        let mut held = self.input.lock().await;
        let mut input = self.known(held.take()).await?;
        let news = match input.news(offset, data, eof) {
            Ok(Some(news)) => news,
            known => {
                let accepted = input.status().accepted;
                *held = Some(input);
                return known.map(|_| accepted);
            }
        };
        // If this is given up half way, the next one asks the router what came through.
        if !input.unread {
            let News { offset, data, eof } = &news;
            match self.router.give(&self.id, *offset, data.clone(), *eof).await {
                Ok(Given::Accepted) => {}
                Ok(Given::Over) => input.unread = true,
                Err(status) => return Err(self.about(&status).await),
            }
        }
        input.gave(&news);
        let accepted = input.status().accepted;
        *held = Some(input);
        Ok(accepted)
    }

    /// How much input it was given.
    pub(super) async fn stdin_status(&self) -> Result<StdinStatus, Error> {
        let mut held = self.input.lock().await;
        let input = self.known(held.take()).await?;
        let status = input.status();
        *held = Some(input);
        Ok(status)
    }

    /// Waits for its end.
    pub(super) async fn wait(&self) -> Result<Exit, Error> {
        let ended = self.exit.get_or_try_init(|| async { self.router.wait(&self.id).await.map(exit) }).await;
        match ended {
            Ok(exit) => {
                self.forget_input();
                Ok(*exit)
            }
            Err(status) => Err(self.about(&status).await),
        }
    }

    /// How it ended, if that is known.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit.get().copied()
    }

    /// What it was given need not be remembered: it is over.
    pub(super) fn forget_input(&self) {
        // Whoever is giving it some does so in vain, and is soon done.
        if let Ok(mut held) = self.input.try_lock()
            && let Some(input) = &mut *held
        {
            input.forget();
        }
    }

    async fn known(&self, input: Option<Input>) -> Result<Input, Error> {
        match input {
            Some(input) => Ok(input),
            None => match self.router.stdin_status(&self.id).await {
                Ok(status) => Ok(Input::known(status)),
                Err(status) => Err(self.about(&status).await),
            },
        }
    }

    /// Its output in pieces, for as long as what they hold was not released.
    fn follow(
        self: &Arc<Self>,
        fd: Output,
        offset: u64,
        first: Bytes,
        bytes: BoxStream<'static, Result<Bytes, Status>>,
    ) -> BoxStream<'static, Result<Bytes, Error>> {
        self.saw(fd, offset + first.len() as u64, false);
        let state = Some((Arc::clone(self), offset, BytesMut::from(&first[..]).freeze(), bytes));
        let pieces = stream::unfold(state, move |state| async move {
            let (program, offset, mut ready, mut bytes) = state?;
            if ready.is_empty() {
                match bytes.next().await {
                    Some(Ok(more)) => {
                        program.saw(fd, offset + more.len() as u64, false);
                        ready = more;
                    }
                    Some(Err(status)) => return Some((Err(program.about(&status).await), None)),
                    None => {
                        program.saw(fd, offset, true);
                        return None;
                    }
                }
            }
            let Extent { released, seen, .. } = program.extent(fd);
            if offset < released {
                return Some((Err(Error::Offset { offset, from: released, to: seen }), None));
            }
            let piece = ready.split_to(ready.len().min(CHUNK));
            let next = offset + piece.len() as u64;
            Some((Ok(piece), Some((program, next, ready, bytes))))
        });
        pieces.boxed()
    }

    fn saw(&self, fd: Output, to: u64, ended: bool) {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let extent = &mut outputs[number(fd)];
        extent.seen = extent.seen.max(to);
        extent.ended |= ended;
    }

    fn extent(&self, fd: Output) -> Extent {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)[number(fd)]
    }

    /// What a failure means for this program.
    async fn about(&self, status: &Status) -> Error {
        about(&self.router, &self.exec, status).await
    }
}

/// What a failure means: that there is no such program, or that there is no such sandbox any more, which a router that is gone
/// with it cannot tell apart.
pub(super) async fn about(router: &Router, exec: &ExecId, status: &Status) -> Error {
    if status.code() != Code::NotFound {
        return lost(router, status).await;
    }
    match router.remote().over().await {
        Ok(Some(Over(how))) => Error::Gone(how),
        Ok(None) => Error::UnknownExec(exec.clone()),
        Err(also) => failure::unavailable(&also),
    }
}

/// What a failure means that no program is to blame for: the sandbox is over, or does not answer.
pub(super) async fn lost(router: &Router, status: &Status) -> Error {
    match router.remote().over().await {
        Ok(Some(Over(how))) => Error::Gone(how),
        Ok(None) => failure::unavailable(status),
        Err(also) => failure::unavailable(&also),
    }
}

/// What the script that runs it says of a program. `None`: it was never started.
pub(super) async fn header(router: &Arc<Router>, id: &str) -> Result<Option<Header>, Status> {
    let mut bytes = router.follow(id, Output::Stdout, 0);
    let length = usize::try_from(HEADER).unwrap_or(usize::MAX);
    let mut header = Vec::new();
    while header.len() < length {
        match bytes.next().await {
            Some(Ok(more)) => header.extend_from_slice(&more),
            Some(Err(status)) if status.code() == Code::NotFound => return Ok(None),
            Some(Err(status)) => return Err(status),
            None => break,
        }
    }
    header.truncate(length);
    let unreadable = || Header::Refused("the sandbox's shell cannot run it".to_owned());
    Ok(Some(Header::read(&header).unwrap_or_else(unreadable)))
}

/// How far the program's own bytes are from the beginning.
fn shift(fd: Output) -> u64 {
    match fd {
        Output::Stdout => HEADER,
        Output::Stderr => 0,
    }
}

fn number(fd: Output) -> usize {
    match fd {
        Output::Stdout => 0,
        Output::Stderr => 1,
    }
}

fn exit(ended: Ended) -> Exit {
    match ended {
        Ended::Code(code) if SIGNALLED.contains(&code) => Exit::Signal(code - 128),
        Ended::Code(code) => Exit::Code(code),
        Ended::Signal(signal) => Exit::Signal(signal),
    }
}

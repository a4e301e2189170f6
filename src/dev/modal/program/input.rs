//! What a program is given to read: each byte once, by its offset, however often it is sent.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::{io::AsyncWriteExt as _, net::unix::pipe::Sender, sync::watch};

/// A program's standard input.
#[derive(Debug)]
pub(in super::super) struct Input {
    /// `None` once it is closed.
    pipe: tokio::sync::Mutex<Option<Sender>>,
    written: AtomicU64,
    closed: AtomicBool,
    /// Grows whenever somebody asks how much was written: what is being written then is given up.
    asked: watch::Sender<u64>,
}

/// Why input was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum Refused {
    /// Something is missing before it.
    #[error("stdin has {written} bytes, so bytes at offset {offset} would leave a hole")]
    Hole {
        /// Where it was to stand.
        offset: u64,
        /// How much there is.
        written: u64,
    },
    /// It is closed.
    #[error("stdin is closed")]
    Closed,
    /// Nobody reads it.
    #[error("the process has ended or has closed its stdin")]
    Broken,
    /// Somebody asked how much there is, and may be writing from there by now.
    #[error("somebody else has asked for the status of stdin, and writes on from there")]
    Evicted,
}

/// How much a program was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Status {
    /// Bytes in its pipe.
    pub(in super::super) written: u64,
    /// There will be no more.
    pub(in super::super) closed: bool,
}

impl Input {
    pub(super) fn new(pipe: Sender) -> Arc<Self> {
        Arc::new(Self {
            pipe: tokio::sync::Mutex::new(Some(pipe)),
            written: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            asked: watch::Sender::new(0),
        })
    }

    /// Takes bytes that stand at an offset, leaves out those it has, and then may be closed. Returns when all of them are in
    /// the pipe, which may be as late as the program reads.
    pub(in super::super) async fn write(
        &self,
        offset: u64,
        data: &[u8],
        eof: bool,
        turn: &mut Turn,
    ) -> Result<(), Refused> {
        let mut pipe = self.pipe.lock().await;
        if turn.0.has_changed().unwrap_or(true) {
            return Err(Refused::Evicted);
        }
        let written = self.written.load(Ordering::Acquire);
        if offset > written {
            return Err(Refused::Hole { offset, written });
        }
        let known = usize::try_from(written - offset).unwrap_or(usize::MAX).min(data.len());
        let mut fresh = &data[known..];
        if self.closed.load(Ordering::Acquire) {
            return if fresh.is_empty() { Ok(()) } else { Err(Refused::Closed) };
        }
        while !fresh.is_empty() {
            let Some(sender) = pipe.as_mut() else { return Err(Refused::Closed) };
            let wrote = tokio::select! {
                biased;
                wrote = sender.write(fresh) => wrote,
                _ = turn.0.changed() => return Err(Refused::Evicted),
            };
            match wrote {
                Ok(count) => {
                    self.written.fetch_add(count as u64, Ordering::AcqRel);
                    fresh = &fresh[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Refused::Broken),
            }
        }
        if eof {
            *pipe = None;
            self.closed.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// How much was written. Whoever is writing gives up, so that the answer stays true until the caller writes again.
    pub(in super::super) async fn status(&self) -> Status {
        self.asked.send_modify(|asked| *asked += 1);
        let _given_up = self.pipe.lock().await;
        Status { written: self.written.load(Ordering::Acquire), closed: self.closed.load(Ordering::Acquire) }
    }

    /// The right to write until somebody asks for the status.
    pub(in super::super) fn turn(&self) -> Turn {
        Turn(self.asked.subscribe())
    }
}

/// A writer's turn: see [`Input::turn`].
#[derive(Debug)]
pub(in super::super) struct Turn(watch::Receiver<u64>);

impl Turn {
    /// Waits until it is over.
    pub(in super::super) async fn over(&mut self) {
        let _ = self.0.changed().await;
    }
}

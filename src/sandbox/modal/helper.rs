//! Helpers: small programs of ours in a sandbox, given all their input and read to their end. Everything that is done to
//! files goes through them.
//!
//! It must not know how a program is run there: who can run one, answers for [`Helper`].

use std::{fmt, io};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt as _},
};

use crate::sandbox::Error;

/// How much a helper may say on its standard error; the rest is thrown away.
pub const SAID_MAX: usize = 64 * 1024;

/// What a helper reads. Its input is closed behind the last piece, and when nobody waits for the helper any more. A piece that
/// is an error ends the helper: it is killed, and its input never looks complete to it.
pub type Input = BoxStream<'static, io::Result<Bytes>>;

/// Runs helpers in one sandbox, as the user that the agent runs as, in no folder that counts, with the sandbox's own
/// environment.
#[async_trait]
pub trait Helper: fmt::Debug + Send + Sync {
    /// Starts `argv`, whose first is looked for in the sandbox's `PATH` and which has less than 64 KiB together. Input is
    /// taken from `input` as fast as the program reads it, while [`Running::stdout`] or [`Running::end`] are polled.
    ///
    /// Giving up what this returns ends the helper: its input is closed, and what it prints is not read.
    ///
    /// # Errors
    /// [`Error::Gone`] when the sandbox is not there any more; [`Error::Unavailable`] when it does not answer;
    /// [`Error::Start`] when there is no such program.
    async fn start(&self, argv: Vec<String>, input: Input) -> Result<Running, Error>;

    /// Runs one to its end, and collects at most `most` bytes of what it prints.
    ///
    /// # Errors
    /// As [`Self::start`]; [`Error::Unavailable`] when it prints more.
    async fn run(&self, argv: Vec<String>, input: Input, most: usize) -> Result<Done, Error> {
        let Running { mut stdout, end } = self.start(argv, input).await?;
        let mut printed = Vec::new();
        while let Some(bytes) = stdout.next().await {
            printed.extend_from_slice(&bytes?);
            if printed.len() > most {
                return Err(Error::Unavailable(format!("a helper in the sandbox printed more than {most} bytes")));
            }
        }
        let End { code, stderr } = end.await?;
        Ok(Done { code, stdout: printed.into(), stderr })
    }
}

/// A helper that was started.
pub struct Running {
    /// What it prints, to its end; then the input that it did not read is not sent any more.
    pub stdout: BoxStream<'static, Result<Bytes, Error>>,
    /// How it ended; to be waited for when all of `stdout` was read.
    pub end: BoxFuture<'static, Result<End, Error>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// How a helper ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// As a shell tells it: 128 and the signal where one ended it.
    pub code: i32,
    /// What it said on its standard error, at most [`SAID_MAX`].
    pub stderr: String,
}

/// A helper that ran to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// As a shell tells it: 128 and the signal where one ended it.
    pub code: i32,
    /// All that it printed.
    pub stdout: Bytes,
    /// What it said on its standard error, at most [`SAID_MAX`].
    pub stderr: String,
}

/// No input.
#[must_use]
pub fn nothing() -> Input {
    stream::empty().boxed()
}

/// These bytes as the whole input.
#[must_use]
pub fn bytes(bytes: impl Into<Bytes>) -> Input {
    stream::iter([Ok(bytes.into())]).boxed()
}

//! Why a command did not do what it was asked for.

use std::io;

use crate::{client, server};

/// What goes to standard error, after "error: ".
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The server refused, or cannot be reached.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The server does not start.
    #[error(transparent)]
    Start(#[from] server::StartError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Anything else, said where it was found.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Whether nobody reads our output any more, which is not worth a word.
    pub(super) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// An error that says what was being done.
pub(super) fn context(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Other(format!("{what}: {error}"))
}

//! Why packages cannot be installed.

use std::{io, path::PathBuf, process::ExitStatus};

use super::Manager;

/// Why packages cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What would run them is not there.
    #[error("{manager} packages need {program}, and there is none where programs of a sandbox look: {search}")]
    NoInterpreter {
        /// Whose packages.
        manager: Manager,
        /// What is missing.
        program: &'static str,
        /// Where it was looked for.
        search: String,
    },
    /// The manager is not there.
    #[error("{0} was not found on this server; install it, and try again")]
    NoManager(Manager),
    /// The manager says no.
    #[error("{manager} could not install {packages} ({status}). It said:\n{output}")]
    Failed {
        /// Which.
        manager: Manager,
        /// What it was told to install.
        packages: String,
        /// How it ended.
        status: ExitStatus,
        /// The last it said.
        output: String,
    },
    /// It does not come to an end.
    #[error("{manager} did not install {packages} within {minutes} minutes; is its registry reachable?")]
    Slow {
        /// Which.
        manager: Manager,
        /// What it was told to install.
        packages: String,
        /// It was given up after these.
        minutes: u64,
    },
    /// The folder cannot be used.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Error {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { path, error }
    }
}

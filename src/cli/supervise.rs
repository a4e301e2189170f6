//! `supervise`: the process that holds the programs of one local sandbox. Only servers start it.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use crate::supervisor::{self, Config};

/// Flags of `supervise`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The sandbox's folder.
    #[arg(long)]
    sandbox: PathBuf,
    /// How long programs may run on without a server.
    #[arg(long)]
    limit_ms: u64,
    /// Most bytes of one output that are kept and not released.
    #[arg(long)]
    spool_cap: u64,
}

/// Supervises until nothing is left to be done.
pub(super) fn run(args: Args) -> ExitCode {
    let Args { sandbox, limit_ms, spool_cap } = args;
    let config = Config { sandbox, limit: Duration::from_millis(limit_ms), spool_cap };
    match supervisor::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The last line of the log is what the server tells of a start that failed.
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

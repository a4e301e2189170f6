//! `modal-emulator`: finds the agent's program in the cache, and leaves the rest to the emulator.

use std::{path::PathBuf, process::ExitCode};

use super::{connect::Common, error::Error, install};
use crate::{dev::modal, server};

/// Flags of `modal-emulator`.
///
/// It prints three lines for the shell, after which every client of Modal uses it: the official SDKs, and the server.
#[derive(Debug, clap::Args)]
#[group(id = "modal-emulator")]
pub(super) struct Args {
    #[command(flatten)]
    emulator: modal::Args,
    /// Where agent programs are installed; Claude Code of it lies at /usr/local/bin/claude in each sandbox. Else DATA/cache,
    /// where the server has it.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Serves until it is told to end.
pub(super) async fn run(common: &Common, args: Args) -> Result<ExitCode, Error> {
    let cache = match args.cache {
        Some(cache) => cache,
        None => server::agent_cache(&common.data()?),
    };
    let claude = install::installed_claude_code(&cache);
    if claude.is_none() {
        tracing::warn!(cache = %cache.display(), "Claude Code is not in the cache, so sandboxes are without it");
    }
    modal::run(args.emulator, claude).await.map_err(|error| Error::Other(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}

//! The pinned Claude Code CLI for tests.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};

use agent_runtime::cli::install::{InstallError, install_claude_code};

/// Where the CLI is installed, once for all runs: in the place of a server's cache.
pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-cache")
}

/// The pinned CLI. `None`: this machine has no npm, which is told, and is no excuse in CI.
pub async fn installed() -> Option<PathBuf> {
    match install_claude_code(&cache()).await {
        Ok(program) => Some(program),
        Err(InstallError::NpmMissing) => {
            println!("SKIPPED: there is no npm to install Claude Code with");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have npm");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

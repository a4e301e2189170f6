//! The agent program that this build was tested with: its package, its version, and where the program lies in it.
//!
//! Pure: it names paths and looks at none.

use std::path::{Path, PathBuf};

/// The npm package of Claude Code.
pub const CLAUDE_CODE: &str = "@anthropic-ai/claude-code";

/// Its version. Others may speak another dialect.
pub const CLAUDE_CODE_VERSION: &str = "2.1.329";

/// The command that installs it, as error messages name it.
pub const INSTALL_CLAUDE_CODE: &str = "agent-runtime agents install claude-code";

/// The directory of all agent programs inside the server's cache.
#[must_use]
pub fn agents_dir(cache: &Path) -> PathBuf {
    cache.join("agents")
}

/// The directory of the pinned version inside the server's cache.
#[must_use]
pub fn claude_code_dir(cache: &Path) -> PathBuf {
    agents_dir(cache).join(format!("claude-code-{CLAUDE_CODE_VERSION}"))
}

/// Where the native program may lie inside a directory that npm installed into; npm brings the one that fits the
/// machine's C library, which a program cannot tell from how it was itself built. Empty: there is none for this machine.
#[must_use]
pub fn claude_code_programs(dir: &Path, os: &str, arch: &str) -> Vec<PathBuf> {
    let arch = match arch {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        _ => return Vec::new(),
    };
    let packages: &[&str] = match os {
        "linux" => &["linux-ARCH", "linux-ARCH-musl"],
        "macos" => &["darwin-ARCH"],
        "windows" => &["win32-ARCH"],
        _ => return Vec::new(),
    };
    let program = if os == "windows" { "claude.exe" } else { "claude" };
    let modules = dir.join("node_modules");
    packages
        .iter()
        .map(|package| modules.join(format!("{CLAUDE_CODE}-{}", package.replace("ARCH", arch))).join(program))
        .collect()
}

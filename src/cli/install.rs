//! Installs agent programs into the server's cache, from npm, pinned. It prints nothing.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;
use ulid::Ulid;

use crate::agent::package;

/// Why an agent program could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no program for this machine.
    #[error("Claude Code has no program for {os} on {arch}")]
    Platform {
        /// Operating system.
        os: &'static str,
        /// Processor.
        arch: &'static str,
    },
    /// There is no npm.
    #[error("npm was not found; install Node.js 20 or newer, which brings it, and try again")]
    NpmMissing,
    /// npm failed.
    #[error("npm could not install {package} ({status}); check the network and npm's registry. npm said:\n{output}")]
    Npm {
        /// Package and version.
        package: String,
        /// How npm ended.
        status: std::process::ExitStatus,
        /// The last lines it printed.
        output: String,
    },
    /// npm succeeded, and the program is not there.
    #[error("npm installed {package} without its program for this machine; npm must not omit optional dependencies")]
    Incomplete {
        /// Package and version.
        package: String,
    },
    /// The cache cannot be written.
    #[error("{path}: {cause}")]
    Cache {
        /// What was touched.
        path: PathBuf,
        /// What went wrong.
        cause: io::Error,
    },
}

/// Makes sure that the pinned Claude Code is in the cache, and returns the path of its program. Where it is there
/// already, nothing is run. Several processes may do this at once: one installs, the others wait for it.
///
/// # Errors
/// [`InstallError`], which says what to do.
pub async fn install_claude_code(cache: &Path) -> Result<PathBuf, InstallError> {
    install_with(cache, "npm".as_ref()).await
}

/// The program of the pinned Claude Code, if it is in the cache.
#[must_use]
pub fn installed_claude_code(cache: &Path) -> Option<PathBuf> {
    program_in(&package::claude_code_dir(cache))
}

async fn install_with(cache: &Path, npm: &OsStr) -> Result<PathBuf, InstallError> {
    let (os, arch) = (env::consts::OS, env::consts::ARCH);
    let dir = package::claude_code_dir(cache);
    if package::claude_code_programs(&dir, os, arch).is_empty() {
        return Err(InstallError::Platform { os, arch });
    }
    if let Some(program) = program_in(&dir) {
        return Ok(program);
    }
    let agents = package::agents_dir(cache);
    fs::create_dir_all(&agents).map_err(at(&agents))?;
    let _lock = lock(agents.join(".lock")).await?;
    if let Some(program) = program_in(&dir) {
        return Ok(program);
    }
    remove_leftovers(&agents)?;
    let fresh = agents.join(format!("{FRESH}{}", Ulid::new()));
    fs::create_dir(&fresh).map_err(at(&fresh))?;
    let installed = npm_install(npm, &fresh).await;
    if let Err(error) = installed {
        // What npm said matters more than what cannot be cleaned up now; the next installation does that.
        let _ = fs::remove_dir_all(&fresh);
        return Err(error);
    }
    if dir.exists() {
        // Without its program, so of no use to anybody.
        fs::remove_dir_all(&dir).map_err(at(&dir))?;
    }
    fs::rename(&fresh, &dir).map_err(at(&dir))?;
    program_in(&dir).ok_or_else(|| InstallError::Incomplete { package: pinned() })
}

/// Begins the names of directories that npm still works in.
const FRESH: &str = ".installing-";

/// Characters of npm's output that an error shows.
const SHOWN: usize = 2000;

fn pinned() -> String {
    format!("{}@{}", package::CLAUDE_CODE, package::CLAUDE_CODE_VERSION)
}

fn program_in(dir: &Path) -> Option<PathBuf> {
    package::claude_code_programs(dir, env::consts::OS, env::consts::ARCH).into_iter().find(|program| program.is_file())
}

async fn npm_install(npm: &OsStr, dir: &Path) -> Result<(), InstallError> {
    let package = pinned();
    // An engine version is asked of Node only, which the native program does not use.
    let output = Command::new(npm)
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--include=optional", "--loglevel=error"])
        .arg("--prefix")
        .arg(dir)
        .arg(&package)
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => InstallError::NpmMissing,
            _ => InstallError::Cache { path: npm.into(), cause },
        })?;
    if !output.status.success() {
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        let from = said.char_indices().rev().nth(SHOWN).map_or(0, |(at, _)| at);
        return Err(InstallError::Npm { package, status: output.status, output: said[from..].trim().to_owned() });
    }
    program_in(dir).map(drop).ok_or(InstallError::Incomplete { package })
}

/// Held while the file is open, by one process at a time; the system lets go of it when the process ends.
async fn lock(path: PathBuf) -> Result<fs::File, InstallError> {
    let shown = path.clone();
    let locked = tokio::task::spawn_blocking(move || {
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok::<_, io::Error>(file)
    });
    locked.await.map_err(io::Error::other).and_then(|file| file).map_err(at(&shown))
}

/// What an installation left that was killed; nobody else can be at it while the lock is held.
fn remove_leftovers(agents: &Path) -> Result<(), InstallError> {
    for entry in fs::read_dir(agents).map_err(at(agents))? {
        let entry = entry.map_err(at(agents))?;
        if entry.file_name().to_string_lossy().starts_with(FRESH) {
            fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
        }
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |cause| InstallError::Cache { path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache, and a shell script that stands where npm would.
    fn with_npm(script: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let npm = dir.path().join("npm");
        // Written by another process: while this one has it open, a fork of another test could keep it busy.
        let written = std::process::Command::new("sh")
            .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod +x \"$0\""])
            .arg(&npm)
            .arg(script)
            .status();
        assert!(written.unwrap().success());
        (dir, npm)
    }

    fn left_in(cache: &Path) -> Vec<String> {
        let entries = fs::read_dir(package::agents_dir(cache)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_missing_npm_says_what_to_install() {
        let dir = tempfile::tempdir().unwrap();
        let error = install_with(dir.path(), dir.path().join("npm").as_os_str()).await.unwrap_err();
        assert!(matches!(error, InstallError::NpmMissing));
        assert!(error.to_string().contains("Node.js 20"), "{error}");
        assert_eq!(left_in(dir.path()), [".lock"]);
    }

    #[tokio::test]
    async fn a_failing_npm_is_quoted_and_leaves_nothing() {
        let (dir, npm) = with_npm("echo 'ENOTFOUND registry' >&2; exit 7");
        let cache = dir.path().join("cache");
        let error = install_with(&cache, npm.as_os_str()).await.unwrap_err().to_string();
        assert!(error.contains("ENOTFOUND registry") && error.contains('7'), "{error}");
        assert_eq!(left_in(&cache), [".lock"]);
    }

    #[tokio::test]
    async fn a_package_without_a_program_is_refused() {
        let (dir, npm) = with_npm("exit 0");
        let cache = dir.path().join("cache");
        let error = install_with(&cache, npm.as_os_str()).await.unwrap_err();
        assert!(matches!(error, InstallError::Incomplete { .. }), "{error}");
        assert_eq!(left_in(&cache), [".lock"]);
    }

    #[tokio::test]
    async fn two_at_once_install_once_and_clean_up_what_was_left() {
        let (dir, npm) = with_npm(
            "echo run >> \"$(dirname \"$0\")/runs\"
             while [ $# -gt 1 ]; do if [ \"$1\" = --prefix ]; then prefix=$2; fi; shift; done
             cp -r \"$(dirname \"$0\")/tree/.\" \"$prefix\"",
        );
        let cache = dir.path().join("cache");
        let tree = dir.path().join("tree");
        let program = package::claude_code_programs(&tree, env::consts::OS, env::consts::ARCH).remove(0);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, "").unwrap();
        fs::create_dir_all(package::agents_dir(&cache).join(format!("{FRESH}killed"))).unwrap();
        fs::create_dir_all(package::claude_code_dir(&cache).join("half")).unwrap();

        let (one, two) = tokio::join!(install_with(&cache, npm.as_os_str()), install_with(&cache, npm.as_os_str()));
        assert_eq!(one.unwrap(), two.unwrap());
        assert_eq!(fs::read_to_string(dir.path().join("runs")).unwrap(), "run\n");
        assert_eq!(left_in(&cache), [".lock", &format!("claude-code-{}", package::CLAUDE_CODE_VERSION)]);
    }
}

//! npm and pip, as they are run: as little as they need of the server's environment, and nothing of what they install.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::{Error, Manager, Wanted};

/// How long a set may take.
const PATIENCE: Duration = Duration::from_mins(15);

/// Bytes of what a manager said that an error shows.
const SHOWN: usize = 2000;

/// What the managers get of the server's environment: where things are, and the way to a registry.
const PASSED: [&str; 10] = [
    "HOME",
    "LANG",
    "TMPDIR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];

/// The same, by how their names begin.
const PASSED_OF: [&str; 3] = ["npm_config_", "NPM_CONFIG_", "PIP_"];

/// What will run the packages, by its real path: packages of one need not fit another.
pub(super) fn interpreter(manager: Manager, search: &str) -> Result<PathBuf, Error> {
    let program = match manager {
        Manager::Npm => "node",
        Manager::Pip => "python3",
    };
    let found = find(program, search);
    found.ok_or_else(|| Error::NoInterpreter { manager, program, search: search.to_owned() })
}

/// Installs a set into an empty folder.
pub(super) async fn install(wanted: &Wanted, interpreter: &Path, folder: &Path, search: &str) -> Result<(), Error> {
    let mut command = match wanted.manager {
        Manager::Npm => npm(folder)?,
        Manager::Pip => pip(interpreter, folder, search).await?,
    };
    command.arg("--").args(wanted.packages()).current_dir(folder).env_clear();
    command.env("PATH", env::var_os("PATH").unwrap_or_default());
    let passed = |name: &str| PASSED.contains(&name) || PASSED_OF.iter().any(|prefix| name.starts_with(prefix));
    command.envs(env::vars_os().filter(|(name, _)| name.to_str().is_some_and(passed)));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let packages = || wanted.packages().join(" ");
    let slow = |_| Error::Slow { manager: wanted.manager, packages: packages(), minutes: PATIENCE.as_secs() / 60 };
    let output = timeout(PATIENCE, command.output()).await.map_err(slow)?.map_err(Error::io(folder))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let from = said.len().saturating_sub(SHOWN);
    let output_tail = String::from_utf8_lossy(&said[from..]).trim().to_owned();
    Err(Error::Failed { manager: wanted.manager, packages: packages(), status: output.status, output: output_tail })
}

/// Packages' own scripts are not run.
fn npm(folder: &Path) -> Result<Command, Error> {
    let mut command = Command::new(on_path("npm").ok_or(Error::NoManager(Manager::Npm))?);
    command
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"])
        .arg(folder);
    Ok(command)
}

/// Only what is built already is taken. An interpreter that has no pip of its own is served by another's.
async fn pip(interpreter: &Path, folder: &Path, search: &str) -> Result<Command, Error> {
    let missing = || Error::NoManager(Manager::Pip);
    let mut command = if has_pip(interpreter).await {
        let mut command = Command::new(find_link("python3", search).ok_or_else(missing)?);
        command.args(["-m", "pip"]);
        command
    } else {
        let mut command = Command::new(on_path("python3").ok_or_else(missing)?);
        command.args(["-m", "pip", "--python"]).arg(interpreter);
        command
    };
    command.args(["install", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--quiet"]);
    command.args(["--no-warn-script-location", "--root-user-action", "ignore", "--target"]).arg(folder);
    Ok(command)
}

async fn has_pip(interpreter: &Path) -> bool {
    let mut asked = Command::new(interpreter);
    asked.args(["-m", "pip", "--version"]).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    asked.output().await.is_ok_and(|output| output.status.success())
}

fn on_path(program: &str) -> Option<PathBuf> {
    find_link(program, env::var("PATH").unwrap_or_default().as_str())
}

fn find(program: &str, search: &str) -> Option<PathBuf> {
    find_link(program, search)?.canonicalize().ok()
}

fn find_link(program: &str, search: &str) -> Option<PathBuf> {
    let is_program =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    env::split_paths(search).filter(|dir| dir.is_absolute()).map(|dir| dir.join(program)).find(is_program)
}

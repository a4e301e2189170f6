//! Where the agents' programs are: configured, in the cache, or on the search path. It looks and never installs.

use std::{
    collections::HashMap,
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    agent::package,
    domain::{Agent, Failure, Reason},
};

/// Where to look for the agents' programs.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// The server's cache, which holds what `agents install` installed.
    pub cache: PathBuf,
    /// Programs that the configuration names; they win over all others.
    pub configured: HashMap<Agent, PathBuf>,
    /// The program that plays the scripted agent: this one.
    pub scripted: PathBuf,
}

impl Programs {
    /// The program of this agent, an absolute path wherever the configuration gives one.
    ///
    /// # Errors
    /// [`Reason::AgentUnavailable`], which says how to get it.
    pub fn locate(&self, agent: Agent) -> Result<PathBuf, Failure> {
        self.locate_with(agent, env::var_os("PATH").as_deref())
    }

    /// The program of this agent in the image of a sandbox away from this machine.
    #[must_use]
    pub fn in_image(agent: Agent) -> PathBuf {
        match agent {
            Agent::ClaudeCode => "/usr/local/bin/claude".into(),
            Agent::Scripted => "/usr/local/bin/agent-runtime".into(),
        }
    }

    /// Version of the program, where a file beside it or its path tells; nothing is run.
    #[must_use]
    pub fn version(&self, agent: Agent) -> Option<String> {
        match agent {
            Agent::Scripted => Some(env!("CARGO_PKG_VERSION").to_owned()),
            Agent::ClaudeCode => claude_version(&self.locate(agent).ok()?),
        }
    }

    fn locate_with(&self, agent: Agent, search: Option<&OsStr>) -> Result<PathBuf, Failure> {
        if let Some(program) = self.configured.get(&agent) {
            let message =
                || format!("{} is configured as the program of {agent}, and is no program", program.display());
            return is_program(program).then(|| program.clone()).ok_or_else(|| unavailable(agent, message()));
        }
        match agent {
            Agent::Scripted => Ok(self.scripted.clone()),
            Agent::ClaudeCode => {
                let installed = package::claude_code_dir(&self.cache);
                package::claude_code_programs(&installed, env::consts::OS, env::consts::ARCH)
                    .into_iter()
                    .find(|program| is_program(program))
                    .or_else(|| on_path("claude", search))
                    .ok_or_else(|| unavailable(agent, "Claude Code is not installed on this server".to_owned()))
            }
        }
    }
}

fn unavailable(agent: Agent, what: String) -> Failure {
    let command = match agent {
        Agent::ClaudeCode => package::INSTALL_CLAUDE_CODE,
        // It is part of this program: there is nothing to install, only a configuration to mend.
        Agent::Scripted => "",
    };
    let message = if command.is_empty() { what } else { format!("{what}; run `{command}`") };
    Failure::new(Reason::AgentUnavailable, message).with("agent", agent).with("command", command)
}

fn on_path(name: &str, search: Option<&OsStr>) -> Option<PathBuf> {
    env::split_paths(search?).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(|file| is_program(file))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// npm puts a `package.json` beside the native program, or above the script that starts it; the vendor's own installer
/// names the program after its version.
fn claude_version(program: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let program = fs::canonicalize(program).ok()?;
    let of_package = program.ancestors().skip(1).take(2).find_map(|dir| {
        let text = fs::read(dir.join("package.json")).ok()?;
        let package: Package = serde_json::from_slice(&text).ok()?;
        package.name.starts_with(package::CLAUDE_CODE).then_some(package.version)
    });
    of_package.or_else(|| {
        let name = program.file_name()?.to_str()?;
        let is_version = name.contains('.') && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_version.then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    fn put_program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(path).unwrap();
    }

    #[test]
    fn configured_wins_over_cache_and_cache_over_path() {
        let dir = tempfile::tempdir().unwrap();
        let mut programs =
            Programs { cache: dir.path().join("cache"), scripted: "/bin/self".into(), ..Programs::default() };
        let bin = dir.path().join("bin");
        let search = Some(bin.as_os_str());

        let missing = programs.locate_with(Agent::ClaudeCode, search).unwrap_err();
        assert_eq!(missing.reason, Reason::AgentUnavailable);
        assert_eq!(missing.metadata["agent"], "claude-code");
        assert_eq!(missing.metadata["command"], "agent-runtime agents install claude-code");
        assert!(missing.message.contains("agent-runtime agents install claude-code"), "{missing}");

        put_program(&bin.join("claude"));
        assert_eq!(programs.locate_with(Agent::ClaudeCode, search).unwrap(), bin.join("claude"));

        let installed = package::claude_code_dir(&programs.cache);
        let cached = package::claude_code_programs(&installed, env::consts::OS, env::consts::ARCH).remove(0);
        put_program(&cached);
        assert_eq!(programs.locate_with(Agent::ClaudeCode, search).unwrap(), cached);
        fs::write(
            cached.with_file_name("package.json"),
            r#"{"name":"@anthropic-ai/claude-code-linux-x64","version":"2.1.329"}"#,
        )
        .unwrap();
        assert_eq!(programs.version(Agent::ClaudeCode).as_deref(), Some("2.1.329"));

        let own = dir.path().join("own");
        programs.configured.insert(Agent::ClaudeCode, own.clone());
        let refused = programs.locate_with(Agent::ClaudeCode, search).unwrap_err();
        assert!(refused.message.contains("is no program"), "a configured program that is not there hides no other");
        put_program(&own);
        assert_eq!(programs.locate_with(Agent::ClaudeCode, search).unwrap(), own);
        assert_eq!(programs.locate_with(Agent::Scripted, None).unwrap(), Path::new("/bin/self"));
    }
}

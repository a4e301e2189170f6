//! From what is asked for to a command that a supervisor can start: the environment as an allow-list, the directories, and the
//! wall around it. Nothing of the server's own environment passes but the four variables named here.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::bubble::{self, Bubble};
use crate::{
    domain::Isolation,
    sandbox::{ExecSpec, Paths},
    supervisor::{
        folder::Folder,
        identity::Walled,
        protocol::{Start, Variable},
    },
};

/// Where programs are looked for when nothing better is known.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What stands between a program and this machine.
#[derive(Clone, Debug)]
pub(super) enum Wall {
    /// Nothing.
    Plain,
    /// Bubblewrap.
    Bubble(Bubble),
}

impl Wall {
    /// How well it walls off.
    pub(super) fn isolation(&self) -> Isolation {
        match self {
            Self::Plain => Isolation::Process,
            Self::Bubble(_) => Isolation::Namespace,
        }
    }

    /// As the sandbox's folder tells it.
    pub(super) fn walled(&self) -> Walled {
        match self {
            Self::Plain => Walled::Plain,
            Self::Bubble(_) => Walled::Bubblewrap,
        }
    }

    /// Where programs see their directories.
    pub(super) fn paths(&self, folder: &Folder) -> Paths {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match self {
            Self::Plain => Paths { workspace: text(&folder.workspace()), home: text(&folder.home()) },
            Self::Bubble(_) => Paths { workspace: bubble::WORKSPACE.to_owned(), home: bubble::HOME.to_owned() },
        }
    }

    /// Where programs look for others, unless they are told otherwise.
    pub(super) fn search_path(&self, readable: &[PathBuf]) -> String {
        let search = env::var("PATH").unwrap_or_default();
        let search = match self {
            Self::Plain => search,
            Self::Bubble(_) => bubble::visible_path(&search, readable),
        };
        if search.is_empty() { SEARCH.to_owned() } else { search }
    }

    /// What to start for `spec`.
    pub(super) fn plan(&self, folder: &Folder, spec: &ExecSpec) -> Result<Start, String> {
        let [program, arguments @ ..] = &*spec.argv else {
            return Err("no program is named".to_owned());
        };
        if !Path::new(program).is_absolute() {
            return Err("its path is not absolute".to_owned());
        }
        if let Some((name, _)) = spec.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
            return Err(format!("{name:?} cannot be the name of an environment variable"));
        }
        let environment = self.environment(folder, spec);
        let (command, bubblewrap) = match self {
            Self::Plain => {
                if let Some(modules) = &spec.modules {
                    link(modules, &folder.modules())
                        .map_err(|error| format!("the modules that it imports cannot be linked: {error}"))?;
                }
                let mut command = Command::new(program);
                command.args(arguments).envs(environment);
                (command, false)
            }
            Self::Bubble(bubble) => {
                let argv: Vec<OsString> = spec.argv.iter().map(OsString::from).collect();
                (bubble.command(folder, &argv, &environment, &spec.readable, spec.modules.as_deref())?, true)
            }
        };
        let bytes = |text: &OsStr| text.as_bytes().to_vec();
        let variable =
            |(name, value): (&OsStr, Option<&OsStr>)| Some(Variable { name: bytes(name), value: bytes(value?) });
        Ok(Start {
            exec_id: spec.exec_id.to_string(),
            argv: [command.get_program()].into_iter().chain(command.get_args()).map(bytes).collect(),
            env: command.get_envs().filter_map(variable).collect(),
            directory: bytes(folder.workspace().as_os_str()),
            bubblewrap,
        })
    }

    /// The whole environment of a program; what the caller sets wins.
    fn environment(&self, folder: &Folder, spec: &ExecSpec) -> Vec<(String, String)> {
        let paths = self.paths(folder);
        let tmp = match self {
            Self::Plain => folder.tmp().to_string_lossy().into_owned(),
            Self::Bubble(_) => bubble::TMP.to_owned(),
        };
        let mut environment: Vec<(String, String)> = [
            ("PATH", self.search_path(&spec.readable)),
            ("HOME", paths.home),
            ("TMPDIR", tmp),
            ("LANG", "C.UTF-8".to_owned()),
            ("TERM", "dumb".to_owned()),
            // Bubblewrap sets it; so that programs find the same in every tier.
            ("PWD", paths.workspace),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Ok(zone) = env::var("TZ") {
            environment.push(("TZ".to_owned(), zone));
        }
        environment.retain(|(name, _)| spec.env.iter().all(|(given, _)| given != name));
        environment.extend(spec.env.iter().cloned());
        environment
    }
}

/// Makes a link, unless it is there.
fn link(to: &Path, at: &Path) -> io::Result<()> {
    match fs::read_link(at) {
        Ok(there) if there == to => return Ok(()),
        Ok(_) => fs::remove_file(at)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    symlink(to, at)
}

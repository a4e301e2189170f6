//! From what is asked for to a command that can be spawned: the environment as an allow-list, the directories, and the
//! wall around it. Nothing of the server's own environment passes but the four variables named here.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    bubble::{self, Bubble},
    exec::Plan,
    layout::Layout,
};
use crate::{
    domain::Isolation,
    sandbox::{ExecSpec, Paths},
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

    /// Where programs see their directories.
    pub(super) fn paths(&self, layout: &Layout) -> Paths {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match self {
            Self::Plain => Paths { workspace: text(&layout.workspace()), home: text(&layout.home()) },
            Self::Bubble(_) => Paths { workspace: bubble::WORKSPACE.to_owned(), home: bubble::HOME.to_owned() },
        }
    }

    /// What to spawn for `spec`.
    pub(super) fn plan(&self, layout: &Layout, spec: &ExecSpec) -> Result<Plan, String> {
        let [program, arguments @ ..] = &*spec.argv else {
            return Err("no program is named".to_owned());
        };
        if !Path::new(program).is_absolute() {
            return Err("its path is not absolute".to_owned());
        }
        if let Some((name, _)) = spec.env.iter().find(|(name, _)| name.is_empty() || name.contains('=')) {
            return Err(format!("{name:?} cannot be the name of an environment variable"));
        }
        let environment = self.environment(layout, spec);
        let (mut command, bubble) = match self {
            Self::Plain => {
                let mut command = Command::new(program);
                command.args(arguments).env_clear().envs(environment);
                (command, false)
            }
            Self::Bubble(bubble) => {
                let argv: Vec<OsString> = spec.argv.iter().map(OsString::from).collect();
                (bubble.command(layout, &argv, &environment, &spec.readable)?, true)
            }
        };
        command.current_dir(layout.workspace()).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Plan { command, bubble })
    }

    /// The whole environment of a program; what the caller sets wins.
    fn environment(&self, layout: &Layout, spec: &ExecSpec) -> Vec<(String, String)> {
        let paths = self.paths(layout);
        let search = env::var("PATH").unwrap_or_default();
        let (search, tmp) = match self {
            Self::Plain => (search, layout.tmp().to_string_lossy().into_owned()),
            Self::Bubble(_) => (bubble::visible_path(&search, &spec.readable), bubble::TMP.to_owned()),
        };
        let search = if search.is_empty() { SEARCH.to_owned() } else { search };
        let mut environment: Vec<(String, String)> = [
            ("PATH", search),
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

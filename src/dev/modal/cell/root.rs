//! The root that programs of a cell see, by bubblewrap: this machine's system, read-only, below a directory of its own in
//! which everything else may be written. The one place of the emulator that knows bubblewrap's flags.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::geteuid;

/// What every program needs of the system, read-only.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"];

/// What there is in a fresh root beside the system. Programs may make what else they like.
const SKELETON: [&str; 22] = [
    "workspace",
    "root",
    "tmp",
    "srv",
    "home",
    "opt",
    "mnt",
    "run",
    "dev",
    "proc",
    "var/tmp",
    "var/log",
    "var/cache",
    "var/lib",
    "usr/local/bin",
    "usr/local/lib",
    "usr/local/sbin",
    "usr/local/share",
    "usr/local/etc",
    "usr/local/include",
    "usr/local/src",
    "__modal",
];

/// What root keeps of its powers: to install packages.
const ROOT_KEEPS: [&str; 5] = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL"];

/// Where the machine's Node.js lies inside, when it is not part of the system.
const NODE: &str = "/__modal/host/node";

/// What all cells of an emulator are made of.
#[derive(Clone, Debug)]
pub(in super::super) struct Building {
    bwrap: PathBuf,
    /// User namespaces are used: always, unless root can do without.
    namespaces: bool,
    /// The program of this project, which is also the first process and the file tools.
    program: PathBuf,
    /// Holds the file tools' entry; lies at `/__modal/.bin`.
    tools: PathBuf,
    claude: Option<PathBuf>,
    node: Option<PathBuf>,
}

impl Building {
    /// Finds out what works on this machine, by trying it.
    ///
    /// # Errors
    /// What is missing, in words for who starts the emulator.
    pub(in super::super) fn survey(program: PathBuf, claude: Option<PathBuf>, folder: &Path) -> Result<Self, String> {
        let bwrap = on_path("bwrap").ok_or(
            "bubblewrap (bwrap) is not on the PATH, and sandboxes are made with it; install the package bubblewrap",
        )?;
        let tools = folder.join("tools");
        write_tools(&tools).map_err(|error| format!("{}: {error}", tools.display()))?;
        let node = on_path("node").and_then(|node| prefix(&node));
        let root = geteuid().is_root();
        let mut building = Self { bwrap, namespaces: !root, program, tools, claude, node };
        let mut said = building.try_it(folder);
        if said.is_err() && root {
            building.namespaces = true;
            said = said.or_else(|_| building.try_it(folder));
        }
        said.map_err(|said| {
            format!("sandboxes need user namespaces, or root with the right to mount, and here bubblewrap says: {said}")
        })?;
        Ok(building)
    }

    fn try_it(&self, folder: &Path) -> Result<(), String> {
        let root = folder.join("probe");
        prepare(&root).map_err(|error| error.to_string())?;
        let mut command = self.walls(&root, true);
        command.args(["--", "/usr/bin/env", "true"]).stdin(Stdio::null());
        let output = command.output().map_err(|error| error.to_string())?;
        fs::remove_dir_all(&root).map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// The command that runs the first process of a cell in a root.
    pub(in super::super) fn command(&self, root: &Path, network: bool) -> Command {
        let mut command = self.walls(root, network);
        command.args(["--", "/__modal/.bin/agent-runtime", "modal-sandbox-init"]);
        command
    }

    fn walls(&self, root: &Path, network: bool) -> Command {
        let mut command = Command::new(&self.bwrap);
        command.env_clear().process_group(0);
        command.arg("--bind").arg(root).arg("/");
        for dir in system() {
            command.arg("--ro-bind").arg(dir).arg(dir);
        }
        command.arg("--bind").arg(root.join("usr/local")).arg("/usr/local");
        // Often a link to somewhere below /run, which is the cell's own.
        if let Ok(resolver) = Path::new("/etc/resolv.conf").canonicalize()
            && !resolver.starts_with("/etc")
        {
            command.arg("--ro-bind").arg(&resolver).arg(&resolver);
        }
        command.args(["--proc", "/proc", "--dev", "/dev"]);
        command.arg("--ro-bind").arg(&self.tools).arg("/__modal/.bin");
        for at in ["/__modal/.bin/agent-runtime", "/usr/local/bin/agent-runtime"] {
            command.arg("--ro-bind").arg(&self.program).arg(at);
        }
        if let Some(claude) = &self.claude {
            command.arg("--ro-bind").arg(claude).arg("/usr/local/bin/claude");
        }
        if let Some(node) = &self.node {
            command.arg("--ro-bind").arg(node).arg(NODE);
        }
        command.args(["--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--hostname", "modal"]);
        command.args(["--new-session", "--chdir", "/"]);
        if !network {
            command.arg("--unshare-net");
        }
        if self.namespaces {
            command.args(["--unshare-user", "--uid", "0", "--gid", "0"]);
        } else {
            command.args(["--cap-drop", "ALL"]);
            command.args(ROOT_KEEPS.iter().flat_map(|power| ["--cap-add", power]));
        }
        command
    }

    /// The environment that every program of a cell begins with.
    pub(in super::super) fn environment(&self) -> Vec<(String, String)> {
        let node = if self.node.is_some() { format!("{NODE}/bin:") } else { String::new() };
        let path = format!("/usr/local/sbin:/usr/local/bin:{node}/usr/sbin:/usr/bin:/sbin:/bin");
        // The last two send what is installed to where it may be written, and let it be found there.
        [
            ("PATH", path.as_str()),
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("NPM_CONFIG_PREFIX", "/usr/local"),
            ("PYTHONUSERBASE", "/usr/local"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Whether the agent's program is bound in.
    pub(in super::super) fn has_claude(&self) -> bool {
        self.claude.is_some()
    }
}

/// Makes what must be there in a root, and leaves alone what is.
pub(in super::super) fn prepare(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    for dir in SKELETON {
        fs::create_dir_all(root.join(dir))?;
    }
    for open in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(open), fs::Permissions::from_mode(0o1777))?;
    }
    for dir in SYSTEM.map(Path::new) {
        let (Ok(found), Ok(inside)) = (dir.symlink_metadata(), dir.strip_prefix("/")) else { continue };
        let at = root.join(inside);
        if at.symlink_metadata().is_ok() {
            continue;
        }
        if found.is_symlink() { std::os::unix::fs::symlink(fs::read_link(dir)?, at)? } else { fs::create_dir(at)? }
    }
    Ok(())
}

/// The directories of the system that are no links to others.
fn system() -> impl Iterator<Item = &'static Path> {
    SYSTEM.iter().map(Path::new).filter(|dir| dir.symlink_metadata().is_ok_and(|found| found.is_dir()))
}

/// The file tools are this program under another name. The mount of the program itself needs a file to lie on.
fn write_tools(tools: &Path) -> io::Result<()> {
    fs::create_dir_all(tools)?;
    fs::write(tools.join("agent-runtime"), "")?;
    let entry = tools.join("modal-sandbox-fs-tools");
    fs::write(&entry, "#!/bin/sh\nexec /__modal/.bin/agent-runtime modal-sandbox-fs-tools \"$@\"\n")?;
    fs::set_permissions(entry, fs::Permissions::from_mode(0o755))
}

/// Where a program was installed to, when that is outside of what is shown anyway: the directory that holds its `bin`.
fn prefix(program: &Path) -> Option<PathBuf> {
    let real = program.canonicalize().ok()?;
    let prefix = real.parent()?.parent()?;
    let shown = prefix.starts_with("/usr") && !prefix.starts_with("/usr/local");
    (!shown).then(|| prefix.to_owned())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH")?;
    std::env::split_paths(&search).map(|dir| dir.join(program)).find(|path| path.is_absolute() && path.is_file())
}

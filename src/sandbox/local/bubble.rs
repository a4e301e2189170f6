//! Bubblewrap: what a program inside sees of this machine. The one place that knows its flags.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    fs::{Access, access},
    process::geteuid,
};

use crate::supervisor::{folder::Folder, proc, settle};

/// Where a sandbox's own directories lie inside.
pub(super) const WORKSPACE: &str = "/workspace";
pub(super) const HOME: &str = "/home/agent";
pub(super) const TMP: &str = "/tmp";

/// Where whatever imports a module finds it, wherever inside it lies.
const MODULES: &str = "/node_modules";

/// What every program needs of the system, read-only.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"];

/// What root keeps of its powers, all of which end at what is mounted: installing packages into the workspace sets
/// owners and modes. A server that is not root has no powers to keep.
const ROOT_KEEPS: [&str; 4] = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID"];

/// Variables that the dynamic loader and the C library obey. Bubblewrap's outer process must not, it is not walled off;
/// so they are set by its arguments, for the program alone. Everything else stays out of the arguments, because those
/// can be seen by all users of the machine and values may be secret.
const OBEYED: [&str; 6] = ["LD_", "GLIBC_", "GCONV_", "MALLOC_", "LOCPATH", "NLSPATH"];

/// A bubblewrap that works on this machine.
#[derive(Clone, Debug)]
pub(super) struct Bubble {
    program: PathBuf,
    hidden: Vec<PathBuf>,
    shared: Vec<PathBuf>,
}

impl Bubble {
    /// Finds bubblewrap and tries it with the flags that programs get; the error says why there is none.
    pub(super) fn find(hidden: Vec<PathBuf>, shared: Vec<PathBuf>, root: &Path) -> Result<Self, String> {
        if !proc::tells_children() {
            return Err("this kernel does not list the children of a process in /proc".to_owned());
        }
        let program = on_path("bwrap").ok_or("bubblewrap (bwrap) is not on the PATH")?;
        let bubble = Self { program, hidden, shared };
        let folder = Folder::probe(root);
        let tried = folder.make().map_err(|error| error.to_string()).and_then(|()| bubble.try_it(&folder));
        folder.remove().map_err(|error| error.to_string())?;
        tried.map(|()| bubble)
    }

    fn try_it(&self, folder: &Folder) -> Result<(), String> {
        let program = on_path("true").ok_or("there is no program `true` to try bubblewrap with")?;
        let mut command = self.command(folder, &[program.into_os_string()], &[], &[], None)?;
        let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = settle::complaint(&output.stderr).unwrap_or_else(|| output.status.to_string());
        Err(format!("bubblewrap does not work here: {said}"))
    }

    /// The command that runs `argv` inside. The caller sets the environment but for what [`Bubble::command`] was given.
    pub(super) fn command(
        &self,
        folder: &Folder,
        argv: &[OsString],
        env: &[(String, String)],
        readable: &[PathBuf],
        modules: Option<&Path>,
    ) -> Result<Command, String> {
        let mut mounts = system().map_err(|error| format!("the system's directories cannot be listed: {error}"))?;
        for dir in readable {
            self.add_readable(&mut mounts, dir)?;
        }
        mounts.extend([
            Mount::new(Rank::Private, "/proc", &["--proc"]),
            Mount::new(Rank::Private, "/dev", &["--dev"]),
            Mount::bind(Rank::Private, "--bind", folder.tmp(), TMP),
            Mount::bind(Rank::Private, "--bind", folder.workspace(), WORKSPACE),
            Mount::bind(Rank::Private, "--bind", folder.home(), HOME),
            Mount::new(Rank::Private, "/var/tmp", &["--symlink", TMP]),
        ]);
        mounts.extend(modules.map(|modules| Mount::bind(Rank::Private, "--symlink", modules, MODULES)));
        // Outer directories first, or they would cover the inner ones; of the same directory the last one is seen.
        mounts.sort_by_key(|mount| (mount.at.components().count(), mount.rank));

        let mut command = Command::new(&self.program);
        command.args(mounts.iter().flat_map(Mount::arguments));
        command.args(self.covers(&mounts).iter().flat_map(Mount::arguments));
        // What is shared lies in what may just have been covered.
        let uncovered = mounts.iter().filter(|mount| mount.rank == Rank::Readable && self.is_shared(&mount.at));
        command.args(uncovered.flat_map(Mount::arguments));
        command.args(["--remount-ro", "/", "--chdir", WORKSPACE]);
        command.args(["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session"]);
        if geteuid().is_root() {
            command.args(["--cap-drop", "ALL"]);
            command.args(ROOT_KEEPS.iter().flat_map(|power| ["--cap-add", power]));
        }
        for (name, value) in env.iter().filter(|(name, _)| obeyed(name)) {
            command.args(["--setenv", name, value]);
        }
        command.arg("--").args(argv).env_clear();
        command.envs(env.iter().filter(|(name, _)| !obeyed(name)).map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Shows a directory of the host at its own path, and at its real one when that is another.
    fn add_readable(&self, mounts: &mut Vec<Mount>, dir: &Path) -> Result<(), String> {
        let said = |cause: String| format!("{} cannot be made readable: {cause}", dir.display());
        let real = dir.canonicalize().map_err(|error| said(error.to_string()))?;
        if real == Path::new("/") || dir.components().any(|part| part == Component::ParentDir) || !dir.is_absolute() {
            return Err(said("it must be an absolute path below /, without ..".to_owned()));
        }
        if let Some(hidden) = self.hidden().find(|hidden| real.starts_with(hidden) && !self.is_shared(&real)) {
            return Err(said(format!("it lies in {}, which no program may see", hidden.display())));
        }
        let reached = SYSTEM.iter().any(|system| dir.starts_with(system));
        if real != dir && !reached {
            mounts.push(Mount::bind(Rank::Readable, "--ro-bind", real.clone(), dir));
        }
        mounts.push(Mount::bind(Rank::Readable, "--ro-bind", real.clone(), real));
        Ok(())
    }

    /// Empty mounts over what is hidden and lies in something that is shown.
    fn covers(&self, mounts: &[Mount]) -> Vec<Mount> {
        let shown = |path: &Path| {
            mounts.iter().any(|mount| {
                matches!(mount.rank, Rank::System | Rank::Readable) && path.starts_with(&mount.at) && path != mount.at
            })
        };
        let hidden: Vec<PathBuf> = self.hidden().collect();
        // What lies in another hidden directory is covered with it, and must not show its name there.
        let outermost = |path: &PathBuf| !hidden.iter().any(|other| path != other && path.starts_with(other));
        hidden.iter().filter(|path| outermost(path) && shown(path)).map(|path| Mount::cover(path)).collect()
    }

    /// The hidden directories that there are, by their real paths.
    fn hidden(&self) -> impl Iterator<Item = PathBuf> {
        self.hidden.iter().filter_map(|path| path.canonicalize().ok())
    }

    /// Whether a real path lies in what may be shown although what holds it is hidden.
    fn is_shared(&self, real: &Path) -> bool {
        self.shared.iter().filter_map(|path| path.canonicalize().ok()).any(|shared| real.starts_with(shared))
    }
}

/// The variable that names `search` directories, reduced to those that programs inside can see.
pub(super) fn visible_path(search: &str, readable: &[PathBuf]) -> String {
    let seen = |dir: &&str| {
        let dir = Path::new(dir);
        SYSTEM.iter().any(|system| dir.starts_with(system)) || readable.iter().any(|shown| dir.starts_with(shown))
    };
    search.split(':').filter(seen).collect::<Vec<_>>().join(":")
}

/// Something that programs inside see, and where.
struct Mount {
    rank: Rank,
    at: PathBuf,
    /// What stands before the place among the arguments.
    how: Vec<OsString>,
}

/// Whose word counts when the same place is named twice: the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    System,
    Cover,
    Readable,
    Private,
}

impl Mount {
    fn new(rank: Rank, at: impl Into<PathBuf>, how: &[&str]) -> Self {
        Self { rank, at: at.into(), how: how.iter().map(OsString::from).collect() }
    }

    fn bind(rank: Rank, how: &str, source: impl Into<OsString>, at: impl Into<PathBuf>) -> Self {
        Self { rank, at: at.into(), how: vec![how.into(), source.into()] }
    }

    /// Shows nothing instead of what is there.
    fn cover(at: &Path) -> Self {
        if at.is_dir() {
            Self::new(Rank::Cover, at, &["--tmpfs"])
        } else {
            Self::new(Rank::Cover, at, &["--ro-bind", "/dev/null"])
        }
    }

    fn arguments(&self) -> impl Iterator<Item = OsString> {
        self.how.iter().cloned().chain([self.at.clone().into_os_string()])
    }
}

/// The system, without those of its settings that not all users of the machine may read.
fn system() -> io::Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for dir in SYSTEM.map(Path::new) {
        let Ok(found) = dir.symlink_metadata() else { continue };
        if found.is_symlink() && dir.canonicalize().is_ok_and(|real| real.starts_with("/usr")) {
            mounts.push(Mount::bind(Rank::System, "--symlink", fs::read_link(dir)?, dir));
        } else {
            mounts.push(Mount::bind(Rank::System, "--ro-bind", dir, dir));
        }
    }
    // Often a link to somewhere below /run, which is not shown.
    if let Ok(resolver) = Path::new("/etc/resolv.conf").canonicalize()
        && !resolver.starts_with("/etc")
    {
        mounts.push(Mount::bind(Rank::System, "--ro-bind", resolver.clone(), resolver));
    }
    cover_private(Path::new("/etc"), &mut mounts)?;
    Ok(mounts)
}

/// Covers what the server's user may read and others may not. Links are left alone: where they lead, this has been or
/// nothing is shown.
fn cover_private(dir: &Path, mounts: &mut Vec<Mount>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let (path, found) = (entry.as_ref().map(fs::DirEntry::path), entry.as_ref().map(fs::DirEntry::metadata));
        let (Ok(path), Ok(Ok(found))) = (path, found) else { continue };
        let kind = found.file_type();
        if kind.is_symlink() || kind.is_socket() || kind.is_fifo() || access(&path, Access::READ_OK).is_err() {
            continue;
        }
        let open = if kind.is_dir() { 0o5 } else { 0o4 };
        if found.mode() & open != open {
            mounts.push(Mount::cover(&path));
        } else if kind.is_dir() {
            cover_private(&path, mounts)?;
        }
    }
    Ok(())
}

fn obeyed(name: &str) -> bool {
    OBEYED.iter().any(|prefix| name.starts_with(prefix))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let search = std::env::var_os("PATH")?;
    std::env::split_paths(&search)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
}

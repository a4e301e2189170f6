//! Where a sandbox's files lie on the host, and which names may become parts of those paths. The server and the
//! sandbox's supervisor both go by it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long those who still write into a folder that is removed are waited for.
const REMOVED: Duration = Duration::from_secs(2);

/// Longest id that becomes a file name.
const NAME_MAX: usize = 128;

/// The directories and files of one sandbox.
#[derive(Clone, Debug)]
pub struct Folder {
    base: PathBuf,
}

impl Folder {
    /// `None` when the id could name something outside `root`.
    #[must_use]
    pub fn of(root: &Path, id: &str) -> Option<Self> {
        is_name(id).then(|| Self::at(root.join(id)))
    }

    /// The one that lies here.
    #[must_use]
    pub fn at(base: PathBuf) -> Self {
        Self { base }
    }

    /// The directories of a trial run. No sandbox id holds a dot, so it is nobody's.
    #[must_use]
    pub fn probe(root: &Path) -> Self {
        Self::at(root.join(".probe"))
    }

    /// Every sandbox that has a directory in `root`.
    ///
    /// # Errors
    /// When `root` cannot be listed.
    pub fn all(root: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let named = entry.file_name().to_str().is_some_and(is_name);
            if named && entry.file_type()?.is_dir() {
                found.push(Self::at(entry.path()));
            }
        }
        Ok(found)
    }

    /// What holds all of it.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The id of the sandbox.
    #[must_use]
    pub fn id(&self) -> &str {
        self.base.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Where programs work.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.base.join("workspace")
    }

    /// `HOME` of programs.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    /// `TMPDIR` of programs.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.base.join("tmp")
    }

    /// A link to modules that programs import, where it lies above all their directories.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.base.join("node_modules")
    }

    /// What is kept of programs: a directory each.
    #[must_use]
    pub fn execs(&self) -> PathBuf {
        self.base.join("exec")
    }

    /// What is kept of one; `None` when the id could name something outside the sandbox.
    #[must_use]
    pub fn exec(&self, id: &str) -> Option<PathBuf> {
        is_name(id).then(|| self.execs().join(id))
    }

    /// Everything that was ever begun to be run here.
    ///
    /// # Errors
    /// When it cannot be listed; that there is nothing is none.
    pub fn all_execs(&self) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(self.execs()) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Who the sandbox is.
    pub(super) fn identity(&self) -> PathBuf {
        self.base.join("sandbox.json")
    }

    /// The highest epoch seen.
    pub(super) fn epoch(&self) -> PathBuf {
        self.base.join("epoch")
    }

    /// Held by the supervisor for its life.
    pub(super) fn lock(&self) -> PathBuf {
        self.base.join("supervisor.lock")
    }

    /// What the supervisor complained about.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.base.join("supervisor.log")
    }

    /// Makes what is missing.
    ///
    /// # Errors
    /// Of the file system.
    pub fn make(&self) -> io::Result<()> {
        for dir in [self.workspace(), self.home(), self.tmp(), self.execs()] {
            private_dir(&dir)?;
        }
        Ok(())
    }

    /// Removes everything. Programs leave directories that even their owner may not write (module caches do), so what
    /// is refused at first is opened up and tried again. Symbolic links are removed, never followed.
    ///
    /// # Errors
    /// Of the file system.
    pub fn remove(&self) -> io::Result<()> {
        let give_up = Instant::now() + REMOVED;
        loop {
            match fs::remove_dir_all(&self.base) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    open_up(&self.base)?;
                    return fs::remove_dir_all(&self.base);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                // Somebody who is ending still writes.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && Instant::now() < give_up => {
                    thread::sleep(Duration::from_millis(10));
                }
                done => return done,
            }
        }
    }
}

/// Whether `text` is safe as one part of a path.
fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A directory that only its owner can enter, with its parents.
///
/// # Errors
/// Of the file system.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A new, empty file that only its owner can read.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Puts a file in the place of the one that is there, whole: who reads it sees the old or the new one.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    io::Write::write_all(&mut file, text)?;
    fs::rename(&new, path)
}

fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

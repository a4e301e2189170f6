//! Where a sandbox's files lie on the host, and which names may become parts of those paths.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::domain::{ExecId, SandboxId};

/// Longest id that becomes a file name.
const NAME_MAX: usize = 128;

/// The directories of one sandbox.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    base: PathBuf,
}

impl Layout {
    /// `None` when the id could name something outside `root`.
    pub(super) fn of(root: &Path, id: &SandboxId) -> Option<Self> {
        is_name(id.as_str()).then(|| Self { base: root.join(id.as_str()) })
    }

    /// The directories of the trial run. No sandbox id holds a dot, so it is nobody's.
    pub(super) fn probe(root: &Path) -> Self {
        Self { base: root.join(".probe") }
    }

    /// Every sandbox that has a directory in `root`.
    pub(super) fn all(root: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let named = entry.file_name().to_str().is_some_and(is_name);
            if named && entry.file_type()?.is_dir() {
                found.push(Self { base: entry.path() });
            }
        }
        Ok(found)
    }

    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.base.join("workspace")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.base.join("home")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.base.join("tmp")
    }

    pub(super) fn execs(&self) -> PathBuf {
        self.base.join("exec")
    }

    /// `None` when the id could name something outside the sandbox.
    pub(super) fn exec(&self, id: &ExecId) -> Option<PathBuf> {
        is_name(id.as_str()).then(|| self.execs().join(id.as_str()))
    }

    /// Makes what is missing.
    pub(super) fn make(&self) -> io::Result<()> {
        for dir in [self.workspace(), self.home(), self.tmp(), self.execs()] {
            private_dir(&dir)?;
        }
        Ok(())
    }

    /// Removes everything. Programs leave directories that even their owner may not write (module caches do), so what
    /// is refused at first is opened up and tried again. Symbolic links are removed, never followed.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.base) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_up(&self.base)?;
                fs::remove_dir_all(&self.base)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// Whether `text` is safe as one part of a path.
pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A directory that only its owner can enter, with its parents.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A new, empty file that only its owner can read.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
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

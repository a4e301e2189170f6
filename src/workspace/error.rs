//! What goes wrong with files, told so that the reader knows what to do.

use std::io;

use rustix::io::Errno;

/// Why something with files was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The path breaks a rule, or leads out.
    #[error("{path:?} {rule}")]
    Path {
        /// As it was given.
        path: String,
        /// What is wrong with it; follows the path in a sentence.
        rule: String,
    },
    /// There is nothing of that name.
    #[error("there is no {path:?}")]
    NotFound {
        /// Asked for.
        path: String,
    },
    /// Something of another sort stands there.
    #[error("{path:?} is {is}, not {wanted}")]
    Sort {
        /// Where.
        path: String,
        /// What it is.
        is: &'static str,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// A directory that holds something cannot be deleted as one.
    #[error("{path:?} is not empty: delete what it holds first")]
    NotEmpty {
        /// Which directory.
        path: String,
    },
    /// Over a limit.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, in the unit that `what` names.
        limit: u64,
    },
    /// An archive that is not unpacked; nothing of it was.
    #[error("the archive is refused: {0}")]
    Archive(String),
    /// A repository or directory that cannot be brought in.
    #[error("the workspace cannot start from there: {0}")]
    Source(String),
    /// A manifest that does not say what it once said.
    #[error("the manifest is damaged: {0}")]
    Manifest(String),
    /// Bytes that a manifest names cannot be had.
    #[error("the content {sha256} of {path:?} cannot be put back: {cause}")]
    Content {
        /// Of which file.
        path: String,
        /// Of the bytes.
        sha256: String,
        /// Why.
        cause: String,
    },
    /// The folder itself is not there any more.
    #[error("the folder is gone: {0}")]
    Gone(String),
    /// The machine refused.
    #[error("{doing}: {cause}")]
    Io {
        /// What was being done.
        doing: String,
        /// What sort of refusal.
        kind: io::ErrorKind,
        /// As the machine says it.
        cause: String,
    },
}

impl Error {
    /// A path that breaks `rule`.
    pub(super) fn path(path: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Path { path: path.into(), rule: rule.into() }
    }

    /// What the machine said about `path`, in our words where we have some.
    pub(super) fn of(path: &str, errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound { path: path.to_owned() },
            Errno::XDEV => Self::path(path, "leads out through a link"),
            Errno::LOOP => Self::path(path, "goes through a link"),
            Errno::NAMETOOLONG => Self::path(path, "has a part that is too long for a name"),
            errno => Self::io(format!("{path:?}"), &errno.into()),
        }
    }

    /// The same of something that was to be moved there.
    pub(super) fn moving(path: &str, errno: Errno) -> Self {
        match errno {
            Errno::XDEV => Self::path(path, "lies on another file system than the folder"),
            errno => Self::of(path, errno),
        }
    }

    /// What the machine said.
    pub(super) fn io(doing: impl Into<String>, error: &io::Error) -> Self {
        Self::Io { doing: doing.into(), kind: error.kind(), cause: error.to_string() }
    }
}

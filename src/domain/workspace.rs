//! The files of a workspace, as the log tells them, and where it starts from.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// One entry of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceFile {
    /// Relative, "/"-separated.
    pub path: String,
    /// What sort of entry.
    pub file_type: FileType,
    /// 0 unless it is a file.
    pub size_bytes: i64,
    /// Of the content; empty unless it is a file.
    pub sha256: String,
    /// Unix permission bits.
    pub mode: u32,
    /// When it last changed.
    pub modify_time: Option<Timestamp>,
    /// Empty unless it is a link.
    pub symlink_target: String,
}

/// The sorts of entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileType {
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
}

/// One change of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// What happened.
    pub kind: FileChangeKind,
    /// As it is after the change.
    pub file: WorkspaceFile,
    /// Where it was before; only when renamed.
    pub previous_path: String,
    /// Who changed it.
    pub origin: FileChangeOrigin,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChangeKind {
    /// It is new.
    Created,
    /// Content, mode or target changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It moved.
    Renamed,
}

/// Who changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChangeOrigin {
    /// The agent.
    Agent,
    /// A call.
    Client,
    /// A checkpoint put back.
    Restore,
}

/// Where a workspace starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum WorkspaceSource {
    /// A repository, cloned.
    Git {
        /// Says where, and no password.
        url: String,
        /// Branch, tag or commit; empty: the remote's HEAD.
        reference: String,
        /// Commits of history; 0: all.
        depth: i32,
    },
    /// A folder on the server's machine, copied.
    Directory {
        /// Absolute.
        path: String,
    },
    /// An archive, unpacked.
    Archive {
        /// How it is packed.
        format: ArchiveFormat,
        /// Of its bytes, which are kept beside the log.
        sha256: String,
    },
}

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveFormat {
    /// tar, not compressed.
    Tar,
    /// tar with gzip.
    TarGz,
    /// zip.
    Zip,
}

/// A file that a session was created with. Its bytes are kept beside the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedFile {
    /// Where in the workspace.
    pub path: String,
    /// Of its bytes.
    pub sha256: String,
    /// How many.
    pub size: i64,
    /// Unix permission bits.
    pub mode: u32,
}

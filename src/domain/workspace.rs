//! The files of a workspace, as the log tells them.

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

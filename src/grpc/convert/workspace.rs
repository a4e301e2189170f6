//! Files.

use super::{number, timestamp};
use crate::{
    domain::{FileChange, FileChangeKind, FileChangeOrigin, FileType, WorkspaceFile},
    proto,
};

impl From<WorkspaceFile> for proto::WorkspaceFile {
    fn from(file: WorkspaceFile) -> Self {
        let WorkspaceFile { path, file_type, size_bytes, sha256, mode, modify_time, symlink_target } = file;
        Self {
            path,
            r#type: number::<_, proto::FileType>(file_type),
            size_bytes,
            sha256,
            mode,
            modify_time: modify_time.map(timestamp),
            symlink_target,
        }
    }
}

impl From<FileChange> for proto::FileChange {
    fn from(change: FileChange) -> Self {
        let FileChange { kind, file, previous_path, origin } = change;
        Self {
            kind: number::<_, proto::FileChangeKind>(kind),
            file: Some(file.into()),
            previous_path,
            origin: number::<_, proto::FileChangeOrigin>(origin),
        }
    }
}

impl From<FileType> for proto::FileType {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::File => Self::File,
            FileType::Symlink => Self::Symlink,
            FileType::Directory => Self::Directory,
        }
    }
}

impl From<FileChangeKind> for proto::FileChangeKind {
    fn from(kind: FileChangeKind) -> Self {
        match kind {
            FileChangeKind::Created => Self::Created,
            FileChangeKind::Modified => Self::Modified,
            FileChangeKind::Deleted => Self::Deleted,
            FileChangeKind::Renamed => Self::Renamed,
        }
    }
}

impl From<FileChangeOrigin> for proto::FileChangeOrigin {
    fn from(origin: FileChangeOrigin) -> Self {
        match origin {
            FileChangeOrigin::Agent => Self::Agent,
            FileChangeOrigin::Client => Self::Client,
            FileChangeOrigin::Restore => Self::Restore,
        }
    }
}

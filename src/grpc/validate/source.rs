//! What a session's workspace starts with.

use std::{
    collections::HashSet,
    path::{Component, Path},
};

use bytes::Bytes;

use super::{
    MAX_SOURCE_ARCHIVE, MAX_WORKSPACE_FILES, MAX_WORKSPACE_FILES_BYTES,
    check::Check,
    files::{self, Limits},
    git::git_url,
};
use crate::{
    domain::{ArchiveFormat, SeedFile, WorkspacePath, WorkspaceSource},
    proto::{self, workspace_source::Source},
    session::{Content, ContentBytes},
    store::BlobBytes,
};

/// Longest path of a folder of the server, in bytes: what Linux takes.
const MAX_DIRECTORY: usize = 4096;
/// Longest branch, tag or commit, in bytes.
const MAX_REFERENCE: usize = 255;

/// The bytes that a workspace starts with, each once.
#[derive(Debug, Default)]
pub(super) struct Seeds {
    known: HashSet<String>,
    pub(super) blobs: Vec<BlobBytes>,
}

impl Seeds {
    /// Keeps bytes, and tells their hash.
    fn keep(&mut self, data: Bytes) -> String {
        let Content { sha256, size: _, bytes } = Content::in_memory(data);
        if let ContentBytes::Memory(data) = bytes
            && self.known.insert(sha256.clone())
        {
            self.blobs.push(BlobBytes { sha256: sha256.clone(), data: data.into() });
        }
        sha256
    }
}

/// Where a workspace starts from.
pub(super) fn source(check: &mut Check, seeds: &mut Seeds, source: proto::WorkspaceSource) -> Option<WorkspaceSource> {
    let proto::WorkspaceSource { source } = source;
    match source {
        Some(Source::Git(proto::GitSource { url, r#ref: reference, depth })) => {
            if let Err(rule) = git_url(&url) {
                check.refuse("workspace_source.git.url", rule);
            }
            git_reference(check, &reference);
            if depth < 0 {
                check.refuse("workspace_source.git.depth", "must not be negative");
            }
            Some(WorkspaceSource::Git { url, reference, depth })
        }
        Some(Source::Directory(path)) => {
            directory(check, "workspace_source.directory", &path);
            Some(WorkspaceSource::Directory { path })
        }
        Some(Source::Archive(proto::ArchiveSource { format, data })) => {
            let format = match check.known("workspace_source.archive.format", format, "ArchiveFormat") {
                Some(proto::ArchiveFormat::Tar) => Some(ArchiveFormat::Tar),
                Some(proto::ArchiveFormat::TarGz) => Some(ArchiveFormat::TarGz),
                Some(proto::ArchiveFormat::Zip) => Some(ArchiveFormat::Zip),
                Some(proto::ArchiveFormat::Unspecified) => {
                    check.refuse("workspace_source.archive.format", "required");
                    None
                }
                None => None,
            };
            if data.is_empty() {
                check.refuse("workspace_source.archive.data", "required");
            }
            check.size("workspace_source.archive.data", data.len(), MAX_SOURCE_ARCHIVE);
            Some(WorkspaceSource::Archive { format: format?, sha256: seeds.keep(data) })
        }
        None => {
            check.refuse("workspace_source", "exactly one source must be set");
            None
        }
    }
}

/// It becomes an argument of the git program, and must be nothing but a name there.
fn git_reference(check: &mut Check, reference: &str) {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    if reference.len() > MAX_REFERENCE {
        check.refuse("workspace_source.git.ref", format!("at most {MAX_REFERENCE} bytes"));
    }
    if reference.starts_with('-') || reference.contains("..") || reference.contains(odd) {
        check.refuse(
            "workspace_source.git.ref",
            "a branch, tag or commit: must not begin with - or contain white space, control characters, .. or ~^:?*[\\",
        );
    }
}

/// A folder of the server, as far as that can be said without a look at it.
pub(super) fn directory(check: &mut Check, field: &str, path: &str) {
    let absolute = Path::new(path).is_absolute();
    if !absolute || Path::new(path).components().any(|part| part == Component::ParentDir) {
        check.refuse(field, "an absolute path without a .. part");
    }
    if path.len() > MAX_DIRECTORY {
        check.refuse(field, format!("at most {MAX_DIRECTORY} bytes"));
    }
    if path.chars().any(char::is_control) {
        check.refuse(field, "must not contain control characters");
    }
}

/// Files that are written over the source.
pub(super) fn files(check: &mut Check, seeds: &mut Seeds, wire: Vec<proto::FileContent>) -> Vec<SeedFile> {
    let instead = "; put more into an archive";
    let limits = Limits { count: MAX_WORKSPACE_FILES, bytes: MAX_WORKSPACE_FILES_BYTES, instead };
    let taken = files::files(check, "workspace_files", wire, limits).into_iter();
    let seed = |(path, content, mode): (WorkspacePath, Bytes, u32)| {
        let size = i64::try_from(content.len()).unwrap_or(i64::MAX);
        SeedFile { path: path.to_string(), sha256: seeds.keep(content), size, mode }
    };
    taken.map(seed).collect()
}

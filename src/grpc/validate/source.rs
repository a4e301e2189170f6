//! What a session's workspace starts with.

use std::{
    collections::{BTreeSet, HashSet},
    path::{Component, Path},
};

use bytes::Bytes;

use super::{
    MAX_SOURCE_ARCHIVE, MAX_WORKSPACE_FILES, MAX_WORKSPACE_FILES_BYTES, MAX_WRITE_FILE, check::Check, git::git_url,
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
            directory(check, &path);
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

fn directory(check: &mut Check, path: &str) {
    let absolute = Path::new(path).is_absolute();
    if !absolute || Path::new(path).components().any(|part| part == Component::ParentDir) {
        check.refuse("workspace_source.directory", "an absolute path without a .. part");
    }
    if path.len() > MAX_DIRECTORY {
        check.refuse("workspace_source.directory", format!("at most {MAX_DIRECTORY} bytes"));
    }
    if path.chars().any(char::is_control) {
        check.refuse("workspace_source.directory", "must not contain control characters");
    }
}

/// Files that are written over the source.
pub(super) fn files(check: &mut Check, seeds: &mut Seeds, files: Vec<proto::FileContent>) -> Vec<SeedFile> {
    if files.len() > MAX_WORKSPACE_FILES {
        check.refuse("workspace_files", format!("at most {MAX_WORKSPACE_FILES} files; put more into an archive"));
        return Vec::new();
    }
    let mut paths = BTreeSet::new();
    let mut folders = BTreeSet::new();
    let mut total = 0;
    let mut taken = Vec::with_capacity(files.len());
    for (at, proto::FileContent { path, content, mode }) in files.into_iter().enumerate() {
        let field = format!("workspace_files[{at}]");
        let path = check.new_path(&format!("{field}.path"), path);
        let mode = check.mode(&format!("{field}.mode"), mode);
        check.size(&format!("{field}.content"), content.len(), MAX_WRITE_FILE);
        total += content.len();
        let Some(path) = path else { continue };
        folders.extend(path.folders().map(str::to_owned));
        if !paths.insert(path.to_string()) {
            check.refuse(format_args!("{field}.path"), "is named twice");
        }
        let size = i64::try_from(content.len()).unwrap_or(i64::MAX);
        taken.push((path, SeedFile { path: String::new(), sha256: seeds.keep(content), size, mode }));
    }
    if let Some(both) = paths.intersection(&folders).next() {
        check.refuse("workspace_files", format!("{both:?} is a file and a folder"));
    }
    check.size("workspace_files", total, MAX_WORKSPACE_FILES_BYTES);
    let named = |(path, file): (WorkspacePath, SeedFile)| SeedFile { path: path.to_string(), ..file };
    taken.into_iter().map(named).collect()
}

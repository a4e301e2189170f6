//! Files that come within a request, several at once.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{MAX_WRITE_FILE, check::Check};
use crate::{domain::WorkspacePath, proto};

/// Files for one folder: paths that can be together, sizes and modes. A file that has no path is left out; it was refused.
pub(super) fn files(
    check: &mut Check,
    field: &str,
    files: Vec<proto::FileContent>,
    limits: Limits,
) -> Vec<(WorkspacePath, Bytes, u32)> {
    let Limits { count, bytes, instead } = limits;
    if files.len() > count {
        check.refuse(field, format!("at most {count} files{instead}"));
        return Vec::new();
    }
    let mut paths = BTreeSet::new();
    let mut folders = BTreeSet::new();
    let mut total = 0;
    let mut taken = Vec::with_capacity(files.len());
    for (at, proto::FileContent { path, content, mode }) in files.into_iter().enumerate() {
        let field = format!("{field}[{at}]");
        let path = check.new_path(&format!("{field}.path"), path);
        let mode = check.mode(&format!("{field}.mode"), mode);
        check.size(&format!("{field}.content"), content.len(), MAX_WRITE_FILE);
        total += content.len();
        let Some(path) = path else { continue };
        folders.extend(path.folders().map(str::to_owned));
        if !paths.insert(path.to_string()) {
            check.refuse(format_args!("{field}.path"), "is named twice");
        }
        taken.push((path, content, mode));
    }
    if let Some(both) = paths.intersection(&folders).next() {
        check.refuse(field, format!("{both:?} is a file and a folder"));
    }
    check.size(field, total, bytes);
    taken
}

/// How much may come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// So many files.
    pub(super) count: usize,
    /// Of so many bytes together.
    pub(super) bytes: usize,
    /// What to do with more, as the end of a sentence.
    pub(super) instead: &'static str,
}

//! Paths, hashes and modes of files.

use super::check::Check;
use crate::{
    domain::{PathRule, WorkspacePath},
    session::Expected,
};

/// Mode of a file that is given none.
const DEFAULT_MODE: u32 = 0o644;
/// All permission bits; no others can be asked for.
const PERMISSIONS: u32 = 0o777;

impl Check {
    /// The path of an entry that may be there already.
    pub(super) fn path(&mut self, field: &str, path: String) -> Option<WorkspacePath> {
        let parsed = WorkspacePath::parse(path.as_str());
        self.parsed(field, &path, parsed)
    }

    /// The path of an entry to make.
    pub(super) fn new_path(&mut self, field: &str, path: String) -> Option<WorkspacePath> {
        let parsed = WorkspacePath::parse_new(path.as_str());
        self.parsed(field, &path, parsed)
    }

    fn parsed(&mut self, field: &str, path: &str, parsed: Result<WorkspacePath, PathRule>) -> Option<WorkspacePath> {
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(rule) => {
                self.refuse_path(field, path, rule);
                None
            }
        }
    }

    /// Permission bits; 0: those of a plain file.
    pub(super) fn mode(&mut self, field: &str, mode: u32) -> u32 {
        if mode > PERMISSIONS {
            self.refuse(field, "permission bits only: at most 0777, which is 511");
        }
        if mode == 0 { DEFAULT_MODE } else { mode }
    }

    /// The hash that a file must have; empty: any.
    pub(super) fn if_sha256(&mut self, field: &str, sha256: String) -> Option<String> {
        if sha256.is_empty() {
            return None;
        }
        if !is_sha256(&sha256) {
            self.refuse(field, "empty, or 64 lower-case hex digits");
        }
        Some(sha256)
    }

    /// What must be there before a file is written; empty: anything or nothing.
    pub(super) fn expected(&mut self, field: &str, sha256: String) -> Option<Expected> {
        match sha256.as_str() {
            "" => None,
            "-" => Some(Expected::Absent),
            _ => {
                if !is_sha256(&sha256) {
                    self.refuse(field, "empty, \"-\", or 64 lower-case hex digits");
                }
                Some(Expected::Sha256(sha256))
            }
        }
    }
}

/// Whether a text is a hash as the contract writes it.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

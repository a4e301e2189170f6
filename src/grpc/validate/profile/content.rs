//! Files that a profile brings along.

use super::super::files::{Limits, files};
use crate::{domain::ProfileFile, grpc::validate::check::Check, proto};

/// Files of one folder, whole.
pub(super) fn profile_files(
    check: &mut Check,
    field: &str,
    wire: Vec<proto::FileContent>,
    limits: Limits,
) -> Vec<ProfileFile> {
    let taken = files(check, field, wire, limits).into_iter();
    taken.map(|(path, content, mode)| ProfileFile { path: path.to_string(), content: content.into(), mode }).collect()
}

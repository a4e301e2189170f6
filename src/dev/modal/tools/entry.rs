//! What is told of a file, a directory or a link.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;

/// Bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// An entry of a directory. Links are told of themselves, not of what they lead to.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    path: String,
    r#type: Type,
    size: u64,
    mode: u32,
    permissions: String,
    owner: String,
    group: String,
    modified_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    symlink_target: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    File,
    Directory,
    Symlink,
}

impl Entry {
    /// What lies at a path.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = path.symlink_metadata()?;
        let kind = found.file_type();
        let (r#type, symlink_target) = if kind.is_symlink() {
            (Type::Symlink, Some(fs::read_link(path)?.to_string_lossy().into_owned()))
        } else if kind.is_dir() {
            (Type::Directory, None)
        } else {
            (Type::File, None)
        };
        let modified = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Ok(Self {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            path: path.to_string_lossy().into_owned(),
            r#type,
            size: found.len(),
            mode: found.mode() & PERMISSIONS,
            permissions: permissions(found.mode()),
            owner: name(&USERS, found.uid()),
            group: name(&GROUPS, found.gid()),
            modified_time: modified.as_secs_f64(),
            symlink_target,
        })
    }
}

/// As `ls` shows them, without the kind.
fn permissions(mode: u32) -> String {
    (0..9).map(|bit| if mode & (0o400 >> bit) == 0 { '-' } else { ['r', 'w', 'x'][bit % 3] }).collect()
}

static USERS: LazyLock<HashMap<u32, String>> = LazyLock::new(|| names("/etc/passwd"));
static GROUPS: LazyLock<HashMap<u32, String>> = LazyLock::new(|| names("/etc/group"));

fn names(file: &str) -> HashMap<u32, String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(line).collect()
}

/// The name, or the number where it has none.
fn name(names: &HashMap<u32, String>, id: u32) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_shown_as_people_know_them() {
        assert_eq!(permissions(0o100_644), "rw-r--r--");
        assert_eq!(permissions(0o751), "rwxr-x--x");
        assert_eq!(permissions(0), "---------");
    }
}

//! What really lies in a workspace, looked at by other means than the server's.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use agent_runtime::proto::{FileType, SessionState, WorkspaceFile};
use sha2::{Digest as _, Sha256};

use crate::support::Server;

/// What an entry is: sort, content or target, permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    pub sort: FileType,
    pub says: String,
    pub mode: u32,
}

/// Folders that events do not tell of.
const HIDDEN: [&str; 2] = [".git", "node_modules"];

/// Everything there is, by path; with what is hidden only if asked for. Folders only where they are empty.
pub fn things(root: &Path, hidden: bool) -> BTreeMap<String, Thing> {
    let mut found = BTreeMap::new();
    collect(root, "", hidden, &mut found);
    found
}

fn collect(dir: &Path, prefix: &str, hidden: bool, found: &mut BTreeMap<String, Thing>) -> bool {
    let mut any = false;
    for entry in fs::read_dir(dir).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a plain name");
        if !hidden && HIDDEN.contains(&name.as_str()) {
            continue;
        }
        any = true;
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let held = fs::symlink_metadata(entry.path()).expect("metadata");
        let mode = held.permissions().mode() & 0o7777;
        if held.is_symlink() {
            let target = fs::read_link(entry.path()).expect("a link").into_os_string().into_string().expect("plain");
            found.insert(path, Thing { sort: FileType::Symlink, says: target, mode: 0o777 });
        } else if held.is_dir() {
            if !collect(&entry.path(), &path, hidden, found) {
                found.insert(path, Thing { sort: FileType::Directory, says: String::new(), mode });
            }
        } else {
            let hash = hash(&fs::read(entry.path()).expect("readable"));
            found.insert(path, Thing { sort: FileType::File, says: hash, mode });
        }
    }
    any
}

/// The same, as the session's state tells it.
pub fn told(state: &SessionState) -> BTreeMap<String, Thing> {
    state.files.iter().map(|file| (file.path.clone(), thing(file))).collect()
}

fn thing(file: &WorkspaceFile) -> Thing {
    let says = if file.r#type() == FileType::Symlink { file.symlink_target.clone() } else { file.sha256.clone() };
    let mode = if file.r#type() == FileType::Symlink { 0o777 } else { file.mode };
    Thing { sort: file.r#type(), says, mode }
}

pub fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Where the session's sandbox lies on this machine.
pub fn sandbox(server: &Server, session: &agent_runtime::proto::Session) -> PathBuf {
    let sandbox = session.sandbox.as_ref().expect("a sandbox");
    server.data().join("sandboxes").join(&sandbox.sandbox_id)
}

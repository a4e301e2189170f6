//! Random trees, and random things done to them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
    sample::select,
};

/// One entry of a random tree.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(Vec<u8>, u32),
    Link(String),
    Directory(u32),
}

/// A tree as a list of entries; what does not fit to those before it is left out.
pub(crate) type Model = Vec<(String, Node)>;

/// Something that happens to a tree.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Put(String, Node),
    Move(String, String),
    Swap(String, String),
    Remove(String),
    Mode(String, u32),
    Touch(String),
}

const NAMES: &[&str] = &[
    "a",
    "b",
    "c",
    "d e",
    "line\nbreak",
    "ü\u{1f980}",
    "-n",
    ".git",
    "node_modules",
    ".hidden",
    "a.b",
    "\\",
    "\"q\"",
    "target",
];

const MODES: &[u32] = &[0o644, 0o755, 0o000, 0o400, 0o600, 0o777, 0o555];

fn path() -> impl Strategy<Value = String> {
    vec(select(NAMES), 1..4).prop_map(|parts| parts.join("/"))
}

fn node() -> impl Strategy<Value = Node> {
    let content = prop_oneof![
        Just(Vec::new()),
        // Few and short, so that different files often have the same.
        vec(select(&[b'x', b'y'][..]), 1..3),
        vec(proptest::prelude::any::<u8>(), 0..200),
    ];
    let target = select(&["a", "../b", "/etc/passwd", "nowhere", "../../../up", "line\nbreak", "."][..]);
    prop_oneof![
        6 => (content, select(MODES)).prop_map(|(content, mode)| Node::File(content, mode)),
        2 => target.prop_map(|target| Node::Link(target.to_owned())),
        2 => select(MODES).prop_map(Node::Directory),
    ]
}

pub(crate) fn model() -> impl Strategy<Value = Model> {
    vec((path(), node()), 0..25)
}

pub(crate) fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (path(), node()).prop_map(|(path, node)| Act::Put(path, node)),
        (path(), path()).prop_map(|(from, to)| Act::Move(from, to)),
        (path(), path()).prop_map(|(one, other)| Act::Swap(one, other)),
        path().prop_map(Act::Remove),
        (path(), select(MODES)).prop_map(|(path, mode)| Act::Mode(path, mode)),
        path().prop_map(Act::Touch),
    ];
    vec(act, 0..20)
}

/// Makes what fits.
pub(crate) fn build(root: &Path, model: &Model) {
    for (path, node) in model {
        // What does not fit is left out.
        let _ = put(&root.join(path), node);
    }
}

fn put(path: &PathBuf, node: &Node) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().expect("a parent"))?;
    let set_mode = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    match node {
        Node::File(content, mode) => {
            if fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink()) {
                fs::remove_file(path)?;
            }
            fs::write(path, content)?;
            set_mode(*mode)
        }
        Node::Link(target) => std::os::unix::fs::symlink(target, path),
        Node::Directory(mode) => {
            fs::create_dir(path)?;
            set_mode(*mode)
        }
    }
}

/// Does what can be done.
pub(crate) fn act(root: &Path, acts: &[Act]) {
    for act in acts {
        // What cannot be done is left out.
        let _ = match act {
            Act::Put(path, node) => put(&root.join(path), node),
            Act::Move(from, to) => fs::rename(root.join(from), root.join(to)),
            Act::Swap(one, other) => rustix::fs::renameat_with(
                rustix::fs::CWD,
                root.join(one),
                rustix::fs::CWD,
                root.join(other),
                rustix::fs::RenameFlags::EXCHANGE,
            )
            .map_err(Into::into),
            Act::Remove(path) => {
                let path = root.join(path);
                if fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir()) {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                }
            }
            Act::Mode(path, mode) => {
                let path = root.join(path);
                if fs::symlink_metadata(&path).is_ok_and(|data| data.is_symlink()) {
                    continue;
                }
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))
            }
            Act::Touch(path) => {
                let path = root.join(path);
                if fs::symlink_metadata(&path).is_ok_and(|data| data.is_symlink()) {
                    continue;
                }
                fs::File::options()
                    .append(true)
                    .open(path)
                    .and_then(|file| file.set_modified(std::time::SystemTime::now()))
            }
        };
    }
}

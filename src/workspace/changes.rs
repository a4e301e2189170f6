//! What changed between two looks, as events tell it. Folding the changes of `old` to `new` into `old` gives `new`:
//! every change names the whole entry, and they stand in an order in which none undoes another.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    Entry, Tree,
    tree::{directory, is_same},
};
use crate::domain::{FileChange, FileChangeKind, FileChangeOrigin, FileType, WorkspaceFile};

/// Most changes in one batch.
const BATCH: usize = 1000;

/// Most bytes of paths and targets in one batch, so that an event stays well under what a frame may hold.
const BATCH_BYTES: usize = 256 * 1024;

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 160;

/// The changes that lead from one tree to the other, to be folded in this order. A directory is told of only where it is
/// empty, so one that gets its first file is told as deleted.
#[must_use]
pub fn changes(old: &Tree, new: &Tree, origin: FileChangeOrigin) -> Vec<FileChange> {
    let moves = moves(old, new);
    let change = |kind, file: &WorkspaceFile, previous: &str| FileChange {
        kind,
        file: file.clone(),
        previous_path: previous.to_owned(),
        origin,
    };
    let mut changes = Vec::new();
    let (mut left, mut reached) = (HashSet::new(), HashSet::new());
    for (from, to) in in_order(&moves) {
        changes.push(change(FileChangeKind::Renamed, &new.entries[to].file, from));
        left.insert(from);
        reached.insert(to);
    }
    for (path, entry) in &old.entries {
        if !new.entries.contains_key(path) && !left.contains(path.as_str()) {
            let gone = WorkspaceFile { file_type: entry.file.file_type, ..directory(path, 0) };
            changes.push(change(FileChangeKind::Deleted, &gone, ""));
        }
    }
    for (path, entry) in &new.entries {
        if reached.contains(path.as_str()) {
            continue;
        }
        match old.entries.get(path) {
            None => changes.push(change(FileChangeKind::Created, &entry.file, "")),
            // Something else moved away from here, or was replaced.
            Some(was) if left.contains(path.as_str()) || !is_same(&was.file, &entry.file) => {
                changes.push(change(FileChangeKind::Modified, &entry.file, ""));
            }
            Some(_) => {}
        }
    }
    changes
}

/// The changes as events carry them: at most 1000 in one, and fewer where their paths are long.
#[must_use]
pub fn batches(changes: Vec<FileChange>) -> Vec<Vec<FileChange>> {
    let mut batches: Vec<Vec<FileChange>> = Vec::new();
    let mut bytes = 0;
    for change in changes {
        let size = ENTRY_BYTES + change.file.path.len() + change.file.symlink_target.len() + change.previous_path.len();
        bytes += size;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH && bytes <= BATCH_BYTES => batch.push(change),
            Some(_) | None => {
                batches.push(vec![change]);
                bytes = size;
            }
        }
    }
    batches
}

/// Where things moved: each path of the old tree leads to at most one of the new, and the other way round.
fn moves<'t>(old: &'t Tree, new: &'t Tree) -> HashMap<&'t str, &'t str> {
    let mut moves = HashMap::new();
    // The same thing by what the file system calls it. With hard links that is several paths, and tells nothing.
    let (was, is) = (by(old, identity), by(new, identity));
    for (identity, from) in &was {
        if let (Some(from), Some(Some(to))) = (from, is.get(identity))
            && from != to
            // Where the same lay before, nobody sees that something moved there.
            && old.entries.get(*to).is_none_or(|was| !is_same(&was.file, &new.entries[*to].file))
            && old.entries[*from].file.file_type == new.entries[*to].file.file_type
        {
            moves.insert(*from, *to);
        }
    }
    // The same content, where one file with it vanished and one appeared. Empty files are all alike.
    let reached: HashSet<&str> = moves.values().copied().collect();
    let vanished = by(old, |entry| {
        let path = entry.file.path.as_str();
        content(entry).filter(|_| !new.entries.contains_key(path) && !moves.contains_key(path))
    });
    let appeared = by(new, |entry| {
        let path = entry.file.path.as_str();
        content(entry).filter(|_| !old.entries.contains_key(path) && !reached.contains(path))
    });
    let found: Vec<_> =
        vanished.into_iter().filter_map(|(content, from)| Some((from?, (*appeared.get(content)?)?))).collect();
    moves.extend(found);
    moves
}

fn identity(entry: &Entry) -> Option<((u32, u32), u64, i64)> {
    entry.stamp.as_ref()?.identity()
}

fn content(entry: &Entry) -> Option<&str> {
    let file = &entry.file;
    (file.file_type == FileType::File && file.size_bytes > 0).then_some(file.sha256.as_str())
}

/// The path of each key; `None` where several have it.
fn by<'t, K: std::hash::Hash + Eq>(
    tree: &'t Tree,
    key: impl Fn(&'t Entry) -> Option<K>,
) -> HashMap<K, Option<&'t str>> {
    let mut paths = HashMap::new();
    for (path, entry) in &tree.entries {
        if let Some(key) = key(entry) {
            paths.entry(key).and_modify(|path| *path = None).or_insert(Some(path.as_str()));
        }
    }
    paths
}

/// The moves in an order in which each leaves a place before another arrives there. Where they go in a circle one of them
/// is left out: what it would bring is told as modified.
fn in_order<'t>(moves: &HashMap<&'t str, &'t str>) -> Vec<(&'t str, &'t str)> {
    let mut waiting: BTreeSet<&str> = moves.keys().copied().collect();
    let mut ordered = Vec::with_capacity(moves.len());
    while let Some(start) = waiting.pop_first() {
        // Along the chain: what stands where this one arrives must go first.
        let mut chain = vec![start];
        while let Some(next) = moves.get(chain[chain.len() - 1]).copied() {
            if next == start {
                // Round in a circle; the last link is the one left out.
                chain.pop();
                break;
            }
            if !waiting.remove(next) {
                break;
            }
            chain.push(next);
        }
        ordered.extend(chain.into_iter().rev().filter_map(|from| Some((from, *moves.get(from)?))));
    }
    ordered
}

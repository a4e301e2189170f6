//! What changed between two looks.

use std::fs;

use agent_runtime::{
    domain::{FileChangeKind, FileChangeOrigin, FileType, WorkspaceFile},
    workspace::{Scope, Tree, batches, changes},
};
use proptest::{
    collection::btree_map,
    prelude::Strategy,
    sample::select,
    test_runner::{Config, TestRunner},
};

use crate::{
    ground::{Ground, files, fold, told},
    trees,
};

/// Two looks with something done in between.
fn between(before: impl FnOnce(&Ground), after: impl FnOnce(&Ground)) -> Vec<String> {
    let ground = Ground::new();
    before(&ground);
    let old = ground.kept();
    after(&ground);
    told(&old, &ground.scan(&Scope::kept(), &old))
}

fn rename(ground: &Ground, from: &str, to: &str) {
    fs::rename(ground.path(from), ground.path(to)).expect("renamed");
}

#[test]
fn created_modified_deleted() {
    let changes = between(
        |ground| {
            ground.write("gone", "1");
            ground.write("more", "1");
            ground.write("same", "1");
            ground.write("sort", "1");
            ground.link("link", "a");
        },
        |ground| {
            fs::remove_file(ground.path("gone")).expect("removed");
            ground.write("more", "2");
            ground.write("same", "1");
            ground.write("new/er", "");
            fs::remove_file(ground.path("link")).expect("removed");
            ground.link("link", "b");
            fs::remove_file(ground.path("sort")).expect("removed");
            fs::create_dir(ground.path("sort")).expect("made");
        },
    );
    assert_eq!(changes, ["deleted gone", "modified link", "modified more", "created new/er", "modified sort"]);
}

#[test]
fn a_deletion_tells_path_and_type_only() {
    let ground = Ground::new();
    ground.write("gone", "1");
    let old = ground.kept();
    fs::remove_file(ground.path("gone")).expect("removed");
    let [change] = &*changes(&old, &ground.kept(), FileChangeOrigin::Client) else { panic!("one change") };
    assert_eq!((change.kind, change.origin), (FileChangeKind::Deleted, FileChangeOrigin::Client));
    let WorkspaceFile { path, file_type, size_bytes, sha256, mode, modify_time, symlink_target } = &change.file;
    assert_eq!((&**path, *file_type), ("gone", FileType::File));
    assert_eq!((*size_bytes, &**sha256, *mode, *modify_time, &**symlink_target), (0, "", 0, None, ""));
}

#[test]
fn a_move_is_one_change() {
    let changes = between(|ground| ground.write("a", "1"), |ground| rename(ground, "a", "b"));
    assert_eq!(changes, ["renamed a -> b"]);
    // Also where it changed as well.
    let changes = between(
        |ground| ground.write("a", "1"),
        |ground| {
            rename(ground, "a", "b");
            fs::write(ground.path("b"), "other").expect("written");
        },
    );
    assert_eq!(changes, ["renamed a -> b"]);
    // A folder moves with each file in it, and an empty one too.
    let changes = between(
        |ground| {
            ground.write("d/1", "1");
            ground.write("d/2", "1");
            fs::create_dir(ground.path("e")).expect("made");
        },
        |ground| {
            rename(ground, "d", "f");
            rename(ground, "e", "g");
        },
    );
    assert_eq!(changes, ["renamed d/1 -> f/1", "renamed d/2 -> f/2", "renamed e -> g"]);
}

#[test]
fn chains_and_circles() {
    let make = |ground: &Ground| ["a", "b", "c"].iter().for_each(|name| ground.write(name, name));
    let chain = |ground: &Ground| {
        rename(ground, "c", "d");
        rename(ground, "b", "c");
        rename(ground, "a", "b");
    };
    assert_eq!(between(make, chain), ["renamed c -> d", "renamed b -> c", "renamed a -> b"]);
    assert_eq!(between(make, |ground| rename(ground, "a", "b")), ["renamed a -> b"]);
    let swap = |ground: &Ground| {
        rename(ground, "a", "x");
        rename(ground, "b", "a");
        rename(ground, "x", "b");
    };
    assert_eq!(between(make, swap), ["renamed a -> b", "modified a"]);
    let circle = |ground: &Ground| {
        rename(ground, "c", "x");
        rename(ground, "b", "c");
        rename(ground, "a", "b");
        rename(ground, "x", "a");
    };
    assert_eq!(between(make, circle), ["renamed b -> c", "renamed a -> b", "modified a"]);
    // Something new takes the place of what moved away.
    let replaced = |ground: &Ground| {
        rename(ground, "a", "z");
        ground.write("a", "a");
    };
    assert_eq!(between(make, replaced), ["renamed a -> z", "modified a"]);
}

/// File systems give the inode of what was deleted to what is made next; that is no move.
#[test]
fn an_inode_used_again_is_no_move() {
    for round in 0..20 {
        let changes = between(
            |ground| ground.write("a", "one"),
            |ground| {
                fs::remove_file(ground.path("a")).expect("removed");
                ground.write("b", "two");
            },
        );
        assert_eq!(changes, ["deleted a", "created b"], "round {round}");
    }
}

/// Where inodes tell nothing, as after a restart, the content does, if it is the only one.
#[test]
fn the_same_content_moved() {
    let looks = |before: &[(&str, &str)], after: &[(&str, &str)]| {
        let tree = |files: &[(&str, &str)]| {
            let ground = Ground::new();
            for (path, text) in files {
                ground.write(path, text);
            }
            let mut files = files_of(&ground);
            for file in &mut files {
                file.modify_time = None;
            }
            Tree::from_files(files)
        };
        told(&tree(before), &tree(after))
    };
    assert_eq!(looks(&[("a", "1")], &[("b", "1")]), ["renamed a -> b"]);
    assert_eq!(looks(&[("a", "1"), ("b", "1")], &[("c", "1")]), ["deleted a", "deleted b", "created c"]);
    assert_eq!(looks(&[("a", "1")], &[("b", "1"), ("c", "1")]), ["deleted a", "created b", "created c"]);
    // Empty files are all alike.
    assert_eq!(looks(&[("a", "")], &[("b", "")]), ["deleted a", "created b"]);
    // A copy is no move.
    assert_eq!(looks(&[("a", "1")], &[("a", "1"), ("b", "1")]), ["created b"]);
}

fn files_of(ground: &Ground) -> Vec<WorkspaceFile> {
    files(&ground.kept())
}

#[test]
fn hard_links_are_no_moves() {
    let changes = between(
        |ground| {
            ground.write("a", "1");
            fs::hard_link(ground.path("a"), ground.path("b")).expect("linked");
        },
        |ground| rename(ground, "b", "c"),
    );
    // By content, since one vanished and one appeared.
    assert_eq!(changes, ["renamed b -> c"]);
    let changes = between(
        |ground| ground.write("a", "1"),
        |ground| fs::hard_link(ground.path("a"), ground.path("b")).expect("linked"),
    );
    assert_eq!(changes, ["created b"]);
}

/// Two things of the same kind that change places look as before.
#[test]
fn a_swap_that_nobody_sees_is_no_change() {
    let swap = |ground: &Ground| {
        rename(ground, "a", "c");
        rename(ground, "b", "a");
        rename(ground, "c", "b");
    };
    let folders = |ground: &Ground| ["a", "b"].iter().for_each(|path| fs::create_dir(ground.path(path)).expect("made"));
    assert!(between(folders, swap).is_empty());
    let files = |ground: &Ground| ["a", "b"].iter().for_each(|path| ground.write(path, "same"));
    assert!(between(files, swap).is_empty());
}

/// Whatever happens to a tree, its changes folded into what was told give what there is.
#[test]
fn changes_fold_to_what_there_is() {
    let mut runner = TestRunner::new(Config::with_cases(300));
    let property = |(model, acts): (trees::Model, Vec<trees::Act>)| {
        let ground = Ground::in_memory();
        trees::build(&ground.root(), &model);
        let old = ground.kept();
        trees::act(&ground.root(), &acts);
        let new = ground.scan(&Scope::kept(), &old);
        for (old, new) in [(&old, &new), (&old.shown(), &new.shown()), (&new, &old)] {
            let changes = changes(old, new, FileChangeOrigin::Agent);
            assert_eq!(fold(old, &changes), files(new));
            assert_eq!(changes.is_empty(), files(old) == files(new));
        }
        Ok(())
    };
    runner.run(&(trees::model(), trees::acts()), property).expect("the property holds");
}

/// The same for trees that have nothing to do with each other and no inodes.
#[test]
fn changes_fold_between_any_two_trees() {
    let tree = || {
        let content = select(&["", "1", "2", "3"][..]);
        btree_map(
            select(&["a", "b", "c", "d", "e/f", "e/g", "h"][..]),
            (content, select(&[0o644_u32, 0o755][..])),
            0..7,
        )
        .prop_map(|files| {
            let file = |(path, (content, mode)): (&str, (&str, u32))| WorkspaceFile {
                path: path.to_owned(),
                file_type: FileType::File,
                size_bytes: i64::try_from(content.len()).expect("short"),
                sha256: content.repeat(64),
                mode,
                modify_time: None,
                symlink_target: String::new(),
            };
            Tree::from_files(files.into_iter().map(file))
        })
    };
    let mut runner = TestRunner::new(Config::with_cases(5000));
    let property = |(old, new): (Tree, Tree)| {
        assert_eq!(fold(&old, &changes(&old, &new, FileChangeOrigin::Agent)), files(&new));
        Ok(())
    };
    runner.run(&(tree(), tree()), property).expect("the property holds");
}

#[test]
fn batches_are_bounded() {
    let file = |at: usize, length: usize| WorkspaceFile {
        path: format!("{at:05}-{}", "x".repeat(length)),
        file_type: FileType::Symlink,
        size_bytes: 0,
        sha256: String::new(),
        mode: 0o777,
        modify_time: None,
        symlink_target: "y".repeat(length),
    };
    for (count, length, expected) in [(0, 1, 0), (1, 1, 1), (1000, 1, 1), (2500, 1, 3), (1000, 1000, 9)] {
        let new = Tree::from_files((0..count).map(|at| file(at, length)));
        let all = changes(&Tree::default(), &new, FileChangeOrigin::Agent);
        let batches = batches(all.clone());
        assert_eq!(batches.len(), expected, "{count} of {length}");
        assert!(batches.iter().all(|batch| (1..=1000).contains(&batch.len())));
        assert_eq!(batches.concat(), all);
    }
}

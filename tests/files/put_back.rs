//! Trees put back.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Read,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use agent_runtime::{
    domain::FileType,
    workspace::{Error, Ignore, Manifest, Restored, Scope, Tree, restore},
};
use proptest::test_runner::{Config, TestRunner};

use crate::{
    ground::{Found, Ground, dump, files},
    trees,
};

/// The bytes of every file, by hash.
type Store = HashMap<String, Vec<u8>>;

fn store(ground: &Ground, tree: &Tree) -> Store {
    let folder = ground.folder();
    let mut store = Store::new();
    for file in tree.files().filter(|file| file.file_type == FileType::File) {
        let mut bytes = Vec::new();
        folder.read(&file.path).expect("opened").content.read_to_end(&mut bytes).expect("read");
        store.insert(file.sha256.clone(), bytes);
    }
    store
}

fn put_back(ground: &Ground, scope: &Scope, tree: &Tree, store: &Store) -> Result<Restored, Error> {
    // Through its text, as it is kept.
    let manifest = Manifest::decode(&Manifest::of(tree, &Tree::default()).encode())?;
    restore(&ground.folder(), scope, &manifest.workspace, &mut |sha256| {
        let bytes = store.get(sha256).cloned().ok_or_else(|| Error::Content {
            path: String::new(),
            sha256: sha256.to_owned(),
            cause: "it is not kept".to_owned(),
        })?;
        Ok(Box::new(std::io::Cursor::new(bytes)))
    })
}

/// What a checkpoint keeps, as the file system tells it: everything but folders that can be built again.
fn kept(ground: &Ground) -> BTreeMap<PathBuf, Found> {
    let mut found = dump(&ground.root());
    let whole = found.clone();
    found.retain(|path, _| {
        !path.ancestors().any(|above| {
            above.file_name().is_some_and(|name| name == "node_modules")
                && matches!(whole.get(above), Some(Found::Directory(_)))
        })
    });
    found
}

/// Any tree comes back over any other, in content, modes, links, empty folders and times.
#[test]
fn any_tree_comes_back() {
    let mut runner = TestRunner::new(Config::with_cases(200));
    let property = |(wanted, other): (trees::Model, trees::Model)| {
        let (there, here) = (Ground::in_memory(), Ground::in_memory());
        trees::build(&there.root(), &wanted);
        trees::build(&here.root(), &other);
        let tree = there.kept();
        let store = store(&there, &tree);
        put_back(&here, &Scope::kept(), &tree, &store).expect("restored");
        assert_eq!(files(&here.kept()), files(&tree));
        let (mut found, wanted) = (kept(&here), kept(&there));
        // What can be built again stays, and with it the folders it lies in.
        found.retain(|path, found| wanted.contains_key(path) || !matches!(found, Found::Directory(_)));
        assert_eq!(found, wanted);
        here.nothing_staged();
        // Again: nothing to do.
        let again = put_back(&here, &Scope::kept(), &tree, &store).expect("restored");
        assert_eq!((again.written, again.removed), (0, 0));
        assert_eq!(files(&here.kept()), files(&tree));
        Ok(())
    };
    runner.run(&(trees::model(), trees::model()), property).expect("the property holds");
}

#[test]
fn what_can_be_built_again_is_left_alone() {
    let ground = Ground::new();
    ground.write("a", "1");
    let tree = ground.kept();
    let store = store(&ground, &tree);
    ground.write("node_modules/x", "built");
    ground.write("b/node_modules/y", "built");
    fs::remove_file(ground.path("a")).expect("removed");
    let done = put_back(&ground, &Scope::kept(), &tree, &store).expect("restored");
    // The folder `b` is not in the manifest and goes with all it holds.
    assert_eq!(done, Restored { written: 1, kept: 0, removed: 1 });
    assert!(ground.path("node_modules/x").exists() && !ground.path("b").exists());
    put_back(&ground, &Scope { ignore: Ignore::Nothing, ..Scope::kept() }, &tree, &store).expect("restored");
    assert!(!ground.path("node_modules").exists());
}

#[test]
fn a_home_keeps_what_is_not_named() {
    let ground = Ground::new();
    let scope = Scope::only([".agent/state", ".agent.json"]);
    ground.write(".agent/state/1", "kept");
    ground.write(".agent.json", "{}");
    let tree = ground.scan(&scope, &Tree::default());
    let store = store(&ground, &tree);
    ground.write(".agent/other", "stays");
    ground.write(".bashrc", "stays");
    ground.write(".agent/state/2", "goes");
    fs::remove_file(ground.path(".agent.json")).expect("removed");
    put_back(&ground, &scope, &tree, &store).expect("restored");
    let left: Vec<_> = dump(&ground.root()).into_keys().filter(|path| ground.root().join(path).is_file()).collect();
    assert_eq!(left, [".agent/other", ".agent/state/1", ".agent.json", ".bashrc"].map(PathBuf::from));
}

/// Bytes that are not what their name says never reach the tree.
#[test]
fn wrong_bytes_are_refused() {
    let ground = Ground::new();
    ground.write("a", "right");
    let tree = ground.kept();
    let right = store(&ground, &tree);
    let hash = right.keys().next().expect("one").clone();
    for wrong in [&b"wrong"[..], b"", b"rightly so"] {
        fs::remove_file(ground.path("a")).expect("removed");
        let error = put_back(&ground, &Scope::kept(), &tree, &[(hash.clone(), wrong.to_vec())].into());
        let Err(Error::Content { path, sha256, .. }) = error else { panic!("{error:?}") };
        assert_eq!((&*path, &sha256), ("a", &hash));
        assert!(!ground.path("a").exists());
        // Broken off, it can be done again.
        put_back(&ground, &Scope::kept(), &tree, &right).expect("restored");
        assert_eq!(fs::read_to_string(ground.path("a")).expect("read"), "right");
    }
    fs::remove_file(ground.path("a")).expect("removed");
    assert!(matches!(put_back(&ground, &Scope::kept(), &tree, &Store::new()), Err(Error::Content { .. })));
    ground.nothing_staged();
}

/// Links in the way are replaced, never followed.
#[test]
fn links_in_the_way_lead_nowhere() {
    let ground = Ground::new();
    ground.write("d/x", "1");
    let tree = ground.kept();
    let store = store(&ground, &tree);
    let outside = ground.beside("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("precious"), "here").expect("written");
    fs::remove_dir_all(ground.path("d")).expect("removed");
    ground.link("d", outside.to_str().expect("text"));
    ground.link("up", "../outside");
    put_back(&ground, &Scope::kept(), &tree, &store).expect("restored");
    assert_eq!(files(&ground.kept()), files(&tree));
    assert_eq!(dump(&outside).into_keys().collect::<Vec<_>>(), [PathBuf::from("precious")]);
}

/// Two names of one file become two files, which can have different modes.
#[test]
fn hard_links_come_apart() {
    let (there, here) = (Ground::new(), Ground::new());
    there.write("a", "same");
    there.write("b", "same");
    fs::set_permissions(there.path("b"), fs::Permissions::from_mode(0o755)).expect("set");
    let tree = there.kept();
    here.write("a", "same");
    fs::hard_link(here.path("a"), here.path("b")).expect("linked");
    put_back(&here, &Scope::kept(), &tree, &store(&there, &tree)).expect("restored");
    assert_eq!(dump(&here.root()), dump(&there.root()));
}

#[test]
fn modes_of_folders_come_last() {
    let ground = Ground::new();
    ground.write("locked/in/side", "1");
    for (path, mode) in [("locked/in/side", 0o000), ("locked/in", 0o500), ("locked", 0o500)] {
        fs::set_permissions(ground.path(path), fs::Permissions::from_mode(mode)).expect("set");
    }
    let tree = ground.kept();
    let store = store(&ground, &tree);
    let fresh = Ground::new();
    put_back(&fresh, &Scope::kept(), &tree, &store).expect("restored");
    assert_eq!(dump(&fresh.root()), dump(&ground.root()));
    // Over itself too, although nobody may write there.
    put_back(&fresh, &Scope::kept(), &Tree::default(), &store).expect("restored");
    assert!(dump(&fresh.root()).is_empty());
}

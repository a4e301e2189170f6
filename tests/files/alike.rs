//! What is done to files far away is what would have been done here: any tree, looked at and put back both ways.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use agent_runtime::{
    domain::FileType,
    sandbox::{Contents, Error, Files as _, Root, modal::ModalFiles},
    workspace::{Ignore, Restored, Scope, Tree},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use proptest::test_runner::{Config, TestRunner};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

use crate::{
    ground::{Found, Ground, dump, files, paths},
    here::afar,
    trees,
};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// All contents of a tree.
#[derive(Debug, Default)]
pub(crate) struct Held(pub(crate) HashMap<String, Vec<u8>>);

impl Held {
    fn of(ground: &Ground, tree: &Tree) -> Arc<Self> {
        let files = tree.files().filter(|file| file.file_type == FileType::File);
        let bytes = |path: &str| fs::read(ground.path(path)).expect("there");
        Arc::new(Self(files.map(|file| (file.sha256.clone(), bytes(&file.path))).collect()))
    }
}

#[async_trait]
impl Contents for Held {
    async fn open(&self, sha256: &str) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let bytes = self.0.get(sha256).cloned().ok_or_else(|| Error::Unavailable("it is not kept".to_owned()))?;
        Ok(futures::stream::iter([Ok(Bytes::from(bytes))]).boxed())
    }
}

async fn look(files: &ModalFiles, scope: &Scope, known: &Tree) -> Tree {
    files.scan(Root::Workspace, scope.clone(), Arc::new(known.clone())).await.expect("scanned")
}

fn scopes() -> [Scope; 4] {
    let everything = Scope { ignore: Ignore::Nothing, ..Scope::kept() };
    [Scope::kept(), Scope::shown(), everything, Scope::only(["a", "b/c", "d e", "line\nbreak/a"])]
}

/// A look from afar finds what a look finds, also when it knows what was there before.
#[test]
fn looks_are_alike() {
    let runtime = runtime();
    let mut runner = TestRunner::new(Config::with_cases(25));
    let property = |(model, acts): (trees::Model, Vec<trees::Act>)| {
        let ground = Ground::in_memory();
        let files_afar = afar(&ground);
        trees::build(&ground.root(), &model);
        let mut before = Vec::new();
        for scope in scopes() {
            let (near, far) =
                (ground.scan(&scope, &Tree::default()), runtime.block_on(look(&files_afar, &scope, &Tree::default())));
            assert_eq!((files(&far), far.left_out()), (files(&near), near.left_out()), "{scope:?}");
            before.push((scope, near, far));
        }
        trees::act(&ground.root(), &acts);
        for (scope, near, far) in before {
            let (near, far) = (ground.scan(&scope, &near), runtime.block_on(look(&files_afar, &scope, &far)));
            assert_eq!((files(&far), far.left_out()), (files(&near), near.left_out()), "{scope:?}");
            assert!(!far.is_incomplete());
        }
        Ok(())
    };
    runner.run(&(trees::model(), trees::acts()), property).expect("the property holds");
}

/// A file that grows all the time is told as some of what it was: as many bytes as have the hash.
#[test]
fn what_never_holds_still_is_told() {
    let ground = Ground::new();
    ground.write("still", "x");
    ground.write("log", "");
    let log = ground.path("log");
    let over = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&over);
    let grows = thread::spawn(move || {
        let mut log = fs::File::options().append(true).open(log).expect("opened");
        while !done.load(Ordering::Relaxed) {
            log.write_all(b"line\n").expect("written");
        }
    });
    let tree = runtime().block_on(look(&afar(&ground), &Scope::kept(), &Tree::default()));
    over.store(true, Ordering::Relaxed);
    grows.join().expect("no panic");
    assert_eq!((paths(&tree), tree.is_incomplete()), (vec!["log", "still"], false));
    let file = &tree.get("log").expect("there").file;
    let whole = fs::read(ground.path("log")).expect("read");
    let some = &whole[..usize::try_from(file.size_bytes).expect("fits")];
    assert_eq!(file.sha256, format!("{:x}", Sha256::digest(some)));
}

/// Any tree comes back over any other from afar as it does here.
#[test]
fn trees_come_back_alike() {
    let runtime = runtime();
    let mut runner = TestRunner::new(Config::with_cases(25));
    let property = |(wanted, other): (trees::Model, trees::Model)| {
        let (there, here) = (Ground::in_memory(), Ground::in_memory());
        trees::build(&there.root(), &wanted);
        trees::build(&here.root(), &other);
        let tree = there.kept();
        let held = Held::of(&there, &tree);
        let restore = |manifest: &Tree| {
            runtime
                .block_on(afar(&here).restore(Root::Workspace, Scope::kept(), files(manifest), Arc::clone(&held) as _))
                .expect("restored")
        };
        restore(&tree);
        assert_eq!(files(&here.kept()), files(&tree));
        let shown = |ground: &Ground| {
            let mut found = dump(&ground.root());
            found.retain(|path, _| !path.components().any(|part| part.as_os_str() == "node_modules"));
            found
        };
        let (mut found, wanted) = (shown(&here), shown(&there));
        found.retain(|path, found| wanted.contains_key(path) || !matches!(found, Found::Directory(_)));
        assert_eq!(found, wanted);
        here.nothing_staged();
        // Again: nothing to do.
        let Restored { written, kept: _, removed } = restore(&tree);
        assert_eq!((written, removed), (0, 0));
        assert_eq!(files(&here.kept()), files(&tree));
        Ok(())
    };
    runner.run(&(trees::model(), trees::model()), property).expect("the property holds");
}

//! What is true of much that is brought at once, in every sandbox: archives, repositories, whole trees.

use std::{collections::HashMap, fs::File, io::Write as _, sync::Arc};

use agent_runtime::{
    domain::{ArchiveFormat, FileType},
    sandbox::{Content, Error, Root, Source},
    workspace::{self, ArchiveLimits, Copying, Manifest, Restored, Scope, Tree},
};
use bytes::Bytes;

use crate::{
    alike::Held,
    archives::{Item, file, folder, link, tar_of},
    ground::files,
    kinds::{Kind, LIMIT, Place, read, scan, write},
    sources::{Origin, cloning},
};

fn archive(items: &[Item<'_>]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&tar_of(items)).expect("written");
    std::io::Seek::rewind(&mut file).expect("rewound");
    file
}

async fn unpack(place: &dyn Place, items: &[Item<'_>], under: &str) -> Result<usize, Error> {
    place.files().unpack(ArchiveFormat::Tar, archive(items), under, ArchiveLimits::default()).await
}

/// Everything there is, with modes, contents and where links lead.
async fn all(place: &dyn Place) -> String {
    place.sh("find . -printf '%p %y %m %l\\n' | sort; find . -type f -exec sha256sum {} + | sort").await
}

pub(crate) async fn an_archive_comes_whole_or_not_at_all(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    place.sh("mkdir -p folder sub/there; echo kept >folder/x; echo kept >file; ln -s folder link; chmod 750 sub").await;
    let before = all(&*place).await;
    for (item, word) in [
        (file("folder", "new"), "\"folder\" is a directory, not a file"),
        (link("folder", "x"), "\"folder\" is a directory, not a link"),
        (folder("file"), "\"file\" is a file, not a directory"),
        (file("file/x", "new"), "\"file\" is a file, not a directory"),
        (file("link/x", "new"), "\"link\" is a link, not a directory"),
        (file("../x", "new"), "no .. part"),
        (link("bad", "/etc"), "leaves the workspace"),
    ] {
        let error = unpack(&*place, &[file("a", "new"), item, file("z", "new")], "").await.expect_err("refused");
        assert!(error.to_string().contains(word), "{error}");
    }
    let through = unpack(&*place, &[file("a", "new")], "link/deep").await.expect_err("refused");
    assert!(matches!(through, Error::Files(workspace::Error::Sort { is: "a link", .. })), "{through:?}");
    let limits = ArchiveLimits { bytes: 10, ..ArchiveLimits::default() };
    let large = archive(&[file("a", "more than that")]);
    let large = files.unpack(ArchiveFormat::Tar, large, "", limits).await;
    assert!(matches!(large, Err(Error::Files(workspace::Error::TooLarge { limit: 10, .. }))), "{large:?}");
    let garbage =
        files.unpack(ArchiveFormat::Zip, tempfile::tempfile().expect("a file"), "", ArchiveLimits::default()).await;
    assert!(matches!(garbage, Err(Error::Files(workspace::Error::Archive(_)))), "{garbage:?}");
    assert_eq!(all(&*place).await, before);

    let long = format!("{}/{}/it's\n", "d".repeat(150), "e".repeat(250));
    let good = [
        Item { mode: 0o700, ..folder("sub") },
        file("sub/there/new", "new"),
        Item { mode: 0o500, ..folder("made") },
        file("made/x", "in what is closed"),
        Item { mode: 0o755, ..file("link", "no link any more") },
        file("file", "replaced"),
        link("to", "sub/there"),
        file(&long, "long"),
    ];
    assert_eq!(unpack(&*place, &good, "").await, Ok(6));
    assert_eq!(
        place.sh("stat -c '%n %a %F' sub sub/there made made/x link file").await,
        "sub 750 directory\nsub/there 755 directory\nmade 500 directory\nmade/x 644 regular file\n\
         link 755 regular file\nfile 644 regular file\n"
    );
    assert_eq!(
        place.sh("cat sub/there/new file link folder/x; readlink to").await,
        "newreplacedno link any morekept\nsub/there\n"
    );
    assert_eq!(read(&*files, Root::Workspace, &long, 0).await.as_deref(), Ok(&b"long"[..]));
    assert_eq!(unpack(&*place, &[file("x", "1")], "a/new/place").await, Ok(1));
    assert_eq!(place.sh("cat a/new/place/x; ls -A | grep agent-runtime || :").await, "1");
    place.sh("chmod -R u+rwx .").await;
}

/// All contents that two trees name.
async fn contents(place: &dyn Place, trees: [(Root, &Tree); 2]) -> Arc<Held> {
    let mut held = HashMap::new();
    for (root, tree) in trees {
        for file in tree.files().filter(|file| file.file_type == FileType::File) {
            let bytes = read(&*place.files(), root, &file.path, 0).await.expect("read");
            held.insert(file.sha256.clone(), bytes);
        }
    }
    Arc::new(Held(held))
}

const GIT: &str = "export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example \
                   GIT_COMMITTER_NAME=c GIT_COMMITTER_EMAIL=c@example; ";

/// A repository that was cloned and worked in comes back in a new sandbox as it was: history, index, what was not
/// committed, modes and links; and the agent's own files with it.
pub(crate) async fn a_repository_outlives_its_sandbox(kind: &dyn Kind) {
    let origin = Origin::new();
    let url = origin.serve().await;
    let before = kind.place().await;
    let old = before.files();
    let git_source = workspace::GitSource { url, reference: "topic/one".into(), depth: 0 };
    old.seed(Source::Git(git_source, cloning())).await.expect("cloned");
    before
        .sh(&format!(
            "{GIT} echo 'not committed' >README; echo staged >staged; git add staged; git commit -qm 'by the agent' staged; \
             echo indexed >indexed; git add indexed; git branch other; git gc -q; : >untracked; rm run.sh; \
             mkdir -p node_modules/x; echo node_modules >.gitignore; mkdir private; chmod 700 private; \
             ln -s /etc/passwd absolute; chmod 400 indexed; touch -d '1999-12-31 23:59:59.123456789 UTC' staged"
        ))
        .await;
    let state = Content::Bytes(Bytes::from_static(b"{}\n"));
    old.write(Root::Home, ".agent/state.jsonl", 0o600, state, LIMIT).await.expect("written");
    let look = format!(
        "{GIT} git log --all --format='%H %s %D'; git status --porcelain; git diff; git diff --cached; \
         git config --list --local; git fsck --full --strict"
    );
    let looked = before.sh(&look).await;
    assert!(looked.contains("by the agent") && looked.contains("?? untracked") && looked.contains("A  indexed"));
    let (kept, home) = (Scope::kept(), Scope::only([".agent"]));
    let tree = scan(&*old, Root::Workspace, kept.clone()).await;
    let home_tree = scan(&*old, Root::Home, home.clone()).await;
    let encoded = Manifest::of(&tree, &home_tree).encode();
    let held = contents(&*before, [(Root::Workspace, &tree), (Root::Home, &home_tree)]).await;
    before.sh("rm -r node_modules").await;
    let was = all(&*before).await;

    let after = kind.place().await;
    let new = after.files();
    let manifest = Manifest::decode(&encoded).expect("whole");
    new.restore(Root::Workspace, kept.clone(), manifest.workspace, Arc::clone(&held) as _).await.expect("restored");
    new.restore(Root::Home, home.clone(), manifest.home, held as _).await.expect("restored");
    assert_eq!(all(&*after).await, was);
    let (tree, home_tree) =
        (scan(&*new, Root::Workspace, kept.clone()).await, scan(&*new, Root::Home, home.clone()).await);
    assert_eq!(Manifest::of(&tree, &home_tree).encode(), encoded);
    assert_eq!(after.sh(&look).await, looked);

    // Without the bytes nothing is made up.
    let lost = kind.place().await;
    let refused = lost.files().restore(Root::Workspace, kept, files(&tree), Arc::new(Held::default())).await;
    assert!(matches!(refused, Err(Error::Files(workspace::Error::Content { .. }))), "{refused:?}");
}

pub(crate) async fn a_workspace_that_holds_something_is_not_seeded(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    let (allowed, outside) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let project = allowed.path().join("project");
    std::fs::create_dir_all(project.join("src/it's")).expect("made");
    std::fs::write(project.join("src/it's/x"), "x").expect("written");
    std::os::unix::fs::symlink("src", project.join("link")).expect("linked");
    let copying = Copying { roots: vec![allowed.path().to_owned()], ..Copying::default() };
    let refused = files.seed(Source::Directory(outside.path().to_owned(), copying.clone())).await;
    assert!(matches!(refused, Err(Error::Files(workspace::Error::Source(_)))), "{refused:?}");
    let source = Source::Directory(project, copying);
    write(&*files, "there", "x").await.expect("written");
    let refused = files.seed(source.clone()).await;
    assert!(
        matches!(&refused, Err(Error::Files(workspace::Error::Source(why))) if why.contains("there")),
        "{refused:?}"
    );
    files.delete(Root::Workspace, "there").await.expect("deleted");
    files.seed(source).await.expect("seeded");
    assert_eq!(place.sh("find . | sort; cat link/*/x").await, ".\n./link\n./src\n./src/it's\n./src/it's/x\nx");
}

/// What is right stays, what is not is put right, what is not in the manifest goes; what can be built again is left alone.
pub(crate) async fn trees_are_put_back(kind: &dyn Kind) {
    let place = kind.place().await;
    let files = place.files();
    place
        .sh(
            "mkdir -p d/e empty private; echo 1 >d/e/x; echo 2 >y; echo 3 >z; ln -s y l; ln -s nowhere m; chmod 600 z; \
             chmod 500 private; printf '#!' >'d/it'\"'\"'s\n'; touch -d '1969-12-31 23:59:59.5 UTC' y",
        )
        .await;
    let tree = scan(&*files, Root::Workspace, Scope::kept()).await;
    let held = contents(&*place, [(Root::Workspace, &tree), (Root::Workspace, &Tree::default())]).await;
    let (was, manifest) = (all(&*place).await, self::files(&tree));
    let restore = || files.restore(Root::Workspace, Scope::kept(), manifest.clone(), Arc::clone(&held) as _);
    assert_eq!(restore().await, Ok(Restored { written: 0, kept: 6, removed: 0 }));
    place
        .sh("chmod 700 private; rm -r d/e; echo file >d/e; rm l; mkdir l; echo x >l/x; echo other >y; chmod 644 z; \
             touch m.new extra; ln -sfn elsewhere m; rmdir empty; ln z second; mkfifo pipe; \
             printf x >\"$(printf '\\377')\"; mkdir -p node_modules/x; rm m.new; mkdir private/new")
        .await;
    // Whether a file with a second name counts as right depends on which of them is looked at first.
    let Restored { written, kept, removed } = restore().await.expect("restored");
    assert_eq!((written + kept, removed), (6, 7));
    assert!((4..=5).contains(&written), "{written}");
    place.sh("rmdir node_modules/x node_modules").await;
    assert_eq!(all(&*place).await, was);
    let again = scan(&*files, Root::Workspace, Scope::kept()).await;
    assert_eq!(self::files(&again), manifest);
    // A home keeps what is not named, and a link on the way to what is named makes room.
    place.sh("cd; mkdir -p .agent other; echo 1 >.agent/state; echo 2 >.agent/cache; echo 3 >other/x").await;
    let scope = Scope::only([".agent/state"]);
    let home = scan(&*files, Root::Home, scope.clone()).await;
    let held = contents(&*place, [(Root::Home, &home), (Root::Workspace, &Tree::default())]).await;
    place.sh("cd; echo 9 >.agent/state").await;
    files.restore(Root::Home, scope.clone(), self::files(&home), Arc::clone(&held) as _).await.expect("restored");
    assert_eq!(place.sh("cd; cat .agent/state .agent/cache other/x").await, "1\n2\n3\n");
    place.sh("cd; rm -r .agent; ln -s other .agent").await;
    files.restore(Root::Home, scope, self::files(&home), held).await.expect("restored");
    assert_eq!(place.sh("cd; cat .agent/state other/x; ls other; [ ! -L .agent ]").await, "1\n3\nx\n");
}

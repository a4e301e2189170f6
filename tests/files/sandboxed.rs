//! The files of a local sandbox, through the trait that every sandbox has.

use std::{collections::HashMap, fs, io::Write as _, sync::Arc};

use agent_runtime::{
    domain::{ArchiveFormat, FileType, SandboxId, SessionId, SessionKey, TenantId},
    sandbox::{
        Content, Contents, Epoch, Error, Files, NewSandbox, Provider as _, Root, Sandbox, Source,
        local::{self, Local, LocalConfig, Wanted},
    },
    workspace::{self, ArchiveLimits, Manifest, Scope, Tree},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use tempfile::TempDir;

use crate::{
    ground::{dump, files, paths},
    sources::{Origin, cloning, git},
};

const LIMIT: u64 = 1 << 20;

struct Rig {
    data: TempDir,
    local: Local,
}

impl Rig {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let root = data.path().join("sandboxes");
        let local = Local::new(LocalConfig {
            root,
            hidden: Vec::new(),
            shared: Vec::new(),
            isolation: Wanted::Process,
            supervisor: env!("CARGO_BIN_EXE_agent-runtime").into(),
            limit: local::LIMIT,
            spool_cap: local::SPOOL_CAP,
        })
        .expect("usable");
        Self { data, local }
    }

    async fn sandbox(&self) -> Arc<dyn Sandbox> {
        let session = SessionKey { tenant: TenantId::default_tenant(), session: SessionId::mint() };
        self.local.create(NewSandbox::plain(SandboxId::mint(), session.clone(), Epoch(1))).await.expect("created")
    }

    fn workspace(&self, sandbox: &dyn Sandbox) -> std::path::PathBuf {
        self.data.path().join("sandboxes").join(sandbox.id().as_str()).join("workspace")
    }

    async fn close(self) {
        self.local.shutdown().await.expect("shut down");
    }
}

async fn scan(files: &dyn Files, root: Root, scope: Scope) -> Tree {
    files.scan(root, scope, Arc::default()).await.expect("scanned")
}

async fn read(files: &dyn Files, root: Root, path: &str, offset: u64) -> Vec<u8> {
    let mut bytes = files.read(root, path, offset).await.expect("opened").bytes;
    let mut all = Vec::new();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.expect("a chunk");
        assert!((1..=64 * 1024).contains(&chunk.len()));
        all.extend_from_slice(&chunk);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_there_without_a_program() {
    let rig = Rig::new();
    let sandbox = rig.sandbox().await;
    let files = sandbox.files();
    assert!(scan(&*files, Root::Workspace, Scope::shown()).await.is_empty());
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut held = tempfile::tempfile().expect("a file");
    held.write_all(&bytes).expect("written");
    std::io::Seek::rewind(&mut held).expect("rewound");
    let entry = files.write(Root::Workspace, "a/large", 0o600, Content::File(held), LIMIT).await.expect("written");
    assert_eq!((entry.file.size_bytes, entry.file.mode), (800_000, 0o600));
    assert_eq!(files.entry(Root::Workspace, "a/large").await.expect("there").file, entry.file);
    files.write(Root::Home, ".rc", 0o644, Content::Bytes(Bytes::from_static(b"home")), LIMIT).await.expect("written");
    for offset in [0, 1, 65_535, 799_999, 800_000, 900_000] {
        let expected = bytes.get(usize::try_from(offset).expect("fits")..).unwrap_or_default();
        assert_eq!(read(&*files, Root::Workspace, "a/large", offset).await, expected, "{offset}");
    }
    assert_eq!(read(&*files, Root::Home, ".rc", 0).await, b"home");
    assert_eq!(paths(&scan(&*files, Root::Workspace, Scope::kept()).await), ["a/large"]);
    let mut known = scan(&*files, Root::Workspace, Scope::kept()).await;
    known.insert(entry);
    assert_eq!(files.scan(Root::Workspace, Scope::kept(), Arc::new(known)).await.expect("scanned").len(), 1);
    assert_eq!(files.delete(Root::Workspace, "a/large").await, Ok(FileType::File));
    let missing = files.read(Root::Workspace, "a/large", 0).await.map(drop);
    assert_eq!(missing, Err(Error::Files(workspace::Error::NotFound { path: "a/large".into() })));
    let escape = files.write(Root::Home, "../x", 0o644, Content::Bytes(Bytes::new()), LIMIT).await;
    assert!(matches!(escape, Err(Error::Files(workspace::Error::Path { .. }))), "{escape:?}");
    let garbage =
        files.unpack(ArchiveFormat::Zip, tempfile::tempfile().expect("a file"), "", ArchiveLimits::default()).await;
    assert!(matches!(garbage, Err(Error::Files(workspace::Error::Archive(_)))), "{garbage:?}");
    // Also when no program may run any more; but not when it is gone.
    sandbox.terminate(Epoch(1)).await.expect("terminated");
    assert_eq!(paths(&scan(&*files, Root::Workspace, Scope::kept()).await), ["a"]);
    rig.local.destroy(sandbox.id()).await.expect("destroyed");
    assert!(matches!(files.scan(Root::Workspace, Scope::kept(), Arc::default()).await, Err(Error::Gone(_))));
    rig.close().await;
}

#[derive(Debug, Default)]
struct Kept(HashMap<String, Vec<u8>>);

#[async_trait]
impl Contents for Kept {
    async fn open(&self, sha256: &str) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let bytes = self.0.get(sha256).cloned().ok_or_else(|| Error::Unavailable("it is not kept".to_owned()))?;
        // In small pieces, each after a turn of the runtime.
        let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(futures::stream::iter(pieces)
            .then(|piece| async {
                tokio::task::yield_now().await;
                piece
            })
            .boxed())
    }
}

/// A repository that was cloned and worked in comes back in a new sandbox as it was: history, index, what was not
/// committed, modes and links; and the agent's own files with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_outlives_its_sandbox() {
    let origin = Origin::new();
    let url = origin.serve().await;
    let rig = Rig::new();
    let before = rig.sandbox().await;
    let old = before.files();
    let git_source = workspace::GitSource { url, reference: "topic/one".into(), depth: 0 };
    old.seed(Source::Git(git_source, cloning())).await.expect("cloned");
    let work = rig.workspace(&*before);
    fs::write(work.join("README"), "not committed\n").expect("written");
    fs::write(work.join("staged"), "staged\n").expect("written");
    git(&work, &["add", "staged"]);
    git(&work, &["commit", "-qm", "by the agent", "staged"]);
    fs::write(work.join("indexed"), "indexed\n").expect("written");
    git(&work, &["add", "indexed"]);
    git(&work, &["branch", "other"]);
    git(&work, &["gc", "-q"]);
    fs::write(work.join("untracked"), "").expect("written");
    fs::remove_file(work.join("run.sh")).expect("removed");
    fs::create_dir_all(work.join("node_modules/x")).expect("made");
    fs::write(work.join(".gitignore"), "node_modules\n").expect("written");
    old.write(Root::Home, ".agent/state.jsonl", 0o600, Content::Bytes(Bytes::from_static(b"{}\n")), LIMIT)
        .await
        .expect("written");
    let look = |at: &std::path::Path| {
        [
            &["log", "--all", "--format=%H %s %D"][..],
            &["status", "--porcelain"],
            &["diff"],
            &["diff", "--cached"],
            &["stash", "list"],
            &["config", "--list", "--local"],
        ]
        .map(|arguments| git(at, arguments))
    };
    let looked = look(&work);
    let (kept, home) = (Scope::kept(), Scope::only([".agent"]));
    let tree = scan(&*old, Root::Workspace, kept.clone()).await;
    let home_tree = scan(&*old, Root::Home, home.clone()).await;
    let manifest = Manifest::of(&tree, &home_tree).encode();
    let mut contents = Kept::default();
    for (root, tree) in [(Root::Workspace, &tree), (Root::Home, &home_tree)] {
        for file in tree.files().filter(|file| file.file_type == FileType::File) {
            contents.0.insert(file.sha256.clone(), read(&*old, root, &file.path, 0).await);
        }
    }
    fs::remove_dir_all(work.join("node_modules")).expect("removed");
    let was = dump(&work);
    rig.local.destroy(before.id()).await.expect("destroyed");
    assert!(!work.exists());

    let after = rig.sandbox().await;
    let new = after.files();
    let manifest = Manifest::decode(&manifest).expect("whole");
    let contents: Arc<dyn Contents> = Arc::new(contents);
    new.restore(Root::Workspace, kept.clone(), manifest.workspace, Arc::clone(&contents)).await.expect("restored");
    new.restore(Root::Home, home.clone(), manifest.home, Arc::clone(&contents)).await.expect("restored");
    let work = rig.workspace(&*after);
    assert_eq!(dump(&work), was);
    assert_eq!(files(&scan(&*new, Root::Workspace, kept).await), files(&tree));
    assert_eq!(files(&scan(&*new, Root::Home, home).await), files(&home_tree));
    assert_eq!(look(&work), looked);
    assert!(
        looked[0].contains("by the agent") && looked[1].contains("?? untracked") && looked[1].contains("A  indexed")
    );
    git(&work, &["fsck", "--full", "--strict"]);

    // Without the bytes nothing is made up.
    let lost = rig.sandbox().await;
    let manifest = files(&tree);
    let refused = lost.files().restore(Root::Workspace, Scope::kept(), manifest, Arc::new(Kept::default())).await;
    assert!(matches!(refused, Err(Error::Files(workspace::Error::Content { .. }))), "{refused:?}");
    rig.close().await;
}

/// A clone that nobody waits for any more ends, and the provider's end does not wait for its time limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_is_given_up_ends() {
    let origin = Origin::new();
    let url = origin.serve().await.replace("bare.git", "hang.git");
    let rig = Rig::new();
    let sandbox = rig.sandbox().await;
    let files = sandbox.files();
    let source = workspace::GitSource { url, reference: String::new(), depth: 0 };
    let seeding = files.seed(Source::Git(source, cloning()));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), seeding).await.is_err());
    tokio::time::timeout(std::time::Duration::from_secs(20), rig.close()).await.expect("it waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_come_as_a_stream() {
    let rig = Rig::new();
    let sandbox = rig.sandbox().await;
    let files = sandbox.files();
    let mut hints = files.hints().await.expect("watched");
    let work = rig.workspace(&*sandbox);
    for at in 0..50 {
        fs::write(work.join(at.to_string()), "x").expect("written");
    }
    assert_eq!(hints.next().await, Some(()));
    fs::create_dir(work.join("d")).expect("made");
    assert_eq!(hints.next().await, Some(()));
    drop(hints);
    rig.close().await;
}

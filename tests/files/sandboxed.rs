//! What is true of the files of local sandboxes only.

use std::sync::Arc;

use agent_runtime::{
    domain::{SandboxId, SessionId, SessionKey, TenantId},
    sandbox::{
        Content, Epoch, Error, NewSandbox, Provider as _, Root, Sandbox, Source,
        local::{self, Local, LocalConfig, Wanted},
    },
    workspace::{self, Scope},
};
use bytes::Bytes;
use tempfile::TempDir;

use crate::{
    ground::paths,
    sources::{Origin, cloning},
};

const LIMIT: u64 = 1 << 20;

pub(crate) struct Rig {
    _data: TempDir,
    local: Local,
}

impl Rig {
    pub(crate) fn new() -> Self {
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
        Self { _data: data, local }
    }

    pub(crate) async fn sandbox(&self) -> Arc<dyn Sandbox> {
        let session = SessionKey { tenant: TenantId::default_tenant(), session: SessionId::mint() };
        self.local.create(NewSandbox::plain(SandboxId::mint(), session.clone(), Epoch(1))).await.expect("created")
    }

    pub(crate) async fn close(self) {
        self.local.shutdown().await.expect("shut down");
    }
}

/// Files stay when no program may run any more, and go with the sandbox.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_there_without_a_program() {
    let rig = Rig::new();
    let sandbox = rig.sandbox().await;
    let files = sandbox.files();
    let bytes = Content::Bytes(Bytes::from_static(b"x"));
    files.write(Root::Workspace, "a", 0o600, bytes, LIMIT).await.expect("written");
    sandbox.terminate(Epoch(1)).await.expect("terminated");
    let tree = files.scan(Root::Workspace, Scope::kept(), Arc::default()).await.expect("scanned");
    assert_eq!(paths(&tree), ["a"]);
    rig.local.destroy(sandbox.id()).await.expect("destroyed");
    assert!(matches!(files.scan(Root::Workspace, Scope::kept(), Arc::default()).await, Err(Error::Gone(_))));
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

//! The kinds of machines whose files must be alike, and short words for what the cases do all the time.

use std::{sync::Arc, time::Duration};

use agent_runtime::{
    domain::{ExecId, SandboxId, SessionId, SessionKey, TenantId},
    sandbox::{Content, Epoch, Error, ExecSpec, Exit, Files, NewSandbox, Output, Provider as _, Root, Sandbox},
    workspace::{Entry, Scope, Tree},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;

use crate::{elsewhere::Elsewhere, sandboxed::Rig};

/// Most bytes of a file that a case writes, unless it is about that.
pub(crate) const LIMIT: u64 = 128 << 20;

/// Makes places with files.
#[async_trait]
pub(crate) trait Kind: Sync {
    /// A new, empty one.
    async fn place(&self) -> Box<dyn Place>;
}

/// A place with files, and where programs can be run.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    fn files(&self) -> Arc<dyn Files>;

    /// What a shell script prints that is run in the workspace, with the home as `HOME`, when it succeeds.
    async fn sh(&self, script: &str) -> String;
}

#[async_trait]
impl Kind for Rig {
    async fn place(&self) -> Box<dyn Place> {
        Box::new(self.sandbox().await)
    }
}

#[async_trait]
impl Place for Arc<dyn Sandbox> {
    fn files(&self) -> Arc<dyn Files> {
        (**self).files()
    }

    async fn sh(&self, script: &str) -> String {
        let exec_id = ExecId::mint();
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let spec = ExecSpec { exec_id: exec_id.clone(), argv, env: Vec::new(), readable: Vec::new(), modules: None };
        self.start(Epoch(1), &spec).await.expect("started");
        self.write_stdin(Epoch(1), &exec_id, 0, b"", true).await.expect("closed");
        let mut printed = [String::new(), String::new()];
        for (fd, printed) in [Output::Stdout, Output::Stderr].into_iter().zip(&mut printed) {
            let mut stream = self.read(&exec_id, fd, 0).await.expect("readable");
            while let Some(bytes) = stream.next().await {
                printed.push_str(&String::from_utf8_lossy(&bytes.expect("a chunk")));
            }
        }
        assert_eq!(self.wait(&exec_id).await, Ok(Exit::Code(0)), "{script}: {}", printed[1]);
        let [out, _] = printed;
        out
    }
}

#[async_trait]
impl Kind for Elsewhere {
    async fn place(&self) -> Box<dyn Place> {
        let session = SessionKey { tenant: TenantId::default_tenant(), session: SessionId::mint() };
        let new = NewSandbox::plain(SandboxId::mint(), session, Epoch(1));
        Box::new(self.modal.create(new).await.expect("created"))
    }
}

/// What hangs fails.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(3), what).await.expect("it hangs")
}

pub(crate) async fn scan(files: &dyn Files, root: Root, scope: Scope) -> Tree {
    files.scan(root, scope, Arc::default()).await.expect("scanned")
}

pub(crate) async fn write(files: &dyn Files, path: &str, text: &str) -> Result<Entry, Error> {
    let content = Content::Bytes(Bytes::copy_from_slice(text.as_bytes()));
    files.write(Root::Workspace, path, 0o644, content, LIMIT).await
}

/// All bytes from an offset on.
pub(crate) async fn read(files: &dyn Files, root: Root, path: &str, offset: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = files.read(root, path, offset).await?.bytes;
    let mut all = Vec::new();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk?;
        assert!((1..=64 * 1024).contains(&chunk.len()));
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

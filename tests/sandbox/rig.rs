//! What the cases need: providers to test, and short words for what they do all the time.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use agent_runtime::{
    domain::{ExecId, Isolation, SandboxId, SessionId, SessionKey, TenantId},
    sandbox::{
        Epoch, Error, ExecSpec, Exit, NewSandbox, Output, Provider, Sandbox,
        local::{self, Local, LocalConfig, Wanted},
    },
};
use futures::StreamExt as _;
use tempfile::TempDir;

/// The epoch of every command that is not about epochs.
pub(crate) const NOW: Epoch = Epoch(1);

/// Chunks are never longer.
const CHUNK_MAX: usize = 64 * 1024;

/// A local provider over a data directory of its own.
pub(crate) struct Rig {
    pub(crate) local: Local,
    pub(crate) data: TempDir,
}

impl Rig {
    pub(crate) fn process() -> Self {
        Self::new(Wanted::Process).expect("plain sandboxes work everywhere")
    }

    /// `None`, said aloud, where bubblewrap does not work; where everything must be tested, that is a failure.
    pub(crate) fn namespace() -> Option<Self> {
        match Self::new(Wanted::Namespace) {
            Ok(rig) => {
                assert_eq!(rig.local.isolation(), Isolation::Namespace);
                Some(rig)
            }
            Err(error) => {
                println!("SKIPPED sandbox namespace tier: bubblewrap is not usable");
                assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{error}");
                None
            }
        }
    }

    fn new(isolation: Wanted) -> Result<Self, Error> {
        let data = tempfile::tempdir().expect("a directory");
        fs::write(data.path().join("store"), "SECRET").expect("written");
        let root = data.path().join("sandboxes");
        let local = Local::new(LocalConfig { hidden: vec![data.path().to_owned()], ..config(&root, isolation) })?;
        Ok(Self { local, data })
    }

    /// Where a sandbox's files lie on the host.
    pub(crate) fn dir(&self, sandbox: &dyn Sandbox) -> PathBuf {
        self.data.path().join("sandboxes").join(sandbox.id().as_str())
    }

    pub(crate) async fn close(self) {
        self.local.shutdown().await.expect("shut down");
    }
}

/// How sandboxes below `root` are made. Whatever a failed test leaves behind ends by itself.
pub(crate) fn config(root: &Path, isolation: Wanted) -> LocalConfig {
    LocalConfig {
        root: root.to_owned(),
        hidden: Vec::new(),
        shared: Vec::new(),
        isolation,
        supervisor: env!("CARGO_BIN_EXE_agent-runtime").into(),
        limit: Duration::from_secs(20),
        spool_cap: local::SPOOL_CAP,
    }
}

/// What hangs fails.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), what).await.expect("it hangs")
}

pub(crate) fn session() -> SessionKey {
    SessionKey { tenant: TenantId::default_tenant(), session: SessionId::mint() }
}

pub(crate) async fn sandbox(provider: &dyn Provider) -> Arc<dyn Sandbox> {
    provider.create(NewSandbox::plain(SandboxId::mint(), session(), NOW)).await.expect("created")
}

/// A program that is a shell script.
pub(crate) fn sh(script: &str) -> ExecSpec {
    program(&["/bin/sh", "-c", script])
}

pub(crate) fn program(argv: &[&str]) -> ExecSpec {
    ExecSpec {
        exec_id: ExecId::mint(),
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        env: Vec::new(),
        readable: Vec::new(),
        modules: None,
    }
}

/// Starts a shell script.
pub(crate) async fn start(sandbox: &dyn Sandbox, script: &str) -> ExecId {
    let spec = sh(script);
    sandbox.start(NOW, &spec).await.expect("started");
    spec.exec_id
}

/// Gives a program all its input.
pub(crate) async fn give(sandbox: &dyn Sandbox, exec: &ExecId, input: &[u8]) {
    sandbox.write_stdin(NOW, exec, 0, input, true).await.expect("accepted");
}

/// All output from `offset` on, to its end.
pub(crate) async fn read_from(sandbox: &dyn Sandbox, exec: &ExecId, fd: Output, offset: u64) -> Vec<u8> {
    let mut stream = sandbox.read(exec, fd, offset).await.expect("readable");
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.expect("a chunk");
        assert!((1..=CHUNK_MAX).contains(&chunk.len()), "a chunk of {} bytes", chunk.len());
        all.extend_from_slice(&chunk);
    }
    all
}

pub(crate) async fn stdout(sandbox: &dyn Sandbox, exec: &ExecId) -> Vec<u8> {
    read_from(sandbox, exec, Output::Stdout, 0).await
}

/// Reads standard output until `text` was seen.
pub(crate) async fn until(sandbox: &dyn Sandbox, exec: &ExecId, text: &str) {
    let mut stream = sandbox.read(exec, Output::Stdout, 0).await.expect("readable");
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains(text) {
        let chunk = stream.next().await.unwrap_or_else(|| panic!("no {text:?} in {:?}", String::from_utf8_lossy(&all)));
        all.extend_from_slice(&chunk.expect("a chunk"));
    }
}

/// What a script prints, when it succeeds.
pub(crate) async fn prints(sandbox: &dyn Sandbox, script: &str) -> String {
    let exec = start(sandbox, script).await;
    give(sandbox, &exec, b"").await;
    let out = String::from_utf8(stdout(sandbox, &exec).await).expect("text");
    let err = read_from(sandbox, &exec, Output::Stderr, 0).await;
    assert_eq!(sandbox.wait(&exec).await, Ok(Exit::Code(0)), "{script}: {}", String::from_utf8_lossy(&err));
    out
}

/// Bytes without a period, so that a piece in the wrong place is seen.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

//! Helpers that run on this machine: the very scripts that are run in a sandbox far away, over folders of a test.

use std::{
    io::{Read as _, Seek as _},
    process::Stdio,
    sync::Arc,
};

use agent_runtime::sandbox::{
    Error, Paths,
    modal::{
        ModalFiles, WATCH,
        helper::{End, Helper, Input, Running},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdout, Command},
    sync::Mutex,
};
use tokio_util::task::TaskTracker;

use crate::ground::Ground;

/// Runs helpers as processes of the test.
#[derive(Debug)]
pub(crate) struct Here;

/// The files of a folder, as those of a sandbox far away.
pub(crate) fn afar(ground: &Ground) -> ModalFiles {
    over(ground, Arc::new(Here))
}

/// The same with other helpers.
pub(crate) fn over(ground: &Ground, helper: Arc<dyn Helper>) -> ModalFiles {
    let text = |path: std::path::PathBuf| path.to_str().expect("text").to_owned();
    let home = ground.beside("home");
    std::fs::create_dir_all(&home).expect("made");
    let paths = Paths { workspace: text(ground.root()), home: text(home) };
    ModalFiles::new(helper, paths, ground.staging(), WATCH, TaskTracker::new())
}

struct Flow {
    stdout: ChildStdout,
    /// Gives it its input, until there is no more.
    giving: Option<BoxFuture<'static, ()>>,
}

#[async_trait]
impl Helper for Here {
    async fn start(&self, argv: Vec<String>, input: Input) -> Result<Running, Error> {
        let mut said = tempfile::tempfile().expect("a file");
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(said.try_clone().expect("a descriptor")).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|error| Error::Start { program: argv[0].clone(), cause: error.to_string() })?;
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let child = Arc::new(Mutex::new(child));
        let giving = Some(give(stdin, input, Arc::clone(&child)).boxed());
        let stdout = stream::unfold(Flow { stdout, giving }, |mut flow| async move {
            let bytes = flow.next().await;
            (!bytes.is_empty()).then_some((Ok(bytes), flow))
        });
        let end = async move {
            let status = child.lock().await.wait().await.expect("waited for");
            let mut stderr = Vec::new();
            said.rewind().expect("rewound");
            said.read_to_end(&mut stderr).expect("read");
            let code = status
                .code()
                .unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&status).expect("ended"));
            Ok(End { code, stderr: String::from_utf8_lossy(&stderr).into_owned() })
        };
        Ok(Running { stdout: stdout.boxed(), end: end.boxed() })
    }
}

impl Flow {
    async fn next(&mut self) -> Bytes {
        let mut bytes = vec![0; 30_000];
        loop {
            let Some(giving) = &mut self.giving else {
                let read = self.stdout.read(&mut bytes).await.expect("read");
                bytes.truncate(read);
                return bytes.into();
            };
            tokio::select! {
                () = giving => self.giving = None,
                read = self.stdout.read(&mut bytes) => {
                    bytes.truncate(read.expect("read"));
                    return bytes.into();
                }
            }
        }
    }
}

async fn give(mut stdin: tokio::process::ChildStdin, mut input: Input, child: Arc<Mutex<Child>>) {
    while let Some(piece) = input.next().await {
        let Ok(piece) = piece else {
            child.lock().await.kill().await.expect("killed");
            return;
        };
        if stdin.write_all(&piece).await.is_err() {
            return;
        }
    }
}

//! Starting a supervisor for a sandbox. It outlives this process; it is reaped by the runtime when it ends before.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    sandbox::Error,
    supervisor::{LISTENING, folder::Folder},
};

/// How long one may take to listen, with the time its predecessor needs to be gone.
const LISTENS: Duration = Duration::from_secs(20);

/// As much of its complaints as is told.
const COMPLAINT_MAX: i64 = 2048;

/// How supervisors are started.
#[derive(Clone, Debug)]
pub(super) struct Spawner {
    pub(super) program: PathBuf,
    pub(super) limit: Duration,
    pub(super) spool_cap: u64,
}

impl Spawner {
    /// Starts one; returns when it can be connected to, or when it has ended because another one is there.
    pub(super) async fn start(&self, folder: &Folder) -> Result<(), Error> {
        let failed = |cause: String| Error::Unavailable(format!("the sandbox's supervisor does not start: {cause}"));
        let log = log(folder).map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(&self.program);
        command.arg0("agent-runtime").arg("supervise").arg("--sandbox").arg(folder.base());
        command.args(["--limit-ms", &u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX).to_string()]);
        command.args(["--spool-cap", &self.spool_cap.to_string()]);
        // It needs nothing of the server's environment, which holds secrets.
        command.env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(|error| failed(format!("{}: {error}", self.program.display())))?;
        let mut said = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("asked for"));
        match timeout(LISTENS, out.read_line(&mut said)).await {
            Ok(Ok(_)) if said.trim_end() == LISTENING => Ok(()),
            Ok(Ok(_)) => Err(failed(complaint(folder).unwrap_or_else(|| "it ended at once".to_owned()))),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => {
                // Not known to listen, so nobody will connect, and it would serve nobody.
                child.start_kill().ok();
                Err(failed("it takes too long".to_owned()))
            }
        }
    }
}

fn log(folder: &Folder) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(folder.log())
}

/// The last it said.
fn complaint(folder: &Folder) -> Option<String> {
    let mut log = File::open(folder.log()).ok()?;
    let length = i64::try_from(log.metadata().ok()?.len()).ok()?;
    log.seek(SeekFrom::End(-length.min(COMPLAINT_MAX))).ok()?;
    let mut text = Vec::new();
    log.read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).lines().last()?.to_owned())
}

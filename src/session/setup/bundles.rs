//! Bundled tool servers: a project of this machine is copied into the home and installed there, by a program in the
//! sandbox, because what a project installs is foreign code; or it came with the image of a sandbox elsewhere. Done once for a
//! home: where it is installed is noted in it.

mod ends;
mod image;
mod project;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub(super) use self::image::projects;
use self::{ends::Ends, project::Project};
use super::home;
use crate::{
    domain::{ExecId, Failure, McpServer, McpTransport, ProfileSetup, Reason, Secret},
    sandbox::{self, Epoch, ExecSpec, Exit, ImageProject, Output, Progress, Root, Sandbox},
    session::{Config, launch},
    workspace::{self, Ignore, Scope},
};

/// Folder of the home that holds them.
const FOLDER: &str = ".agent-runtime/servers";

/// Bytes of the longest note of where one was installed: what is longer is none.
const NOTE_MAX: u64 = 4096;

/// How long one may take to install.
const PATIENCE: Duration = Duration::from_mins(15);

/// Bytes of what its installation said that an error shows.
const SHOWN: usize = 2000;

/// Bytes of it that are looked through for values of secrets: more than the longest has beside what is shown, so that none is
/// cut where it would not be found.
const LOOKED_THROUGH: usize = 64 * 1024;

/// Values shorter than this are left as they are: they could be any word.
const SHORTEST: usize = 6;

/// What it takes to install them.
pub(super) struct Bundles<'a> {
    pub(super) config: &'a Config,
    /// Whether the sandbox is on this machine.
    pub(super) shares_machine: bool,
    pub(super) sandbox: &'a Arc<dyn Sandbox>,
    pub(super) epoch: Epoch,
    pub(super) env: &'a [(String, String)],
    /// What of it must not be told.
    pub(super) secrets: &'a BTreeMap<String, Secret>,
    pub(super) readable: &'a [PathBuf],
    pub(super) modules: Option<&'a Path>,
    pub(super) progress: &'a Progress,
    pub(super) tasks: &'a TaskTracker,
}

impl Bundles<'_> {
    /// Where each one lies, as programs in the sandbox see it.
    pub(super) async fn install(&self, profile: &ProfileSetup) -> Result<BTreeMap<String, String>, Failure> {
        let mut bundles = BTreeMap::new();
        for McpServer { name, description: _, transport } in &profile.mcp_servers {
            let McpTransport::Bundle { project_path, install_command, start_command: _ } = transport else { continue };
            let folder = if let Some(folder) = self.installed(name).await? {
                folder
            } else {
                let folder = match self.brought(name).await? {
                    Some(folder) => folder,
                    None => self.install_one(name, Path::new(project_path), install_command).await?,
                };
                self.note(name, &folder).await?;
                folder
            };
            let inside = if folder.starts_with('/') { folder } else { self.inside(&folder) };
            bundles.insert(name.clone(), inside);
        }
        Ok(bundles)
    }

    /// A folder of the home, as programs see it.
    fn inside(&self, folder: &str) -> String {
        format!("{}/{folder}", self.sandbox.paths().home)
    }

    /// The folder that is noted as whole.
    async fn installed(&self, name: &str) -> Result<Option<String>, Failure> {
        // The agent can write there: it may be of any size, and what it says is at most another folder of its own home.
        match self.sandbox.files().read_small(Root::Home, &format!("{FOLDER}/{name}"), NOTE_MAX).await {
            Ok(text) => {
                let folder = String::from_utf8_lossy(&text).into_owned();
                let own = folder.starts_with(FOLDER) && !folder.contains("..");
                Ok((own || ImageProject::is_folder(&folder)).then_some(folder))
            }
            Err(sandbox::Error::Files(_)) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn install_one(&self, name: &str, path: &Path, command: &str) -> Result<String, Failure> {
        // Nobody may listen, or not quickly enough: it is only said.
        let _ = self.progress.try_send(format!("installing the tool server {name}"));
        let exec_id = ExecId::mint();
        // A folder of its own: an attempt that was cut short may still be at work in another.
        let folder = format!("{FOLDER}/{name}-{exec_id}");
        let project = Project::read(path, &self.config.copying).await;
        let project = project.map_err(|error| uncopied(self.sandbox.provider(), name, &error))?;
        let files = self.sandbox.files();
        let scope = Scope { ignore: Ignore::Nothing, ..Scope::only([folder.clone()]) };
        let entries = project.entries(&folder);
        files.restore(Root::Home, scope, entries, Arc::new(project)).await.map_err(|error| self.failed(&error))?;
        if !command.is_empty() {
            self.run(name, exec_id, &folder, command).await?;
        }
        Ok(folder)
    }

    /// From now on it is known as whole.
    async fn note(&self, name: &str, folder: &str) -> Result<(), Failure> {
        let text = Bytes::from(folder.to_owned());
        let noted = home::put(&*self.sandbox.files(), &format!("{FOLDER}/{name}"), 0o600, text).await;
        noted.map_err(|error| self.failed(&error))
    }

    async fn run(&self, name: &str, exec_id: ExecId, folder: &str, command: &str) -> Result<(), Failure> {
        let script = "cd \"$1\" && exec /bin/sh -c \"$2\"";
        let folder = self.inside(folder);
        // From elsewhere there is another way to a registry.
        let passed = self.config.environment.iter().filter(|_| self.shares_machine);
        let passed = passed.filter(|(name, _)| WAY.contains(&name.as_str()));
        let spec = ExecSpec {
            exec_id,
            argv: ["/bin/sh", "-c", script, "sh", &folder, command].map(str::to_owned).into(),
            env: passed.map(|(name, value)| (name.clone(), value.clone())).chain(self.env.iter().cloned()).collect(),
            readable: self.readable.to_vec(),
            modules: self.modules.map(Path::to_owned),
        };
        let (exit, said) = match timeout(PATIENCE, self.ran(&spec)).await {
            Ok(ran) => ran.map_err(|error| self.failed(&error))?,
            Err(_) => (None, format!("it did not end within {} minutes", PATIENCE.as_secs() / 60)),
        };
        if exit == Some(Exit::Code(0)) {
            return Ok(());
        }
        let how = match exit {
            Some(Exit::Code(code)) => format!("exit code {code}"),
            Some(Exit::Signal(signal)) => format!("signal {signal}"),
            None => "no end".to_owned(),
        };
        let said = self.shown(said);
        let message = format!("`{command}` of the tool server {name} failed ({how}). It said:\n{said}");
        Err(Failure::new(Reason::SandboxFailed, message)
            .with("provider", self.sandbox.provider())
            .with("sandbox_id", self.sandbox.id())
            .with("cause", "tool_server"))
    }

    /// How it ended, and the last it said.
    async fn ran(&self, spec: &ExecSpec) -> Result<(Option<Exit>, String), sandbox::Error> {
        let (sandbox, exec) = (self.sandbox, &spec.exec_id);
        let ends = Ends::new(sandbox, self.epoch, exec, self.tasks);
        sandbox.start(self.epoch, spec).await?;
        sandbox.write_stdin(self.epoch, exec, 0, &[], true).await?;
        let tail = |fd| tail(sandbox, exec, fd);
        let (out, err) = futures::try_join!(tail(Output::Stdout), tail(Output::Stderr))?;
        let exit = sandbox.wait(exec).await?;
        ends.ended();
        Ok((Some(exit), format!("{out}{err}").trim().to_owned()))
    }

    /// The end of what was said, without the values of variables.
    fn shown(&self, mut said: String) -> String {
        for (name, value) in self.secrets.iter().map(|(name, secret)| (name, secret.value())) {
            if value.len() >= SHORTEST {
                said = said.replace(value, &format!("[secret {name}]"));
            }
        }
        let from = said.ceil_char_boundary(said.len().saturating_sub(SHOWN));
        said.split_off(from)
    }

    fn failed(&self, error: &sandbox::Error) -> Failure {
        launch::failure(self.sandbox.provider(), self.sandbox.id(), error)
    }
}

/// A project that cannot be had from where it lies.
fn uncopied(provider: &str, name: &str, error: &workspace::Error) -> Failure {
    Failure::new(Reason::SandboxFailed, format!("the tool server {name} cannot be copied: {error}"))
        .with("provider", provider)
        .with("cause", "tool_server")
}

/// The last that a program says, once it has said all.
async fn tail(sandbox: &Arc<dyn Sandbox>, exec: &ExecId, fd: Output) -> Result<String, sandbox::Error> {
    let mut pieces = sandbox.read(exec, fd, 0).await?;
    let mut last = Vec::new();
    while let Some(piece) = pieces.next().await {
        last.extend(piece?);
        let more = last.len().saturating_sub(LOOKED_THROUGH);
        last.drain(..more);
    }
    Ok(String::from_utf8_lossy(&last).into_owned())
}

/// The way to a registry, of the server's environment.
const WAY: [&str; 5] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];

//! Builds a layer: a copy of what it stands on, in which its commands are carried out, each told in the log.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use bytes::Bytes;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Log, Made,
    layer::{Run, Step, judge},
};
use crate::dev::modal::{
    cell::{Cell, End, Start, root, root::Building},
    program::{CHUNK, Plan, Program, Sink, State},
};

/// What builds get of the emulator's environment: the way to a registry.
const PASSED: [&str; 9] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
];

/// How the names of more such variables begin, which are settings of package managers.
const SETTINGS: [&str; 3] = ["NPM_CONFIG_", "PIP_", "UV_"];

/// What a layer is built of.
pub(super) struct Recipe {
    /// Its commands.
    pub(super) steps: Vec<Step>,
    /// The images it may stand on, by the names it has for them.
    pub(super) bases: BTreeMap<String, Arc<Made>>,
    /// Files that came with the request.
    pub(super) files: BTreeMap<String, Bytes>,
    /// Variables of its commands alone.
    pub(super) env: Vec<(String, String)>,
}

/// Where a layer is built, and by what.
pub(super) struct Site<'a> {
    pub(super) building: &'a Building,
    pub(super) tracker: &'a TaskTracker,
    /// Holds the layer's tree, and nothing else.
    pub(super) folder: PathBuf,
}

/// Builds; the error is what Modal calls the exception.
pub(super) async fn build(site: Site<'_>, recipe: Recipe, log: &Log) -> Result<Made, String> {
    let mut work = Work { site, made: Made::default(), tree: None, cell: None };
    let outcome = work.steps(&recipe, log).await;
    if let Some(cell) = work.cell.take() {
        cell.close().await;
    }
    match outcome {
        Ok(()) => {
            if let Some(tree) = work.tree {
                work.made.tree = Some(Arc::new(tree));
            }
            Ok(work.made)
        }
        Err(said) => {
            let _ = fs::remove_dir_all(&work.site.folder);
            Err(said)
        }
    }
}

struct Work<'a> {
    site: Site<'a>,
    made: Made,
    /// A tree of this layer's own, once something is to be changed.
    tree: Option<PathBuf>,
    cell: Option<Arc<Cell>>,
}

impl Work<'_> {
    async fn steps(&mut self, recipe: &Recipe, log: &Log) -> Result<(), String> {
        for step in &recipe.steps {
            match step {
                Step::From(name) => match recipe.bases.get(name) {
                    Some(base) => self.made = Made::clone(base),
                    None => log.say(&format!(
                        "FROM {name}: recorded; the emulator pulls nothing and shows this machine's system"
                    )),
                },
                Step::Run(text) => self.run(recipe, text, log).await?,
                Step::Env(variables) => self.made.env.extend(variables.iter().cloned()),
                Step::Workdir(path) => {
                    let path = self.absolute(path);
                    let inside = self.place(&path).await?;
                    fs::create_dir_all(&inside).map_err(|error| format!("WORKDIR {path}: {error}"))?;
                    self.made.workdir = Some(path);
                }
                Step::Copy { sources, to } => self.copy(recipe, sources, to).await?,
                Step::Other(text) => log.say(&format!("{text}: recorded, without an effect in the emulator")),
            }
        }
        Ok(())
    }

    async fn run(&mut self, recipe: &Recipe, text: &str, log: &Log) -> Result<(), String> {
        match judge(text, self.site.building.has_claude()) {
            Run::Shell(script) => {
                log.say(&format!("RUN {text}"));
                let mut env: Vec<_> = std::env::vars().filter(|(name, _)| passed(name)).collect();
                env.extend(self.site.building.environment());
                env.extend(self.made.env.iter().cloned());
                env.extend(recipe.env.iter().cloned());
                env.push(("PIP_USER".to_owned(), "1".to_owned()));
                env.push(("PIP_BREAK_SYSTEM_PACKAGES".to_owned(), "1".to_owned()));
                let cwd = self.made.workdir.clone().unwrap_or_else(|| "/".to_owned());
                self.shell(Start { argv: ["sh", "-c", &script].map(str::to_owned).to_vec(), env, cwd }, text, log).await
            }
            Run::Satisfied(why) => {
                log.say(&format!("RUN {text}: not run, because {why}"));
                Ok(())
            }
            Run::Skipped(program) => {
                log.say(&format!("RUN {text}: SKIPPED, because the emulator does not run {program} in builds"));
                Ok(())
            }
        }
    }

    async fn shell(&mut self, start: Start, text: &str, log: &Log) -> Result<(), String> {
        let tree = self.tree().await?;
        let cell = if let Some(cell) = &self.cell {
            Arc::clone(cell)
        } else {
            let command = self.site.building.command(&tree, true);
            let opened = Cell::open(command, self.site.tracker).await;
            Arc::clone(self.cell.insert(opened.map_err(|error| error.to_string())?))
        };
        let spools = tempfile::tempdir().map_err(|error| error.to_string())?;
        let over = CancellationToken::new();
        // What was written is kept until it was read.
        let kept = over.clone().drop_guard();
        let plan = Plan { start, stdout: Sink::Pipe, stderr: Sink::Stdout, timeout: None };
        let started = Program::start(&cell, plan, spools.path(), self.site.tracker, &over, || {}).await;
        let program = started.map_err(|refused| refused.to_string())?;
        // Nothing is asked, and nobody is there who could answer.
        let _ = program.input.write(0, &[], true, &mut program.input.turn()).await;
        let mut output = Box::pin(Arc::clone(&program.stdout).read(0, CHUNK));
        while let Some(Ok(piece)) = futures::StreamExt::next(&mut output).await {
            log.say(String::from_utf8_lossy(&piece).trim_end());
        }
        let state = program.ended().await;
        drop(kept);
        match state {
            State::Ended(End::Code(0)) => Ok(()),
            State::Ended(End::Code(code)) => Err(format!("RUN {text}: exited with {code}")),
            State::Ended(End::Signal(signal)) => Err(format!("RUN {text}: was ended by signal {signal}")),
            State::Running | State::Gone => Err(format!("RUN {text}: the build was ended")),
        }
    }

    async fn copy(&mut self, recipe: &Recipe, sources: &[String], to: &str) -> Result<(), String> {
        let into_directory = to.ends_with('/') || sources.len() > 1;
        let to = self.absolute(to);
        for source in sources {
            let data = recipe.files.get(source.trim_start_matches("./")).or_else(|| recipe.files.get(source));
            let data = data.ok_or_else(|| format!("COPY {source}: there is no such file in the build's context"))?;
            let name = source.rsplit('/').next().unwrap_or(source);
            let at = if into_directory { format!("{}/{name}", to.trim_end_matches('/')) } else { to.clone() };
            let inside = self.place(&at).await?;
            let written =
                fs::create_dir_all(inside.parent().unwrap_or(&inside)).and_then(|()| fs::write(&inside, data));
            written.map_err(|error| format!("COPY {source} {at}: {error}"))?;
        }
        Ok(())
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let above = self.made.workdir.as_deref().unwrap_or("/");
        format!("{}/{path}", above.trim_end_matches('/'))
    }

    /// Where a path of the image lies on this machine. No `..`: commands come from whoever uses the emulator.
    async fn place(&mut self, path: &str) -> Result<PathBuf, String> {
        if path.split('/').any(|part| part == "..") {
            return Err(format!("{path}: the emulator follows no .. in paths of images"));
        }
        Ok(self.tree().await?.join(path.trim_start_matches('/')))
    }

    /// This layer's own tree, to be changed.
    async fn tree(&mut self) -> Result<PathBuf, String> {
        if let Some(tree) = &self.tree {
            return Ok(tree.clone());
        }
        let tree = self.site.folder.clone();
        fresh(self.made.tree.as_deref().map(PathBuf::as_path), &tree).await.map_err(|error| error.to_string())?;
        self.tree = Some(tree.clone());
        Ok(tree)
    }
}

fn passed(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    PASSED.contains(&name) || SETTINGS.iter().any(|prefix| upper.starts_with(prefix))
}

/// A root that holds what an image holds.
pub(in super::super) async fn fresh(tree: Option<&Path>, root: &Path) -> io::Result<()> {
    if let Some(tree) = tree {
        copy(tree, root).await?;
    }
    root::prepare(root)
}

/// Copies a tree with all that `cp` can keep of it. What vanishes meanwhile is not in the copy, as with a snapshot of a
/// file system that is in use.
pub(in super::super) async fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut command = tokio::process::Command::new("cp");
    command.args(["-a", "--reflink=auto", "--"]).arg(from).arg(to).env("LC_ALL", "C");
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    let vanished = !said.is_empty() && said.lines().all(|line| line.ends_with("No such file or directory"));
    if output.status.success() || vanished && to.is_dir() {
        return Ok(());
    }
    Err(io::Error::other(said.trim().to_owned()))
}

//! A run: a real server behind the chaos proxy, recording clients, what is done to the server meanwhile, and at the end what
//! is there, read back.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::{
    abilities::{self, Abilities},
    census, ending,
    figures::Figures,
    history::{Line, What},
    judge::{Violation, judge},
    link::Link,
    power::Power,
    proxy::Proxy,
    recorder::Recorder,
    stage::Stage,
    support::{self, Server},
    traffic, watcher,
};

/// How long a server that is asked to stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// The program that supervises sandboxes, where it is not the server's own.
const SUPERVISOR: &str = "AGENT_RUNTIME_SUPERVISOR";

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: &'static str,
    pub seed: u64,
    pub sessions: usize,
    pub writers: u32,
    pub watchers: u32,
    /// `kill -9`, each in the middle of a turn.
    pub kills: usize,
    /// SIGSTOP for a while, then SIGCONT.
    pub pauses: usize,
    /// Goes on until there were so many.
    pub resumes: usize,
    pub chaos: bool,
    /// The log is compacted all the time: of its deltas only what is left can be judged then.
    pub compacts: bool,
    /// Each kill is a loss of power as well.
    pub power: Option<Power>,
}

/// How the servers of a rig are started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub compacts: bool,
    /// Agents are walled off by namespaces, where this machine can do that; else they are plain processes.
    pub walls: bool,
    pub power: Option<Power>,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// What supervises sandboxes, where it is not the server's own program.
    pub supervisor: Option<PathBuf>,
}

/// A server, its folder and its proxy.
pub struct Rig {
    pub recorder: Recorder,
    pub proxy: Proxy,
    pub folder: PathBuf,
    data: TempDir,
    server: Option<Server>,
    setup: Setup,
    pub tasks: TaskTracker,
    next_client: u32,
}

/// What came of a run.
pub struct Outcome {
    pub history: Vec<Line>,
    pub violations: Vec<Violation>,
    pub figures: Figures,
}

impl Rig {
    pub async fn start(name: &str, seed: u64, setup: Setup) -> Self {
        let folder = folder(seed);
        println!("{name}: seed {seed}, history in {}", folder.display());
        let recorder = Recorder::new(&folder, name, seed, setup.compacts);
        let tasks = TaskTracker::new();
        let proxy = Proxy::start(seed, &tasks).await;
        let data = TempDir::new().expect("a temporary folder");
        let mut rig = Self { recorder, proxy, folder, data, server: None, setup, tasks, next_client: 1 };
        rig.up();
        rig
    }

    /// The folder that servers keep their data in.
    pub fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// What supervises the sandboxes of servers that are started from now on; `None`: their own program.
    pub fn supervise_with(&mut self, program: Option<PathBuf>) {
        self.setup.supervisor = program;
    }

    fn args(&self) -> Vec<&str> {
        let mut args = vec!["--sandbox", if self.setup.walls { "auto" } else { "process" }];
        args.extend(abilities::compaction(self.setup.compacts));
        args.extend(self.setup.args.iter().map(String::as_str));
        args
    }

    fn env(&self) -> Vec<(String, String)> {
        let power = self.setup.power.as_ref().map(|power| power.env(self.data.path())).unwrap_or_default();
        let supervisor = self.setup.supervisor.as_ref();
        let supervisor = supervisor.map(|path| (SUPERVISOR.to_owned(), path.to_string_lossy().into_owned()));
        power.into_iter().chain(self.setup.env.clone()).chain(supervisor).collect()
    }

    /// Starts the server, on what the one before left.
    pub fn up(&mut self) {
        let (data, env) = (self.data(), self.env());
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let server = tokio::task::block_in_place(|| {
            std::fs::create_dir_all(&data).expect("a data folder");
            Server::start_on_with(&data, &self.args(), &env)
        });
        self.proxy.lead_to(&server.addr);
        self.server = Some(server);
        self.recorder.fate("started", "");
    }

    fn running(&self) -> &Server {
        self.server.as_ref().expect("the server runs")
    }

    /// Ends the server as a crash does, or as a loss of power does.
    pub fn kill(&mut self, moment: &str) {
        let server = self.server.take().expect("the server runs");
        tokio::task::block_in_place(|| server.kill());
        self.recorder.fate(if self.setup.power.is_some() { "power lost" } else { "killed" }, moment);
        ending::spools(&self.recorder, &self.data());
        if self.setup.power.is_some() {
            Power::lose(self.data.path());
        }
    }

    /// Starts a server that is killed before it can say that it serves, or just after.
    pub fn kill_while_it_starts(&mut self, after: Duration) {
        let mut command = support::command(&self.data());
        command.args(self.args()).envs(self.env()).stdout(Stdio::null());
        tokio::task::block_in_place(|| {
            let mut process = command.spawn().expect("the server's program");
            std::thread::sleep(after);
            process.kill().expect("kill -9");
            process.wait().expect("reaped");
        });
        self.recorder.fate("killed", "start");
        ending::spools(&self.recorder, &self.data());
    }

    /// Ends the server as an upgrade does: it is asked to, and leaves agents alone.
    pub fn detach(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        let ended = tokio::task::block_in_place(|| server.end(Signal::TERM));
        assert!(ended.status.success() && ended.took < STOPS_WITHIN, "{:?} after {:?}", ended.status, ended.took);
        self.recorder.fate("detached", "");
        ending::spools(&self.recorder, &self.data());
    }

    /// Takes away one of the sandboxes, with whatever runs in it.
    pub fn destroy_one(&self, rng: &mut StdRng) {
        let folders = std::fs::read_dir(self.data().join("sandboxes")).into_iter().flatten().filter_map(Result::ok);
        let names =
            folders.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| !name.starts_with('.'));
        let Some(sandbox) = names.collect::<Vec<_>>().choose(rng).cloned() else { return };
        ending::spools(&self.recorder, &self.data());
        self.recorder.add(0, What::Destroyed { sandbox: sandbox.clone() });
        let folder = self.data().join("sandboxes").join(&sandbox);
        // Under another name at once: what still runs in it may add files while they are removed.
        let away = self.data.path().join(sandbox);
        if std::fs::rename(&folder, &away).is_ok() {
            let _ = std::fs::remove_dir_all(away);
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(support::pid_of(self.running().pid()), signal).expect("the server is there");
        self.recorder.fate(if signal == Signal::STOP { "stopped" } else { "continued" }, "");
    }

    /// A client of its own connection, through the proxy.
    pub fn link(&mut self) -> Link {
        let client = self.next_client;
        self.next_client += 1;
        Link::new(client, &self.recorder, &self.proxy.addr, &self.running().key)
    }

    /// Reads back what is there, and judges.
    pub async fn finish(mut self) -> Outcome {
        self.proxy.chaos(false);
        self.proxy.cut_all();
        if self.server.is_none() {
            self.up();
        }
        let link = Link::new(0, &self.recorder, &self.running().addr, &self.running().key);
        let sessions = ending::read_back(&link).await;
        let data = self.data();
        ending::spools(&self.recorder, &data);
        // Politely: it must take all it started with it.
        let server = self.server.take();
        tokio::task::block_in_place(|| drop(server));
        census::take(&self.recorder, &data, true);
        let database = self.folder.join("db");
        ending::copy_database(&data, &database);
        ending::rows(&self.recorder, &database, sessions).await;
        drop(self.proxy);
        self.tasks.close();
        self.tasks.wait().await;
        let history = self.recorder.history();
        let (figures, violations) = tokio::task::block_in_place(|| (Figures::of(&history), judge(&history)));
        Outcome { history, violations, figures }
    }
}

/// Carries out a plan.
pub async fn run(plan: Plan) -> Outcome {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let setup = Setup { compacts: plan.compacts, power: plan.power.clone(), ..Setup::default() };
    let mut rig = Rig::start(plan.name, plan.seed, setup).await;
    let link = rig.link();
    let abilities = Abilities::of(&link).await;
    let stage = Stage::new(abilities, plan.sessions);
    let clients = TaskTracker::new();
    for _ in 0..plan.writers {
        clients.spawn(traffic::talk(rig.link(), stage.clone(), rng.random()));
    }
    for _ in 0..plan.watchers {
        clients.spawn(watcher::watch(rig.link(), stage.clone(), rng.random()));
    }
    rig.proxy.chaos(plan.chaos);
    let mut left = (plan.kills, plan.pauses);
    while left != (0, 0) || stage.resumes() < plan.resumes {
        let said = stage.messages();
        let kills = left.0 > 0 && (left.1 == 0 || rng.random_bool(0.5));
        if left == (0, 0) {
            sleep(Duration::from_millis(20)).await;
        } else if kills {
            somebody_speaks(&stage, said).await;
            sleep(Duration::from_millis(rng.random_range(15..150))).await;
            rig.kill("");
            rig.up();
            left.0 -= 1;
        } else {
            somebody_speaks(&stage, said).await;
            rig.signal(Signal::STOP);
            sleep(Duration::from_millis(rng.random_range(20..1800))).await;
            rig.signal(Signal::CONT);
            left.1 -= 1;
        }
    }
    // What was begun last is seen as well.
    sleep(Duration::from_millis(50)).await;
    stage.end();
    rig.proxy.chaos(false);
    rig.proxy.cut_all();
    clients.close();
    clients.wait().await;
    rig.finish().await
}

/// Waits until a turn is under way, or nobody gets a word in.
async fn somebody_speaks(stage: &Stage, said: u64) {
    let patience = Instant::now() + Duration::from_secs(5);
    while stage.messages() == said && Instant::now() < patience {
        sleep(Duration::from_millis(2)).await;
    }
}

/// Where the history of a seed is kept.
pub fn folder(seed: u64) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target").join("robustness").join(seed.to_string())
}

impl Outcome {
    /// Nothing may be wrong. What was right is not kept, unless somebody wants it.
    pub fn approve(self, what: &str) -> Figures {
        println!("{what} {}", self.figures);
        let mut by: BTreeMap<&str, usize> = BTreeMap::new();
        for violation in &self.violations {
            *by.entry(violation.judge).or_default() += 1;
        }
        let list: Vec<String> = self.violations.iter().take(20).map(ToString::to_string).collect();
        assert!(
            by.is_empty(),
            "violations in {what}, seed {}, by judge {by:?}:\n{}",
            self.figures.seed,
            list.join("\n")
        );
        if std::env::var_os("KEEP").is_none_or(|keep| keep.is_empty()) {
            // The recorder writes nothing into a folder that is gone.
            let _ = std::fs::remove_dir_all(folder(self.figures.seed));
        }
        self.figures
    }
}

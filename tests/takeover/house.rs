//! One data folder and the servers that come and go on it; a watcher that goes on across them.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use agent_runtime::proto::{self, SessionEvent, TurnStatus, block::Content};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use tokio::time::timeout_at;

use crate::support::{
    self, Ended, PATIENCE, Process, Server, Sessions, check_ranges, ended, fold, last_turn, nothing_is_left_of, pid_of,
    processes_of, snapshot, watch,
};

/// What lives longer than a server.
pub(crate) struct House {
    data: TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

/// What was seen of a session so far, by a watcher that resumes where it was cut off.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) events: Vec<SessionEvent>,
    cursor: i64,
}

impl House {
    pub(crate) fn new(args: &[&str]) -> Self {
        Self::with(args, &[])
    }

    pub(crate) fn with(args: &[&str], env: &[(&str, &str)]) -> Self {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { data: TempDir::new().expect("a temporary folder"), args, env }
    }

    /// A server on what the one before left; told to stop, it lets its agents work on.
    pub(crate) fn open(&self) -> Server {
        let mut args = vec!["--on-shutdown", "detach"];
        args.extend(self.args.iter().map(String::as_str));
        let env: Vec<_> = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Server::start_on_with(self.data.path(), &args, &env)
    }

    pub(crate) fn path(&self) -> &Path {
        self.data.path()
    }

    /// The folder of the only sandbox.
    pub(crate) fn sandbox(&self) -> PathBuf {
        let mut sandboxes = folders(&self.path().join("sandboxes"));
        assert_eq!(sandboxes.len(), 1, "{sandboxes:?}");
        sandboxes.remove(0)
    }

    /// The folders of all programs that ran in any sandbox.
    pub(crate) fn execs(&self) -> Vec<PathBuf> {
        folders(&self.path().join("sandboxes")).iter().flat_map(|sandbox| folders(&sandbox.join("exec"))).collect()
    }

    /// The agents that run.
    pub(crate) fn agents(&self) -> Vec<u32> {
        let is_agent = |process: &Process| process.argv.len() == 2 && process.argv[1] == "scripted-agent";
        processes_of(self.path()).into_iter().filter(is_agent).map(|process| process.pid).collect()
    }

    /// Kills all that has to do with the folder but this process: who could tell how others ended first.
    pub(crate) fn kill_all_but(&self, spared: Option<u32>) {
        let mut processes = processes_of(self.path());
        processes.retain(|process| Some(process.pid) != spared);
        processes.sort_by_key(|process| !process.argv.iter().any(|arg| arg == "supervise"));
        for process in processes {
            // One may have ended with the other.
            let _ = kill_process(pid_of(process.pid), Signal::KILL);
        }
    }

    /// Stops the server and its agents, and sees that nobody is left.
    pub(crate) fn close(&self, mut server: Server) {
        let Ended { said, status, .. } = server.end(Signal::INT);
        assert!(status.success(), "{status}");
        assert!(said.is_empty(), "a server that stops its agents leaves nothing: {said:?}");
        nothing_is_left_of(self.path());
    }
}

impl Seen {
    /// Reads on until the turn ended, or `until`; tells which. A stream that is cut is no end.
    pub(crate) async fn read(&mut self, sessions: &mut Sessions, session: &str, turn: &str, until: Instant) -> bool {
        let Ok(mut stream) = watch(sessions, session, Some(self.cursor)).await else { return false };
        loop {
            if self.events.iter().any(|event| ended(event, turn)) {
                return true;
            }
            let Ok(Ok(Some(response))) = timeout_at(until.into(), stream.message()).await else { return false };
            self.cursor = check_ranges(self.cursor, &response.events);
            self.events.extend(response.events);
        }
    }

    /// Reads to the turn's end, and holds what was seen to what a reload shows.
    pub(crate) async fn finish(&mut self, sessions: &mut Sessions, session: &str, turn: &str) -> proto::Turn {
        let is_over = self.read(sessions, session, turn, Instant::now() + PATIENCE).await;
        assert!(is_over, "the turn does not end; the last that came: {:?}", self.events.last());
        let end = self.events.iter().find(|event| ended(event, turn)).expect("its end").clone();
        let (reloaded, head) = snapshot(sessions, session).await;
        let mut stream = watch(sessions, session, Some(self.cursor)).await.expect("a watch");
        while self.cursor < head {
            let response = stream.message().await.expect("no error").expect("more");
            self.cursor = check_ranges(self.cursor, &response.events);
            self.events.extend(response.events);
        }
        let state = fold(self.events.iter().filter(|event| event.sequence <= head));
        assert!(state == reloaded, "live is not what a reload shows:\n{state:#?}\n{reloaded:#?}");
        last_turn(std::slice::from_ref(&end))
    }

    /// All text that the agent said.
    pub(crate) fn said(&self) -> String {
        let state = fold(&self.events);
        let texts = state.blocks.iter().filter_map(|block| match &block.content {
            Some(Content::AssistantText(text)) => Some(text.text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// How often the agent took the turn up.
    pub(crate) fn starts_of(&self, turn: &str) -> usize {
        let is_start = |event: &&SessionEvent| {
            support::taken_up(event) && {
                let turn_then = last_turn(std::slice::from_ref(event));
                turn_then.turn_id == turn && turn_then.status() == TurnStatus::Running
            }
        };
        self.events.iter().filter(is_start).count()
    }
}

/// The numbers from 1 to `last`, as the scripted agent counts by default.
pub(crate) fn numbers(last: u64) -> String {
    (1..=last).map(|number| format!("{number:019} ")).collect::<Vec<_>>().concat()
}

/// Waits until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Removes a sandbox's folder, also while somebody puts something in.
pub(crate) fn destroy(sandbox: &Path) {
    while std::fs::remove_dir_all(sandbox).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound) {}
}

/// Whether a program printed this.
pub(crate) fn printed(exec: &Path, word: &str) -> bool {
    std::fs::read(exec.join("stdout")).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(word))
}

/// The turn's cause of being lost.
pub(crate) fn cause_of_loss(turn: &proto::Turn) -> String {
    let error = turn.error.clone().unwrap_or_else(|| panic!("{turn:?}"));
    assert_eq!((turn.status(), error.reason()), (TurnStatus::Lost, proto::ErrorReason::TurnLost), "{error:?}");
    error.metadata["cause"].clone()
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = path.read_dir().into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

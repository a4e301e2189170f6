//! The emulator of Modal in its own process, on a free port, with what tests tell it beside Modal's calls. When it is
//! dropped, it is asked to end, and nothing of it may be left.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A running emulator.
pub struct Emulator {
    /// Where it listens in clear text.
    pub addr: String,
    /// What a client of Modal needs in its environment: `MODAL_SERVER_URL`, `MODAL_TOKEN_ID`, `MODAL_TOKEN_SECRET`.
    pub env: Vec<(String, String)>,
    process: Child,
    folder: TempDir,
    killed: bool,
}

impl Emulator {
    /// An emulator with Claude Code in its sandboxes, where that is installed.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments.
    pub fn start_with(args: &[&str]) -> Self {
        Self::try_start(args).expect("an emulator; what it lacks stands above")
    }

    /// The same; `None` where no sandboxes can be made on this machine, which is told, and is no excuse in CI.
    pub fn try_start(args: &[&str]) -> Option<Self> {
        let folder = TempDir::new().expect("a temporary folder");
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder").join("test-cache");
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
        command.args(["modal-emulator", "--listen", "127.0.0.1:0", "--cache"]).arg(cache).args(args);
        command.env("TMPDIR", folder.path());
        command.env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "error".into()));
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the emulator's program");
        // Behind TLS it says one thing more: where it is asked in clear text.
        let lines = if args.contains(&"--tls-cert") { 4 } else { 3 };
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines().take(lines);
        let env: Vec<(String, String)> = lines
            .map(|line| {
                let line = line.expect("text");
                let (name, value) = line.strip_prefix("export ").expect("an export").split_once('=').expect("a value");
                (name.to_owned(), value.to_owned())
            })
            .collect();
        let plain = |(_, url): &&(String, String)| url.starts_with("http://");
        let Some((_, url)) = env.iter().find(plain) else {
            process.wait().expect("it has ended");
            println!("SKIPPED: the emulator of Modal cannot make sandboxes on this machine, and says why");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have what it needs");
            return None;
        };
        let addr = url.trim_start_matches("http://").to_owned();
        Some(Self { addr, env, process, folder, killed: false })
    }

    /// All sandboxes there are and were: `id`, `task`, `name`, `tags`, `image`, `running`, `status`, `asked`.
    pub fn sandboxes(&self) -> Vec<Value> {
        serde_json::from_str(&self.ask("GET", "sandboxes", "")).expect("a list")
    }

    /// The layers of images that were built, and not found in the cache: `image`, `commands`, `files`.
    pub fn builds(&self) -> Vec<Value> {
        serde_json::from_str(&self.ask("GET", "builds", "")).expect("a list")
    }

    /// Those that run.
    pub fn running(&self) -> Vec<Value> {
        self.sandboxes().into_iter().filter(|sandbox| sandbox["running"] == true).collect()
    }

    /// Lets a sandbox die as when the machine below it fails.
    pub fn kill_sandbox(&self, id: &str) {
        self.ask("POST", &format!("sandboxes/{id}/kill"), "");
    }

    /// Ids of the images that hold files of sandboxes.
    pub fn snapshots(&self) -> Vec<String> {
        serde_json::from_str(&self.ask("GET", "snapshots", "")).expect("a list")
    }

    /// All apps are deleted.
    pub fn forget_apps(&self) {
        self.ask("POST", "forget-apps", "");
    }

    /// All tokens that it gave out have expired.
    pub fn expire_tokens(&self) {
        self.ask("POST", "expire-tokens", "");
    }

    /// The time of all snapshots is over.
    pub fn drop_snapshots(&self) {
        self.ask("POST", "drop-snapshots", "");
    }

    /// Replaces the rules by which calls fail; see `agent-runtime modal-emulator --help`.
    pub fn set_faults(&self, rules: &str) {
        self.ask("POST", "faults", rules);
    }

    /// How often the rules have failed or held back a call since they were set.
    pub fn struck(&self, call: &str) -> u64 {
        let all: Value = serde_json::from_str(&self.ask("GET", "faults", "")).expect("counts");
        all[call].as_u64().unwrap_or(0)
    }

    /// How often each call was made, and how often it failed by which fault: `made`, `failed`.
    pub fn calls(&self) -> Value {
        serde_json::from_str(&self.ask("GET", "calls", "")).expect("calls by name")
    }

    /// Kills it, as a crash would; what it kept on disk stays until this is dropped.
    pub fn kill(&mut self) {
        self.process.kill().expect("kill -9");
        self.process.wait().expect("reaped");
        self.killed = true;
    }

    /// Processes of its sandboxes, which see its folder among their mounts.
    pub fn processes(&self) -> Vec<PathBuf> {
        let name = self.folder.path().to_str().expect("a plain path");
        let entries = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok).map(|entry| entry.path());
        let mounts = |process: &PathBuf| std::fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        entries.filter(|process| mounts(process).contains(name)).collect()
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).expect("the emulator listens");
        let request = format!(
            "{method} /emulator/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        body.to_owned()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a pid");
        if !self.killed {
            let _ = kill_process(pid, Signal::TERM);
            let _ = self.process.wait();
        }
        if !std::thread::panicking() && !self.killed {
            let left = self.processes();
            assert!(left.is_empty(), "the emulator left processes: {left:?}");
            let files: Vec<_> = std::fs::read_dir(self.folder.path()).expect("its folder").collect();
            assert!(files.is_empty(), "the emulator left files: {files:?}");
        }
    }
}

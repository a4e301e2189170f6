//! What is shipped to run the server with says what the server understands, and keeps what it promises.

#[path = "support/mod.rs"]
mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

const UNIT: &str = include_str!("../deploy/agent-runtime.service");
const CONTAINER: &str = include_str!("../deploy/Containerfile");

fn setting(name: &str) -> &'static str {
    let lines = UNIT.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let values: Vec<_> = lines.collect();
    let [value] = values[..] else { panic!("{name} stands there {} times", values.len()) };
    value
}

/// Starts the server as given, on a folder and a port of its own, and stops it again.
fn serves(mut arguments: Vec<String>) {
    let data = tempfile::tempdir().expect("a folder");
    for (flag, value) in [("--data", data.path().to_str().expect("plain")), ("--listen", "127.0.0.1:0")] {
        match arguments.iter().position(|argument| argument == flag) {
            Some(at) => value.clone_into(&mut arguments[at + 1]),
            None => arguments.extend([flag.to_owned(), value.to_owned()]),
        }
    }
    let mut server = Command::new(env!("CARGO_BIN_EXE_agent-runtime"))
        .args(&arguments)
        .env("RUST_LOG", "error")
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let said = lines.next().expect("it says where it listens").expect("text");
    assert!(said.starts_with("listening on "), "{arguments:?}: {said}");
    let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::TERM).expect("there");
    assert!(server.wait().expect("ended").success(), "{arguments:?}");
}

/// What systemd ends at a restart is the server alone, and soon enough; and what it starts is a server.
#[test]
fn the_unit_leaves_supervisors_at_work() {
    assert_eq!((setting("KillMode"), setting("KillSignal"), setting("OOMPolicy")), ("process", "SIGTERM", "continue"));
    assert!(setting("TimeoutStopSec").parse::<u32>().expect("seconds") > 30, "the server may take 30 s");
    assert!(!UNIT.lines().any(|line| line.starts_with("PrivateTmp") || line.starts_with("RestrictNamespaces")));
    let mut words = setting("ExecStart").split_whitespace().map(str::to_owned);
    assert!(words.next().expect("a program").ends_with("/agent-runtime"));
    serves(words.collect());
}

#[test]
fn the_container_starts_a_server() {
    let command = CONTAINER.lines().find_map(|line| line.strip_prefix("CMD ")).expect("a command");
    serves(serde_json::from_str(command).expect("a list of words"));
}

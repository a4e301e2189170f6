//! Who is there: the processes that have to do with a data folder, counted by sandbox as /proc tells of them.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    history::What,
    recorder::Recorder,
    support::{Process, processes_of},
};

/// How long processes may take to find out that they are not needed.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// Takes down who is there, once nobody is too many, or that somebody is for good. `over`: nobody should be.
pub fn take(recorder: &Recorder, data: &Path, over: bool) {
    let end = Instant::now() + SETTLES_WITHIN;
    loop {
        let seen = count(data, over);
        if is_right(&seen, over) || Instant::now() > end {
            recorder.add(0, seen);
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_right(seen: &What, over: bool) -> bool {
    let What::Processes { supervisors, agents, left, .. } = seen else { return true };
    let mut counts = supervisors.values().chain(agents.values());
    left.is_empty() && counts.all(|count| *count <= usize::from(!over))
}

fn count(data: &Path, over: bool) -> What {
    let (mut supervisors, mut agents) = (BTreeMap::new(), BTreeMap::new());
    let mut left = Vec::new();
    let sandboxes = data.join("sandboxes").to_string_lossy().into_owned() + "/";
    for process in processes_of(data) {
        let counted = match kind(&process) {
            Some(Kind::Supervisor) => &mut supervisors,
            Some(Kind::Agent) => &mut agents,
            None if over => {
                left.push(format!("{} {:?}", process.pid, process.argv));
                continue;
            }
            None => continue,
        };
        *counted.entry(sandbox(&process, &sandboxes)).or_default() += 1;
    }
    What::Processes { over, supervisors, agents, left }
}

enum Kind {
    Supervisor,
    Agent,
}

/// By what they are called with; what walls an agent off has the agent's arguments behind its own.
fn kind(process: &Process) -> Option<Kind> {
    let program = process.argv.first().map(String::as_str).unwrap_or_default();
    if process.argv.iter().any(|arg| arg == "supervise") {
        return Some(Kind::Supervisor);
    }
    let is_agent = process.argv.last().is_some_and(|last| last == "scripted-agent") || program.ends_with("/claude");
    (is_agent && !program.ends_with("bwrap")).then_some(Kind::Agent)
}

/// The sandbox that a process belongs to: the first that anything about it names.
fn sandbox(process: &Process, sandboxes: &str) -> String {
    let of = |file: &str| fs::read(format!("/proc/{}/{file}", process.pid)).unwrap_or_default();
    let cwd = fs::read_link(format!("/proc/{}/cwd", process.pid)).unwrap_or_default();
    let texts = [
        process.argv.join("\0").into_bytes(),
        cwd.into_os_string().into_encoded_bytes(),
        of("environ"),
        of("mountinfo"),
    ];
    let named = texts.iter().find_map(|text| {
        let text = String::from_utf8_lossy(text);
        let (_, rest) = text.split_once(sandboxes)?;
        Some(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '-').collect::<String>())
    });
    named.unwrap_or_else(|| format!("the sandbox of {:?}", process.argv))
}

//! What a supervisor that died left running, and what left its group while one lives: finding and killing it. Kills only
//! what it can prove to be ours: a pid counts together with its start time and the machine's boot.

use std::{
    io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{folder::Folder, proc, record::Record};

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// Kills what is left of these sandboxes' programs; returns when they are gone. Nobody may supervise them. Blocks.
///
/// # Errors
/// When processes cannot be looked at, or do not end.
pub fn kill(folders: &[Folder]) -> io::Result<()> {
    let boot_id = proc::boot_id()?;
    for dir in folders.iter().map(Folder::all_execs).collect::<io::Result<Vec<_>>>()?.into_iter().flatten() {
        let Some(record) = Record::load(&dir).filter(|record| record.exit.is_none()) else { continue };
        if let Some(pid) = record.alive(&boot_id) {
            tracing::info!(pid = record.pid, dir = %dir.display(), "ending a program that lost its supervisor");
            // Gone between the look and the kill: fine.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
    sweep(folders)
}

/// Whether a program ran here whose end nobody wrote down: it runs, or it lost its supervisor.
///
/// # Errors
/// When what is kept of programs cannot be listed.
pub fn unfinished(folder: &Folder) -> io::Result<bool> {
    let runs = |dir: &PathBuf| Record::load(dir).is_some_and(|record| record.exit.is_none());
    Ok(folder.all_execs()?.iter().any(runs))
}

/// Kills the processes that call one of these sandboxes their home: those that left their group and so no group signal
/// reaches. Returns when they are gone. Blocks.
fn sweep(folders: &[Folder]) -> io::Result<()> {
    let marks: Vec<Vec<u8>> = folders.iter().flat_map(marks).collect();
    if marks.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + GONE;
    loop {
        let found = marked(&marks)?;
        if found.is_empty() {
            return Ok(());
        }
        for pid in &found {
            // Gone already, or not ours to kill: then it stays found, and the deadline says so.
            let _ = kill_process(*pid, Signal::KILL);
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{} processes of a sandbox cannot be killed", found.len())));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Everything that lives below this process, and everything that calls the sandbox its home.
pub(super) fn of_own(folder: &Folder) -> io::Result<Vec<Pid>> {
    let mut found = marked(&marks(folder))?;
    let mut parents = vec![rustix::process::getpid()];
    while let Some(parent) = parents.pop() {
        for child in proc::children(parent) {
            parents.push(child);
            found.push(child);
        }
    }
    Ok(found)
}

fn marked(marks: &[Vec<u8>]) -> io::Result<Vec<Pid>> {
    let own = rustix::process::getpid();
    let ours =
        |environment: &[u8]| environment.split(|byte| *byte == 0).any(|entry| marks.iter().any(|mark| mark == entry));
    Ok(proc::environments()?
        .filter(|(pid, environment)| *pid != own && ours(environment))
        .map(|(pid, _)| pid)
        .collect())
}

/// What stands in the environment of every program of a plain sandbox, and nowhere else.
fn marks(folder: &Folder) -> [Vec<u8>; 2] {
    let mark = |name: &str, path: PathBuf| [name.as_bytes(), b"=", path.as_os_str().as_encoded_bytes()].concat();
    [mark("HOME", folder.home()), mark("TMPDIR", folder.tmp())]
}

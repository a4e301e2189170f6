//! What an earlier server left running: how each program is recorded so that it can be found again, and ending it.
//! Kills only what it can prove to be ours: a pid counts together with its start time and the machine's boot.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

use super::{layout::Layout, proc};

/// Name of the record in an exec's directory. That it is there says that the program was run.
const RECORD: &str = "pid.json";

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// Which process leads an exec's process group.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    pid: i32,
    start_time: u64,
    boot_id: String,
}

/// Writes down who runs in `dir`.
pub(super) fn record(dir: &Path, pid: Pid) -> io::Result<()> {
    let start_time = proc::start_time(pid).ok_or_else(|| io::Error::other("the process has no start time"))?;
    let record = Record { pid: pid.as_raw_nonzero().get(), start_time, boot_id: proc::boot_id()? };
    fs::write(dir.join(RECORD), serde_json::to_vec(&record)?)
}

/// Whether a program was run in `dir`.
pub(super) fn recorded(dir: &Path) -> bool {
    dir.join(RECORD).exists()
}

/// Ends every program that an earlier server left in a sandbox below `root`. Blocks.
pub(super) fn all(root: &Path) -> io::Result<()> {
    let boot_id = proc::boot_id()?;
    let layouts = Layout::all(root)?;
    for layout in &layouts {
        let execs = match fs::read_dir(layout.execs()) {
            Ok(execs) => execs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for exec in execs {
            kill_recorded(&exec?.path(), &boot_id);
        }
    }
    sweep(&layouts)
}

/// Kills the processes that call one of these sandboxes their home: those that left their group and so no group signal
/// reaches. Returns when they are gone. Blocks.
pub(super) fn sweep(layouts: &[Layout]) -> io::Result<()> {
    let marks: Vec<Vec<u8>> = layouts.iter().flat_map(marks).collect();
    let deadline = Instant::now() + GONE;
    let own = rustix::process::getpid();
    loop {
        let mut found = 0;
        for (pid, environment) in proc::environments()? {
            let ours = environment.split(|byte| *byte == 0).any(|entry| marks.iter().any(|mark| mark == entry));
            if ours && pid != own {
                found += 1;
                // Gone already, or not ours to kill: then it stays found, and the deadline says so.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if found == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{found} processes of a sandbox cannot be killed")));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn kill_recorded(dir: &Path, boot_id: &str) {
    let Some(record) = fs::read(dir.join(RECORD)).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok())
    else {
        return;
    };
    let Some(pid) = Pid::from_raw(record.pid) else { return };
    if record.boot_id == boot_id && proc::start_time(pid) == Some(record.start_time) {
        tracing::info!(pid = record.pid, dir = %dir.display(), "ending a program that an earlier server left running");
        // Gone between the look and the kill: fine.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// What stands in the environment of every program of a plain sandbox, and nowhere else.
fn marks(layout: &Layout) -> [Vec<u8>; 2] {
    let mark = |name: &str, path: &Path| [name.as_bytes(), b"=", path.as_os_str().as_encoded_bytes()].concat();
    [mark("HOME", &layout.home()), mark("TMPDIR", &layout.tmp())]
}

//! What the kernel tells about processes in `/proc`, and nothing of what is done with it.

use std::{
    fs,
    io::{self, Read as _},
    path::PathBuf,
};

use rustix::process::Pid;

/// As much of a process's arguments as tells programs apart.
const ARGUMENTS: usize = 4096;

/// When the machine was started, in a form that is good for comparing only.
///
/// # Errors
/// When the kernel does not tell.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process was started, in ticks since boot: with it a pid means one process for ever. `None` when it is gone.
pub(super) fn start_time(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(of(pid, "stat")).ok()?;
    // The second field is the name in parentheses and may hold anything; after it come plain numbers from field 3 on.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(22 - 3)?.parse().ok()
}

/// The processes that `pid` started and that are its children still.
pub(super) fn children(pid: Pid) -> Vec<Pid> {
    let raw = pid.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{raw}/task/{raw}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}

/// Whether this kernel tells about children at all.
#[must_use]
pub fn tells_children() -> bool {
    fs::read("/proc/thread-self/children").is_ok()
}

/// The first arguments of a process, each ended by a NUL; `None` when it is gone. One read and no more: one is answered
/// from one state of the process, while a second may find it dead and so cut short what the first began.
pub(super) fn arguments(pid: Pid) -> Option<Vec<u8>> {
    let mut arguments = vec![0; ARGUMENTS];
    let got = fs::File::open(of(pid, "cmdline")).and_then(|mut file| file.read(&mut arguments)).ok()?;
    arguments.truncate(got);
    (got > 0).then_some(arguments)
}

/// The environment of a process, as it was at its start; `None` when it is gone, or not to be seen.
pub(super) fn environment(pid: Pid) -> Option<Vec<u8>> {
    fs::read(of(pid, "environ")).ok()
}

/// Every process whose environment, as it was at its start, may be read, with that environment.
pub(super) fn environments() -> io::Result<impl Iterator<Item = (Pid, Vec<u8>)>> {
    Ok(fs::read_dir("/proc")?.filter_map(|entry| {
        let pid = Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?)?;
        Some((pid, environment(pid)?))
    }))
}

fn of(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", pid.as_raw_nonzero()))
}

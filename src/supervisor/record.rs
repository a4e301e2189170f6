//! What is written down of one run of a program, beside its input and output, so that another supervisor can go on: which
//! process it was, how it ended, what of its output nobody needs again.

use std::{fs, io, path::Path};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::{folder::replace, proc, protocol::Exit};

/// Name of the record in an exec's directory. That it is there says that the program was run.
const NAME: &str = "record.json";

/// See the module. It holds no argument and no variable: those may be secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Which process leads its group.
    pub(super) pid: i32,
    pub(super) start_time: u64,
    pub(super) boot_id: String,
    /// How it ended; by then all its output was kept.
    #[serde(default)]
    pub(super) exit: Option<Exit>,
    #[serde(default)]
    pub(super) stdout_released: u64,
    #[serde(default)]
    pub(super) stderr_released: u64,
    #[serde(default)]
    pub(super) input_closed: bool,
}

impl Record {
    /// Of a process that was just started.
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        let start_time = proc::start_time(pid).ok_or_else(|| io::Error::other("the process has no start time"))?;
        Ok(Self {
            pid: pid.as_raw_nonzero().get(),
            start_time,
            boot_id: proc::boot_id()?,
            exit: None,
            stdout_released: 0,
            stderr_released: 0,
            input_closed: false,
        })
    }

    /// `None` when there is none, or nothing that can be read.
    pub(super) fn load(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(NAME)).ok()?).ok()
    }

    pub(super) fn store(&self, dir: &Path) -> io::Result<()> {
        replace(&dir.join(NAME), &serde_json::to_vec(self)?)
    }

    /// The process, if it is alive and the very same.
    pub(super) fn alive(&self, boot_id: &str) -> Option<Pid> {
        let pid = Pid::from_raw(self.pid)?;
        (self.boot_id == boot_id && proc::start_time(pid) == Some(self.start_time)).then_some(pid)
    }
}

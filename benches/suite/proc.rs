//! What `/proc` tells of a process and of the machine.

use std::{collections::HashMap, fs};

use crate::Failure;

/// CPU seconds of a process so far, its children not counted: `utime + stime` of `/proc/PID/stat`, in ticks of 10 ms.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace().collect();
    let ticks = fields[11].parse::<u32>()? + fields[12].parse::<u32>()?;
    Ok(f64::from(ticks) / 100.0)
}

/// CPU seconds that all processes of the machine used so far, the waiting for disks not counted.
pub(crate) fn machine_cpu_seconds() -> Result<f64, Failure> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<f64> =
        stat.lines().next().ok_or("no stat")?.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
    Ok((ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / 100.0)
}

/// Nanoseconds on a CPU of each thread of a process: the first field of `/proc/PID/task/*/schedstat`.
pub(crate) struct Threads(HashMap<String, u64>);

impl Threads {
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let mut threads = HashMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?;
            // One that ends meanwhile is not there.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
            threads.insert(task.file_name().to_string_lossy().into_owned(), nanos);
        }
        Ok(Self(threads))
    }

    /// CPU milliseconds since an earlier look, and how many threads ended, whose last time is not counted.
    pub(crate) fn since(&self, before: &Self) -> (f64, usize) {
        let nanos: u64 = self.0.iter().map(|(id, now)| now - before.0.get(id).copied().unwrap_or(0).min(*now)).sum();
        let ended = before.0.keys().filter(|id| !self.0.contains_key(*id)).count();
        (crate::number(nanos) / 1e6, ended)
    }
}

/// What a process holds in memory now, and at most so far.
pub(crate) struct Memory {
    pub(crate) rss_kb: f64,
    pub(crate) peak_kb: f64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> Result<f64, Failure> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no memory in status")?;
            Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
        };
        Ok(Self { rss_kb: field("VmRSS:")?, peak_kb: field("VmHWM:")? })
    }
}

/// The first line of every report.
pub(crate) fn machine() -> Result<String, Failure> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    Ok(format!(
        "machine cores={} load_average={} cpu=\"{}\"",
        std::thread::available_parallelism()?,
        load.split(' ').next().unwrap_or("?"),
        model.trim_start_matches([' ', '\t', ':'])
    ))
}

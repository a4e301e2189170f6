//! What a stretch of work cost the server, this program, and the machine as a whole.

use super::Params;
use crate::{
    Failure, number,
    proc::{Memory, cpu_seconds, machine_cpu_seconds},
};

pub(crate) struct Meter {
    server: Option<(u32, f64)>,
    load: f64,
    machine: f64,
}

impl Meter {
    pub(crate) fn begin(params: &Params) -> Result<Self, Failure> {
        let server = params.pid.map(|pid| Ok::<_, Failure>((pid, cpu_seconds(pid)?))).transpose()?;
        Ok(Self { server, load: cpu_seconds(std::process::id())?, machine: machine_cpu_seconds()? })
    }

    /// CPU seconds for each million of what was carried.
    pub(crate) fn end(self, carried: u64) -> Result<String, Failure> {
        let millions = number(carried) / 1e6;
        let (load, machine) = (cpu_seconds(std::process::id())? - self.load, machine_cpu_seconds()? - self.machine);
        let rest = format!(
            "load_cpu_s_per_million={:.2} machine_cpu_s_per_million={:.2}",
            load / millions,
            machine / millions
        );
        let Some((pid, before)) = self.server else { return Ok(rest) };
        let (cost, peak) = ((cpu_seconds(pid)? - before) / millions, Memory::of(pid)?.peak_kb);
        Ok(format!("cpu_s_per_million={cost:.3} {rest} peak_rss_kb={peak:.0}"))
    }
}

//! A server of our own: the binary that was built with this program, with the options of `serve`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::Failure;

/// A server that runs until it is dropped or stopped.
pub(crate) struct Server {
    process: Child,
    pub(crate) addr: String,
    pub(crate) key: String,
}

impl Server {
    pub(crate) fn start(data: &Path, options: &[&str]) -> Result<Self, Failure> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_agent-runtime"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("RUST_LOG", "error,agent_runtime::log=debug")
            .env("NO_COLOR", "1")
            .env("AGENT_RUNTIME_ON_SHUTDOWN", "stop")
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let Some(addr) = line.trim().strip_prefix("listening on ").map(str::to_owned) else {
            let mut said = String::new();
            process.stderr.take().ok_or("no stderr")?.read_to_string(&mut said)?;
            process.wait()?;
            return Err(format!("the server does not serve: {}", said.trim()).into());
        };
        let key = fs::read_to_string(data.join("key"))?.trim().to_owned();
        Ok(Self { process, addr, key })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
    }

    /// Stops it, and returns what it says of its transactions: `commits=… commit_p50_us=… commit_p99_us=…`.
    pub(crate) fn stop(mut self) -> Result<String, Failure> {
        self.terminate();
        let mut said = String::new();
        self.process.stderr.take().ok_or("no stderr")?.read_to_string(&mut said)?;
        let mut timing = Vec::new();
        for line in said.lines() {
            if line.contains("commits=") && line.contains("p99_us=") {
                for word in line.split_whitespace().filter(|word| word.contains('=')) {
                    timing.push(if word.starts_with('p') { format!("commit_{word}") } else { word.to_owned() });
                }
            } else {
                eprintln!("server: {line}");
            }
        }
        Ok(timing.join(" "))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.terminate();
        let _ = self.process.wait();
    }
}

//! The disk does not keep what it is given: every flush fails.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tonic::Code;

use crate::{scenario, support::Server};

/// A tracer that makes every flush of a process fail, for as long as it is attached.
struct Tracer(Child);

impl Tracer {
    fn attach(pid: u32) -> Self {
        let inject = "inject=fsync,fdatasync:error=EIO";
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", inject, "-p"]);
        let tracer = command.arg(pid.to_string()).stderr(Stdio::inherit()).spawn().expect("strace");
        let began = Instant::now();
        while !all_traced(pid) {
            assert!(began.elapsed() < Duration::from_secs(10), "strace does not attach");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self(tracer)
    }

    fn detach(mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
        self.0.wait().expect("reaped");
    }
}

fn all_traced(pid: u32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    tasks.filter_map(Result::ok).all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|by| by.trim() != "0"))
    })
}

#[tokio::test]
async fn what_could_not_be_flushed_was_never_acknowledged() {
    let server = Server::start();
    if let Err(why) = can_trace() {
        return println!("SKIPPED: flushes cannot be made to fail: {why}");
    }
    let tracer = std::cell::RefCell::new(None);
    let begin = async { *tracer.borrow_mut() = Some(Tracer::attach(server.pid())) };
    let end = async { tracer.borrow_mut().take().expect("attached").detach() };
    scenario::run(&server, (Code::Unavailable, "STORAGE_UNAVAILABLE"), begin, end).await;
}

/// Whether there is a tracer, and it may do this.
fn can_trace() -> Result<(), String> {
    let tried = Command::new("strace").args(["-f", "-e", "inject=fsync:error=EIO", "-o", "/dev/null", "true"]).output();
    let output = tried.map_err(|error| format!("strace: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

//! One figure: a server of its own, the load program, and the line of what came out.

use std::{
    env,
    process::{Command, Stdio},
};

use crate::{Failure, server::Server};

/// What is measured: a server that runs already, or a new one for each figure.
#[derive(Default)]
pub(crate) struct Bench {
    /// Address, key and, where it can be seen, process of the server that runs already.
    pub(crate) external: Option<(String, String, Option<String>)>,
    pub(crate) failed: bool,
}

impl Bench {
    /// Runs one kind of load on a fresh server and prints its line. A failure is told and does not end the others.
    pub(crate) fn figure(&mut self, name: &str, kind: &str, options: &[&str], params: &str, target: &str) {
        let told = self.measure(kind, options, params).unwrap_or_else(|error| {
            self.failed = true;
            format!("failed=\"{}\"", error.to_string().replace('"', "'").trim())
        });
        let options = if self.external.is_some() { "external".into() } else { options.join(" ") };
        println!("{name} {params} options=\"{options}\" {told} target=\"{target}\"");
    }

    fn measure(&self, kind: &str, options: &[&str], params: &str) -> Result<String, Failure> {
        if let Some((addr, key, pid)) = &self.external {
            return load(kind, addr, key, pid.as_deref(), params);
        }
        let data = tempfile::tempdir()?;
        let server = Server::start(data.path(), options)?;
        let pid = server.pid().to_string();
        let told = load(kind, &server.addr, &server.key, Some(&pid), params)?;
        Ok(format!("{told} {}", server.stop()?))
    }
}

/// Runs the load program to its end, and returns what it says.
pub(crate) fn load(kind: &str, addr: &str, key: &str, pid: Option<&str>, params: &str) -> Result<String, Failure> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["load", kind, "--addr", addr]).args(params.split_whitespace()).env("AGENT_RUNTIME_KEY", key);
    command.env("RUST_BACKTRACE", "0");
    if let Some(pid) = pid {
        command.args(["--pid", pid]);
    }
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ").into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

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
    /// Runs one kind of load on a fresh server and prints its line, and returns what it said.
    pub(crate) fn figure(
        &mut self,
        name: &str,
        kind: &str,
        options: &[&str],
        params: &str,
        target: &str,
    ) -> Option<String> {
        let told = self.measure(kind, options, params);
        self.tell(name, options, params, told, target)
    }

    /// Prints a line. A failure is told and does not end the others.
    pub(crate) fn tell(
        &mut self,
        name: &str,
        options: &[&str],
        params: &str,
        told: Result<String, Failure>,
        target: &str,
    ) -> Option<String> {
        let options = if self.external.is_some() { "external".into() } else { options.join(" ") };
        let line = match &told {
            Ok(told) => told.clone(),
            Err(error) => {
                self.failed = true;
                format!("failed=\"{}\"", error.to_string().replace('"', "'").trim())
            }
        };
        println!("{name} {params} options=\"{options}\" {line} target=\"{target}\"");
        told.ok()
    }

    /// The same without a line.
    pub(crate) fn measure(&self, kind: &str, options: &[&str], params: &str) -> Result<String, Failure> {
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

/// One value of a line.
pub(crate) fn value(told: &str, name: &str) -> Result<f64, Failure> {
    let word = told.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Ok(word.ok_or_else(|| format!("the line has no {name}"))?.parse()?)
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

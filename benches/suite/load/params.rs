//! What the load program is told: `--addr ADDR --key KEY --pid PID` and `name=value`.

use std::{env, str::FromStr};

use crate::Failure;

#[derive(Clone)]
pub(crate) struct Params {
    pub(crate) addr: String,
    pub(crate) key: String,
    /// Of the server, where its CPU and memory can be seen.
    pub(crate) pid: Option<u32>,
    words: Vec<String>,
}

impl Params {
    pub(crate) fn read(args: &[String]) -> Result<Self, Failure> {
        let addr =
            crate::option(args, "--addr").ok_or("load KIND --addr ADDR [--key KEY] [--pid PID] [name=value …]")?;
        let key = crate::option(args, "--key").or_else(|| env::var("AGENT_RUNTIME_KEY").ok()).unwrap_or_default();
        let pid = crate::option(args, "--pid").map(|pid| pid.parse()).transpose()?;
        Ok(Self { addr, key, pid, words: args.iter().filter(|word| word.contains('=')).cloned().collect() })
    }

    /// A number, or what it is when not given.
    pub(crate) fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, Failure>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let word = self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        Ok(word.map(str::parse).transpose()?.unwrap_or(default))
    }
}

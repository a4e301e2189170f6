//! What an emulator can be told.

use std::{path::PathBuf, time::Duration};

use super::{faults::Rule, program::CHUNK, tls::Certificate};

/// How an emulator behaves, for those who start one in their own process.
#[derive(Clone, Debug)]
pub struct Options {
    /// This project's program: the first process of each sandbox and its file tools, and `/usr/local/bin/agent-runtime` in it.
    pub program: PathBuf,
    /// Lies at `/usr/local/bin/claude` in each sandbox.
    pub claude: Option<PathBuf>,
    /// The account's token, which callers must send.
    pub token_id: String,
    /// Its secret.
    pub token_secret: String,
    /// How long tokens live that the emulator gives out.
    pub token_life: Duration,
    /// Seconds by which its clock is ahead of this machine's, as creations and tokens tell; below zero: behind.
    pub clock: i64,
    /// How long a sandbox still runs after it was asked to end.
    pub linger: Duration,
    /// Most sandboxes on one page of a list.
    pub page: usize,
    /// How long a sandbox waits for its machine. Until then it has no task, and its creation tells nothing but its id.
    pub placing: Duration,
    /// Calls that wait for an end are held until it comes; else they are answered at once.
    pub holds: bool,
    /// Most bytes of output in one message.
    pub chunk: usize,
    /// It is spoken to by TLS too, with this certificate.
    pub tls: Option<Certificate>,
    /// Where clients are told that the router is; `None`: where they are already.
    pub router: Option<String>,
    /// Which calls fail, and how.
    pub faults: Vec<Rule>,
    /// Makes faults by chance the same ones each time.
    pub seed: u64,
}

impl Options {
    /// What is so unless something else is said.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            claude: None,
            token_id: "ak-emulator".to_owned(),
            token_secret: "as-emulator".to_owned(),
            token_life: Duration::from_mins(20),
            clock: 0,
            linger: Duration::from_millis(150),
            page: 100,
            placing: Duration::ZERO,
            holds: true,
            chunk: CHUNK,
            tls: None,
            router: None,
            faults: Vec::new(),
            seed: 0,
        }
    }
}

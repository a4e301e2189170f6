//! The small process that holds the programs of one local sandbox, their pipes above all, so that the server can die, be
//! upgraded and come back: `agent-runtime supervise`, started by the server, a process a sandbox.
//!
//! It keeps what programs print and are given in files, and serves both by offset over a socket in the sandbox's folder
//! ([`protocol`]). The server (`sandbox::local`) uses the same notion of where things lie and of who holds them.
//!
//! It knows processes, pipes and files. It must not know sessions, agents, storage, or what bubblewrap shows a program:
//! what it is to run arrives as a finished command.
//!
//! One thread does everything: a byte that a program prints is read, kept and handed on without another one being woken,
//! and bubblewrap dies with the thread that started it.

mod children;
pub mod environment;
pub mod epoch;
mod exec;
pub mod folder;
pub mod frame;
mod group;
mod harden;
mod holder;
pub mod identity;
mod input;
pub mod leftovers;
mod life;
pub mod lock;
mod orphans;
pub mod proc;
pub mod protocol;
mod reading;
mod record;
mod serve;
pub mod settle;
pub mod socket;
mod spool;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use rustix::fs::{Mode, OFlags, open};
use tokio::runtime::{Builder, LocalOptions};

use self::{folder::Folder, holder::Holder, identity::Identity, lock::Lock};

/// What is said on standard output when a server can connect.
pub const LISTENING: &str = "listening";

/// How long programs get between a request to end and being killed, where no server says otherwise.
const GRACE: Duration = Duration::from_secs(3);

/// How long an earlier supervisor may take to be gone.
const HANDOVER: Duration = Duration::from_secs(5);

/// What a supervisor is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The sandbox's folder, by its real path.
    pub sandbox: PathBuf,
    /// How long programs may run on without a server.
    pub limit: Duration,
    /// Most bytes of one output that are kept and not released.
    pub spool_cap: u64,
}

/// Supervises a sandbox until nothing is left to be done.
///
/// # Errors
/// What keeps it from serving, the sandbox's other supervisor included.
pub fn run(config: &Config) -> io::Result<()> {
    let folder = Folder::at(config.sandbox.clone());
    let identity = Identity::load(&folder)?.ok_or_else(|| io::Error::other("this folder is no sandbox"))?;
    if identity.boot_id != proc::boot_id()? {
        return Err(io::Error::other("the machine was started anew since a server has looked at this sandbox"));
    }
    let lock = Lock::take(&folder, HANDOVER)?.ok_or_else(|| io::Error::other("another supervisor is here"))?;
    lock.sign()?;
    harden::detach()?;
    // Before anything is given up: what is confined may not look at others.
    leftovers::kill(std::slice::from_ref(&folder))?;
    let hardening = harden::restrict(&folder, identity.walled);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let holder = Rc::new(Holder::open(config, folder, identity, hardening)?);
        let listening = socket::listen(&holder.folder)?;
        announce()?;
        life::live(holder, listening).await
    })
}

/// Tells the server, and then nobody anything.
fn announce() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{LISTENING}")?;
    out.flush()?;
    let nowhere = open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::stdio::dup2_stdout(nowhere)?)
}

//! All that a supervisor holds: the programs of its sandbox, who is connected, and whether it is on its way out. What is
//! asked over the socket is carried out here; when the supervisor ends is decided in `life`.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    rc::Rc,
    time::Duration,
};

use futures::future::join_all;
use rustix::process::{Signal, kill_process};
use tokio::{
    sync::{Mutex, Notify},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Config,
    children::Children,
    epoch,
    exec::{Around, Exec},
    folder::Folder,
    identity::{Identity, Walled},
    leftovers,
    protocol::{Attached, Refusal, Start, Welcome},
    spool::Spool,
};

/// A killed process that is not gone by then hangs inside the kernel.
const KILLED: Duration = Duration::from_secs(10);

/// How often to look whether killed processes are gone.
const LOOK: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) folder: Folder,
    pub(super) identity: Identity,
    pub(super) hardening: Vec<String>,
    pub(super) around: Rc<Around>,
    /// Runs of now and before; for some of before, why nothing of them can be had.
    execs: RefCell<HashMap<String, Result<Rc<Exec>, String>>>,
    limit: Duration,
    /// Held while a program is started, and while all are ended.
    starting: Mutex<()>,
    connected: Cell<usize>,
    /// The supervisor exits soon, whoever is connected.
    pub(super) leaving: CancellationToken,
}

impl Holder {
    /// Takes in what earlier supervisors recorded.
    pub(super) fn open(
        config: &Config,
        folder: Folder,
        identity: Identity,
        hardening: Vec<String>,
    ) -> io::Result<Self> {
        let mut execs = HashMap::new();
        for dir in folder.all_execs()? {
            let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if let Some(exec) = Exec::revive(dir, &identity.boot_id) {
                execs.insert(name, exec);
            }
        }
        Ok(Self {
            folder,
            identity,
            hardening,
            around: Rc::new(Around {
                tasks: TaskTracker::new(),
                children: Children::default(),
                changed: Notify::new(),
                cap: config.spool_cap,
            }),
            execs: RefCell::new(execs),
            limit: config.limit,
            starting: Mutex::default(),
            connected: Cell::new(0),
            leaving: CancellationToken::new(),
        })
    }

    /// Notes the epoch of a command, and refuses one that is too old.
    pub(super) fn see(&self, given: i64) -> Result<(), Refusal> {
        match epoch::see(&self.folder, given) {
            Ok(seen) if seen > given => Err(Refusal::Stale(seen)),
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::Unavailable(format!("the epoch of a command cannot be noted: {error}"))),
        }
    }

    pub(super) fn find(&self, exec: &str) -> Result<Rc<Exec>, Refusal> {
        match self.execs.borrow().get(exec) {
            Some(Ok(exec)) => Ok(Rc::clone(exec)),
            Some(Err(cause)) => Err(Refusal::Gone(cause.clone())),
            None => Err(Refusal::UnknownExec(exec.to_owned())),
        }
    }

    /// An output of a program.
    pub(super) fn output(&self, exec: &str, fd: u32) -> Result<Rc<Spool>, Refusal> {
        let exec = self.find(exec)?;
        match fd {
            1 => Ok(Rc::clone(&exec.stdout)),
            2 => Ok(Rc::clone(&exec.stderr)),
            _ => Err(Refusal::Unsupported(format!("programs have no output {fd}"))),
        }
    }

    pub(super) async fn start(&self, start: &Start) -> Result<(), Refusal> {
        let _one = self.starting.lock().await;
        match self.find(&start.exec_id) {
            Ok(exec) if exec.over() => return exec.wait().await.map(drop),
            Ok(_) => return Ok(()),
            Err(Refusal::UnknownExec(_)) => {}
            Err(refusal) => return Err(refusal),
        }
        if self.leaving.is_cancelled() {
            return Err(Refusal::Unavailable("the supervisor is about to exit".to_owned()));
        }
        let dir =
            self.folder.exec(&start.exec_id).ok_or_else(|| Refusal::Start("its exec id is not a name".to_owned()))?;
        let exec = Exec::start(dir, start, &self.around).await.map_err(Refusal::Start)?;
        self.execs.borrow_mut().insert(start.exec_id.clone(), Ok(exec));
        self.around.changed.notify_one();
        Ok(())
    }

    /// Programs that run.
    pub(super) fn running(&self) -> Vec<Rc<Exec>> {
        self.execs.borrow().values().flatten().filter(|exec| !exec.over()).cloned().collect()
    }

    /// Ends every program, and what they left behind.
    pub(super) async fn end(&self, grace: Duration) -> Result<(), Refusal> {
        let _none = self.starting.lock().await;
        let execs = self.running();
        let all = |signal| {
            for exec in &execs {
                exec.signal(signal);
            }
        };
        all(Signal::TERM);
        let ended = || join_all(execs.iter().map(|exec| exec.wait()));
        if timeout(grace, ended()).await.is_err() {
            all(Signal::KILL);
            if timeout(KILLED, ended()).await.is_err() {
                return Err(Refusal::Unavailable("a killed program does not end".to_owned()));
            }
        }
        let swept = match self.identity.walled {
            Walled::Plain => self.sweep().await,
            // Nothing outlives its pid namespace.
            Walled::Bubblewrap => Ok(()),
        };
        self.around.changed.notify_one();
        swept.map_err(|error| Refusal::Unavailable(error.to_string()))
    }

    /// Kills everything at once; for when there is nothing left to be careful with.
    pub(super) async fn kill(&self) {
        for exec in self.running() {
            exec.signal(Signal::KILL);
        }
        if let Err(error) = self.sweep().await {
            tracing::warn!(%error, "some processes of the sandbox may have been left behind");
        }
        self.around.changed.notify_one();
    }

    /// Kills what lives below this process or calls the sandbox its home, and waits until it is gone.
    async fn sweep(&self) -> io::Result<()> {
        let deadline = Instant::now() + KILLED;
        loop {
            self.around.children.reap_others();
            let found = leftovers::of_own(&self.folder)?;
            if found.is_empty() {
                return Ok(());
            }
            for pid in &found {
                // Gone already, or not ours to kill: then it stays found, and the deadline says so.
                let _ = kill_process(*pid, Signal::KILL);
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{} processes of a sandbox cannot be killed", found.len())));
            }
            sleep(LOOK).await;
        }
    }

    /// Whether the sandbox is where it was, with its workspace.
    pub(super) fn in_place(&self) -> bool {
        let same = Identity::load(&self.folder).is_ok_and(|found| found.is_some_and(|found| found == self.identity));
        same && self.folder.workspace().is_dir()
    }

    pub(super) fn welcome(&self, version: u32) -> io::Result<Welcome> {
        Ok(Welcome {
            version,
            nonce: self.identity.nonce.clone(),
            boot_id: self.identity.boot_id.clone(),
            epoch: epoch::highest(&self.folder)?,
            hardening: self.hardening.clone(),
        })
    }

    pub(super) fn attached(&self) -> Attached {
        let running = u32::try_from(self.running().len()).unwrap_or(u32::MAX);
        Attached { running, limit_ms: u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX) }
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn connected(&self) -> usize {
        self.connected.get()
    }

    /// Counts a connection for as long as the guard lives.
    pub(super) fn connection(self: &Rc<Self>) -> Connected {
        self.connected.set(self.connected.get() + 1);
        Connected(Rc::clone(self))
    }
}

/// See [`Holder::connection`].
pub(super) struct Connected(Rc<Holder>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connected.set(self.0.connected.get() - 1);
        self.0.around.changed.notify_one();
    }
}

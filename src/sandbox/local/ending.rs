//! Ending all that runs in a sandbox, whoever started it and whether or not somebody supervises it.

use std::{io, time::Duration};

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{blocking, call::Call};
use crate::{
    sandbox::{Error, GRACE},
    supervisor::{
        epoch,
        folder::Folder,
        identity::Identity,
        leftovers,
        lock::{self, Lock},
        protocol::{Request, Terminate},
    },
};

/// How long a supervisor may take beyond the grace: as long as it gives killed programs, twice, and a little.
const ENDS: Duration = Duration::from_secs(25);

/// How long one may take to say hello, before it counts as one that hangs.
const HELLO: Duration = Duration::from_secs(5);

/// How long one that is about to exit may take.
const EXITS: Duration = Duration::from_secs(5);

/// Asks the supervisor to end everything; says whether one was there and did.
pub(super) async fn ask(folder: &Folder, identity: &Identity, epoch: i64, leave: bool) -> Result<bool, Error> {
    let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
    let request = Request::Terminate(Terminate { grace_ms, leave });
    let slow = |_| Error::Unavailable("its supervisor does not answer".to_owned());
    let opened = timeout(HELLO, Call::open(folder, identity, epoch, request)).await.map_err(slow)?;
    let Some(mut call) = opened? else { return Ok(false) };
    Ok(timeout(GRACE + ENDS, call.reply()).await.map_err(slow)??.is_some())
}

/// Ends everything and the supervisor too, by force where nothing else helps. Nobody else can supervise the sandbox until
/// the lock is dropped; without a folder there is none.
pub(super) async fn end(folder: &Folder, tracker: &TaskTracker) -> Result<Option<Lock>, Error> {
    let failed = |error: io::Error| Error::Unavailable(format!("what runs in a sandbox cannot be ended: {error}"));
    if let Some(identity) = Identity::load(folder).map_err(failed)? {
        let newest = epoch::highest(folder).map_err(failed)?;
        if let Err(error) = ask(folder, &identity, newest, true).await {
            tracing::warn!(sandbox = folder.id(), %error, "a supervisor is ended by force");
            lock::kill_holder(folder).map_err(failed)?;
        }
    }
    let folder = folder.clone();
    blocking(tracker, move || alone(&folder)).await?.map_err(failed)
}

/// Kills all supervisors of these sandboxes, and what they held. How programs ended is written down nowhere then. Blocks.
pub(super) fn by_force(folders: &[Folder]) -> io::Result<()> {
    for folder in folders {
        if Lock::held(folder)? {
            lock::kill_holder(folder)?;
        }
    }
    leftovers::kill(folders)
}

/// Makes sure that nobody supervises a sandbox, and that what nobody supervised is gone. Blocks.
fn alone(folder: &Folder) -> io::Result<Option<Lock>> {
    let take = || match Lock::take(folder, EXITS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
        taken => taken,
    };
    let lock = match take() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            lock::kill_holder(folder)?;
            take()
        }
        taken => taken,
    }?;
    leftovers::kill(std::slice::from_ref(folder))?;
    Ok(lock)
}

/// Kills the supervisor of a sandbox, and what it held. Blocks.
pub(super) fn force(folder: &Folder) -> io::Result<()> {
    lock::kill_holder(folder)?;
    bereaved(folder)
}

/// What a supervisor that is not there any more left running is killed, unless another one is there, which did it. Blocks.
pub(super) fn bereaved(folder: &Folder) -> io::Result<()> {
    match Lock::take(folder, EXITS) {
        Ok(Some(_lock)) => leftovers::kill(std::slice::from_ref(folder)),
        Ok(None) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => leftovers::kill(std::slice::from_ref(folder)),
        Err(error) => Err(error),
    }
}

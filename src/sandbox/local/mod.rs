//! Sandboxes on this machine: a directory each, programs as processes of the server's user, walled off by bubblewrap
//! where that works. It must know nothing of agents, sessions or storage.
//!
//! Programs are held by a process for each sandbox (the `supervisor` room), which lives on when the server does not; here
//! is its client. Whatever this server holds of a sandbox can be found again from its folder.

mod bubble;
mod call;
mod ending;
mod files;
mod launch;
mod link;
mod place;
mod reading;
mod spawn;
mod whole;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures::{
    StreamExt as _,
    future::join_all,
    stream::{self},
};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use self::{
    bubble::Bubble,
    launch::Wall,
    link::Link,
    place::Place,
    spawn::Spawner,
    whole::{look, make},
};
use super::blocking::blocking;
use crate::{
    domain::{Isolation, ModalSettings, SandboxId, SandboxSpec},
    sandbox::{Epoch, Error, NewSandbox, Provider, Sandbox},
    supervisor::{
        folder::{Folder, private_dir},
        identity::{Identity, Walled},
        leftovers,
        lock::Lock,
    },
};

/// How long programs may run on without a server, where nobody says otherwise.
pub const LIMIT: Duration = Duration::from_mins(30);

/// Most bytes of one output that are kept and not released, where nobody says otherwise.
pub const SPOOL_CAP: u64 = 1 << 30;

/// As `SandboxSpec.provider` names it.
pub const NAME: &str = "local";

/// Sandboxes that are ended at once.
const AT_ONCE: usize = 16;

/// How local sandboxes are made.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Holds a directory for each sandbox.
    pub root: PathBuf,
    /// What no program in a sandbox may see, the server's data above all. Takes a wall to hold.
    pub hidden: Vec<PathBuf>,
    /// What lies in a hidden directory and may be shown all the same, for example installed agents.
    pub shared: Vec<PathBuf>,
    /// Which wall.
    pub isolation: Wanted,
    /// The program that supervises a sandbox when its first argument is `supervise`: this very binary. `/proc/self/exe`
    /// stays the one that runs, also when another was installed over it.
    pub supervisor: PathBuf,
    /// How long programs may run on without a server; [`LIMIT`].
    pub limit: Duration,
    /// Most bytes of one output that are kept and not released; above it, the program waits. [`SPOOL_CAP`].
    pub spool_cap: u64,
}

/// How well local sandboxes must be walled off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// As well as this machine can.
    #[default]
    Auto,
    /// Not at all.
    Process,
    /// By bubblewrap, or not at all started.
    Namespace,
}

/// How long what is under way in sandboxes may take when the server leaves them.
const LAST: Duration = Duration::from_secs(2);

/// Makes sandboxes on this machine. A clone is the same provider.
#[derive(Clone, Debug)]
pub struct Local(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    wall: Wall,
    why_plain: Option<String>,
    spawner: Spawner,
    tracker: TaskTracker,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    shut: bool,
    by_id: HashMap<SandboxId, Arc<Slot>>,
}

/// Where one sandbox is or was; locked while it is made or removed.
type Slot = tokio::sync::Mutex<Option<Place>>;

impl Slots {
    fn open(&self) -> Result<(), Error> {
        if self.shut {
            return Err(Error::Unavailable("local sandboxes are shut down".to_owned()));
        }
        Ok(())
    }
}

impl Local {
    /// Makes the root directory and tries bubblewrap. Blocks for a moment.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the root cannot be made, or when bubblewrap is demanded and does not work.
    pub fn new(config: LocalConfig) -> Result<Self, Error> {
        let LocalConfig { root, mut hidden, shared, isolation, supervisor, limit, spool_cap } = config;
        let unusable = |error| Error::Unavailable(format!("{} cannot hold sandboxes: {error}", root.display()));
        private_dir(&root).map_err(unusable)?;
        let root = root.canonicalize().map_err(unusable)?;
        // No sandbox may see another.
        hidden.push(root.clone());
        let (wall, why_plain) = match isolation {
            Wanted::Process => (Wall::Plain, None),
            Wanted::Auto => match Bubble::find(hidden, shared, &root) {
                Ok(bubble) => (Wall::Bubble(bubble), None),
                Err(cause) => (Wall::Plain, Some(cause)),
            },
            Wanted::Namespace => (Wall::Bubble(Bubble::find(hidden, shared, &root).map_err(Error::Unavailable)?), None),
        };
        let spawner = Spawner { program: supervisor, limit, spool_cap };
        let (tracker, slots) = (TaskTracker::new(), Mutex::default());
        Ok(Self(Arc::new(Inner { root, wall, why_plain, spawner, tracker, slots })))
    }

    /// Why there is no wall although there should have been one if possible.
    #[must_use]
    pub fn why_plain(&self) -> Option<&str> {
        self.0.why_plain.as_deref()
    }

    /// Ends every program in every sandbox and makes no more of them; the files stay.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when a program cannot be ended.
    pub async fn shutdown(&self) -> Result<(), Error> {
        for place in self.shut().await {
            place.close().await;
        }
        let folders = self.folders().await?;
        let ended =
            self.end_all(folders.into_iter().filter(|folder| Lock::held(folder).unwrap_or(true)).collect()).await;
        self.0.tracker.close();
        self.0.tracker.wait().await;
        ended
    }

    /// Kills every program in every sandbox at once, whatever else is being done with it, and makes no more of them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when a program cannot be killed.
    pub async fn kill(&self) -> Result<(), Error> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner).shut = true;
        let folders = self.folders().await?;
        let killed = blocking(&self.0.tracker, move || ending::by_force(&folders)).await?;
        killed.map_err(|error| Error::Unavailable(format!("what runs in sandboxes cannot be killed: {error}")))
    }

    /// Leaves everything as it runs and makes no more sandboxes. Returns those in which programs run, and until when they
    /// may if no server comes back.
    pub async fn detach(&self) -> Vec<(SandboxId, SystemTime)> {
        let places = self.shut().await;
        let left = join_all(places.iter().map(Place::detach)).await.into_iter().flatten().collect();
        self.0.tracker.close();
        // What is being put into a sandbox is put there again by the next server: what runs is told of in any case.
        if timeout(LAST, self.0.tracker.wait()).await.is_err() {
            tracing::info!("something was still being done in sandboxes");
        }
        left
    }

    /// Lets nobody make or find sandboxes any more; returns those that are there.
    async fn shut(&self) -> Vec<Place> {
        let slots: Vec<_> = {
            let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.shut = true;
            slots.by_id.values().cloned().collect()
        };
        let mut places = Vec::new();
        for slot in slots {
            places.extend(slot.lock().await.clone());
        }
        places
    }

    async fn folders(&self) -> Result<Vec<Folder>, Error> {
        let root = self.0.root.clone();
        blocking(&self.0.tracker, move || Folder::all(&root))
            .await?
            .map_err(|error| Error::Unavailable(format!("the sandboxes cannot be listed: {error}")))
    }

    /// Ends what runs in these, with their supervisors.
    async fn end_all(&self, folders: Vec<Folder>) -> Result<(), Error> {
        let tracker = &self.0.tracker;
        let ends = stream::iter(folders).map(|folder| async move { ending::end(&folder, tracker).await.map(drop) });
        ends.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().collect()
    }

    fn folder(&self, id: &SandboxId) -> Result<Folder, Error> {
        Folder::of(&self.0.root, id.as_str())
            .ok_or_else(|| Error::Unavailable(format!("{id:?} cannot be the id of a sandbox")))
    }

    /// What programs of a sandbox that is there are behind; it may have been made by a server that had another.
    fn wall(&self, identity: &Identity) -> Result<Wall, Error> {
        match (identity.walled, &self.0.wall) {
            (Walled::Plain, Wall::Plain | Wall::Bubble(_)) => Ok(Wall::Plain),
            (Walled::Bubblewrap, Wall::Bubble(_)) => Ok(self.0.wall.clone()),
            (Walled::Bubblewrap, Wall::Plain) => Err(Error::Unavailable(
                "its programs are walled off by bubblewrap, which this server does not use".to_owned(),
            )),
        }
    }

    fn place(&self, id: &SandboxId, folder: Folder, identity: Identity, wall: Wall) -> Place {
        let link = Link::new(id.clone(), folder, identity, self.0.spawner.clone(), self.0.tracker.clone());
        Place::new(link, wall)
    }

    fn slot(&self, id: &SandboxId) -> Result<Arc<Slot>, Error> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.open()?;
        Ok(Arc::clone(slots.by_id.entry(id.clone()).or_default()))
    }

    /// Forgets a slot that holds nothing, unless somebody is about to fill it.
    fn tidy(&self, id: &SandboxId, slot: Arc<Slot>) {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Clones are made under this lock, so two of them are the map's and this one.
        if Arc::strong_count(&slot) == 2 {
            slots.by_id.remove(id);
        }
    }
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> &str {
        NAME
    }

    fn isolation(&self) -> Isolation {
        self.0.wall.isolation()
    }

    fn shares_machine(&self) -> bool {
        true
    }

    fn not_applied(&self, spec: &SandboxSpec) -> Vec<String> {
        spec.modal.as_ref().map(ModalSettings::said).unwrap_or_default()
    }

    fn search_path(&self, readable: &[PathBuf]) -> String {
        self.0.wall.search_path(readable)
    }

    async fn create(&self, new: NewSandbox) -> Result<Arc<dyn Sandbox>, Error> {
        let NewSandbox { id, epoch, session: _, generation: _, spec: _, contents: _, progress: _ } = &new;
        let epoch = *epoch;
        let folder = self.folder(id)?;
        let slot = self.slot(id)?;
        let mut slot = slot.lock().await;
        // Again: a shutdown that has passed this slot already does not come back to it.
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner).open()?;
        let failed = |error| Error::Unavailable(format!("the sandbox's directories cannot be made: {error}"));
        let (made, walled) = (folder.clone(), self.0.wall.walled());
        let found = blocking(&self.0.tracker, move || make(&made, walled)).await?.map_err(failed)?;
        if let Some(place) = &*slot
            && place.is(&found)
        {
            place.reopen(epoch)?;
            return Ok(Arc::new(place.clone()));
        }
        let identity = if found.walled == walled {
            found
        } else {
            // Made by a server with another wall: what runs behind that one must not go on behind this one's name.
            let lock = ending::end(&folder, &self.0.tracker).await?;
            let identity = Identity { walled, ..found };
            identity.store(&folder).map_err(failed)?;
            drop(lock);
            identity
        };
        let place = self.place(id, folder, identity, self.0.wall.clone());
        place.reopen(epoch)?;
        *slot = Some(place.clone());
        Ok(Arc::new(place))
    }

    async fn attach(&self, id: &SandboxId, epoch: Epoch) -> Result<Arc<dyn Sandbox>, Error> {
        let folder = self.folder(id)?;
        let slot = self.slot(id)?;
        let found = self.find(id, &folder, epoch, &mut *slot.lock().await).await;
        if found.is_err() {
            self.tidy(id, slot);
        }
        Ok(Arc::new(found?))
    }

    async fn destroy(&self, id: &SandboxId) -> Result<(), Error> {
        let folder = self.folder(id)?;
        let slot = self.slot(id)?;
        {
            let mut place = slot.lock().await;
            if let Some(known) = &*place {
                known.condemn().await;
            }
            let lock = ending::end(&folder, &self.0.tracker).await?;
            blocking(&self.0.tracker, move || {
                let removed = folder.remove();
                drop(lock);
                removed
            })
            .await?
            .map_err(|error| Error::Unavailable(format!("the sandbox's files cannot be removed: {error}")))?;
            *place = None;
        }
        self.tidy(id, slot);
        Ok(())
    }

    async fn reap(&self, at_work: &[SandboxId], named: &[SandboxId]) -> Result<(), Error> {
        let failed = |error| Error::Unavailable(format!("leftover programs cannot be ended: {error}"));
        let ids = |ids: &[SandboxId]| ids.iter().map(ToString::to_string).collect::<HashSet<_>>();
        let (at_work, named) = (ids(at_work), ids(named));
        let folders = self.folders().await?.into_iter().filter(|folder| !at_work.contains(folder.id()));
        let (named, given_up): (Vec<_>, Vec<_>) = folders.partition(|folder| named.contains(folder.id()));
        let (alive, dead): (Vec<_>, Vec<_>) = named.into_iter().partition(|folder| Lock::held(folder).unwrap_or(true));
        self.end_all(alive).await?;
        blocking(&self.0.tracker, move || leftovers::kill(&dead)).await?.map_err(failed)?;
        for folder in given_up {
            let id = SandboxId::new(folder.id());
            tracing::info!(sandbox = %id, "the folder of a sandbox that no session names is removed");
            // What cannot be removed now is tried again by the next server.
            if let Err(error) = self.destroy(&id).await {
                tracing::warn!(sandbox = %id, %error, "it could not be removed");
            }
        }
        Ok(())
    }
}

impl Local {
    /// Finds what lies in a folder, and what runs there.
    async fn find(
        &self,
        id: &SandboxId,
        folder: &Folder,
        epoch: Epoch,
        slot: &mut Option<Place>,
    ) -> Result<Place, Error> {
        let looked = folder.clone();
        let look = blocking(&self.0.tracker, move || look(&looked)).await?;
        let found =
            look.map_err(|error| Error::Unavailable(format!("the sandbox's folder cannot be read: {error}")))?;
        let (identity, runs) = found.ok_or_else(|| Error::Gone(format!("{id} is not there any more, or not whole")))?;
        let place = match slot {
            Some(place) if place.is(&identity) => place.clone(),
            Some(_) | None => {
                let wall = self.wall(&identity)?;
                self.place(id, folder.clone(), identity, wall)
            }
        };
        place.reopen(epoch)?;
        if runs {
            place.attach().await?;
        }
        *slot = Some(place.clone());
        Ok(place)
    }
}

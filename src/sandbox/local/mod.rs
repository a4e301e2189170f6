//! Sandboxes on this machine: a directory each, programs as processes of the server's user, walled off by bubblewrap
//! where that works. It must know nothing of agents, sessions or storage.
//!
//! In this version the programs die with the server: [`Local::shutdown`] ends them, and after a crash
//! [`Provider::reap`] does.

mod bubble;
mod exec;
mod files;
mod group;
mod launch;
mod layout;
mod place;
mod proc;
mod reap;
mod spool;
mod stdin;
mod wake;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use futures::future::join_all;
use tokio_util::task::TaskTracker;

use self::{
    bubble::Bubble,
    launch::Wall,
    layout::{Layout, private_dir},
    place::{Place, blocking},
};
use crate::{
    domain::{Isolation, SandboxId, SessionKey},
    sandbox::{Epoch, Error, Provider, Sandbox},
};

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

/// Makes sandboxes on this machine. A clone is the same provider.
#[derive(Clone, Debug)]
pub struct Local(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    wall: Wall,
    why_plain: Option<String>,
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
        let LocalConfig { root, mut hidden, shared, isolation } = config;
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
        let (tracker, slots) = (TaskTracker::new(), Mutex::default());
        Ok(Self(Arc::new(Inner { root, wall, why_plain, tracker, slots })))
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
        let slots: Vec<_> = {
            let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.shut = true;
            slots.by_id.values().cloned().collect()
        };
        let ends = slots.iter().map(|slot| async {
            match &*slot.lock().await {
                Some(place) => place.end().await,
                None => Ok(()),
            }
        });
        let ended: Result<(), Error> = join_all(ends).await.into_iter().collect();
        self.0.tracker.close();
        self.0.tracker.wait().await;
        ended
    }

    fn layout(&self, id: &SandboxId) -> Result<Layout, Error> {
        Layout::of(&self.0.root, id).ok_or_else(|| Error::Unavailable(format!("{id:?} cannot be the id of a sandbox")))
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
    fn name(&self) -> &'static str {
        "local"
    }

    fn isolation(&self) -> Isolation {
        self.0.wall.isolation()
    }

    async fn create(&self, id: &SandboxId, _: &SessionKey, epoch: Epoch) -> Result<Arc<dyn Sandbox>, Error> {
        let layout = self.layout(id)?;
        let slot = self.slot(id)?;
        let mut slot = slot.lock().await;
        // Again: a shutdown that has passed this slot already does not come back to it.
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner).open()?;
        let made = layout.clone();
        blocking(&self.0.tracker, move || made.make())
            .await?
            .map_err(|error| Error::Unavailable(format!("the sandbox's directories cannot be made: {error}")))?;
        if let Some(place) = &*slot {
            place.reopen(epoch)?;
            return Ok(Arc::new(place.clone()));
        }
        let place = Place::new(id.clone(), layout, self.0.wall.clone(), epoch, self.0.tracker.clone());
        *slot = Some(place.clone());
        Ok(Arc::new(place))
    }

    async fn attach(&self, id: &SandboxId, epoch: Epoch) -> Result<Arc<dyn Sandbox>, Error> {
        self.layout(id)?;
        let slot = self.slot(id)?;
        let held = slot.lock().await.clone();
        let Some(place) = held else {
            self.tidy(id, slot);
            return Err(Error::Gone(format!("nobody holds {id} any more")));
        };
        place.reopen(epoch)?;
        Ok(Arc::new(place))
    }

    async fn destroy(&self, id: &SandboxId) -> Result<(), Error> {
        let layout = self.layout(id)?;
        let slot = self.slot(id)?;
        {
            let mut place = slot.lock().await;
            if let Some(known) = &*place {
                known.destroy().await?;
                *place = None;
            } else {
                // One of an earlier server.
                blocking(&self.0.tracker, move || {
                    reap::sweep(std::slice::from_ref(&layout))?;
                    layout.remove()
                })
                .await?
                .map_err(|error| Error::Unavailable(format!("the sandbox's files cannot be removed: {error}")))?;
            }
        }
        self.tidy(id, slot);
        Ok(())
    }

    async fn reap(&self, _: &[SandboxId]) -> Result<(), Error> {
        let root = self.0.root.clone();
        blocking(&self.0.tracker, move || reap::all(&root))
            .await?
            .map_err(|error| Error::Unavailable(format!("leftover programs cannot be ended: {error}")))
    }
}

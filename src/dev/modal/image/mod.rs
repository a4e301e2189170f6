//! Images: layers by their content, and what snapshots kept. An image holds what of a root may be written; the system
//! below it is always this machine's.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::{sync::watch, time::Instant};
use tokio_util::task::TaskTracker;

mod build;
mod layer;

use super::{asked::Build, cell::root::Building, error::Error, ids};
use crate::modal_wire::client;
use build::{Recipe, Site};
pub(super) use build::{copy, fresh};

/// What a sandbox begins with.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    /// What it holds beside the system; `None`: nothing.
    pub(super) tree: Option<Arc<PathBuf>>,
    /// Variables of all its programs.
    pub(super) env: Vec<(String, String)>,
    /// Where they work.
    pub(super) workdir: Option<String>,
}

/// An image, built or not.
#[derive(Debug)]
pub(super) struct Image {
    /// As clients know it.
    pub(super) id: String,
    /// What it was built by.
    pub(super) builder_version: String,
    log: Log,
    expires: Option<Instant>,
}

/// How far a build is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// What it said.
    pub(super) lines: Vec<String>,
    /// What became of it; `None` while it runs.
    pub(super) done: Option<Result<Arc<Made>, String>>,
}

/// What a build says, kept for whoever asks.
#[derive(Debug)]
struct Log(watch::Sender<Progress>);

impl Log {
    fn say(&self, line: &str) {
        if !line.is_empty() {
            self.0.send_modify(|progress| progress.lines.push(format!("{line}\n")));
        }
    }
}

impl Image {
    fn new(builder_version: String, expires: Option<Instant>) -> Arc<Self> {
        let log = Log(watch::Sender::new(Progress::default()));
        Arc::new(Self { id: ids::short("im"), builder_version, log, expires })
    }

    /// How far it is, now and from now on.
    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.log.0.subscribe()
    }

    /// What it holds, if it is built.
    pub(super) fn made(&self) -> Result<Arc<Made>, Error> {
        match &self.log.0.borrow().done {
            Some(Ok(made)) => Ok(Arc::clone(made)),
            Some(Err(said)) => Err(Error::State(format!("image {} could not be built: {said}", self.id))),
            None => Err(Error::State(format!("image {} is still being built; wait for it", self.id))),
        }
    }

    fn failed(&self) -> bool {
        matches!(self.log.0.borrow().done, Some(Err(_)))
    }
}

/// All images of an emulator.
#[derive(Debug)]
pub(super) struct Images {
    folder: PathBuf,
    building: Building,
    tracker: TaskTracker,
    known: Mutex<HashMap<String, Arc<Image>>>,
    cache: Mutex<HashMap<[u8; 32], String>>,
    builds: Mutex<Vec<Build>>,
}

impl Images {
    /// Images whose trees lie in a folder.
    pub(super) fn new(folder: PathBuf, building: Building, tracker: TaskTracker) -> Self {
        Self { folder, building, tracker, known: Mutex::default(), cache: Mutex::default(), builds: Mutex::default() }
    }

    /// What was built, in order.
    pub(super) fn builds(&self) -> Vec<Build> {
        lock(&self.builds).clone()
    }

    /// The image of a layer: the one there is, or one whose build has begun. One that could not be built is tried again.
    pub(super) fn layer(
        &self,
        image: &client::Image,
        builder_version: &str,
        force: bool,
        env: Vec<(String, String)>,
    ) -> Result<Arc<Image>, Error> {
        // Maps are sorted, so that the same layer is the same bytes.
        let key = Sha256::new().chain_update(image.encode_to_vec()).chain_update(builder_version).finalize().into();
        let steps = layer::read(&image.dockerfile_commands).map_err(Error::Invalid)?;
        let mut bases = BTreeMap::new();
        for base in &image.base_images {
            bases.insert(base.docker_tag.clone(), self.get(&base.image_id)?.made()?);
        }
        let mut cache = lock(&self.cache);
        let found = cache.get(&key).filter(|_| !force).and_then(|id| self.get(id).ok());
        if let Some(found) = found.filter(|found| !found.failed()) {
            return Ok(found);
        }
        let fresh = Image::new(builder_version.to_owned(), None);
        cache.insert(key, fresh.id.clone());
        drop(cache);
        lock(&self.builds).push(Build::of(&fresh.id, image));
        lock(&self.known).insert(fresh.id.clone(), Arc::clone(&fresh));
        let files = image.context_files.iter().map(|file| (file.filename.clone(), file.data.clone())).collect();
        let build_args = image.build_args.iter().map(|(name, value)| (name.clone(), value.clone()));
        let recipe = Recipe { steps, bases, files, env: env.into_iter().chain(build_args).collect() };
        let (building, tracker) = (self.building.clone(), self.tracker.clone());
        let (folder, built) = (self.folder.join(&fresh.id), Arc::clone(&fresh));
        self.tracker.spawn(async move {
            let site = Site { building: &building, tracker: &tracker, folder };
            let done = build::build(site, recipe, &built.log).await.map(Arc::new);
            built.log.0.send_modify(|progress| progress.done = Some(done));
        });
        Ok(fresh)
    }

    /// An image that is there.
    pub(super) fn get(&self, id: &str) -> Result<Arc<Image>, Error> {
        let gone = |image: &Image| image.expires.is_some_and(|expires| expires <= Instant::now());
        let found = lock(&self.known).get(id).cloned();
        match found {
            Some(image) if gone(&image) => {
                self.remove(id);
                Err(Error::NotFound(format!("image {id} has expired")))
            }
            Some(image) => Ok(image),
            None => Err(Error::NotFound(format!("there is no image {id}"))),
        }
    }

    /// Those that snapshots kept, and that are not dropped.
    pub(super) fn kept(&self) -> Vec<String> {
        lock(&self.known).values().filter(|image| image.expires.is_some()).map(|image| image.id.clone()).collect()
    }

    /// Forgets all of those.
    pub(super) fn drop_snapshots(&self) {
        for id in self.kept() {
            self.remove(&id);
        }
    }

    /// Forgets an image.
    pub(super) fn remove(&self, id: &str) {
        if lock(&self.known).remove(id).is_some() {
            // Layers that were built on it and changed nothing show its tree, so it stays while they do.
            let tree = self.folder.join(id);
            let shown = |image: &Arc<Image>| image.made().is_ok_and(|made| made.tree.as_deref() == Some(&tree));
            if !lock(&self.known).values().any(shown) {
                let _ = fs::remove_dir_all(tree);
            }
        }
    }

    /// Keeps a copy of a root as an image.
    pub(super) async fn keep(&self, root: &Path, base: &Made, ttl: Option<Duration>) -> Result<Arc<Image>, Error> {
        let image = Image::new(String::new(), ttl.map(|ttl| Instant::now() + ttl));
        let tree = self.folder.join(&image.id);
        if let Err(error) = copy(root, &tree).await {
            let _ = fs::remove_dir_all(&tree);
            return Err(Error::internal("the file system cannot be copied", error));
        }
        let made = Made { tree: Some(Arc::new(tree)), ..base.clone() };
        image.log.0.send_modify(|progress| progress.done = Some(Ok(Arc::new(made))));
        lock(&self.known).insert(image.id.clone(), Arc::clone(&image));
        Ok(image)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each critical section leaves the map whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Everything an emulator has: apps, secrets, images and sandboxes, in memory and for as long as it runs.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    cell::{Cell, root::Building},
    error::Error,
    faults::Faults,
    ids,
    image::{Images, fresh},
    options::Options,
    sandbox::{Facts, Sandbox, Version},
    tokens::Tokens,
};
use crate::modal_wire::client::{self, network_access::NetworkAccessType, secret_source::Source};

/// How long a sandbox lives that says nothing about it, and the longest that one may.
const LIFETIME: (u32, u32) = (300, 24 * 60 * 60);

/// Two sandboxes are made at least this far apart, in seconds: lists are paged by the time.
const APART: f64 = 1e-5;

/// The world of one emulator.
#[derive(Debug)]
pub(super) struct World {
    pub(super) options: Options,
    pub(super) tokens: Tokens,
    pub(super) faults: Faults,
    pub(super) images: Arc<Images>,
    /// What runs on its own, awaited at the end.
    pub(super) tracker: TaskTracker,
    /// The emulator ends.
    pub(super) stop: CancellationToken,
    building: Building,
    things: Mutex<Things>,
    /// Holds all files; gone with the emulator.
    folder: TempDir,
}

#[derive(Debug, Default)]
struct Things {
    /// By environment and name.
    apps: HashMap<(String, String), String>,
    secrets: HashMap<String, Vec<(String, String)>>,
    /// By id.
    named_secrets: HashMap<(String, String), String>,
    /// In the order they were made.
    sandboxes: Vec<Arc<Sandbox>>,
    /// Running ones by app and name; reserved before one is made.
    names: HashMap<(String, String), String>,
    newest: f64,
}

/// A sandbox that somebody wants.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) version: Version,
    pub(super) app: String,
    pub(super) definition: client::Sandbox,
    pub(super) env: Vec<(String, String)>,
    pub(super) tags: Vec<client::SandboxTag>,
}

impl World {
    /// An empty world.
    pub(super) fn new(options: Options) -> Result<Arc<Self>, String> {
        let folder = tempfile::Builder::new().prefix("modal-emulator-").tempdir();
        let folder = folder.map_err(|error| format!("no temporary folder can be made: {error}"))?;
        let building = Building::survey(options.program.clone(), options.claude.clone(), folder.path())?;
        let tracker = TaskTracker::new();
        let images = folder.path().join("images");
        std::fs::create_dir(&images).map_err(|error| format!("{}: {error}", images.display()))?;
        Ok(Arc::new(Self {
            tokens: Tokens::new(options.token_life, options.clock),
            faults: Faults::new(options.faults.clone(), options.seed),
            images: Arc::new(Images::new(images, building.clone(), tracker.clone())),
            tracker,
            stop: CancellationToken::new(),
            building,
            things: Mutex::default(),
            folder,
            options,
        }))
    }

    /// The id of an app, which may have to be made.
    pub(super) fn app(&self, environment: &str, name: &str, make: bool, fail_if_there: bool) -> Result<String, Error> {
        let mut things = self.things();
        let key = (environment.to_owned(), name.to_owned());
        match things.apps.get(&key) {
            Some(_) if fail_if_there => Err(Error::Exists(format!("there is an app {name} already"))),
            Some(id) => Ok(id.clone()),
            None if make => Ok(things.apps.entry(key).or_insert_with(|| ids::short("ap")).clone()),
            None => Err(Error::NotFound(format!("there is no app {name}"))),
        }
    }

    /// All apps are stopped and gone; whoever asks for one by name gets another.
    pub(super) fn forget_apps(&self) {
        self.things().apps.clear();
    }

    /// Keeps variables under an id, which a name has if it is given.
    pub(super) fn secret(
        &self,
        name: Option<(&str, &str)>,
        env: Option<Vec<(String, String)>>,
    ) -> Result<String, Error> {
        let mut things = self.things();
        let key = name.map(|(environment, name)| (environment.to_owned(), name.to_owned()));
        let known = key.as_ref().and_then(|key| things.named_secrets.get(key).cloned());
        match (known, env) {
            (Some(id), None) => Ok(id),
            (known, Some(env)) => {
                let id = known.unwrap_or_else(|| ids::short("st"));
                things.secrets.insert(id.clone(), env);
                if let Some(key) = key {
                    things.named_secrets.insert(key, id.clone());
                }
                Ok(id)
            }
            (None, None) => Err(Error::NotFound(format!("there is no secret {}", name.unwrap_or_default().1))),
        }
    }

    /// The variables of secrets that are kept, in their order.
    pub(super) fn kept(&self, secrets: &[String]) -> Result<Vec<(String, String)>, Error> {
        let things = self.things();
        let mut all = Vec::new();
        for id in secrets {
            let env = things.secrets.get(id).ok_or_else(|| Error::NotFound(format!("there is no secret {id}")))?;
            all.extend(env.iter().cloned());
        }
        Ok(all)
    }

    /// The variables that sources stand for, in their order.
    pub(super) fn sources(&self, sources: &[client::SecretSource]) -> Result<Vec<(String, String)>, Error> {
        let mut all = Vec::new();
        for source in sources {
            match &source.source {
                Some(Source::SecretId(id)) => all.extend(self.kept(std::slice::from_ref(id))?),
                Some(Source::Env(map)) => {
                    all.extend(map.contents.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
                None => {}
            }
        }
        Ok(all)
    }

    /// Makes a sandbox; it is made also when whoever asked is gone.
    pub(super) async fn create(self: &Arc<Self>, wanted: Wanted) -> Result<Arc<Sandbox>, Error> {
        let world = Arc::clone(self);
        let made = self.tracker.spawn(async move {
            let (id, task) = match wanted.version {
                Version::V1 => (ids::short("sb"), ids::short("ta")),
                Version::V2 => (ids::sandbox_v2(), ids::task_v2()),
            };
            let name = wanted.definition.name.clone().filter(|name| !name.is_empty());
            let name = name.map(|name| (wanted.app.clone(), name));
            if let Some(name) = &name {
                world.reserve(name, &id)?;
            }
            let made = world.make(id, task, wanted).await;
            if let (Err(_), Some(name)) = (&made, &name) {
                world.things().names.remove(name);
            }
            made
        });
        made.await.map_err(|error| Error::internal("a sandbox was ended while it was made", error))?
    }

    fn reserve(&self, name: &(String, String), id: &str) -> Result<(), Error> {
        let mut things = self.things();
        if let Some(other) = things.names.get(name) {
            return Err(Error::Exists(format!("sandbox {other} of this app has the name {} and runs", name.1)));
        }
        things.names.insert(name.clone(), id.to_owned());
        Ok(())
    }

    async fn make(self: &Arc<Self>, id: String, task: String, wanted: Wanted) -> Result<Arc<Sandbox>, Error> {
        let Wanted { version, app, mut definition, env, tags } = wanted;
        if !self.things().apps.values().any(|known| *known == app) {
            return Err(Error::NotFound(format!("there is no app {app}")));
        }
        if definition.timeout_secs == 0 {
            definition.timeout_secs = LIFETIME.0;
        }
        if definition.timeout_secs > LIFETIME.1 {
            return Err(Error::Invalid(format!("timeout_secs is at most {}", LIFETIME.1)));
        }
        let made = self.images.get(&definition.image_id)?.made()?;
        let folder = self.folder.path().join("sandboxes").join(&id);
        let failed = |error: std::io::Error| Error::internal("the sandbox cannot be made", error);
        let root = folder.join("root");
        std::fs::create_dir_all(&folder).map_err(failed)?;
        fresh(made.tree.as_deref().map(PathBuf::as_path), &root).await.map_err(failed)?;
        let blocked = definition.network_access.as_ref().map(client::NetworkAccess::network_access_type);
        let network = blocked != Some(NetworkAccessType::Blocked);
        let workdir = definition.workdir.clone().filter(|dir| !dir.is_empty()).or_else(|| made.workdir.clone());
        let workdir = workdir.unwrap_or_else(|| "/root".to_owned());
        let cell = Cell::open(self.building.command(&root, network), &self.tracker).await.map_err(failed)?;
        let own = [("MODAL_SANDBOX_ID", &id), ("MODAL_TASK_ID", &task)];
        let own = own.map(|(name, value)| (name.to_owned(), value.clone()));
        let env =
            self.building.environment().into_iter().chain(made.env.iter().cloned()).chain(own).chain(env).collect();
        let created = self.time();
        let facts = Facts { id, task, app, version, definition, created, folder, env, workdir, made };
        let sandbox = Sandbox::new(facts, tags, cell, self.tracker.clone());
        let entered = sandbox.enter().await;
        self.things().sandboxes.push(Arc::clone(&sandbox));
        let (world, gone) = (Arc::clone(self), Arc::clone(&sandbox));
        let ended = move || world.things().names.retain(|_, id| *id != gone.facts.id);
        let linger = self.options.linger;
        self.tracker.spawn(Arc::clone(&sandbox).live(
            entered,
            linger,
            Arc::clone(&self.images),
            self.stop.clone(),
            ended,
        ));
        Ok(sandbox)
    }

    /// The time of a creation: later than that of any other.
    fn time(&self) -> f64 {
        let mut things = self.things();
        #[expect(clippy::cast_precision_loss, reason = "a clock that is so far ahead tells no time")]
        let now = now() + self.options.clock as f64;
        things.newest = now.max(things.newest + APART);
        things.newest
    }

    /// A sandbox by its id.
    pub(super) fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>, Error> {
        let found = self.things().sandboxes.iter().find(|sandbox| sandbox.facts.id == id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("there is no sandbox {id}")))
    }

    /// A sandbox by the id of its task.
    pub(super) fn task(&self, id: &str) -> Result<Arc<Sandbox>, Error> {
        let found = self.things().sandboxes.iter().find(|sandbox| sandbox.facts.task == id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("there is no task {id}")))
    }

    /// Whether a sandbox has a machine, and with it a task that clients are told of.
    pub(super) fn is_placed(&self, sandbox: &Sandbox) -> bool {
        self.time() >= sandbox.facts.created + self.options.placing.as_secs_f64()
    }

    /// All there are and were, in the order they were made.
    pub(super) fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        self.things().sandboxes.clone()
    }

    fn things(&self) -> MutexGuard<'_, Things> {
        // Each critical section leaves the maps whole.
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

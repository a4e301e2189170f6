//! Sandboxes of Modal: far away, reached only through the programs that are run in them.
//!
//! A sandbox of ours is one of Modal's after the other: each ends, at the latest after a day, and what its files were is the
//! image of the next. The ledger says which one it is now; it is written before one is made and when it has ended.

mod address;
mod attempts;
mod control;
mod epochs;
mod failure;
mod files;
pub mod helper;
mod helpers;
mod home;
mod image;
mod input;
mod inventory;
mod jwt;
mod kept;
mod make;
mod names;
mod origin;
mod pages;
mod place;
mod program;
mod record;
mod remote;
mod router;
mod scripts;
mod shared;
mod slots;
mod trust;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio_util::task::TaskTracker;
use tonic::{Code, Status};

use self::{
    address::Address,
    control::Control,
    home::{Home, Named},
    image::{Images, Wanted},
    kept::Kept,
    make::{Made, Plan},
    origin::Witness,
    place::{Place, WORKSPACE},
    record::Record,
    remote::{Left, Over, Remote},
    router::{Channels, Router},
    slots::{Slot, Slots},
    trust::Trust,
};
pub use self::{
    control::Credentials,
    files::{ModalFiles, WATCH},
};
use crate::{
    domain::{Isolation, LedgerEntry, LedgerFacts, LedgerState, SandboxId, SandboxSpec, Timestamp},
    modal_wire::client::ImageFromIdRequest,
    sandbox::{
        Epoch, Error, ImageContents, NewSandbox, Progress, Provider, Sandbox, inventory::Inventory, lease::Lease,
        ledger::Ledger,
    },
};

/// As `SandboxSpec.provider` names it.
pub const NAME: &str = "modal";

/// Where Modal is, where nobody says otherwise.
pub const SERVER: &str = "https://api.modal.com:443";

/// How long what is under way may take when the server leaves.
const LAST: Duration = Duration::from_secs(2);

/// How Modal is reached, and what is ours there.
#[derive(Clone, Debug)]
pub struct ModalConfig {
    /// [`SERVER`], or a stand-in.
    pub server: String,
    /// A PEM file of the roots that alone vouch for its certificates, and its routers'; `None`: the web's.
    pub roots: Option<PathBuf>,
    /// The account's token.
    pub credentials: Credentials,
    /// Of the account; empty: its default.
    pub environment: String,
    /// Holds all sandboxes of this server's.
    pub app: String,
    /// Ids of apps, in Modal's words, in which nothing is any more: what rows say was made there is over.
    pub given_up: Vec<String>,
    /// A folder of this machine for files on their way into a sandbox, of which nothing else is made use: what an earlier process
    /// left in it is removed.
    pub staging: PathBuf,
    /// How long what watches files in a sandbox runs on at most when its server is gone; [`WATCH`].
    pub watch: Duration,
}

/// Makes sandboxes at Modal. A clone is the same provider.
#[derive(Clone, Debug)]
pub struct Modal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    control: Arc<Control>,
    channels: Channels,
    home: Arc<Home>,
    images: Images,
    kept: Kept,
    ledger: Arc<dyn Ledger>,
    slots: Slots,
    staging: PathBuf,
    watch: Duration,
    tracker: TaskTracker,
}

impl Modal {
    /// Checks what can be checked without asking anybody.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the server's address, its roots or the credentials cannot be right.
    pub fn new(config: ModalConfig, ledger: Arc<dyn Ledger>, lease: Arc<dyn Lease>) -> Result<Self, Error> {
        let ModalConfig { server, roots, credentials, environment, app, given_up, staging, watch } = config;
        let trust = Trust::read(roots.as_deref()).map_err(Error::Unavailable)?;
        let address = Address::control(&server, trust).map_err(Error::Unavailable)?;
        let token_id = credentials.token_id.clone();
        let named = Named { server: address.named(), app, environment, token_id, given_up };
        let home = Arc::new(Home::new(named));
        let control = Arc::new(Control::new(address, &credentials, Arc::clone(&lease)).map_err(Error::Unavailable)?);
        Ok(Self(Arc::new(Inner {
            kept: Kept::new(Arc::clone(&control), Arc::clone(&home)),
            control,
            channels: Channels::default(),
            home,
            images: Images::default(),
            ledger,
            slots: Slots::new(lease),
            staging,
            watch,
            tracker: TaskTracker::new(),
        })))
    }

    /// Makes and finds no more sandboxes, and leaves those that are there as they run. Returns those in which programs may run.
    pub async fn detach(&self) -> Vec<SandboxId> {
        let open = self.0.slots.shut().await;
        self.0.kept.close().await;
        self.0.tracker.close();
        if tokio::time::timeout(LAST, self.0.tracker.wait()).await.is_err() {
            tracing::info!("something was still being done in sandboxes at Modal");
        }
        open.into_iter().map(|place| place.id().clone()).collect()
    }

    /// Ends every sandbox that this process has used, with its files kept, and makes no more of them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when one cannot be ended; Modal ends it when nothing runs in it any more.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let open = self.0.slots.shut().await;
        let ends = open.iter().map(|place| place.terminate(place.epoch()));
        let ended = futures::future::join_all(ends).await.into_iter().collect();
        self.0.kept.close().await;
        self.0.tracker.close();
        self.0.tracker.wait().await;
        ended
    }

    async fn image(&self, base: &str, contents: &ImageContents, progress: &Progress) -> Result<String, Error> {
        let Inner { control, home, images, .. } = &*self.0;
        let failed = |status| failure::unavailable(&status);
        let wanted = Wanted { base, workspace: WORKSPACE, contents };
        let found = home.find(control).await.map_err(failed)?;
        let built = images.get(control, &found, &wanted, progress).await;
        if built.is_ok() {
            return built;
        }
        // The app may be what is missing, and what was built in it with it.
        match home.find_again(control, &found).await {
            Ok(None) | Err(_) => built,
            Ok(Some(found)) => {
                images.forget();
                images.get(control, &found, &wanted, progress).await
            }
        }
    }

    /// The sandbox as it runs; `None`: it does not, and the row says what it was.
    async fn running(&self, id: &SandboxId, slot: &mut Slot) -> Result<Result<Place, Option<LedgerEntry>>, Error> {
        let over = |remote: Remote| async move { remote.over().await.map_err(|status| failure::unavailable(&status)) };
        if let Some(place) = slot.place()
            && over(place.remote().clone()).await?.is_none()
        {
            return Ok(Ok(place.clone()));
        }
        let Some(mut entry) = self.0.ledger.find(id).await? else { return Ok(Err(None)) };
        match entry.state {
            LedgerState::Ended => Ok(Err(Some(entry))),
            LedgerState::Created => {
                let remote = self.remote(&entry);
                if let Some(Over(how)) = over(remote.clone()).await? {
                    tracing::info!(sandbox = %id, how, "a sandbox is over");
                    return Ok(Err(Some(entry)));
                }
                // It is known here, so that it is not any more will mean something.
                let remote = remote.told_by(Witness::default());
                let made = Made { remote, task_id: entry.facts.task_id.clone(), access: None };
                Ok(Ok(self.place(id, slot, made, entry)?))
            }
            // Its making was cut short: it is there, or it is not.
            LedgerState::Intended => {
                let found = make::running(&self.0.control, &self.0.home, &entry).await;
                let Some(external) = found.map_err(|status| failure::unavailable(&status))? else {
                    return Ok(Err(Some(entry)));
                };
                let adopted = make::adopt(&self.0.control, external).await;
                let made = adopted.map_err(|status| failure::unavailable(&status))?;
                self.created(&mut entry, &made).await?;
                Ok(Ok(self.place(id, slot, made, entry)?))
            }
        }
    }

    /// What a sandbox that is over left: the image of its files. `None`: nothing.
    async fn left(&self, entry: &LedgerEntry) -> Result<Option<String>, Error> {
        let snapshot = &entry.facts.snapshot;
        match entry.state {
            LedgerState::Ended if let Some(kept) = snapshot => {
                return Ok((Timestamp::now() < kept.expire_time).then(|| kept.image_id.clone()));
            }
            LedgerState::Ended | LedgerState::Created => {}
            // Never known to be made, so nothing that counts was in it but what it was to be made from.
            LedgerState::Intended => {
                let kept = snapshot.as_ref().filter(|kept| Timestamp::now() < kept.expire_time);
                return Ok(kept.map(|kept| kept.image_id.clone()));
            }
        }
        // It ended by itself, or in a hurry; or what was kept of it is not there any more.
        self.0.kept.spare(&entry.facts.external_id).await;
        match self.remote(entry).exit_snapshot().await.map_err(|status| failure::unavailable(&status))? {
            Left::Image(image_id) => Ok(Some(image_id)),
            Left::Nothing => Ok(None),
            // Whoever waits has waited for minutes, and would each time.
            Left::NotYet => {
                tracing::warn!(sandbox = %entry.id, "the snapshot that a sandbox left does not come");
                Ok(None)
            }
        }
    }

    /// Makes it again of the files that the one before left. `None`: there are none, or Modal has them no more.
    async fn again(&self, new: &NewSandbox, slot: &mut Slot, mut entry: LedgerEntry) -> Result<Option<Place>, Error> {
        while let Some(image_id) = self.left(&entry).await? {
            self.may_be_lost(&entry, &image_id).await?;
            match self.make(new, slot, image_id, true).await {
                Err(Error::Gone(why)) => {
                    tracing::warn!(sandbox = %new.id, why, "a sandbox cannot be made of what was kept of it");
                    // Without that, what it left by itself is asked for.
                    if entry.facts.snapshot.take().is_none() {
                        return Ok(None);
                    }
                }
                made => return made.map(Some),
            }
        }
        Ok(None)
    }

    /// Refuses to take an image for lost that Modal does not know because what left it was made elsewhere: the row still says
    /// where that is.
    async fn may_be_lost(&self, entry: &LedgerEntry, image_id: &str) -> Result<(), Error> {
        let failed = |status| failure::unavailable(&status);
        let believed = Witness::of_life(&self.0.home, entry).believe(&self.0.control).await;
        let Err(doubt) = believed else { return Ok(()) };
        if self.has(image_id).await.map_err(failed)? { Ok(()) } else { Err(failed(doubt)) }
    }

    fn remote(&self, entry: &LedgerEntry) -> Remote {
        Remote::of(&self.0.control, &self.0.home, entry)
    }

    /// Whether Modal knows an image.
    async fn has(&self, image_id: &str) -> Result<bool, Status> {
        let request = ImageFromIdRequest { image_id: image_id.to_owned() };
        let asked =
            self.0.control.call(request, |mut control, request| async move { control.image_from_id(request).await });
        match asked.await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status),
        }
    }

    /// Makes one from an image and writes it down, before and after. What the one before `left` stays in the row until there
    /// is something newer: if this is cut short, it is what the next one is made from.
    async fn make(&self, new: &NewSandbox, slot: &mut Slot, image_id: String, left: bool) -> Result<Place, Error> {
        let settings = new.spec.modal.clone().unwrap_or_default().filled();
        let here = self.0.home.here(&self.0.control).await.map_err(|status| failure::unavailable(&status))?;
        let create_time = Timestamp::now();
        let known = self.0.ledger.find(&new.id).await?.and_then(|entry| entry.facts.snapshot);
        let (snapshot, older) = match known {
            Some(known) if left && known.image_id == image_id => (Some(known), None),
            older if left => (Some(record::kept_from(create_time, image_id.clone())), older),
            older => (None, older),
        };
        let mut entry = LedgerEntry {
            id: new.id.clone(),
            session: new.session.clone(),
            generation: new.generation,
            provider: NAME.to_owned(),
            state: LedgerState::Intended,
            facts: LedgerFacts {
                create_time,
                expire_time: Some(record::after(create_time, settings.lifetime())),
                settings: settings.clone(),
                snapshot,
                origin: Some(here),
                ..LedgerFacts::default()
            },
        };
        slot.epochs().held(new.epoch)?;
        self.0.ledger.put(&entry).await?;
        let _ = new.progress.try_send("starting".to_owned());
        let plan = Plan {
            id: &new.id,
            session: &new.session,
            generation: new.generation,
            owner: self.0.ledger.owner(),
            image_id,
            workspace: WORKSPACE,
            settings: &settings,
        };
        slot.epochs().held(new.epoch)?;
        let made = match make::make(&self.0.control, &self.0.home, &plan).await {
            Ok(made) => made,
            Err(status) => {
                // The image may be what is missing.
                self.0.images.forget();
                if left && matches!(self.has(&plan.image_id).await, Ok(false)) {
                    return Err(Error::Gone(format!("Modal has no image {} any more", plan.image_id)));
                }
                return Err(failure::unavailable(&status));
            }
        };
        // Its app may have had to be made again.
        entry.facts.origin = self.0.home.known().or(entry.facts.origin);
        self.created(&mut entry, &made).await?;
        if let Some(older) = older {
            self.0.kept.drop_image_later(older.image_id);
        }
        self.place(&new.id, slot, made, entry)
    }

    async fn created(&self, entry: &mut LedgerEntry, made: &Made) -> Result<(), Error> {
        entry.state = LedgerState::Created;
        made.remote.sandbox_id().clone_into(&mut entry.facts.external_id);
        entry.facts.task_id.clone_from(&made.task_id);
        self.0.ledger.put(entry).await
    }

    fn place(&self, id: &SandboxId, slot: &mut Slot, made: Made, entry: LedgerEntry) -> Result<Place, Error> {
        let Inner { channels, kept, ledger, staging, watch, tracker, .. } = &*self.0;
        let Made { remote, task_id, access } = made;
        let router = Router::new(remote, task_id, channels.clone(), access);
        let router = Arc::new(router.map_err(|status| failure::unavailable(&status))?);
        let record = Record::new(Arc::clone(ledger), kept.clone(), entry);
        let place = Place::new(id.clone(), router, slot.epochs().clone(), record, Path::new(staging), *watch, tracker);
        slot.fill(place.clone());
        Ok(place)
    }
}

/// The image that a caller's begin with; empty: ours.
fn base(spec: &SandboxSpec) -> &str {
    spec.modal.as_ref().map_or("", |settings| &settings.image)
}

#[async_trait]
impl Provider for Modal {
    fn name(&self) -> &str {
        NAME
    }

    fn isolation(&self) -> Isolation {
        Isolation::Remote
    }

    fn shares_machine(&self) -> bool {
        false
    }

    fn not_applied(&self, _: &SandboxSpec) -> Vec<String> {
        Vec::new()
    }

    fn search_path(&self, _: &[PathBuf]) -> String {
        image::search_path()
    }

    async fn build_ahead(&self, spec: &SandboxSpec, contents: &ImageContents) -> Result<(), Error> {
        let (progress, _) = tokio::sync::mpsc::channel(1);
        self.image(base(spec), contents, &progress).await.map(drop)
    }

    async fn create(&self, new: NewSandbox) -> Result<Arc<dyn Sandbox>, Error> {
        let mut slot = self.0.slots.enter(&new.id).await?;
        slot.epochs().see(new.epoch)?;
        match self.running(&new.id, &mut slot).await? {
            Ok(place) => return Ok(Arc::new(place)),
            Err(Some(entry)) => {
                if let Some(place) = self.again(&new, &mut slot, entry).await? {
                    return Ok(Arc::new(place));
                }
            }
            Err(None) => {}
        }
        let image_id = self.image(base(&new.spec), &new.contents, &new.progress).await?;
        Ok(Arc::new(self.make(&new, &mut slot, image_id, false).await?))
    }

    async fn attach(&self, id: &SandboxId, epoch: Epoch) -> Result<Arc<dyn Sandbox>, Error> {
        let mut slot = self.0.slots.enter(id).await?;
        slot.epochs().see(epoch)?;
        match self.running(id, &mut slot).await? {
            Ok(place) => Ok(Arc::new(place)),
            Err(_) => Err(Error::Gone(format!("{id} does not run at Modal any more"))),
        }
    }

    async fn resume(&self, new: NewSandbox) -> Result<Arc<dyn Sandbox>, Error> {
        let mut slot = self.0.slots.enter(&new.id).await?;
        slot.epochs().see(new.epoch)?;
        let entry = match self.running(&new.id, &mut slot).await? {
            // It lives on because it could not be ended when it was to be. What runs in it is nobody's any more.
            Ok(place) => match place.settle(new.epoch).await {
                Ok(()) => return Ok(Arc::new(place)),
                Err(error @ Error::Stale { .. }) => return Err(error),
                Err(error) => {
                    tracing::warn!(sandbox = %new.id, %error, "a sandbox is ended with what runs in it");
                    place.terminate(new.epoch).await?;
                    self.0.ledger.find(&new.id).await?
                }
            },
            Err(entry) => entry,
        };
        // It takes the place of the one that the caller knows.
        let new = NewSandbox { generation: new.generation.saturating_add(1), ..new };
        let again = match entry {
            Some(entry) => self.again(&new, &mut slot, entry).await?,
            None => None,
        };
        match again {
            Some(place) => Ok(Arc::new(place)),
            None => Err(Error::Gone(format!("{} ended at Modal and left nothing", new.id))),
        }
    }

    async fn destroy(&self, id: &SandboxId) -> Result<(), Error> {
        let mut slot = self.0.slots.enter(id).await?;
        let Some(mut entry) = self.0.ledger.find(id).await? else {
            self.0.slots.leave(id, slot);
            return Ok(());
        };
        let unavailable = |status: tonic::Status| failure::unavailable(&status);
        slot.epochs().held(slot.epochs().newest())?;
        let external = match entry.state {
            LedgerState::Created => Some(entry.facts.external_id.clone()),
            LedgerState::Intended => make::running(&self.0.control, &self.0.home, &entry).await.map_err(unavailable)?,
            LedgerState::Ended => None,
        };
        if let Some(place) = slot.take() {
            place.condemn();
        }
        if external.is_none() && entry.state == LedgerState::Intended {
            // The call that makes it may still be on its way: the row stays for whoever compares the two later.
            return Ok(());
        }
        if let Some(external) = external {
            entry.facts.external_id = external;
            self.remote(&entry).terminate().await.map_err(unavailable)?;
            entry.state = LedgerState::Ended;
            entry.facts.end_time = Some(Timestamp::now());
            self.0.ledger.put(&entry).await?;
        }
        if !self.0.kept.drop_all_soon(&entry).await {
            // It is over, and what it left is dropped by whoever finds the row of one that nobody wants.
            return Ok(());
        }
        self.0.ledger.remove(id).await?;
        self.0.slots.leave(id, slot);
        Ok(())
    }

    /// What is at Modal is found by the ledger and [`Provider::inventory`].
    async fn reap(&self, _: &[SandboxId], _: &[SandboxId]) -> Result<(), Error> {
        Ok(())
    }

    fn inventory(&self) -> Option<&dyn Inventory> {
        Some(self)
    }
}

//! Watching a tenant's list of sessions: the whole list or what changed since a revision, then what changes.
//!
//! A commit wakes the watchers of its tenant; each reads what changed since its own cursor, at most once a second. So a
//! session that changes often is told once a second as it is then, nothing is held for any session, and a slow watcher
//! costs nothing but its cursor.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{EventLog, hub::lock, unavailable};
use crate::{
    domain::{Failure, Reason, TenantId},
    store::{ChangesQuery, ListChange, ListedChange, SessionFilter, SessionQuery},
};

/// Sessions of one page read from the store.
const PAGE: usize = 500;
/// Between two looks at what changed.
const PAUSE: Duration = Duration::from_secs(1);

/// What wakes the watchers of each tenant. A tenant that nobody watches has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Bells(Arc<Mutex<HashMap<TenantId, watch::Sender<()>>>>);

impl Bells {
    /// Lists of this tenant changed, and it is stored.
    pub(super) fn ring(&self, tenant: &TenantId) {
        let mut bells = lock(&self.0);
        if bells.get(tenant).is_some_and(|bell| bell.send(()).is_err()) {
            bells.remove(tenant);
        }
    }

    fn listen(&self, tenant: &TenantId) -> watch::Receiver<()> {
        lock(&self.0).entry(tenant.clone()).or_insert_with(|| watch::Sender::new(())).subscribe()
    }
}

/// What a watch of a list says next.
#[derive(Clone, Debug)]
pub struct ListUpdate {
    /// May be none.
    pub changes: Vec<ListedChange>,
    /// Where to resume; 0 while the whole list comes.
    pub revision: i64,
    /// All there was when the watch began was said now.
    pub synced: bool,
}

/// The changes of a tenant's list, without end.
#[derive(Debug)]
pub struct ListWatch {
    log: EventLog,
    tenant: TenantId,
    filter: SessionFilter,
    bell: watch::Receiver<()>,
    stage: Stage,
    /// All up to it was said; 0 before the whole list was.
    cursor: i64,
    synced: bool,
    looked: Instant,
}

#[derive(Clone, Debug)]
enum Stage {
    /// The whole list, as of this revision or later, page by page.
    Listing(i64, Box<SessionQuery>),
    /// What changed up to this revision.
    Reading(i64),
    /// Nothing more is known to have changed.
    Waiting,
    /// Something changed.
    Rung,
}

pub(super) async fn open(
    log: &EventLog,
    tenant: &TenantId,
    filter: SessionFilter,
    after: Option<i64>,
) -> Result<ListWatch, Failure> {
    // First the bell, then the look: what is stored before is seen, and what is stored after rings.
    let bell = log.inner.bells.listen(tenant);
    let newest = log.revision(tenant).await?;
    if let Some(after) = after.filter(|after| *after > newest) {
        let message =
            format!("revision {after} is above the newest, {newest}: it is not of this list; begin without one");
        let failure = Failure::new(Reason::SequenceAhead, message);
        return Err(failure.with("after_revision", after).with("head_revision", newest));
    }
    let stage = if after.is_some() {
        Stage::Reading(newest)
    } else {
        let SessionFilter { status, profile_id, labels } = filter.clone();
        // What was created since comes when all of the list was said.
        let as_of = Some(newest);
        let query = SessionQuery { status, profile_id, labels, as_of, limit: PAGE, ..SessionQuery::default() };
        Stage::Listing(newest, Box::new(query))
    };
    let (log, tenant, cursor) = (log.clone(), tenant.clone(), after.unwrap_or_default());
    let mut watch = ListWatch { log, tenant, filter, bell, stage, cursor, synced: false, looked: Instant::now() };
    if after.is_some() {
        watch.refuse_forgotten().await?;
    }
    Ok(watch)
}

impl ListWatch {
    /// Where the watch can be resumed; 0 while the whole list comes.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.cursor
    }

    /// What comes next; waits for it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`]; [`Reason::SequenceTruncated`] when what changed is not known any more.
    pub async fn next(&mut self) -> Result<ListUpdate, Failure> {
        loop {
            match &mut self.stage {
                Stage::Listing(newest, query) => {
                    let views = self.log.store().sessions(&self.tenant, query).await;
                    let views = views.map_err(|error| unavailable(&error))?;
                    if views.len() == PAGE {
                        let last = views.last().map(|view| &view.session);
                        query.before = last.map(|last| (last.create_time, last.session_id.clone()));
                    } else {
                        self.cursor = *newest;
                        self.rest();
                    }
                    let added = |view| ListedChange { revision: 0, change: ListChange::Added, view };
                    return Ok(self.update(views.into_iter().map(added).collect()));
                }
                Stage::Reading(until) => {
                    let until = *until;
                    let changes = self.read(until).await?;
                    if self.cursor >= until {
                        self.rest();
                    }
                    let update = self.update(changes);
                    if update.synced || !update.changes.is_empty() {
                        return Ok(update);
                    }
                }
                Stage::Waiting => {
                    self.rung().await;
                    self.stage = Stage::Rung;
                }
                Stage::Rung => {
                    tokio::time::sleep_until(self.looked + PAUSE).await;
                    self.bell.borrow_and_update();
                    let newest = self.log.revision(&self.tenant).await?;
                    self.stage = Stage::Reading(newest);
                }
            }
        }
    }

    async fn rung(&mut self) {
        // The log keeps the bell for as long as somebody listens.
        self.bell.changed().await.expect("a bell that is listened to stays");
    }

    fn rest(&mut self) {
        self.stage = Stage::Waiting;
        self.looked = Instant::now();
    }

    /// Says once that all there was has been said.
    fn update(&mut self, changes: Vec<ListedChange>) -> ListUpdate {
        let synced = !self.synced && matches!(self.stage, Stage::Waiting);
        self.synced |= synced;
        ListUpdate { changes, revision: self.cursor, synced }
    }

    async fn read(&mut self, until: i64) -> Result<Vec<ListedChange>, Failure> {
        let query = ChangesQuery { filter: &self.filter, after: self.cursor, until, limit: PAGE };
        let page = self.log.store().changes(&self.tenant, query).await.map_err(|error| unavailable(&error))?;
        self.refuse(page.forgotten)?;
        self.cursor = page.through.max(self.cursor);
        Ok(page.changes)
    }

    async fn refuse_forgotten(&mut self) -> Result<(), Failure> {
        let query = ChangesQuery { filter: &self.filter, after: self.cursor, until: self.cursor, limit: 0 };
        let page = self.log.store().changes(&self.tenant, query).await.map_err(|error| unavailable(&error))?;
        self.refuse(page.forgotten)
    }

    fn refuse(&self, oldest: i64) -> Result<(), Failure> {
        if self.cursor >= oldest {
            return Ok(());
        }
        let message = format!("what changed since revision {} is not kept; begin without a revision", self.cursor);
        let failure = Failure::new(Reason::SequenceTruncated, message);
        Err(failure.with("after_revision", self.cursor).with("oldest_revision", oldest))
    }
}

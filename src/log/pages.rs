//! Pages of the store, read once for all who are behind the ring at the same place: a thousand watchers that replay a
//! log together cost as much as one.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::OnceCell;

use super::{failure, hub::lock, segment::Segment};
use crate::{
    domain::{Failure, SessionKey},
    store::{EventPage, Store},
};

/// Sequences of one page. Pages end at multiples of it, so that watchers that began at different places meet.
const PAGE: i64 = 1024;
/// Pages that are kept for whoever comes a little later, while several are behind: what lies between the fastest and
/// the slowest client's buffers.
const KEPT: usize = 16;

type Cell = Arc<OnceCell<Arc<Page>>>;

/// The pages that were read last, by the cursor they follow.
#[derive(Debug, Default)]
pub(super) struct Pages {
    recent: Mutex<VecDeque<(i64, Cell)>>,
    /// Watchers that are behind the ring.
    readers: AtomicUsize,
}

/// A page of the store.
#[derive(Debug)]
pub(super) struct Page {
    /// `None`: nothing follows the cursor.
    pub(super) segment: Option<Arc<Segment>>,
    /// Sequence of the newest event there was.
    pub(super) head: i64,
    /// Sequence of the newest event that retention had removed.
    pub(super) trimmed: i64,
}

impl Page {
    pub(super) fn new(page: EventPage) -> Self {
        let EventPage { events, head, trimmed, uid: _, deleted: _ } = page;
        Self { segment: Segment::read(events).map(Arc::new), head, trimmed }
    }
}

/// Most events that a page after this cursor holds.
pub(super) fn limit(after: i64) -> usize {
    usize::try_from(PAGE - after.rem_euclid(PAGE)).expect("a page is small")
}

impl Pages {
    /// One more watcher is behind the ring.
    pub(super) fn enter(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    /// One less. Nothing is kept for one alone, who reads each page once.
    pub(super) fn leave(&self) {
        if self.readers.fetch_sub(1, Ordering::Relaxed) <= 2 {
            lock(&self.recent).clear();
        }
    }

    /// The page after a cursor. Who asks while it is read waits for the same answer.
    pub(super) async fn after(&self, store: &dyn Store, key: &SessionKey, cursor: i64) -> Result<Arc<Page>, Failure> {
        let cell = self.cell(cursor);
        let read = || async {
            let page = store.events(key, cursor, limit(cursor)).await.map_err(|error| failure(error, key))?;
            Ok(Arc::new(Page::new(page)))
        };
        let page = cell.get_or_try_init(read).await?;
        // That nothing follows is true only now; the next one asks again.
        if page.segment.is_none() || self.readers.load(Ordering::Relaxed) < 2 {
            self.forget(&cell);
        }
        Ok(Arc::clone(page))
    }

    fn cell(&self, cursor: i64) -> Cell {
        let mut recent = lock(&self.recent);
        if let Some((_, cell)) = recent.iter().find(|(after, _)| *after == cursor) {
            return Arc::clone(cell);
        }
        let cell = Cell::default();
        recent.push_back((cursor, Arc::clone(&cell)));
        if recent.len() > KEPT {
            recent.pop_front();
        }
        cell
    }

    fn forget(&self, cell: &Cell) {
        lock(&self.recent).retain(|(_, held)| !Arc::ptr_eq(held, cell));
    }
}

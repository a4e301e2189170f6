//! Hubs: what watchers of one session share while there are any. A ring of the newest segments, the pages that were read
//! last for those who are behind it, and one wake-up for each commit; each watcher keeps its own place, so a slow one
//! costs nothing but its cursor.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{pages::Pages, segment::Segment};
use crate::domain::{Event, SessionKey};

/// Hubs by session. A session that nobody watches has none.
pub(super) type Hubs = Arc<Mutex<HashMap<SessionKey, Arc<Hub>>>>;

/// Bytes that a ring keeps, about; who is further behind reads the store.
const RING_BYTES: usize = 1 << 20;

/// What the watchers of one session share.
#[derive(Debug)]
pub(super) struct Hub {
    ring: Mutex<Ring>,
    head: watch::Sender<i64>,
    pages: Pages,
}

#[derive(Debug, Default)]
struct Ring {
    segments: VecDeque<Arc<Segment>>,
    weight: usize,
}

/// A watcher's place at a hub; the hub goes with the last one.
#[derive(Debug)]
pub(super) struct Seat {
    hubs: Hubs,
    key: SessionKey,
    hub: Arc<Hub>,
    head: watch::Receiver<i64>,
    behind: bool,
}

/// What a ring has for a cursor.
pub(super) enum Taken {
    /// The segments that follow it, at least one; the cursor may stand inside the first.
    Segments(Vec<Arc<Segment>>),
    /// Nothing follows yet.
    Nothing,
    /// The ring no longer has what follows: read the store.
    Behind,
}

/// The map of hubs, whatever happened to others that held it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows stored events to those who watch the session.
pub(super) fn publish(hubs: &Hubs, key: &SessionKey, events: Vec<Event>) {
    let Some(hub) = lock(hubs).get(key).cloned() else { return };
    let Some(segment) = Segment::committed(events) else { return };
    let head = segment.last();
    {
        let mut ring = lock(&hub.ring);
        ring.weight += segment.weight();
        ring.segments.push_back(Arc::new(segment));
        while ring.weight > RING_BYTES {
            let Some(segment) = ring.segments.pop_front() else { break };
            ring.weight -= segment.weight();
        }
    }
    hub.head.send_replace(head);
}

impl Seat {
    /// Takes a seat: from now on nothing is published past it.
    pub(super) fn take(hubs: &Hubs, key: &SessionKey) -> Self {
        let hub = Arc::clone(lock(hubs).entry(key.clone()).or_insert_with(|| {
            Arc::new(Hub { ring: Mutex::default(), head: watch::Sender::new(0), pages: Pages::default() })
        }));
        let head = hub.head.subscribe();
        Self { hubs: Arc::clone(hubs), key: key.clone(), hub, head, behind: false }
    }

    /// What follows the cursor, about so many bytes of it.
    pub(super) fn after(&self, cursor: i64, bytes: usize) -> Taken {
        let ring = lock(&self.hub.ring);
        let newest = ring.segments.back().map_or(0, |segment| segment.last());
        if newest <= cursor {
            // The head moves only after the ring was filled, so a ring that was emptied by its limits says so here.
            return if *self.head.borrow() > cursor { Taken::Behind } else { Taken::Nothing };
        }
        // From the newest on: whoever keeps up is one or two behind.
        let missing = ring.segments.iter().rev().take_while(|segment| segment.last() > cursor).count();
        let from = ring.segments.len() - missing;
        let follows = ring.segments.get(from).and_then(|segment| segment.events().first());
        if follows.is_none_or(|first| first.first_sequence > cursor + 1) {
            return Taken::Behind;
        }
        let mut room = bytes;
        let fits = ring.segments.range(from..).take_while(|segment| {
            let fits = room > 0;
            room = room.saturating_sub(segment.weight());
            fits
        });
        Taken::Segments(fits.cloned().collect())
    }

    /// The pages that watchers who are behind the ring share.
    pub(super) fn pages(&self) -> &Pages {
        &self.hub.pages
    }

    /// Whether the store is read before the ring.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Says whether the store is to be read before the ring.
    pub(super) fn set_behind(&mut self, behind: bool) {
        if behind && !self.behind {
            self.hub.pages.enter();
        } else if !behind && self.behind {
            self.hub.pages.leave();
        }
        self.behind = behind;
    }

    /// Waits until something is published; what was published since the last wait counts.
    pub(super) async fn changed(&mut self) {
        // The sender lives in the hub that this seat holds.
        self.head.changed().await.expect("a seat keeps its hub");
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.set_behind(false);
        let mut hubs = lock(&self.hubs);
        // Two: the map's and this seat's. Seats are taken under the same lock, so nobody comes in between.
        if Arc::strong_count(&self.hub) == 2 {
            hubs.remove(&self.key);
        }
    }
}

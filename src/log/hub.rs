//! Hubs: what watchers of one session share while there are any. A ring of the newest events and one wake-up for each
//! commit; each watcher keeps its own place, so a slow one costs nothing but its cursor.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::Committed;
use crate::domain::{Event, SessionKey};

/// Hubs by session. A session that nobody watches has none.
pub(super) type Hubs = Arc<Mutex<HashMap<SessionKey, Arc<Hub>>>>;

/// Bytes of text and payload that a ring keeps, about; who is further behind reads the store.
const RING_BYTES: usize = 1 << 20;
/// Events that a ring keeps.
const RING_EVENTS: usize = 4096;

/// What the watchers of one session share.
#[derive(Debug)]
pub(super) struct Hub {
    ring: Mutex<Ring>,
    head: watch::Sender<i64>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<(usize, Arc<Committed>)>,
    bytes: usize,
}

/// A watcher's place at a hub; the hub goes with the last one.
#[derive(Debug)]
pub(super) struct Seat {
    hubs: Hubs,
    key: SessionKey,
    hub: Arc<Hub>,
    head: watch::Receiver<i64>,
}

/// What a ring has for a cursor.
pub(super) enum Taken {
    /// The events that follow it, at least one.
    Events(Vec<Arc<Committed>>),
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
    let Some(head) = events.last().map(|event| event.sequence) else { return };
    {
        let mut ring = lock(&hub.ring);
        for event in events {
            let size = event.weight();
            ring.bytes += size;
            ring.events.push_back((size, Arc::new(Committed(event))));
        }
        while ring.events.len() > RING_EVENTS || ring.bytes > RING_BYTES {
            let Some((size, _)) = ring.events.pop_front() else { break };
            ring.bytes -= size;
        }
    }
    hub.head.send_replace(head);
}

impl Seat {
    /// Takes a seat: from now on nothing is published past it.
    pub(super) fn take(hubs: &Hubs, key: &SessionKey) -> Self {
        let hub = Arc::clone(
            lock(hubs)
                .entry(key.clone())
                .or_insert_with(|| Arc::new(Hub { ring: Mutex::default(), head: watch::Sender::new(0) })),
        );
        let head = hub.head.subscribe();
        Self { hubs: Arc::clone(hubs), key: key.clone(), hub, head }
    }

    /// What follows the cursor.
    pub(super) fn after(&self, cursor: i64) -> Taken {
        let ring = lock(&self.hub.ring);
        let newest = ring.events.back().map_or(0, |(_, event)| event.0.sequence);
        if newest <= cursor {
            // The head moves only after the ring was filled, so a ring that was emptied by its limits says so here.
            return if *self.head.borrow() > cursor { Taken::Behind } else { Taken::Nothing };
        }
        let from = ring.events.partition_point(|(_, event)| event.0.sequence <= cursor);
        match ring.events.get(from) {
            Some((_, first)) if first.0.first_sequence == cursor + 1 => {
                Taken::Events(ring.events.range(from..).map(|(_, event)| Arc::clone(event)).collect())
            }
            Some(_) | None => Taken::Behind,
        }
    }

    /// Waits until something is published; what was published since the last wait counts.
    pub(super) async fn changed(&mut self) {
        // The sender lives in the hub that this seat holds.
        self.head.changed().await.expect("a seat keeps its hub");
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut hubs = lock(&self.hubs);
        // Two: the map's and this seat's. Seats are taken under the same lock, so nobody comes in between.
        if Arc::strong_count(&self.hub) == 2 {
            hubs.remove(&self.key);
        }
    }
}

//! What all clients of a run share: the sessions there are, what the server can do, how far the run is, and its end.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use rand::{rngs::StdRng, seq::IndexedRandom as _};
use tokio_util::sync::CancellationToken;

use crate::abilities::Abilities;

#[derive(Clone)]
pub struct Stage(Arc<Inner>);

struct Inner {
    abilities: Abilities,
    wanted: usize,
    sessions: Mutex<Vec<String>>,
    resumed: Mutex<BTreeSet<u64>>,
    sent: AtomicU64,
    deleted: AtomicUsize,
    closing: CancellationToken,
    over: CancellationToken,
}

impl Stage {
    pub fn new(abilities: Abilities, wanted: usize) -> Self {
        Self(Arc::new(Inner {
            abilities,
            wanted,
            sessions: Mutex::default(),
            resumed: Mutex::default(),
            sent: AtomicU64::new(0),
            deleted: AtomicUsize::new(0),
            closing: CancellationToken::new(),
            over: CancellationToken::new(),
        }))
    }

    pub fn abilities(&self) -> Abilities {
        self.0.abilities
    }

    pub fn is_over(&self) -> bool {
        self.0.over.is_cancelled()
    }

    /// What was begun goes on, nothing more is.
    pub fn is_closing(&self) -> bool {
        self.0.closing.is_cancelled()
    }

    pub fn close(&self) {
        self.0.closing.cancel();
    }

    pub fn end(&self) {
        self.0.over.cancel();
    }

    pub fn session(&self, rng: &mut StdRng) -> Option<String> {
        lock(&self.0.sessions).choose(rng).cloned()
    }

    pub fn has_enough(&self) -> bool {
        lock(&self.0.sessions).len() >= self.0.wanted
    }

    pub fn add(&self, session: String) {
        lock(&self.0.sessions).push(session);
    }

    /// It was deleted.
    pub fn forget(&self, session: &str) {
        lock(&self.0.sessions).retain(|held| held != session);
        self.0.deleted.fetch_add(1, Ordering::Relaxed);
    }

    /// This stream began after a cursor, and something came.
    pub fn resumed(&self, stream: u64) {
        lock(&self.0.resumed).insert(stream);
    }

    pub fn resumes(&self) -> usize {
        lock(&self.0.resumed).len()
    }

    pub fn sent(&self, accepted: bool) {
        self.0.sent.fetch_add(u64::from(accepted), Ordering::Relaxed);
    }

    /// Messages that were accepted, about.
    pub fn messages(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

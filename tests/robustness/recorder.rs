//! The recorder: takes down what every client does and is told, with one clock and one order for all.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::history::{self, Line, What};

/// Shared by all clients of a run.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    began: Instant,
    folder: PathBuf,
    lines: Mutex<Vec<Line>>,
    ids: AtomicU64,
}

impl Recorder {
    /// A history that goes to this folder.
    pub fn new(folder: &Path, name: &str, seed: u64, compacts: bool) -> Self {
        fs::create_dir_all(folder).expect("a folder for the history");
        let inner =
            Inner { began: Instant::now(), folder: folder.to_owned(), lines: Mutex::default(), ids: AtomicU64::new(1) };
        let recorder = Self(Arc::new(inner));
        recorder.add(0, What::Run { name: name.to_owned(), seed, compacts });
        recorder
    }

    pub fn add(&self, client: u32, what: What) {
        // The clock is read under the lock, so that the order of lines is that of their times.
        let mut lines = self.lines();
        let at_us = u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        lines.push(Line { at_us, client, what });
    }

    /// A number for a call or a stream.
    pub fn id(&self) -> u64 {
        self.0.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub fn fate(&self, fate: &str, moment: &str) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        self.add(0, What::Server { fate: fate.to_owned(), unix_us, moment: moment.to_owned() });
    }

    /// All that was taken down so far.
    pub fn history(&self) -> Vec<Line> {
        self.lines().clone()
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    /// Also of a run that failed.
    fn drop(&mut self) {
        let lines = std::mem::take(self.lines.get_mut().unwrap_or_else(PoisonError::into_inner));
        if self.folder.is_dir()
            && let Err(error) = history::write(&self.folder.join("history.jsonl"), &lines)
        {
            println!("the history could not be kept: {error}");
        }
    }
}

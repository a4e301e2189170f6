//! How far a look at a tree goes.

use std::time::Duration;

use super::{Ignore, path::is_within};

/// What a scan looks at, and where it stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What is left out by name.
    pub ignore: Ignore,
    /// Only these entries and what lies below them; empty: everything.
    pub only: Vec<String>,
    /// Larger files are left out, and said so.
    pub max_file_bytes: u64,
    /// No more entries than these.
    pub max_entries: usize,
    /// No longer than this; what was not reached by then stands as it was known.
    pub time: Duration,
}

impl Scope {
    /// Most bytes of a file that are looked at, unless told otherwise.
    pub const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;
    /// Most entries, unless told otherwise.
    pub const MAX_ENTRIES: usize = 200_000;
    /// Longest look, unless told otherwise.
    pub const TIME: Duration = Duration::from_mins(1);

    /// Everything but what can be built again: what a checkpoint keeps.
    #[must_use]
    pub fn kept() -> Self {
        Self {
            ignore: Ignore::Rebuilt,
            only: Vec::new(),
            max_file_bytes: Self::MAX_FILE_BYTES,
            max_entries: Self::MAX_ENTRIES,
            time: Self::TIME,
        }
    }

    /// What people want to see.
    #[must_use]
    pub fn shown() -> Self {
        Self { ignore: Ignore::Hidden, ..Self::kept() }
    }

    /// Only these entries, with everything below them: what is kept of a home.
    #[must_use]
    pub fn only(entries: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { only: entries.into_iter().map(Into::into).collect(), ..Self::kept() }
    }

    /// How this entry stands to the scope.
    pub(super) fn place(&self, path: &str) -> Place {
        if self.only.is_empty() || self.only.iter().any(|only| is_within(path, only)) {
            return Place::Inside;
        }
        if self.only.iter().any(|only| is_within(only, path)) { Place::OnTheWay } else { Place::Outside }
    }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It counts.
    Inside,
    /// It does not count, but what lies below it may.
    OnTheWay,
    /// It is none of the scan's business.
    Outside,
}

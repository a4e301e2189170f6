//! A list that comes page by page, newest first, each asked for by a time before which its entries were made. Whether one that
//! was made at that very time is among them is not established, and several may have been: so each page begins where the one
//! before ended, and what stands on both counts once.

use std::collections::HashSet;

use crate::modal_wire::client::SandboxInfo;

/// Seconds that two times are apart which are told apart.
const MOMENT: f64 = 1e-6;

/// What was read, and where to read on.
#[derive(Debug, Default)]
pub(super) struct Pages {
    before: f64,
    seen: HashSet<String>,
    all: Vec<SandboxInfo>,
}

impl Pages {
    /// The time to ask with; 0 is now.
    pub(super) fn before(&self) -> f64 {
        self.before
    }

    /// Takes a page. Says whether to ask on: only an empty one is the last, or one that shows that nobody looks at the time that
    /// was asked with, so that each would be the same.
    pub(super) fn take(&mut self, page: Vec<SandboxInfo>) -> bool {
        let Some(last) = page.last().map(|last| last.created_at) else { return false };
        let known = self.all.len();
        let asked = self.before;
        let Self { before, seen, all } = self;
        all.extend(page.into_iter().filter(|one| seen.insert(one.id.clone())));
        *before = if all.len() > known {
            last + MOMENT
        } else if *before > last {
            last
        } else {
            asked - MOMENT
        };
        let same = all.len() == known && asked > 0.0 && last > asked + MOMENT;
        // A time that is none asks for the first page again.
        !same && *before > 0.0
    }

    /// All that was read.
    pub(super) fn all(self) -> Vec<SandboxInfo> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a list of entries that were made at these times, as servers may give it.
    fn read(times: &[f64], size: usize, inclusive: bool) -> usize {
        let entry = |(at, created_at): (usize, &f64)| SandboxInfo {
            id: format!("sb-{at}"),
            created_at: *created_at,
            ..SandboxInfo::default()
        };
        let all: Vec<_> = times.iter().enumerate().map(entry).collect();
        let mut pages = Pages::default();
        for _ in 0..100 {
            let before = pages.before();
            let fits = |one: &&SandboxInfo| {
                before <= 0.0 || one.created_at < before || (inclusive && one.created_at <= before)
            };
            let page = all.iter().filter(fits).take(size).cloned().collect();
            if !pages.take(page) {
                return pages.all().len();
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn a_list_that_looks_at_no_time_ends() {
        for times in [[7.0, 5.0, 3.0], [0.0, 0.0, 0.0], [5.0, 5.0, 5.0]] {
            let entry = |(at, created_at)| SandboxInfo { id: format!("sb-{at}"), created_at, ..SandboxInfo::default() };
            let page: Vec<_> = times.into_iter().enumerate().map(entry).collect();
            let mut pages = Pages::default();
            let asked = (0..100).take_while(|_| pages.take(page.clone())).count();
            assert!(asked < 9, "{times:?}");
            assert_eq!(pages.all().len(), 3, "{times:?}");
        }
    }

    #[test]
    fn each_is_read_once_and_the_list_ends() {
        // As times are: some 2^31 seconds, with fractions.
        let time = |seconds: f64| 1.8e9 + seconds;
        let apart: Vec<f64> = (0..7).map(|at| time(70.0 - f64::from(at) * 0.01)).collect();
        let together = [time(9.0), time(8.5), time(8.5), time(8.5), time(8.0), time(8.0), time(7.0)];
        for inclusive in [false, true] {
            for size in 1..9 {
                assert_eq!(read(&apart, size, inclusive), 7, "{size} {inclusive}");
            }
            for size in 4..9 {
                assert_eq!(read(&together, size, inclusive), 7, "{size} {inclusive}: some of one moment on two pages");
            }
            assert_eq!(read(&[], 3, inclusive), 0);
        }
    }
}

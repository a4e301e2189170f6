//! What the reaper has told people: each thing once, and not at each look. Pure.

use std::collections::HashMap;

/// Of one provider.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Why the look before had to stop.
    stopped: Option<String>,
    /// What was wrong with single sandboxes when they were last looked at, by whatever names them.
    before: HashMap<String, String>,
    now: HashMap<String, String>,
}

impl Told {
    /// A look had to stop. Whether that is new, or has another reason.
    pub(super) fn stopped(&mut self, why: &str) -> bool {
        // What it did not come to is as it was.
        self.before.extend(self.now.drain());
        self.stopped.replace(why.to_owned()).is_none_or(|before| before != why)
    }

    /// Something is wrong with one sandbox. Whether that is new, or has another reason.
    pub(super) fn trouble(&mut self, sandbox: &str, why: &str) -> bool {
        self.now.insert(sandbox.to_owned(), why.to_owned());
        self.before.get(sandbox).is_none_or(|before| before != why)
    }

    /// A look came to its end. Whether the one before had to stop.
    pub(super) fn finished(&mut self) -> bool {
        self.before = std::mem::take(&mut self.now);
        self.stopped.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_told_once() {
        let mut told = Told::default();
        assert!(told.stopped("no list") && !told.stopped("no list") && told.stopped("no ledger"));
        assert!(told.finished() && !told.finished());
        assert!(told.stopped("no list"), "it was well in between");
        assert!(told.finished());

        assert!(told.trouble("a", "it does not end"));
        assert!(!told.finished());
        assert!(!told.trouble("a", "it does not end") && told.trouble("b", "it does not end"));
        assert!(told.stopped("no ledger"));
        assert!(!told.trouble("b", "it does not end"), "it was told before the look had to stop");
        assert!(told.trouble("b", "nobody answers"), "for another reason");
        told.finished();
        assert!(told.trouble("a", "it does not end"), "it was well in between");
    }
}

//! Which faults a run meets, by its seed: calls that fail before their effect and after it, streams of output that are cut,
//! tokens that end in the middle of them, waits that are asked for, creates whose answers are lost.

use std::collections::BTreeMap;

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::Value;

/// Every call of the provider's that has one answer: each fails in each run that makes it. Those of Modal's first version are
/// made for sandboxes with a GPU.
pub(crate) const UNARY: [&str; 26] = [
    "AppGetOrCreate",
    "AuthTokenGet",
    "EnvironmentGetOrCreate",
    "ImageDelete",
    "ImageGetOrCreate",
    "SandboxCreate",
    "SandboxCreateV2",
    "SandboxGetCommandRouterAccess",
    "SandboxGetExitSnapshot",
    "SandboxGetExitSnapshotV2",
    "SandboxGetFromName",
    "SandboxGetFromNameV2",
    "SandboxGetTaskId",
    "SandboxGetTaskIdV2",
    "SandboxListV2",
    "SandboxTerminate",
    "SandboxTerminateV2",
    "SandboxWait",
    "SandboxWaitV2",
    "TaskExecPoll",
    "TaskExecStart",
    "TaskExecStdinStatus",
    "TaskExecStdinWrite",
    "TaskExecWait",
    "TaskGetCommandRouterAccess",
    "TaskSnapshotFilesystem",
];
const CREATES: [&str; 2] = ["SandboxCreate", "SandboxCreateV2"];
const OUTPUT: &str = "TaskExecStdioRead";
const BUILD: &str = "ImageJoinStreaming";

/// So many seeds in a row have everything in them.
pub(crate) const ALL: u64 = 8;

/// What one run meets.
#[derive(Debug)]
pub(crate) struct Mixture {
    /// As the emulator is told.
    pub(crate) rules: String,
    /// Seconds that its tokens live.
    pub(crate) token_life: u32,
    /// The sandbox is made by the first version of Modal's calls.
    pub(crate) gpu: bool,
}

impl Mixture {
    pub(crate) fn of(seed: u64, rng: &mut StdRng) -> Self {
        let mut rules = Vec::new();
        // What chance alone may leave out of a small set of seeds has a turn in it.
        let turn = seed % ALL;
        if turn.is_multiple_of(2) || rng.random_bool(0.5) {
            let lost = rng.random_range(1..=4);
            rules.extend(CREATES.map(|call| format!("{call}=UNAVAILABLE@1*{lost}")));
        }
        if turn == 1 || turn == 2 {
            // It comes too late for whoever ends the sandbox, which then leaves another one.
            rules.push("TaskSnapshotFilesystem=DEADLINE_EXCEEDED@1*1".to_owned());
        }
        if turn.is_multiple_of(3) {
            rules.push("TaskExecStdinWrite=ABORTED@0%0.2".to_owned());
        }
        rules.extend(UNARY.map(|call| format!("{call}=UNAVAILABLE@{}*1", rng.random_range(0..=1))));
        rules.push(format!("{BUILD}=UNAVAILABLE@{}*1", rng.random_range(0..=1)));
        if turn % 2 == 1 || rng.random_bool(0.5) {
            let (after, often) = (rng.random_range(1..=4), rng.random_range(0.05..0.3));
            rules.push(format!("{OUTPUT}=EXPIRED@{after}%{often:.2}"));
            rules.push("*=EXPIRED@0%0.01".to_owned());
        }
        if turn == 0 || rng.random_bool(0.8) {
            let (after, often) = (rng.random_range(1..=6), rng.random_range(0.5..=1.0));
            rules.push(format!("{OUTPUT}=UNAVAILABLE@{after}%{often:.2}"));
        }
        if turn == 0 || rng.random_bool(0.7) {
            let (wait, often) = (rng.random_range(0.0..0.3), rng.random_range(0.02..0.08));
            rules.push(format!("*=RESOURCE_EXHAUSTED+{wait:.2}@0%{often:.2}"));
        }
        if rng.random_bool(0.7) {
            let often = rng.random_range(0.02..0.08);
            rules.extend([0, 1].map(|after| format!("*=UNAVAILABLE@{after}%{often:.2}")));
        }
        let token_life = *[5, 33, 1200].choose(rng).expect("some");
        Self { rules: rules.join(","), token_life, gpu: turn % 4 == 1 }
    }
}

/// What became of the calls of many runs.
#[derive(Debug, Default)]
pub(crate) struct Met(BTreeMap<String, BTreeMap<String, u64>>);

impl Met {
    /// Takes in what an emulator counted.
    pub(crate) fn add(&mut self, calls: &Value) {
        for (call, count) in calls.as_object().expect("calls by name") {
            let of = self.0.entry(call.clone()).or_default();
            *of.entry("made".to_owned()).or_default() += count["made"].as_u64().expect("a number");
            for (fault, times) in count["failed"].as_object().expect("faults by name") {
                // How long it wants to be left alone says nothing here.
                let fault = fault.split_once('+').map_or(&**fault, |(code, _)| code);
                *of.entry(fault.to_owned()).or_default() += times.as_u64().expect("a number");
            }
        }
    }

    pub(crate) fn join(&mut self, other: Self) {
        for (call, counts) in other.0 {
            let of = self.0.entry(call).or_default();
            for (fault, times) in counts {
                *of.entry(fault).or_default() += times;
            }
        }
    }

    /// How often calls failed with such a fault.
    fn times(&self, call: &str, is_it: impl Fn(&str) -> bool) -> u64 {
        let counts = self.0.iter().filter(|(name, _)| call == "*" || call == *name).flat_map(|(_, counts)| counts);
        counts.filter(|(fault, _)| is_it(fault)).map(|(_, times)| times).sum()
    }

    /// How many calls were made, and how many faults they met.
    pub(crate) fn sums(&self) -> (u64, u64) {
        let made = self.times("*", |what| what == "made");
        (made, self.times("*", |_| true) - made)
    }

    /// Everything that the runs are about has happened in them.
    pub(crate) fn check(&self) {
        let unavailable = |fault: &str| fault.starts_with("UNAVAILABLE@");
        let spared: Vec<_> = UNARY.iter().filter(|call| self.times(call, unavailable) == 0).collect();
        assert!(spared.is_empty(), "these calls never failed: {spared:?} of {self:#?}");
        let unknown: Vec<_> = self.0.keys().filter(|call| !is_known(call)).collect();
        assert!(unknown.is_empty(), "the provider makes calls that are in no list here: {unknown:?}");
        assert!(self.times(BUILD, unavailable) > 0, "{self:#?}");
        assert!(self.times(OUTPUT, |fault| unavailable(fault) && !fault.ends_with("@0")) > 0, "{self:#?}");
        assert!(self.times(OUTPUT, |fault| fault.starts_with("EXPIRED@")) > 0, "{self:#?}");
        assert!(self.times("*", |fault| fault == "RESOURCE_EXHAUSTED") > 0, "{self:#?}");
        for call in CREATES {
            assert!(self.times(call, |fault| fault == "UNAVAILABLE@1") > 0, "{call}: {self:#?}");
        }
    }
}

fn is_known(call: &str) -> bool {
    UNARY.contains(&call) || call == OUTPUT || call == BUILD
}

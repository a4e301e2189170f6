//! What became of the calls that were made: how often each was, and which faults it met. For tests that want to know whether
//! what they are about has happened.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rule::Fault;

/// Of all calls, by their names.
pub(in super::super) type Tally = BTreeMap<String, Count>;

/// Of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(in super::super) struct Count {
    /// How often it was made.
    pub(super) made: u64,
    /// How often it failed on purpose, by the fault as a rule writes it. An answer that ended before it could be cut is not
    /// counted.
    pub(super) failed: BTreeMap<String, u64>,
}

impl Count {
    pub(super) fn met(&mut self, fault: &Fault) {
        *self.failed.entry(fault.to_string()).or_default() += 1;
    }
}

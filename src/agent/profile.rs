//! What of a profile an agent takes, and what of it cannot be.
//!
//! Pure: it compares what a profile says with what an adapter can do, and looks at nothing.

use super::{claude, scripted};
use crate::domain::{Agent, ProfileSetup, Violation};

/// A file to put into the home before the program starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeFile {
    /// Relative to the home.
    pub path: String,
    /// Unix permission bits.
    pub mode: u32,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Variables that every sandbox sets, so that a profile cannot.
const OF_THE_SANDBOX: [&str; 4] = ["HOME", "PATH", "PWD", "TMPDIR"];

/// Variables that the loader of programs and the C library obey, by how their names begin: they would change the programs
/// that stand around the agent.
const OF_THE_LOADER: [&str; 6] = ["LD_", "GLIBC_", "GCONV_", "MALLOC_", "LOCPATH", "NLSPATH"];

/// Begins the names of variables that carry what must not stand in a file.
pub(super) const OURS: &str = "AGENT_RUNTIME_";

/// What of a profile this agent cannot honour: each field, below `profile`, with its reason.
#[must_use]
pub fn refusals(agent: Agent, profile: &ProfileSetup) -> Vec<Violation> {
    let (mut refused, reserved) = match agent {
        Agent::ClaudeCode => (claude::setup::refusals(profile), claude::RESERVED),
        Agent::Scripted => (scripted::refusals(profile), &[] as &[&str]),
    };
    for name in profile.environment.keys() {
        let taken = OF_THE_SANDBOX.contains(&name.as_str()) || reserved.contains(&name.as_str());
        let obeyed = OF_THE_LOADER.iter().any(|prefix| name.starts_with(prefix)) || name.starts_with(OURS);
        if taken || obeyed {
            refused.push(refusal(format!("environment.{name}"), "is set by the server and cannot be another"));
        }
    }
    refused
}

/// A field of a profile that cannot be honoured.
pub(super) fn refusal(field: impl AsRef<str>, rule: impl Into<String>) -> Violation {
    Violation { field: format!("profile.{}", field.as_ref()), rule: rule.into() }
}

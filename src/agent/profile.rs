//! What of a profile an agent takes, and what of it cannot be.
//!
//! Pure: it compares what a profile says with what an adapter can do, and looks at nothing.

use super::{claude, scripted};
use crate::domain::{Agent, McpTransport, ProfileSetup, Violation};

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

/// Most bytes of a profile's variables and headers. Linux starts no program whose arguments and environment together have more
/// than a quarter of its stack's limit, 2 MiB as a rule; half of that is left to the arguments and to what the server sets.
const GIVEN_MAX: usize = 1 << 20;

/// Begins the names of variables that carry what must not stand in a file.
const OURS: &str = "AGENT_RUNTIME_";
/// The same of those with a value of a tool server's.
pub(super) const OF_TOOL_SERVER: &str = "AGENT_RUNTIME_TOOL_SERVER_";

/// Whether a variable of an agent's program carries a value of a tool server's.
#[must_use]
pub fn is_of_tool_server(name: &str) -> bool {
    name.starts_with(OF_TOOL_SERVER)
}

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
    let bytes = given_bytes(profile);
    if bytes > GIVEN_MAX {
        let rule = format!(
            "with the variables and headers of mcp_servers it has {bytes} bytes, and {GIVEN_MAX} is what a program can be \
             given beside its arguments; put more into files"
        );
        refused.push(refusal("environment", rule));
    }
    refused
}

/// What the profile puts into the environment of the agent's program, in which the values of tool servers stand too, because
/// they must not stand in a file.
fn given_bytes(profile: &ProfileSetup) -> usize {
    let servers = profile.mcp_servers.iter().filter_map(|server| match &server.transport {
        McpTransport::Stdio { command: _, args: _, environment } => Some(environment),
        McpTransport::Http { url: _, headers, sse: _ } => Some(headers),
        McpTransport::Bundle { project_path: _, install_command: _, start_command: _ } => None,
    });
    let all = servers.chain([&profile.environment]).flatten();
    // Each with what the system and we add to it: an equals sign, an end, a pointer, and the name under which a value is handed on.
    all.map(|(name, secret)| name.len() + secret.value().len() + 64).sum()
}

/// A field of a profile that cannot be honoured.
pub(super) fn refusal(field: impl AsRef<str>, rule: impl Into<String>) -> Violation {
    Violation { field: format!("profile.{}", field.as_ref()), rule: rule.into() }
}

//! What a profile says and a session of it cannot have, refused by name when the session is created.

use std::path::Path;

use crate::{
    agent,
    domain::{Agent, Failure, McpTransport, ProfileSetup, Violation},
    session::Config,
    workspace,
};

/// Refuses a session of this agent whose profile cannot be honoured.
pub(in crate::session) fn refuse(config: &Config, agent: Agent, profile: &ProfileSetup) -> Result<(), Failure> {
    // What a named secret says may matter as well; one that is not there is told of below.
    let resolved = config.secrets.resolve(profile.clone());
    let mut refused = agent::refusals(agent, resolved.as_ref().unwrap_or(profile));
    refused.extend(config.secrets.missing(profile));
    refused.extend(bundles(config, profile));
    let Some(Violation { field, rule }) = refused.first() else { return Ok(()) };
    Err(Failure { violations: refused.clone(), ..Failure::invalid(field, rule) })
}

/// Projects that may not be copied from where they lie.
fn bundles<'p>(config: &'p Config, profile: &'p ProfileSetup) -> impl Iterator<Item = Violation> + 'p {
    profile.mcp_servers.iter().enumerate().filter_map(|(at, server)| match &server.transport {
        McpTransport::Bundle { project_path, .. } => {
            let error = workspace::allowed(Path::new(project_path), &config.copying).err()?;
            Some(Violation { field: format!("profile.mcp_servers[{at}].bundle.project_path"), rule: error.to_string() })
        }
        McpTransport::Stdio { .. } | McpTransport::Http { .. } => None,
    })
}

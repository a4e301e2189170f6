//! What must be in the image of a sandbox that is not on this machine: the agent's program, at the version that its adapter
//! was made for, and the packages of the profile. Where the sandbox is on this machine, both are shown to it instead.

use super::{packages, pinned};
use crate::{
    agent::package,
    domain::{Agent, Failure, Session, SessionKey},
    sandbox::{ImageContents, Provider},
    session::shared::Shared,
};

/// What a session's sandbox needs in its image; nothing where it is on this machine.
pub(in crate::session) async fn contents(
    shared: &Shared,
    key: &SessionKey,
    session: &Session,
    provider: &dyn Provider,
) -> Result<ImageContents, Failure> {
    let agent = session.agent;
    if provider.shares_machine() {
        return Ok(ImageContents { agent, program: String::new(), npm: Vec::new(), pip: Vec::new() });
    }
    let profile = pinned(shared, key, session).await?;
    let sorted = |names: Vec<String>| {
        let mut names = names;
        names.sort();
        names.dedup();
        names
    };
    let (npm, pip) = packages::names(&profile);
    Ok(ImageContents { agent, program: program(agent), npm: sorted(npm), pip: sorted(pip) })
}

/// The package that brings an agent's program, at its version.
fn program(agent: Agent) -> String {
    match agent {
        Agent::ClaudeCode => format!("{}@{}", package::CLAUDE_CODE, package::CLAUDE_CODE_VERSION),
        Agent::Scripted => String::new(),
    }
}

//! What must be in the image of a sandbox that is not on this machine: the agent's program, at the version that its adapter
//! was made for, the packages of the profile, and the projects of its tool servers. Where the sandbox is on this machine, the
//! former are shown to it instead, and the latter installed in it.

use super::{bundles, packages, pinned};
use crate::{
    agent::package,
    domain::{Agent, Failure, ProfileSetup, Session, SessionKey},
    sandbox::{ImageContents, ImageProject, Progress, Provider},
    session::{Config, shared::Shared},
};

/// What a session's sandbox needs in its image; nothing where it is on this machine. Where it was made before, what it was made
/// from is not looked for again: it may not be there any more.
pub(in crate::session) async fn contents(
    shared: &Shared,
    key: &SessionKey,
    session: &Session,
    provider: &dyn Provider,
    is_new: bool,
    progress: &Progress,
) -> Result<ImageContents, Failure> {
    let agent = session.agent;
    if provider.shares_machine() {
        return Ok(ImageContents::of(agent, String::new()));
    }
    let profile = pinned(shared, key, session).await?;
    let projects =
        if is_new { bundles::projects(&shared.config, provider, &profile, progress).await? } else { Vec::new() };
    Ok(of(agent, &profile, projects))
}

/// What a new sandbox away from this machine needs of a profile in its image.
pub(in crate::session) async fn contents_of(
    config: &Config,
    agent: Agent,
    profile: &ProfileSetup,
    provider: &dyn Provider,
    progress: &Progress,
) -> Result<ImageContents, Failure> {
    Ok(of(agent, profile, bundles::projects(config, provider, profile, progress).await?))
}

fn of(agent: Agent, profile: &ProfileSetup, projects: Vec<ImageProject>) -> ImageContents {
    let sorted = |names: Vec<String>| {
        let mut names = names;
        names.sort();
        names.dedup();
        names
    };
    let (npm, pip) = packages::names(profile);
    ImageContents { agent, program: program(agent), npm: sorted(npm), pip: sorted(pip), projects }
}

/// The package that brings an agent's program, at its version.
fn program(agent: Agent) -> String {
    match agent {
        Agent::ClaudeCode => format!("{}@{}", package::CLAUDE_CODE, package::CLAUDE_CODE_VERSION),
        Agent::Scripted => String::new(),
    }
}

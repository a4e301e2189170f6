//! The packages that a profile and its skills want, installed.

use std::path::{Path, PathBuf};

use crate::{
    domain::{Failure, ProfileSetup, Reason},
    packages::{Installed, Manager, Wanted},
    sandbox::{Progress, Provider},
    session::Config,
};

/// Makes sure that they are there, and stay for as long as `holder` does.
pub(super) async fn install(
    config: &Config,
    provider: &dyn Provider,
    profile: &ProfileSetup,
    readable: &[PathBuf],
    holder: Option<&Path>,
    progress: &Progress,
) -> Result<Vec<Installed>, Failure> {
    let search = provider.search_path(readable);
    let mut installed = Vec::new();
    for wanted in wanted(profile) {
        if !config.packages.has(&wanted, &search) {
            // Nobody may listen, or not quickly enough: it is only said.
            let _ = progress.try_send(format!("installing {} packages", wanted.manager));
        }
        let done = config.packages.install(&wanted, &search, holder).await;
        installed.push(done.map_err(|error| {
            Failure::new(Reason::SandboxFailed, format!("the profile's packages are not there: {error}"))
                .with("provider", provider.name())
                .with("cause", "packages")
        })?);
    }
    Ok(installed)
}

fn wanted(profile: &ProfileSetup) -> Vec<Wanted> {
    let (npm, pip) = names(profile);
    let sets = [Wanted::new(Manager::Npm, npm), Wanted::new(Manager::Pip, pip)];
    sets.into_iter().flatten().collect()
}

/// What npm and what pip is to install.
pub(super) fn names(profile: &ProfileSetup) -> (Vec<String>, Vec<String>) {
    let npm = profile.skills.iter().flat_map(|skill| &skill.npm_dependencies).chain(&profile.npm_dependencies);
    let pip = profile.skills.iter().flat_map(|skill| &skill.pip_dependencies).chain(&profile.pip_dependencies);
    (npm.cloned().collect(), pip.cloned().collect())
}

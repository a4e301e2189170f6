//! The variables that a profile gives an agent: its own, and those by which what was installed for it is found.

use std::path::PathBuf;

use crate::{domain::ProfileSetup, packages::Installed, sandbox::Provider};

/// Variables for the agent. Programs of the profile's packages are found before others.
pub(super) fn of(
    provider: &dyn Provider,
    profile: &ProfileSetup,
    installed: &[Installed],
    readable: &[PathBuf],
) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> =
        profile.environment.iter().map(|(name, secret)| (name.clone(), secret.value().to_owned())).collect();
    let mut search: Vec<String> = Vec::new();
    for Installed { folder: _, programs, modules: (name, modules), above: _ } in installed {
        search.push(programs.display().to_string());
        let modules = modules.display().to_string();
        match env.iter_mut().find(|(given, _)| given == name) {
            // The profile names folders of its own as well.
            Some((_, folders)) => *folders = format!("{modules}:{folders}"),
            None => env.push(((*name).to_owned(), modules)),
        }
    }
    if !search.is_empty() {
        search.push(provider.search_path(readable));
        env.push(("PATH".to_owned(), search.join(":")));
    }
    env
}

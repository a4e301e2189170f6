//! Bundled tool servers that come with the image of a sandbox away from this machine: which of them can, and which did.
//!
//! An image is kept by its provider and shared by sessions, so nothing secret may have to do with it: what a profile calls its
//! environment is not there when an image is built.

use std::path::Path;

use bytes::Bytes;

use super::{Bundles, project::Project, uncopied};
use crate::{
    domain::{ExecId, Failure, McpServer, McpTransport, ProfileSetup},
    sandbox::{ExecSpec, Exit, ImageProject, Progress, Provider},
    session::Config,
};

/// The projects to be installed in the image. Of others it is told why each sandbox installs them itself.
pub(in super::super) async fn projects(
    config: &Config,
    provider: &dyn Provider,
    profile: &ProfileSetup,
    progress: &Progress,
) -> Result<Vec<ImageProject>, Failure> {
    let mut projects = Vec::new();
    for McpServer { name, description: _, transport } in &profile.mcp_servers {
        let McpTransport::Bundle { project_path, install_command, start_command: _ } = transport else { continue };
        let why = if let Some(variable) = named(profile, install_command) {
            format!("its installation names {variable}, which must be in no image")
        } else {
            let uncopied = |error| uncopied(provider.name(), name, &error);
            let project = Project::read(Path::new(project_path), &config.copying).await.map_err(uncopied)?;
            match project.archive(ImageProject::MOST).await.map_err(uncopied)? {
                Some(archive) => {
                    projects.push(ImageProject::new(name, install_command, Bytes::from(archive)));
                    continue;
                }
                None => format!("it has more than {} MiB", ImageProject::MOST >> 20),
            }
        };
        tracing::info!(server = name, why, "a tool server is no part of the image");
        // Nobody may listen, or not quickly enough: it is only said.
        let _ = progress.try_send(format!("the tool server {name} is installed in the sandbox: {why}"));
    }
    Ok(projects)
}

/// The first variable of the profile's environment that a command names.
fn named<'p>(profile: &'p ProfileSetup, command: &str) -> Option<&'p str> {
    let words: Vec<&str> = command.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    profile.environment.keys().map(String::as_str).find(|name| words.contains(name))
}

impl Bundles<'_> {
    /// The folder in which the sandbox's image brought it; `None`: it did not.
    pub(super) async fn brought(&self, name: &str) -> Result<Option<String>, Failure> {
        if self.shares_machine {
            return Ok(None);
        }
        let spec = ExecSpec {
            exec_id: ExecId::mint(),
            argv: vec!["/bin/cat".to_owned(), ImageProject::note(name)],
            env: Vec::new(),
            readable: Vec::new(),
            modules: None,
        };
        match self.ran(&spec).await.map_err(|error| self.failed(&error))? {
            (Some(Exit::Code(0)), folder) if ImageProject::is_folder(&folder) => Ok(Some(folder)),
            (_, said) => {
                tracing::debug!(name, said, "the image did not bring a tool server");
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    #[test]
    fn a_command_that_names_a_secret_is_known() {
        let environment = [("NPM_TOKEN".to_owned(), Secret::Value("x".into()))].into();
        let profile = ProfileSetup { environment, ..ProfileSetup::default() };
        for command in ["NPM_TOKEN=$NPM_TOKEN npm ci", "echo ${NPM_TOKEN}", "./install NPM_TOKEN", "a\nb\"$NPM_TOKEN\""]
        {
            assert_eq!(named(&profile, command), Some("NPM_TOKEN"), "{command}");
        }
        for command in ["", "npm ci", "echo $NPM_TOKENS", "echo $MY_NPM_TOKEN", "echo npm_token"] {
            assert_eq!(named(&profile, command), None, "{command}");
        }
    }
}

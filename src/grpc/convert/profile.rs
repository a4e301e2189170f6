//! Profiles: all that is stored of them, but for the values of secrets.

use std::collections::BTreeMap;

use super::{list, text, timestamp};
use crate::{
    domain::{
        McpServer, McpTransport, Profile, ProfileFile, ProfileSetup, Secret, SessionOptions, Skill, SlashCommand,
        SubagentDefinition,
    },
    proto::{self, mcp_server::Transport, secret::Source},
};

impl From<Profile> for proto::AgentProfile {
    fn from(profile: Profile) -> Self {
        let Profile {
            profile_id,
            revision,
            name,
            description,
            agent,
            setup,
            created_by,
            create_time,
            update_time,
            etag,
        } = profile;
        let ProfileSetup {
            system_prompt,
            memory_file,
            tools,
            skills,
            subagents,
            commands,
            mcp_servers,
            default_options,
            permission_policy,
            sandbox,
            environment,
            npm_dependencies,
            pip_dependencies,
            default_files,
        } = setup;
        Self {
            profile_id: profile_id.to_string(),
            revision,
            name,
            description,
            agent: text(agent),
            // No agent of this version has one, and so it is refused on the way in.
            acp_command: Vec::new(),
            system_prompt,
            memory_file,
            tools,
            skills: list(skills),
            subagents: list(subagents),
            commands: list(commands),
            mcp_servers: list(mcp_servers),
            // That nothing is said is not told from saying nothing in particular.
            default_options: (default_options != SessionOptions::default()).then(|| default_options.into()),
            permission_policy: (!permission_policy.is_empty()).then(|| permission_policy.into()),
            sandbox: sandbox.map(Into::into),
            environment: secrets(environment),
            npm_dependencies,
            pip_dependencies,
            default_workspace_files: list(default_files),
            created_by: created_by.map(Into::into),
            create_time: Some(timestamp(create_time)),
            update_time: Some(timestamp(update_time)),
            etag,
        }
    }
}

/// The names, and which of the server's secrets they stand for.
fn secrets(secrets: BTreeMap<String, Secret>) -> BTreeMap<String, proto::Secret> {
    let shown = |secret| match secret {
        Secret::Value(_) => None,
        Secret::Ref(name) => Some(Source::Ref(name)),
    };
    secrets.into_iter().map(|(name, secret)| (name, proto::Secret { source: shown(secret) })).collect()
}

impl From<ProfileFile> for proto::FileContent {
    fn from(file: ProfileFile) -> Self {
        let ProfileFile { path, content, mode } = file;
        Self { path, content: content.into(), mode }
    }
}

impl From<Skill> for proto::Skill {
    fn from(skill: Skill) -> Self {
        let Skill { name, description, body, supporting_files, npm_dependencies, pip_dependencies } = skill;
        let supporting_files = list(supporting_files);
        Self { name, description, body, supporting_files, npm_dependencies, pip_dependencies }
    }
}

impl From<SubagentDefinition> for proto::SubagentDefinition {
    fn from(subagent: SubagentDefinition) -> Self {
        let SubagentDefinition { name, description, prompt, model, tools } = subagent;
        Self { name, description, prompt, model, tools }
    }
}

impl From<SlashCommand> for proto::Command {
    fn from(command: SlashCommand) -> Self {
        let SlashCommand { name, prompt } = command;
        Self { name, prompt }
    }
}

impl From<McpServer> for proto::McpServer {
    fn from(server: McpServer) -> Self {
        let McpServer { name, description, transport } = server;
        Self { name, description, transport: Some(transport.into()) }
    }
}

impl From<McpTransport> for Transport {
    fn from(transport: McpTransport) -> Self {
        match transport {
            McpTransport::Stdio { command, args, environment } => {
                Self::Stdio(proto::McpStdio { command, args, environment: secrets(environment) })
            }
            McpTransport::Http { url, headers, sse } => {
                Self::Http(proto::McpHttp { url, headers: secrets(headers), sse })
            }
            McpTransport::Bundle { project_path, install_command, start_command } => {
                Self::Bundle(proto::McpBundle { project_path, install_command, start_command })
            }
        }
    }
}

//! The record of a profile, field by field.

use super::{
    content::profile_files,
    mcp::mcp_servers,
    names::tools,
    packages,
    secrets::{Keys, Secrets},
    skills::{commands, skills, subagents},
};
use crate::{
    domain::{Agent, KeptSecret, ProfileSetup, SecretPlace},
    grpc::validate::{
        MAX_DESCRIPTION, MAX_PROMPT, MAX_WORKSPACE_FILES, MAX_WORKSPACE_FILES_BYTES, check::Check, files::Limits,
        options::session_options, policy::policy, sandbox::sandbox_spec,
    },
    proto,
};

/// What every new workspace can be given.
const DEFAULT_FILES: Limits =
    Limits { count: MAX_WORKSPACE_FILES, bytes: MAX_WORKSPACE_FILES_BYTES, instead: "; sessions can start from more" };

/// What a record says, without what only the server says.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) agent: Option<Agent>,
    pub(super) setup: ProfileSetup,
    pub(super) keep: Vec<KeptSecret>,
}

/// Takes a record apart. What is output only is refused: whoever may send it takes it out before.
pub(super) fn record(check: &mut Check, wire: proto::AgentProfile) -> Record {
    let proto::AgentProfile {
        profile_id,
        revision,
        name,
        description,
        agent,
        acp_command,
        system_prompt,
        memory_file,
        tools: wanted,
        skills: taught,
        subagents: called,
        commands: offered,
        mcp_servers: servers,
        default_options,
        permission_policy,
        sandbox,
        environment,
        npm_dependencies,
        pip_dependencies,
        default_workspace_files,
        created_by,
        create_time,
        update_time,
        etag,
    } = wire;
    check.output_only("profile.profile_id", !profile_id.is_empty());
    check.output_only("profile.revision", revision != 0);
    check.output_only("profile.created_by", created_by.is_some());
    check.output_only("profile.create_time", create_time.is_some());
    check.output_only("profile.update_time", update_time.is_some());
    check.output_only("profile.etag", !etag.is_empty());
    check.not_applied("profile.acp_command", !acp_command.is_empty());
    let mut secrets = Secrets::default();
    let options = default_options.map(|wire| session_options(check, "profile.default_options", wire));
    let setup = ProfileSetup {
        system_prompt: check.long_text("profile.system_prompt", system_prompt, MAX_PROMPT),
        memory_file: check.long_text("profile.memory_file", memory_file, MAX_PROMPT),
        tools: tools(check, "profile.tools", wanted),
        skills: skills(check, "profile.skills", taught),
        subagents: subagents(check, "profile.subagents", called),
        commands: commands(check, "profile.commands", offered),
        mcp_servers: mcp_servers(check, &mut secrets, "profile.mcp_servers", servers),
        default_options: options.unwrap_or_default(),
        permission_policy: permission_policy
            .map(|wire| policy(check, "profile.permission_policy", wire))
            .unwrap_or_default(),
        sandbox: sandbox.map(|wire| sandbox_spec(check, "profile.sandbox", wire)),
        environment: secrets.take(
            check,
            "profile.environment",
            environment,
            Keys::Variables,
            &SecretPlace::Environment,
        ),
        npm_dependencies: packages::npm(check, "profile.npm_dependencies", npm_dependencies),
        pip_dependencies: packages::pip(check, "profile.pip_dependencies", pip_dependencies),
        default_files: profile_files(check, "profile.default_workspace_files", default_workspace_files, DEFAULT_FILES),
    };
    Record {
        name: check.name("profile.name", name),
        description: check.text("profile.description", description, MAX_DESCRIPTION),
        agent: check.agent("profile.agent", &agent),
        setup,
        keep: secrets.keep,
    }
}

/// People find a profile by its name.
pub(super) fn named(check: &mut Check, name: &str) {
    if name.is_empty() {
        check.refuse("profile.name", "required");
    }
}

//! Masks: which fields of a profile an update replaces.

use std::collections::BTreeSet;

use crate::{domain::ProfileField, grpc::validate::check::Check, proto};

/// What only the server sets, as the contract and as its JSON form call it.
const OUTPUT_ONLY: &[&str] = &["profile_id", "revision", "created_by", "create_time", "update_time", "etag"];

/// The fields that a mask names, in the contract's words or in those of its JSON form.
pub(super) fn fields(check: &mut Check, mask: Option<prost_types::FieldMask>) -> BTreeSet<ProfileField> {
    let prost_types::FieldMask { paths } = mask.unwrap_or_default();
    if paths.is_empty() {
        check.refuse("update_mask", "required: name the fields to replace, for example systemPrompt,tools");
    }
    let mut fields = BTreeSet::new();
    for path in paths {
        let name = snake(&path);
        if let Some(field) = ProfileField::ALL.iter().find(|field| field.as_str() == name) {
            fields.insert(*field);
        } else if OUTPUT_ONLY.contains(&name.as_str()) {
            check.output_only(format_args!("profile.{name}"), true);
        } else if name == "acp_command" {
            check.not_applied("profile.acp_command", true);
        } else {
            let shown: String = path.chars().take(100).collect();
            check.refuse(
                "update_mask",
                format!("{shown:?} is no field of a profile; only whole top-level fields are replaced"),
            );
        }
    }
    fields
}

/// "systemPrompt" as "system_prompt".
fn snake(path: &str) -> String {
    let mut snake = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// The profile without what is not named: that means nothing, as long as a client may send back what it has read.
pub(super) fn only(fields: &BTreeSet<ProfileField>, profile: proto::AgentProfile) -> proto::AgentProfile {
    let mut named = proto::AgentProfile::default();
    for field in fields {
        match field {
            ProfileField::Name => named.name.clone_from(&profile.name),
            ProfileField::Description => named.description.clone_from(&profile.description),
            ProfileField::Agent => named.agent.clone_from(&profile.agent),
            ProfileField::SystemPrompt => named.system_prompt.clone_from(&profile.system_prompt),
            ProfileField::MemoryFile => named.memory_file.clone_from(&profile.memory_file),
            ProfileField::Tools => named.tools.clone_from(&profile.tools),
            ProfileField::Skills => named.skills.clone_from(&profile.skills),
            ProfileField::Subagents => named.subagents.clone_from(&profile.subagents),
            ProfileField::Commands => named.commands.clone_from(&profile.commands),
            ProfileField::McpServers => named.mcp_servers.clone_from(&profile.mcp_servers),
            ProfileField::DefaultOptions => named.default_options.clone_from(&profile.default_options),
            ProfileField::PermissionPolicy => named.permission_policy.clone_from(&profile.permission_policy),
            ProfileField::Sandbox => named.sandbox.clone_from(&profile.sandbox),
            ProfileField::Environment => named.environment.clone_from(&profile.environment),
            ProfileField::NpmDependencies => named.npm_dependencies.clone_from(&profile.npm_dependencies),
            ProfileField::PipDependencies => named.pip_dependencies.clone_from(&profile.pip_dependencies),
            ProfileField::DefaultWorkspaceFiles => {
                named.default_workspace_files.clone_from(&profile.default_workspace_files);
            }
        }
    }
    named
}

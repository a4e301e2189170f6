//! What a profile teaches its agent: skills, subagents and slash commands.

use super::{
    content::profile_files,
    names::{Names, at_most, tools},
    packages,
};
use crate::{
    domain::{Skill, SlashCommand, SubagentDefinition},
    grpc::validate::{MAX_PROMPT, MAX_WHEN, check::Check, files::Limits},
    proto,
};

/// Things of one sort in a profile.
const MAX_THINGS: usize = 64;
/// What a skill brings beside its instructions.
const SUPPORTING: Limits = Limits { count: 100, bytes: 3 << 20, instead: " for one skill" };
/// The file that a skill's body becomes.
const SKILL_FILE: &str = "SKILL.md";

/// Folders with instructions.
pub(super) fn skills(check: &mut Check, field: &str, wire: Vec<proto::Skill>) -> Vec<Skill> {
    at_most(check, field, wire.len(), MAX_THINGS);
    let mut names = Names::lower();
    let mut skill = |(at, wire): (usize, proto::Skill)| {
        let proto::Skill { name, description, body, supporting_files, npm_dependencies, pip_dependencies } = wire;
        let field = format!("{field}[{at}]");
        let files_field = format!("{field}.supporting_files");
        let supporting_files = profile_files(check, &files_field, supporting_files, SUPPORTING);
        if let Some(at) = supporting_files.iter().position(|file| file.path == SKILL_FILE) {
            check.refuse(format_args!("{files_field}[{at}].path"), "is what body becomes");
        }
        Skill {
            name: names.take(check, format!("{field}.name"), name),
            description: when(check, &format!("{field}.description"), description),
            body: check.required_text(&format!("{field}.body"), body, MAX_PROMPT),
            supporting_files,
            npm_dependencies: packages::npm(check, &format!("{field}.npm_dependencies"), npm_dependencies),
            pip_dependencies: packages::pip(check, &format!("{field}.pip_dependencies"), pip_dependencies),
        }
    };
    wire.into_iter().enumerate().map(&mut skill).collect()
}

/// Agents that the agent may call.
pub(super) fn subagents(
    check: &mut Check,
    field: &str,
    wire: Vec<proto::SubagentDefinition>,
) -> Vec<SubagentDefinition> {
    at_most(check, field, wire.len(), MAX_THINGS);
    let mut names = Names::word();
    let mut subagent = |(at, wire): (usize, proto::SubagentDefinition)| {
        let proto::SubagentDefinition { name, description, prompt, model, tools: wanted } = wire;
        let field = format!("{field}[{at}]");
        SubagentDefinition {
            name: names.take(check, format!("{field}.name"), name),
            description: when(check, &format!("{field}.description"), description),
            prompt: check.required_text(&format!("{field}.prompt"), prompt, MAX_PROMPT),
            model: check.model(&format!("{field}.model"), model),
            tools: tools(check, &format!("{field}.tools"), wanted),
        }
    };
    wire.into_iter().enumerate().map(&mut subagent).collect()
}

/// Slash commands.
pub(super) fn commands(check: &mut Check, field: &str, wire: Vec<proto::Command>) -> Vec<SlashCommand> {
    at_most(check, field, wire.len(), MAX_THINGS);
    let mut names = Names::word();
    let mut command = |(at, proto::Command { name, prompt }): (usize, proto::Command)| {
        let field = format!("{field}[{at}]");
        SlashCommand {
            name: names.take(check, format!("{field}.name"), name),
            prompt: check.required_text(&format!("{field}.prompt"), prompt, MAX_PROMPT),
        }
    };
    wire.into_iter().enumerate().map(&mut command).collect()
}

/// When to use something: without it an agent never would.
fn when(check: &mut Check, field: &str, description: String) -> String {
    if description.is_empty() {
        check.refuse(field, "required: it says when to use it");
    }
    check.text(field, description, MAX_WHEN)
}

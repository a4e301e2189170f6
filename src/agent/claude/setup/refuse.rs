//! What of a profile Claude Code cannot honour. What it would pass over in silence is refused here.

use crate::{
    agent::{claude::rules, package::CLAUDE_CODE_VERSION, profile::refusal},
    domain::{McpServer, McpTransport, ProfileSetup, Violation},
};

/// Tools that the pinned CLI knows by name; it passes over others.
const TOOLS: &[&str] = &[
    "Agent",
    "AskUserQuestion",
    "Bash",
    "CronCreate",
    "CronDelete",
    "CronList",
    "Edit",
    "EnterPlanMode",
    "EnterWorktree",
    "ExitPlanMode",
    "ExitWorktree",
    "Glob",
    "Grep",
    "ListAgents",
    "Monitor",
    "NotebookEdit",
    "Read",
    "ReportFindings",
    "ScheduleWakeup",
    "SendMessage",
    "Skill",
    "Task",
    "TaskCreate",
    "TaskGet",
    "TaskList",
    "TaskStop",
    "TaskUpdate",
    "ToolSearch",
    "WebFetch",
    "WebSearch",
    "Workflow",
    "Write",
];

/// Begins the names that the CLI gives to tools of servers.
const OF_SERVER: &str = "mcp__";

/// What cannot be honoured, field by field.
pub(in crate::agent) fn refusals(profile: &ProfileSetup) -> Vec<Violation> {
    let mut refused = Vec::new();
    tools(profile, &mut refused);
    if !rules::fits(&profile.permission_policy.strict()) {
        let most = rules::LONGEST_SETTINGS;
        refused.push(refusal(
            "permission_policy.rules",
            format!("those that reject or ask must be at most {most} bytes in Claude Code's settings"),
        ));
    }
    for (at, skill) in profile.skills.iter().enumerate() {
        for (file, supporting) in skill.supporting_files.iter().enumerate() {
            // Nor can anything lie below it.
            let first = supporting.path.split('/').next().unwrap_or_default();
            if first.eq_ignore_ascii_case("SKILL.md") {
                let field = format!("skills[{at}].supporting_files[{file}].path");
                refused.push(refusal(field, "is the skill's own body, or lies below it"));
            }
        }
        if !is_plain(&skill.name) {
            refused.push(refusal(format!("skills[{at}].name"), PLAIN));
        }
    }
    for (at, command) in profile.commands.iter().enumerate() {
        if !is_plain(&command.name) {
            refused.push(refusal(format!("commands[{at}].name"), PLAIN));
        }
    }
    for (at, subagent) in profile.subagents.iter().enumerate() {
        for (tool, name) in subagent.tools.iter().enumerate() {
            if !is_known(name, &profile.mcp_servers) {
                refused.push(refusal(format!("subagents[{at}].tools[{tool}]"), unknown(name)));
            } else if !profile.tools.is_empty() && !profile.tools.contains(name) {
                refused.push(refusal(format!("subagents[{at}].tools[{tool}]"), "is none of profile.tools"));
            }
        }
    }
    for (at, server) in profile.mcp_servers.iter().enumerate() {
        let McpTransport::Http { headers, .. } = &server.transport else { continue };
        for (name, _) in headers.iter().filter(|(_, secret)| secret.value().contains("${")) {
            let field = format!("mcp_servers[{at}].http.headers.{name}");
            refused.push(refusal(field, "Claude Code would read a variable in it, for it says ${"));
        }
    }
    refused
}

fn tools(profile: &ProfileSetup, refused: &mut Vec<Violation>) {
    for (at, name) in profile.tools.iter().enumerate() {
        if !is_known(name, &profile.mcp_servers) {
            refused.push(refusal(format!("tools[{at}]"), unknown(name)));
        }
    }
    if profile.tools.is_empty() {
        return;
    }
    let has = |name: &str| profile.tools.iter().any(|tool| tool == name);
    if !profile.skills.is_empty() && !has("Skill") {
        refused.push(refusal("tools", "must name Skill, or the profile's skills cannot be used"));
    }
    if !profile.subagents.is_empty() && !has("Agent") && !has("Task") {
        refused.push(refusal("tools", "must name Agent, or the profile's subagents cannot be called"));
    }
    for (at, server) in profile.mcp_servers.iter().enumerate() {
        let all = format!("{OF_SERVER}{}", server.name);
        if !has(&all) {
            refused
                .push(refusal(format!("mcp_servers[{at}]"), format!("profile.tools must name {all}, or it has none")));
        }
    }
}

/// A server's tools are taken whole: which there are is known only once it runs.
fn is_known(name: &str, servers: &[McpServer]) -> bool {
    match name.strip_prefix(OF_SERVER) {
        Some(of) => servers.iter().any(|server| server.name == of),
        None => TOOLS.contains(&name),
    }
}

fn unknown(name: &str) -> String {
    match name.strip_prefix(OF_SERVER) {
        Some(_) => format!("{name}: must be {OF_SERVER} and the name of one of profile.mcp_servers, for all its tools"),
        None => format!("Claude Code {CLAUDE_CODE_VERSION} has no tool {name}"),
    }
}

const PLAIN: &str = "must be letters, digits, - and _, for it names a file";

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::refusals;
    use crate::domain::{PermissionEffect, PermissionPolicy, PermissionRule, ProfileSetup};

    #[test]
    fn rules_that_no_argument_holds_are_refused() {
        let of = |count: usize, effect| {
            let rule = |at: usize| PermissionRule::of("Bash", &format!("{at:04096}"), effect);
            let policy = PermissionPolicy { rules: (0..count).map(rule).collect(), ..PermissionPolicy::default() };
            let profile = ProfileSetup { permission_policy: policy, ..ProfileSetup::default() };
            refusals(&profile).into_iter().map(|refused| refused.field).collect::<Vec<_>>()
        };
        assert_eq!(of(32, PermissionEffect::Reject), ["profile.permission_policy.rules"]);
        assert!(of(29, PermissionEffect::Ask).is_empty());
        assert!(of(256, PermissionEffect::Allow).is_empty(), "the CLI is not told of them");
    }
}

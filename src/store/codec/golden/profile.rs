//! A profile that says all that one can say.

use std::{collections::BTreeMap, time::Duration};

use super::{options, rule};
use crate::domain::{
    Isolation, McpServer, McpTransport, PermissionEffect, PermissionPolicy, ProfileFile, ProfileSetup, SandboxSpec,
    Secret, Skill, SlashCommand, SubagentDefinition,
};

pub(super) fn setup() -> ProfileSetup {
    ProfileSetup {
        system_prompt: "Be kind.".into(),
        memory_file: "# Memory".into(),
        tools: vec!["Bash".into()],
        skills: vec![Skill {
            name: "style".into(),
            description: "when reading".into(),
            body: "Read.".into(),
            supporting_files: vec![file()],
            npm_dependencies: vec!["a@1".into()],
            pip_dependencies: vec!["b==2".into()],
        }],
        subagents: vec![SubagentDefinition {
            name: "tester".into(),
            description: "after changes".into(),
            prompt: "Test.".into(),
            model: "haiku".into(),
            tools: vec!["Read".into()],
        }],
        commands: vec![SlashCommand { name: "fix".into(), prompt: "Fix it.".into() }],
        mcp_servers: servers(),
        default_options: options(),
        permission_policy: PermissionPolicy {
            default_effect: Some(PermissionEffect::Allow),
            rules: vec![rule()],
            ask_timeout: Some(Duration::from_millis(1500)),
            timeout_effect: Some(PermissionEffect::Reject),
        },
        sandbox: Some(SandboxSpec {
            provider: "local".into(),
            min_isolation: Some(Isolation::Process),
            ..SandboxSpec::default()
        }),
        environment: secrets(),
        npm_dependencies: vec!["c".into()],
        pip_dependencies: vec!["d".into()],
        default_files: vec![file()],
    }
}

fn servers() -> Vec<McpServer> {
    let server = |name: &str, transport| McpServer { name: name.into(), description: "tools".into(), transport };
    vec![
        server(
            "one",
            McpTransport::Stdio { command: "node".into(), args: vec!["a.js".into()], environment: secrets() },
        ),
        server("two", McpTransport::Http { url: "https://h/a".into(), headers: secrets(), sse: true }),
        server(
            "three",
            McpTransport::Bundle {
                project_path: "/srv/a".into(),
                install_command: "npm ci".into(),
                start_command: "node a.js".into(),
            },
        ),
    ]
}

fn secrets() -> BTreeMap<String, Secret> {
    [("A".into(), Secret::Value("v".into())), ("B".into(), Secret::Ref("stored".into()))].into()
}

fn file() -> ProfileFile {
    ProfileFile { path: "docs/a.bin".into(), content: vec![0, 255, b'\n'], mode: 0o600 }
}

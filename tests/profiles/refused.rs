//! What cannot be honoured is refused by name when a session is created.

use crate::{
    rig::{self, file, of},
    support::{Server, fields, reason},
};
use std::collections::BTreeMap;

use agent_runtime::domain::{McpServer, McpTransport, ProfileSetup, Secret, Skill, SlashCommand, SubagentDefinition};

/// Fields that a creation with this profile is refused for, by agent.
async fn refused(agent: &str, setup: ProfileSetup) -> Vec<String> {
    let data = tempfile::tempdir().expect("a folder");
    rig::store(data.path(), setup, 1).await;
    let server = Server::start_on(data.path(), &[]);
    let status = server.sessions().await.create_session(of(agent)).await.expect_err("it is refused");
    assert_eq!(reason(&status), "INVALID_FIELD");
    fields(&status)
}

fn everything() -> ProfileSetup {
    let stdio = McpTransport::Stdio { command: "x".into(), args: Vec::new(), environment: BTreeMap::new() };
    ProfileSetup {
        system_prompt: "x".into(),
        memory_file: "x".into(),
        tools: vec!["Read".into()],
        skills: vec![Skill {
            name: "x".into(),
            description: "x".into(),
            body: "x".into(),
            supporting_files: vec![file("SKILL.md", "x")],
            npm_dependencies: Vec::new(),
            pip_dependencies: Vec::new(),
        }],
        subagents: vec![SubagentDefinition {
            name: "x".into(),
            description: "x".into(),
            prompt: "x".into(),
            model: String::new(),
            tools: vec!["Bash".into(), "Nothing".into()],
        }],
        commands: vec![SlashCommand { name: "../x".into(), prompt: "x".into() }],
        mcp_servers: vec![McpServer { name: "x".into(), description: String::new(), transport: stdio }],
        ..ProfileSetup::default()
    }
}

#[tokio::test]
async fn the_scripted_agent_refuses_what_only_a_model_could_honour() {
    let fields = ["system_prompt", "memory_file", "tools", "skills", "subagents", "commands", "mcp_servers"];
    assert_eq!(refused("scripted", everything()).await, fields.map(|field| format!("profile.{field}")));
}

#[tokio::test]
async fn claude_code_refuses_what_it_would_pass_over() {
    let fields = refused("claude-code", everything()).await;
    let expected = [
        "tools",
        "tools",
        "mcp_servers[0]",
        "skills[0].supporting_files[0].path",
        "commands[0].name",
        "subagents[0].tools[0]",
        "subagents[0].tools[1]",
    ];
    assert_eq!(fields, expected.map(|field| format!("profile.{field}")));

    let tools = ["Read", "Reed", "mcp__none", "mcp__none__look", "Bash(ls *)"].map(str::to_owned).into();
    let fields = refused("claude-code", ProfileSetup { tools, ..ProfileSetup::default() }).await;
    assert_eq!(fields, [1, 2, 3, 4].map(|at| format!("profile.tools[{at}]")));
}

#[tokio::test]
async fn names_that_the_server_keeps_secrets_it_does_not_have_and_closed_folders_are_refused() {
    let names = ["HOME", "PATH", "IS_SANDBOX", "LD_PRELOAD", "AGENT_RUNTIME_X", "CLAUDE_CONFIG_DIR", "FINE"];
    let value = |name: &str| (name.to_owned(), Secret::Value("x".into()));
    let mut environment: BTreeMap<_, _> = names.map(value).into();
    environment.insert("TOKEN".into(), Secret::Ref("nowhere".into()));
    let transport =
        McpTransport::Bundle { project_path: "/etc".into(), install_command: String::new(), start_command: "x".into() };
    let headers = [("H".to_owned(), Secret::Value("${HOME}".into()))].into();
    let http = McpTransport::Http { url: "http://x".into(), headers, sse: true };
    let server = |name: &str, transport| McpServer { name: name.into(), description: String::new(), transport };
    let mcp_servers = vec![server("x", transport), server("y", http)];
    let fields = refused("claude-code", ProfileSetup { environment, mcp_servers, ..ProfileSetup::default() }).await;
    let expected = [
        "mcp_servers[1].http.headers.H",
        "environment.AGENT_RUNTIME_X",
        "environment.CLAUDE_CONFIG_DIR",
        "environment.HOME",
        "environment.IS_SANDBOX",
        "environment.LD_PRELOAD",
        "environment.PATH",
        "environment.TOKEN",
        "mcp_servers[0].bundle.project_path",
    ];
    assert_eq!(fields, expected.map(|field| format!("profile.{field}")));
}

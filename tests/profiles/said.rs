//! What a profile says to the model: its system prompt, its memory, the tools it offers, the model itself, commands.

use agent_runtime::domain::{ProfileSetup, SessionOptions, SlashCommand};
use serde_json::json;

use crate::{
    rig::{claude, claude_with, file, of},
    support::{processes_of, run, stop},
};

fn end() -> serde_json::Value {
    json!([{ "answer": [{ "text": "Done." }] }])
}

#[tokio::test]
async fn the_system_prompt_and_the_memory_reach_the_model_and_stand_in_no_argument() {
    let setup = ProfileSetup {
        system_prompt: "SYSTEM \"seven\": ${HOME}\n--- second line".into(),
        memory_file: "MEMORY eight\n".into(),
        default_files: vec![file("CLAUDE.md", "WORKSPACE nine\n")],
        ..ProfileSetup::default()
    };
    let Some(mut house) = claude(setup, end()).await else { return };
    let id = house.session().await;
    house.play_in(&id, "Hello.").await;
    let call = house.call();
    assert!(call.system().contains(r#"SYSTEM \"seven\": ${HOME}\n--- second line"#), "{}", call.system());
    assert!(call.messages().contains("MEMORY eight"), "{}", call.messages());
    assert!(call.messages().contains("WORKSPACE nine"), "the workspace's own memory is gone: {}", call.messages());
    let argv: Vec<_> = processes_of(house.data.path()).into_iter().flat_map(|process| process.argv).collect();
    assert!(argv.iter().any(|argument| argument.ends_with("/claude")), "{argv:?}");
    assert!(argv.iter().all(|argument| !argument.contains("SYSTEM") && !argument.contains("MEMORY")), "{argv:?}");
    let sandbox = house.sandbox(&id).await;
    assert_eq!(std::fs::read_to_string(sandbox.join("workspace/CLAUDE.md")).expect("there"), "WORKSPACE nine\n");

    // The next sandbox has them as well.
    stop(&mut house.sessions, &id).await;
    std::fs::remove_dir_all(&sandbox).expect("removed");
    house.play_in(&id, "Again.").await;
    let calls = house.calls();
    let again = calls.last().expect("asked");
    assert!(again.messages().contains("Again.") && again.messages().contains("MEMORY eight"), "{}", again.messages());
    assert!(again.system().contains(r#"SYSTEM \"seven\""#), "{}", again.system());
    let home = house.sandbox(&id).await.join("home");
    assert_eq!(std::fs::read_to_string(home.join(".claude/CLAUDE.md")).expect("there"), "MEMORY eight\n");
}

#[tokio::test]
async fn only_the_tools_that_are_named_are_offered() {
    let workspace_server = json!({ "mcpServers": { "other": { "command": "node", "args": ["other.js"] } } });
    let setup = ProfileSetup {
        tools: vec!["Read".into(), "Bash".into()],
        default_files: vec![file(".mcp.json", &workspace_server.to_string())],
        ..ProfileSetup::default()
    };
    let Some(mut house) = claude(setup, end()).await else { return };
    house.play("Hello.").await;
    let call = house.call();
    let mut tools = call.tools();
    tools.sort_unstable();
    assert_eq!(tools, ["Bash", "Read"]);
}

#[tokio::test]
async fn without_names_all_tools_are_offered() {
    let Some(mut house) = claude(ProfileSetup::default(), end()).await else { return };
    house.play("Hello.").await;
    let call = house.call();
    for tool in ["Agent", "Bash", "Edit", "Read", "Skill", "Write"] {
        assert!(call.tools().contains(&tool), "{tool} is not among {:?}", call.tools());
    }
}

#[tokio::test]
async fn the_default_model_is_asked_unless_the_session_names_one() {
    let options = SessionOptions { model: "claude-haiku-4-5".into(), ..SessionOptions::default() };
    let setup = ProfileSetup { default_options: options, ..ProfileSetup::default() };
    let Some(mut house) = claude(setup, end()).await else { return };
    house.play("Hello.").await;
    assert_eq!(house.call().model(), "claude-haiku-4-5");
    let mut own = of("claude-code");
    own.options =
        Some(agent_runtime::proto::SessionOptions { model: "claude-sonnet-4-5".into(), ..Default::default() });
    let session = house.create(own).await.expect("created");
    assert_eq!(session.options.expect("options").model, "claude-sonnet-4-5");
    house.play_in(&session.session_id, "Hello.").await;
    assert_eq!(house.calls().last().expect("asked").model(), "claude-sonnet-4-5");
}

#[tokio::test]
async fn a_command_stands_for_its_prompt() {
    let setup = ProfileSetup {
        commands: vec![SlashCommand {
            name: "ship".into(),
            prompt: "---\nmodel: x\n---\nSHIP \"it\": $ARGUMENTS, then stop.".into(),
        }],
        ..ProfileSetup::default()
    };
    let Some(mut house) = claude_with(setup, end(), &[], &[]).await else { return };
    let id = house.session().await;
    run(&mut house.sessions, &id, "/ship version 2").await;
    let said = house.call().messages();
    assert!(said.contains(r#"---\nmodel: x\n---\nSHIP \"it\": version 2, then stop."#), "{said}");
}

//! Subagents: offered by their description, and run with their own prompt, model and tools.

use agent_runtime::domain::{ProfileSetup, SubagentDefinition};
use serde_json::json;

use crate::rig::{claude, file};

#[tokio::test]
async fn a_subagent_is_offered_and_has_its_own_prompt_model_and_tools() {
    let subagent = SubagentDefinition {
        name: "reviewer".into(),
        description: "Reviews: \"changes\"\nbefore they ship".into(),
        prompt: "---\nREVIEW with care, ${HOME}.".into(),
        model: "claude-haiku-4-5".into(),
        tools: vec!["Read".into(), "Glob".into()],
    };
    let plain = SubagentDefinition {
        name: "plain".into(),
        description: "Does as the session does".into(),
        prompt: "PLAIN work.".into(),
        model: String::new(),
        tools: Vec::new(),
    };
    let call = |name: &str, prompt: &str| {
        json!({ "tool": "Agent", "input": {
            "subagent_type": name, "description": "Look", "prompt": prompt, "run_in_background": false,
        } })
    };
    let steps = json!([
        { "answer": [call("reviewer", "please review")] },
        { "answer": [call("plain", "please work")] },
        { "answer": [{ "text": "Done." }] },
        { "when": "please review", "answer": [{ "text": "Reviewed." }] },
        { "when": "please work", "answer": [{ "text": "Worked." }] },
    ]);
    // The workspace has one of the same name, which must not stand in for the profile's.
    let other = "---\nname: reviewer\ndescription: IMPOSTOR\n---\nIMPOSTOR\n";
    let setup = ProfileSetup {
        subagents: vec![subagent, plain],
        tools: ["Agent", "Read", "Glob", "Write"].map(str::to_owned).into(),
        default_files: vec![file(".claude/agents/reviewer.md", other)],
        ..ProfileSetup::default()
    };
    let Some(mut house) = claude(setup, steps).await else { return };
    house.play("Go.").await;
    let calls = house.calls();
    let offer = calls[0].0.to_string();
    assert!(offer.contains(r#"reviewer: Reviews: \"changes\"\nbefore they ship"#), "{offer}");
    assert!(!offer.contains("IMPOSTOR"), "the workspace's stands in for the profile's");
    let of = |mark: &str| calls.iter().find(|call| call.system().contains(mark)).expect("the subagent asked its model");
    let review = of("REVIEW with care, ${HOME}.");
    assert_eq!(review.model(), "claude-haiku-4-5");
    let mut tools = review.tools();
    tools.sort_unstable();
    assert_eq!(tools, ["Glob", "Read"]);
    assert!(review.messages().contains("please review"));
    let plain = of("PLAIN work.");
    assert_eq!(plain.model(), calls[0].model());
    assert!(plain.tools().contains(&"Write") && !plain.tools().contains(&"Bash"), "{:?}", plain.tools());
}

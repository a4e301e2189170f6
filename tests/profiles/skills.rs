//! Skills: offered by their description, read when the model asks for one, with the files beside it.

use agent_runtime::domain::{ProfileSetup, Skill};
use serde_json::json;

use crate::rig::{claude, file, results};

#[tokio::test]
async fn a_skill_is_offered_its_body_loaded_and_its_file_readable() {
    let skill = Skill {
        name: "greeting".into(),
        description: "How to: greet \"people\", #1\nand others".into(),
        body: "INSTRUCTED: read names.txt.\n".into(),
        supporting_files: vec![file("data/names.txt", "Ada Lovelace\n")],
        npm_dependencies: Vec::new(),
        pip_dependencies: Vec::new(),
    };
    let steps = json!([
        { "answer": [{ "tool": "Skill", "input": { "skill": "greeting" } }] },
        { "answer": [{ "tool": "Bash", "input": { "command": "cat ~/.claude/skills/greeting/data/names.txt" } }] },
        { "answer": [{ "text": "Done." }] },
        // The body comes as a message of the user, and the script counts from there.
        { "when": "INSTRUCTED", "answer": [
            { "tool": "Bash", "input": { "command": "cat ~/.claude/skills/greeting/data/names.txt" } },
        ] },
        { "answer": [{ "text": "Done." }] },
    ]);
    let setup = ProfileSetup { skills: vec![skill], ..ProfileSetup::default() };
    let Some(mut house) = claude(setup, steps).await else { return };
    let played = house.play("Greet somebody.").await;
    let calls = house.calls();
    assert!(
        calls[0].messages().contains(r#"greeting: How to: greet \"people\", #1 and others"#),
        "{}",
        calls[0].messages()
    );
    assert!(!calls[0].messages().contains("INSTRUCTED: read"), "the body is there before it is asked for");
    assert!(calls[1].messages().contains("INSTRUCTED: read names.txt."), "{}", calls[1].messages());
    assert!(results(&played).concat().contains("Ada Lovelace"), "{:?}", results(&played));
}

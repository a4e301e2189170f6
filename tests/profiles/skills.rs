//! Skills: offered by their description, read when the model asks for one, with the files beside it.

use agent_runtime::domain::{ProfileSetup, Skill};
use serde_json::json;

use crate::{
    rig::{claude, file, results},
    support::stop,
};

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

#[tokio::test]
async fn what_the_agent_put_in_the_way_of_the_profiles_files_does_not_keep_its_session_from_starting() {
    let skill = Skill {
        name: "greeting".into(),
        description: "How to greet".into(),
        body: "Say hello.".into(),
        supporting_files: vec![file("data/names.txt", "Ada\n")],
        npm_dependencies: Vec::new(),
        pip_dependencies: Vec::new(),
    };
    let setup = ProfileSetup { memory_file: "REMEMBER this".into(), skills: vec![skill], ..ProfileSetup::default() };
    let Some(mut house) = claude(setup, json!([{ "answer": [{ "text": "Done." }] }])).await else { return };
    let id = house.session().await;
    house.play_in(&id, "Go.").await;
    let home = house.sandbox(&id).await.join("home");
    let (folder, outside) = (home.join(".claude"), tempfile::tempdir().expect("a folder"));
    std::fs::write(outside.path().join("CLAUDE.md"), "of somebody else").expect("written");
    for way in ["a folder", "a file", "a link out", "a link to nowhere"] {
        stop(&mut house.sessions, &id).await;
        let link = |to: &std::path::Path| std::os::unix::fs::symlink(to, &folder).expect("linked");
        match way {
            "a folder" => {
                std::fs::remove_file(folder.join("CLAUDE.md")).expect("removed");
                std::fs::create_dir_all(folder.join("CLAUDE.md/below")).expect("made");
            }
            "a file" => {
                std::fs::remove_dir_all(folder.join("skills/greeting")).expect("removed");
                std::fs::write(folder.join("skills/greeting"), "no folder").expect("written");
            }
            other => {
                std::fs::remove_dir_all(&folder).expect("removed");
                link(if other == "a link out" { outside.path() } else { "/nowhere".as_ref() });
            }
        }
        house.play_in(&id, "Go.").await;
        let read = |path: &str| std::fs::read_to_string(folder.join(path)).expect(way);
        assert_eq!(read("CLAUDE.md"), "REMEMBER this", "{way}");
        assert_eq!(read("skills/greeting/data/names.txt"), "Ada\n", "{way}");
        assert!(std::fs::symlink_metadata(&folder).expect("there").is_dir(), "{way}");
    }
    let kept = std::fs::read_to_string(outside.path().join("CLAUDE.md")).expect("there");
    assert_eq!(kept, "of somebody else", "a link was followed out of the home");
}

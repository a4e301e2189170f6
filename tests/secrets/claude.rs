//! The real Claude Code CLI prints its environment.

use agent_runtime::{
    dev::model::{self, Script},
    proto::{TurnStatus, block::Content},
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    canary::{Cage, PASSED},
    cli,
    printed::play,
    support::{fold, last_turn, snapshot},
};

#[tokio::test]
async fn the_real_cli_prints_its_environment_and_nobody_sees_the_key() {
    let Some(program) = cli::installed().await else { return };
    let (name, key) = PASSED[0];
    let steps = json!({ "steps": [
        { "answer": [
            { "thinking": format!("The key is {key}."), "chunk": 3 },
            { "text": format!("It is {key}, I think."), "chunk": 5 },
            { "tool": "Bash", "input": { "command": format!("printenv; echo {key}"), "description": format!("Show {key}") } },
        ] },
        { "answer": [{ "text": "All of it: {{result}}", "chunk": 7 }] },
    ] });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let script = Script::parse(&steps.to_string()).expect("a script");
    let model = model::serve(listener, script).expect("loopback");
    let [(url_name, url), _] = model.env();
    let env = [(url_name, url.as_str()), ("CLAUDE_CODE_MAX_RETRIES", "1")];
    let cage = Cage::new(&["--claude-code", program.to_str().expect("a path")], &env).await;
    for mode in ["bypassPermissions", "default"] {
        let server = cage.open();
        let mut sessions = server.sessions().await;
        let id = Cage::session(&mut sessions, "claude-code", mode).await;
        let events = play(&mut sessions, &id, "Print your environment.").await;
        assert_eq!(last_turn(&events).status(), TurnStatus::Completed);
        let state = fold(&events);
        let (reloaded, _) = snapshot(&mut sessions, &id).await;
        assert_eq!(state.blocks, reloaded.blocks, "live is not what a reload shows");
        let hidden = format!("[secret {name}]");
        let mut seen = [0; 5];
        for block in &state.blocks {
            match block.content.as_ref().expect("content") {
                Content::Thinking(thought) => {
                    assert_eq!(thought.text, format!("The key is {hidden}."));
                    seen[0] += 1;
                }
                Content::AssistantText(text) if text.text.starts_with("It is") => {
                    assert_eq!(text.text, format!("It is {hidden}, I think."));
                    seen[1] += 1;
                }
                Content::AssistantText(text) => {
                    assert!(text.text.contains(&format!("{name}={hidden}\n")), "{}", text.text);
                    seen[2] += 1;
                }
                Content::ToolUse(tool) => {
                    assert!(tool.input_json.contains(&format!("printenv; echo {hidden}")), "{}", tool.input_json);
                    assert_eq!(tool.description, format!("Show {hidden}"));
                    seen[3] += 1;
                }
                Content::ToolResult(result) => {
                    let output = format!("{:?}", result.output);
                    assert!(output.contains(&format!("{name}={hidden}")) && output.contains(PASSED[2].0), "{output}");
                    seen[4] += 1;
                }
                _ => {}
            }
        }
        assert_eq!(seen, [1; 5], "{:#?}", state.blocks);
        cage.search(server, &id, &events).await;
    }
    model.shutdown().await;
}

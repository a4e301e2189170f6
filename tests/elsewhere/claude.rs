//! The real Claude Code CLI in a sandbox at Modal.

use agent_runtime::{
    dev::model::{self, Script},
    proto::TurnStatus,
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    cli,
    rig::{Rig, created},
    support::play,
};

#[tokio::test]
async fn claude_code_runs_there_and_remembers() {
    if cli::installed().await.is_none() {
        return;
    }
    let steps = json!([
        { "answer": [{ "tool": "Bash", "input": { "command": "echo once >> ran; wc -l < ran" } }] },
        { "answer": [{ "text": " It ran {{result}}" }] },
        { "answer": [{ "text": " The second answer." }] },
    ]);
    let script = Script::parse(&json!({ "steps": steps }).to_string()).expect("a script");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let model = model::serve(listener, script).expect("loopback");
    let [(name, url), (key_name, key)] = model.env();
    let Some(rig) = Rig::new(&[(name, &url), (key_name, &key), ("CLAUDE_CODE_MAX_RETRIES", "1")]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "claude-code").await;
    let played = play(&mut sessions, &id, "Run it.").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);
    assert!(format!("{:?}", played.contents()).contains("It ran 1"), "{:?}", played.contents());
    crate::support::stop(&mut sessions, &id).await;
    let played = play(&mut sessions, &id, "And again.").await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);
    assert!(format!("{:?}", played.contents()).contains("The second answer"), "{:?}", played.contents());
}

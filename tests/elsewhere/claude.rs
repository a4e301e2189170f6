//! The real Claude Code CLI in a sandbox at Modal.

use agent_runtime::proto::TurnStatus;
use serde_json::json;

use crate::{
    rig::{Rig, created},
    support::play,
};

#[tokio::test]
async fn claude_code_runs_there_and_remembers() {
    let steps = json!([
        { "answer": [{ "tool": "Bash", "input": { "command": "echo once >> ran; wc -l < ran" } }] },
        { "answer": [{ "text": " It ran {{result}}" }] },
        { "answer": [{ "text": " The second answer." }] },
    ]);
    let Some((rig, _model)) = Rig::with_model(steps, &[]).await else { return };
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

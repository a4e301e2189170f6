//! What the real Claude Code CLI left at work in the background counts as activity, and not for ever.

use std::{path::Path, time::Duration};

use agent_runtime::{
    dev::model::{self, Handle, Script},
    domain::{Agent, SessionId},
    session::{Hidden, Programs},
    store::SessionView,
};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    cli,
    idle::{House, stopped},
};

/// Patience with silence; a command in the background gets six times as much.
const SILENCE: Duration = Duration::from_secs(1);

/// A house whose Claude Code begins this command in the background. `None`: there is no CLI here.
async fn start(data: &Path, command: &str) -> Option<(House, Handle)> {
    let program = cli::installed().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let input = json!({ "command": command, "description": "Work", "run_in_background": true });
    let steps = json!({ "steps": [
        { "answer": [{ "tool": "Bash", "input": input }] },
        { "answer": [{ "text": "Begun." }] },
    ] });
    let model = model::serve(listener, Script::parse(&steps.to_string()).expect("a script")).expect("loopback");
    let environment = model.env().map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    let programs = Programs { configured: [(Agent::ClaudeCode, program)].into(), ..Programs::default() };
    Some((House::of(data, Agent::ClaudeCode, programs, Hidden(environment)).await, model))
}

async fn stops(house: &House, id: &SessionId) -> String {
    let view: SessionView = house.until(id, stopped).await;
    view.session.sandbox.expect("one").status_message
}

#[tokio::test]
async fn a_command_in_the_background_is_waited_for_and_its_end_is_told() {
    let data = tempfile::tempdir().expect("a folder");
    let Some((house, model)) = start(data.path(), "sleep 3; echo done > done").await else { return };
    let id = house.given(Some(SILENCE), "Begin.".to_owned()).await;
    assert_eq!(stops(&house, &id).await, "stopped after 1 s of silence");
    // It came to its end, which the agent was told of: without, the first silence would have stopped it.
    let sandbox = house.view(&id).await.session.sandbox.and_then(|sandbox| sandbox.sandbox_id).expect("one");
    assert!(data.path().join("sandboxes").join(sandbox.as_str()).join("workspace/done").exists());
    house.close().await;
    model.shutdown().await;
}

#[tokio::test]
async fn a_command_that_does_not_end_holds_its_sandbox_for_six_times_the_silence() {
    let data = tempfile::tempdir().expect("a folder");
    let Some((house, model)) = start(data.path(), "tail -f /dev/null").await else { return };
    let id = house.given(Some(Duration::from_millis(500)), "Begin.".to_owned()).await;
    assert_eq!(stops(&house, &id).await, "stopped after 3 s of silence but for what went on in the background");
    house.close().await;
    model.shutdown().await;
}

//! The example of the README, as a new user tries it: applied from its file, run by a command, with the model that comes
//! along.

use std::path::Path;

use agent_runtime::dev::model::{self, Script};
use tokio::{net::TcpListener, process::Command};

use crate::{
    cli,
    rig::Call,
    support::{Server, nothing_is_left_of},
};

/// Runs a command of ours against a server, and returns what it printed.
async fn command(server: &Server, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("AGENT_RUNTIME_ADDR", &server.addr).env("AGENT_RUNTIME_KEY", &server.key).env("NO_COLOR", "1");
    let output = command.output().await.expect("it runs");
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{args:?}: {printed}");
    printed
}

#[tokio::test]
async fn its_skill_subagent_and_tool_server_are_at_work() {
    let Some(program) = cli::installed().await else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/profiles/release-notes");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let model = model::serve(listener, Script::load(&folder.join("model.json")).expect("a script")).expect("loopback");
    let [(name, url), (key_name, key)] = model.env();
    let env = [(name, url.as_str()), (key_name, key.as_str())];
    let mut server = Server::start_with(&["--claude-code", program.to_str().expect("a path")], &env);

    command(&server, &["profiles", "apply", "-f", "examples/profiles/release-notes.yaml"]).await;
    let prompt = "Write the release notes of 1.4.";
    let printed = command(&server, &["run", "--keep", "--profile", "release notes", prompt]).await;
    for part in ["release-notes", "mcp__tickets__list", "Proofread the notes", "RELEASE.md is written and proofread."] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }

    let calls: Vec<Call> = model.calls().into_iter().map(Call).collect();
    let first = &calls[0];
    assert!(first.system().contains("You write release notes for people"), "{}", first.system());
    assert!(first.messages().contains("How release notes are written here."), "the skill is not offered");
    assert!(first.0.to_string().contains("Reads a text as a customer would"), "the subagent is not offered");
    let said = calls.iter().map(Call::messages).collect::<String>();
    assert!(said.contains("Fill in `template.md`"), "the skill's body was not read");
    assert!(said.contains("demo: Exports can be scheduled"), "the tool server did not answer");
    assert!(said.contains("Each sentence can be understood."), "the subagent's answer did not come back");
    let proofreader = calls.iter().find(|call| call.system().contains("You proofread release notes."));
    assert_eq!(proofreader.expect("the subagent asked its model").tools(), ["Read"]);

    let sandboxes = std::fs::read_dir(server.data().join("sandboxes")).expect("sandboxes").flatten();
    let notes = sandboxes.map(|sandbox| sandbox.path().join("workspace/RELEASE.md")).find(|notes| notes.exists());
    let notes = std::fs::read_to_string(notes.expect("the notes")).expect("text");
    assert!(notes.contains("You can schedule exports."), "{notes}");
    server.terminate();
    nothing_is_left_of(server.data());
    model.shutdown().await;
}

//! Tool servers: programs in the sandbox, servers over HTTP, and projects that are copied and installed.

use std::collections::BTreeMap;

use agent_runtime::{
    domain::{McpServer, McpTransport, ProfileSetup, Secret},
    proto::{CreateSessionRequest, SandboxStatus, SessionEvent, session_event::Kind},
};
use serde_json::json;

use crate::{
    rig::{calls, claude, claude_with, file, of, results, sandbox_message},
    support::{PATIENCE, processes_of, send, stop, until, until_end_of, watch},
};

/// A server without dependencies, that tells how it was started.
const SERVER: &str = include_str!("../support/tool-server.js");

pub(crate) fn server(name: &str, transport: McpTransport) -> McpServer {
    McpServer { name: name.into(), description: "For tests".into(), transport }
}

fn token() -> BTreeMap<String, Secret> {
    [("TOKEN".to_owned(), Secret::Value("s3cret ${HOME} value".into()))].into()
}

#[tokio::test]
async fn a_program_offers_its_tools_and_its_secret_stands_in_no_file_and_no_argument() {
    let args = ["server.js", "plain", "with ${HOME}", "\"quoted\""].map(str::to_owned).into();
    let stdio = McpTransport::Stdio { command: "node".into(), args, environment: token() };
    // The workspace names a server that is none of the profile's.
    let other = json!({ "mcpServers": { "other": { "command": "node", "args": ["server.js"] } } });
    let setup = ProfileSetup {
        mcp_servers: vec![server("test_one", stdio)],
        default_files: vec![file("server.js", SERVER), file(".mcp.json", &other.to_string())],
        ..ProfileSetup::default()
    };
    let steps = calls("mcp__test_one__look", &json!({ "what": "this" }));
    let Some(mut house) = claude(setup, steps).await else { return };
    let id = house.session().await;
    let played = house.play_in(&id, "Look.").await;
    let asked = house.call();
    assert!(asked.0.to_string().contains("mcp__test_one__look"), "{:?}", asked.tools());
    assert!(!asked.0.to_string().contains("mcp__other"), "a server of the workspace is used: {:?}", asked.tools());
    let result = results(&played).concat();
    assert!(result.contains("looked at this / plain|with ${HOME}|"), "{result}");
    // It has its secret, which is not told on.
    assert!(result.contains("[secret test_one.TOKEN]"), "{result}");
    let running: Vec<_> = processes_of(house.data.path()).into_iter().flat_map(|process| process.argv).collect();
    assert!(running.iter().any(|argument| argument == "server.js"), "the server does not run: {running:?}");
    assert!(running.iter().all(|argument| !argument.contains("s3cret")), "{running:?}");
    let file = house.sandbox(&id).await.join("home/.agent-runtime/tool-servers.json");
    let text = std::fs::read_to_string(&file).expect("the CLI's configuration");
    assert!(text.contains("test_one") && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_profile_that_names_its_tools_names_its_servers() {
    let stdio =
        |environment| McpTransport::Stdio { command: "node".into(), args: vec!["server.js".into()], environment };
    let setup = ProfileSetup {
        mcp_servers: vec![server("one", stdio(BTreeMap::new()))],
        tools: vec!["Read".into(), "mcp__one".into()],
        default_files: vec![file("server.js", SERVER)],
        ..ProfileSetup::default()
    };
    let Some(mut house) = claude(setup, calls("mcp__one__look", &json!({ "what": "this" }))).await else { return };
    let played = house.play("Look.").await;
    let call = house.call();
    let mut tools = call.tools();
    tools.sort_unstable();
    assert_eq!(tools, ["Read", "mcp__one__look"]);
    assert!(results(&played)[0].contains("looked at this"), "{:?}", results(&played));
}

#[tokio::test]
async fn a_project_is_copied_installed_in_the_sandbox_and_started() {
    let root = tempfile::tempdir().expect("a folder");
    let project = root.path().join("tickets");
    std::fs::create_dir_all(project.join("lib")).expect("made");
    std::fs::write(project.join("lib/server.js"), SERVER).expect("written");
    std::os::unix::fs::symlink("lib/server.js", project.join("start.js")).expect("a link");
    std::fs::create_dir(project.join(".git")).expect("made");
    std::fs::write(project.join(".git/config"), "history").expect("written");
    // It is installed once: a second time would say so.
    let install =
        "echo \"module.exports = 'installed in $(basename $PWD | cut -d- -f1) at $HOME'\" >> lib/installed.js";
    let bundle = McpTransport::Bundle {
        project_path: project.display().to_string(),
        install_command: install.into(),
        start_command: "TOKEN='of the command' node start.js 'one argument' two".into(),
    };
    let setup = ProfileSetup { mcp_servers: vec![server("tickets", bundle)], ..ProfileSetup::default() };
    let steps = calls("mcp__tickets__look", &json!({ "what": "that" }));
    let roots = root.path().to_str().expect("a path");
    let Some(mut house) = claude_with(setup, steps, &["--workspace-root", roots], &[]).await else { return };
    let id = house.session().await;
    let played = house.play_in(&id, "Look.").await;
    let result = results(&played).concat();
    assert!(
        result.contains("looked at that / one argument|two / of the command / installed in tickets at "),
        "{result}"
    );
    let told: Vec<String> = played.events.iter().filter_map(sandbox_message).collect();
    assert!(told.contains(&"installing the tool server tickets".to_owned()), "{told:?}");
    assert!(!project.join("lib/installed.js").exists(), "the project itself was changed");

    // After a stop the same copy is started, and nothing is installed.
    stop(&mut house.sessions, &id).await;
    let played = house.play_in(&id, "Look.").await;
    let told = played.events.iter().filter_map(sandbox_message).filter(|told| told.contains("tickets"));
    assert_eq!(told.count(), 1, "it was installed again");
    let servers = house.sandbox(&id).await.join("home/.agent-runtime/servers");
    let folder = std::fs::read_to_string(servers.join("tickets")).expect("noted");
    let folder = servers.join(folder.rsplit('/').next().expect("a name"));
    assert!(folder.join("lib/installed.js").exists());
    assert!(!folder.join(".git").exists(), "its history came along");
}

#[tokio::test]
async fn a_note_that_the_agent_made_large_is_none() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::write(root.path().join("server.js"), SERVER).expect("written");
    let bundle = McpTransport::Bundle {
        project_path: root.path().display().to_string(),
        install_command: String::new(),
        start_command: "node server.js".into(),
    };
    let setup = ProfileSetup { mcp_servers: vec![server("tickets", bundle)], ..ProfileSetup::default() };
    let steps = calls("mcp__tickets__look", &json!({ "what": "that" }));
    let roots = root.path().to_str().expect("a path");
    let Some(mut house) = claude_with(setup, steps, &["--workspace-root", roots], &[]).await else { return };
    let id = house.session().await;
    house.play_in(&id, "Look.").await;
    stop(&mut house.sessions, &id).await;
    let note = house.sandbox(&id).await.join("home/.agent-runtime/servers/tickets");
    // None of it is on the disk, and who reads it reads for minutes.
    std::fs::File::create(&note).expect("made").set_len(200 << 30).expect("sparse");
    let played = house.play_in(&id, "Look.").await;
    assert!(results(&played).concat().contains("looked at that"), "{:?}", results(&played));
    assert!(std::fs::read_to_string(&note).expect("noted").contains("/tickets-"), "it was not installed again");
    // A folder in its place keeps nobody from noting it either.
    stop(&mut house.sessions, &id).await;
    std::fs::remove_file(&note).expect("removed");
    std::fs::create_dir_all(note.join("below")).expect("made");
    house.play_in(&id, "Look.").await;
    assert!(note.is_file());
}

#[tokio::test]
async fn a_project_that_does_not_install_fails_the_session_with_what_was_said() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::write(root.path().join("server.js"), SERVER).expect("written");
    let bundle = McpTransport::Bundle {
        project_path: root.path().display().to_string(),
        install_command: "echo no such package for $TOKEN_OF_MINE >&2; exit 7".into(),
        start_command: "node server.js".into(),
    };
    let environment = [("TOKEN_OF_MINE".to_owned(), Secret::Value("s3cret value".into()))].into();
    let mcp_servers = vec![server("tickets", bundle)];
    let setup = ProfileSetup { mcp_servers, environment, ..ProfileSetup::default() };
    let roots = root.path().to_str().expect("a path");
    let Some(mut house) = claude_with(setup, calls("Bash", &json!({})), &["--workspace-root", roots], &[]).await else {
        return;
    };
    let id = house.session().await;
    let failed = crate::support::play(&mut house.sessions, &id, "Look.").await;
    crate::rig::failed(&failed, "no such package for [secret TOKEN_OF_MINE]");
}

#[tokio::test]
async fn an_installation_ends_with_its_session() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::write(root.path().join("server.js"), SERVER).expect("written");
    let bundle = McpTransport::Bundle {
        project_path: root.path().display().to_string(),
        install_command: "sleep 86399".into(),
        start_command: "node server.js".into(),
    };
    let setup = ProfileSetup { mcp_servers: vec![server("slow", bundle)], ..ProfileSetup::default() };
    let roots = root.path().to_str().expect("a path");
    let args = ["--workspace-root", roots];
    let Some(mut house) = claude_with(setup, calls("Bash", &json!({})), &args, &[]).await else { return };
    // Its sandbox is ready before it has anything to install, so that it stays when the session stops.
    let request = CreateSessionRequest { start_sandbox: true, ..of("claude-code") };
    let id = house.create(request).await.expect("created").session_id;
    let mut events = watch(&mut house.sessions, &id, Some(0)).await.expect("a watch");
    let ready = |event: &SessionEvent| match &event.kind {
        Some(Kind::SandboxChanged(changed)) => changed.sandbox.as_ref().expect("one").status() == SandboxStatus::Ready,
        _ => false,
    };
    until(&mut events, ready).await;
    let (turn, _) = send(&mut house.sessions, &id, "Look.").await.expect("accepted");
    until(&mut events, |event| sandbox_message(event).is_some_and(|told| told.contains("tool server slow"))).await;
    let sleeps = || processes_of(house.data.path()).iter().any(|process| process.argv == ["sleep", "86399"]);
    eventually(&sleeps, true).await;
    stop(&mut house.sessions.clone(), &id).await;
    until_end_of(&mut events, &turn.turn_id).await;
    eventually(&sleeps, false).await;
}

/// Looks until it is so.
async fn eventually(look: &dyn Fn() -> bool, so: bool) {
    let looks = async {
        while look() != so {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looks).await.expect("what was waited for");
}

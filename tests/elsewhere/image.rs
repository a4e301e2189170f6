//! Projects of bundled tool servers: built into the image of a sandbox at Modal, once for all that want the same.

use std::path::{Path, PathBuf};

use agent_runtime::{
    dev::model::Handle,
    proto::{self, McpBundle, McpServer, SandboxStatus, TurnStatus, mcp_server::Transport, session_event::Kind},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    rig::{Rig, eventually, says},
    support::{Played, Server, Sessions, get, play, stop, until, watch},
};

/// A project without dependencies: it tells what its installation left.
const SERVER: &str = include_str!("../support/tool-server.js");

/// Leaves something that no other installation leaves.
const INSTALL: &str =
    "read -r id < /proc/sys/kernel/random/uuid\necho \"module.exports = 'installed as $id'\" > installed.js";

struct House {
    rig: Rig,
    /// The model that the agents talk to.
    _model: Handle,
    project: PathBuf,
    _root: TempDir,
}

impl House {
    /// `None`, said aloud, where there is no CLI or no emulator. The model calls the tool of the server that a message names.
    async fn new() -> Option<Self> {
        let root = TempDir::new().expect("a folder");
        let project = root.path().join("project");
        std::fs::create_dir(&project).expect("made");
        std::fs::write(project.join("server.js"), SERVER).expect("written");
        let section = |server: &str| {
            let call = json!({ "tool": format!("mcp__{server}__look"), "input": { "what": "this" } });
            [json!({ "when": server, "answer": [call] }), json!({ "answer": [{ "text": "Done." }] })]
        };
        let steps = json!([section("tickets"), section("other")].concat());
        let roots = root.path().to_str().expect("a path");
        let (rig, model) = Rig::with_model(steps, &[("AGENT_RUNTIME_WORKSPACE_ROOT", roots)]).await?;
        Some(Self { rig, _model: model, project, _root: root })
    }

    /// The layers with a project that were built.
    fn builds(&self) -> Vec<Value> {
        self.rig.emulator.builds().into_iter().filter(|build| build["files"] != json!({})).collect()
    }
}

/// A session of a new profile with this tool server over the project.
async fn session(server: &Server, name: &str, project: &Path, install: &str, env: &[(&str, &str)]) -> String {
    let bundle = McpBundle {
        project_path: project.display().to_string(),
        install_command: install.into(),
        start_command: "node server.js".into(),
    };
    let tools = McpServer { name: name.into(), transport: Some(Transport::Bundle(bundle)), ..McpServer::default() };
    let secret = |value: &str| proto::Secret { source: Some(proto::secret::Source::Value(value.into())) };
    let profile = proto::AgentProfile {
        name: format!("with {name} {}", project.display()),
        mcp_servers: vec![tools],
        environment: env.iter().map(|(name, value)| ((*name).to_owned(), secret(value))).collect(),
        ..Default::default()
    };
    let request = proto::CreateProfileRequest { profile: Some(profile), ..Default::default() };
    let made = server.profiles().await.create_profile(request).await.expect("a profile").into_inner();
    let profile_id = made.profile.expect("a profile").profile_id;
    let request = proto::CreateSessionRequest { agent: "claude-code".into(), profile_id, ..Default::default() };
    let made = server.sessions().await.create_session(request).await.expect("created").into_inner();
    made.session.expect("a session").session_id
}

/// What the tool told of its installation, in the last turn.
async fn looked(sessions: &mut Sessions, id: &str, server: &str) -> (String, Played) {
    let played = play(sessions, id, &format!("Look by {server}.")).await;
    assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn);
    let blocks = played.state.blocks.iter().filter(|block| block.turn_id == played.turn.turn_id);
    let all = format!("{:?}", blocks.collect::<Vec<_>>());
    let (_, told) = all.split_once("installed as ").unwrap_or_else(|| panic!("{all}"));
    (told.chars().take(36).collect(), played)
}

/// What was told of the sandbox.
fn told(played: &Played) -> Vec<String> {
    let kinds = played.events.iter().filter_map(|event| event.kind.as_ref());
    let message = |kind: &Kind| match kind {
        Kind::SandboxChanged(changed) => changed.sandbox.as_ref().map(|sandbox| sandbox.status_message.clone()),
        _ => None,
    };
    kinds.filter_map(message).collect()
}

#[tokio::test]
async fn a_project_is_built_once_for_all_that_want_it() {
    let Some(house) = House::new().await else { return };
    let server = house.rig.open();
    let mut sessions = server.sessions().await;
    eventually("what all begin with is there", || house.rig.emulator.builds().len() == 2).await;
    house.rig.emulator.set_faults("ImageJoinStreaming=OK+600@0*1000");
    let first = session(&server, "tickets", &house.project, INSTALL, &[]).await;
    let mut live = watch(&mut sessions, &first, Some(0)).await.expect("a watch");
    let built = async {
        until(&mut live, |event| says(event, SandboxStatus::Starting, "building")).await;
        house.rig.emulator.set_faults("");
    };
    let ((one, played), ()) = tokio::join!(looked(&mut sessions, &first, "tickets"), built);
    let all = told(&played);
    assert!(all.iter().any(|told| told.contains("building the image (3 of 4), the tool server tickets")), "{all:?}");
    assert!(all.iter().all(|told| !told.contains("installing")), "it is installed in the sandbox: {all:?}");
    assert_eq!(house.builds().len(), 1, "{:?}", house.builds());
    assert!(!house.project.join("installed.js").exists(), "the project itself was changed");

    // Stopped, it comes back with its files.
    stop(&mut sessions, &first).await;
    let (again, played) = looked(&mut sessions, &first, "tickets").await;
    assert_eq!(again, one, "it was installed again: {:?}", told(&played));
    // The next sandbox of the session begins with the same image.
    let before = get(&mut sessions, &first).await.sandbox.expect("a sandbox").generation;
    house.rig.emulator.set_faults("SandboxGetExitSnapshotV2=NOT_FOUND@0*1");
    house.rig.emulator.kill_sandbox(&house.rig.running()[0]);
    eventually("its end was noticed", || house.rig.running().is_empty()).await;
    let (again, played) = looked(&mut sessions, &first, "tickets").await;
    let after = get(&mut sessions, &first).await.sandbox.expect("a sandbox");
    assert_eq!((after.generation, after.status()), (before + 1, SandboxStatus::Ready));
    assert_eq!(again, one, "it was installed again: {:?}", told(&played));
    // So does a session of another profile, which calls it otherwise.
    let second = session(&server, "other", &house.project, INSTALL, &[]).await;
    assert_eq!(looked(&mut sessions, &second, "other").await.0, one);
    assert_eq!(house.builds().len(), 1, "{:?}", house.builds());

    // Another file of the same name and length is another project.
    std::fs::write(house.project.join("server.js"), SERVER.replace("looked at", "LOOKED AT")).expect("written");
    let third = session(&server, "tickets", &house.project, INSTALL, &[]).await;
    let (two, played) = looked(&mut sessions, &third, "tickets").await;
    assert_ne!(two, one);
    assert!(format!("{:?}", played.contents()).contains("LOOKED AT this"), "{:?}", played.contents());
    assert_eq!(house.builds().len(), 2, "{:?}", house.builds());
}

#[tokio::test]
async fn an_installation_that_fails_is_told_with_what_it_said() {
    let Some(house) = House::new().await else { return };
    let server = house.rig.open();
    let mut sessions = server.sessions().await;
    // A session that comes later has it tried again, and is told the same.
    for builds in 1..=2 {
        let install = "echo no such package; exit 7";
        let id = session(&server, "tickets", &house.project, install, &[]).await;
        let played = play(&mut sessions, &id, "Look.").await;
        assert_eq!(played.turn.status(), TurnStatus::Failed);
        let error = played.turn.error.clone().expect("a cause");
        assert_eq!(error.reason(), proto::ErrorReason::SandboxFailed, "{error:?}");
        let metadata = |name: &str| error.metadata.get(name).map(String::as_str);
        assert_eq!((metadata("cause"), metadata("provider")), (Some("tool_server"), Some("modal")), "{error:?}");
        for part in ["`echo no such package; exit 7` of the tool server tickets failed", "\nno such package", "with 7"]
        {
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
        // One more where the profile's own was over before the session's began.
        assert!(house.builds().len() >= builds, "{:?}", house.builds());
    }
    assert!(house.rig.running().is_empty(), "nothing was made of it");
}

#[tokio::test]
async fn an_installation_that_needs_a_secret_is_in_no_image() {
    let Some(house) = House::new().await else { return };
    let server = house.rig.open();
    let mut sessions = server.sessions().await;
    let install = format!("[ \"$REGISTRY_TOKEN\" = s3cret-value ] || exit 9\n{INSTALL}");
    let env = [("REGISTRY_TOKEN", "s3cret-value")];
    let mut seen = Vec::new();
    for _ in 0..2 {
        let id = session(&server, "tickets", &house.project, &install, &env).await;
        let (installed, played) = looked(&mut sessions, &id, "tickets").await;
        let all = told(&played);
        let why = "the tool server tickets is installed in the sandbox: its installation names REGISTRY_TOKEN";
        assert!(all.iter().any(|told| told.contains(why)), "{all:?}");
        seen.push(installed);
    }
    assert_ne!(seen[0], seen[1], "each sandbox has its own");
    assert!(house.builds().is_empty(), "{:?}", house.builds());
    let all = format!("{:?}", house.rig.emulator.builds());
    assert!(!all.contains("s3cret"), "{all}");
}

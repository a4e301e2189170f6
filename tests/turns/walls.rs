//! What agents and watchers never get to see.

use std::path::PathBuf;

use agent_runtime::proto::{self, Isolation};

use crate::support::{Server, get, play, processes_of, scripted};

#[tokio::test]
async fn a_walled_off_agent_does_not_see_the_data_folder() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let info = server.runtime().await.get_runtime_info(proto::GetRuntimeInfoRequest {}).await.expect("told");
    if info.into_inner().sandbox_providers[0].isolation() != Isolation::Namespace {
        println!("SKIPPED: agents are not walled off by namespaces on this machine");
        return;
    }
    let id = scripted(&mut sessions).await.session_id;
    play(&mut sessions, &id, "hello").await;
    assert_eq!(get(&mut sessions, &id).await.sandbox.expect("a sandbox").isolation(), Isolation::Namespace);
    let agents = processes_of(server.data());
    let agent = agents.iter().find(|process| process.argv.len() == 2 && process.argv[1] == "scripted-agent");
    let agent = agent.unwrap_or_else(|| panic!("{agents:?}"));
    // The agent's own view of the file system.
    let seen = |path: &std::path::Path| PathBuf::from(format!("/proc/{}/root{}", agent.pid, path.display()));
    assert!(seen("/usr".as_ref()).is_dir(), "the agent's view cannot be read");
    assert!(seen("/workspace".as_ref()).is_dir());
    let data = server.data();
    assert!(data.join("key").is_file() && data.join("agent-runtime.db").is_file());
    for hidden in ["key", "agent-runtime.db", "sandboxes"] {
        assert!(!seen(&data.join(hidden)).exists(), "the agent sees {hidden}");
    }
    let environ = std::fs::read(format!("/proc/{}/environ", agent.pid)).expect("the agent's environment");
    let environ = String::from_utf8_lossy(&environ);
    assert!(!environ.contains(&server.key) && !environ.contains(data.to_str().expect("a path")), "{environ}");
}

#[tokio::test]
async fn the_key_is_told_to_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut server = Server::start_telling(&log, "trace");
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let script = r#"[{"say":"Hello."},{"stderr":"odd"},{"raw":"garbage\n"},{"exit":1}]"#;
    let played = play(&mut sessions, &id, script).await;
    let played_again = play(&mut sessions, &id, "hello").await;
    let argv: Vec<_> = processes_of(server.data()).into_iter().flat_map(|process| process.argv).collect();
    assert!(!argv.is_empty());
    let mut refused = proto::session_service_client::SessionServiceClient::new(server.channel().await);
    let refusal = refused.list_sessions(proto::ListSessionsRequest::default()).await.expect_err("no key");
    server.terminate();
    let told = std::fs::read(&log).expect("a log");
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("SendMessage"), "the log says nothing of what was called");
    let secret = server.key.trim_start_matches("ark_");
    let everything = format!("{:?}{:?}{:?}{argv:?}{refusal:?}", played.events, played_again.events, played.state);
    assert!(!everything.contains(secret), "the key is told");
    let line = told.lines().find(|line| line.contains(secret));
    assert_eq!(line, None, "the key is in the log");
}

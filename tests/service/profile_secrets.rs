//! Secrets go in and never come out: a canary in each place one can stand in, looked for in all that the server says.

use std::{fs, process::Command};

use agent_runtime::{
    domain::{ProfileId, RequestId, TenantId, Timestamp},
    proto::{self, AgentProfile, McpHttp, McpServer, McpStdio, Secret, mcp_server::Transport, secret::Source},
    store::{SqliteStore, Store as _},
};
use prost::Message as _;
use tonic::Status;

use super::profile_changes::{create, get, update};
use crate::support::{Server, fields};

const CANARY: &str = "canary-7f3a9c";

fn value(text: &str) -> Secret {
    Secret { source: Some(Source::Value(text.into())) }
}

fn reference(name: &str) -> Secret {
    Secret { source: Some(Source::Ref(name.into())) }
}

fn server(name: &str, transport: Transport) -> McpServer {
    McpServer { name: name.into(), transport: Some(transport), ..Default::default() }
}

fn profile() -> AgentProfile {
    let secrets = |place: &str| {
        [("GIVEN".into(), value(&format!("{CANARY}-{place}"))), ("NAMED".into(), reference("STORED"))].into()
    };
    let stdio = McpStdio { command: "node".into(), environment: secrets("stdio"), ..Default::default() };
    let http = McpHttp { url: "https://h/".into(), headers: secrets("http"), ..Default::default() };
    AgentProfile {
        name: "secretive".into(),
        agent: "scripted".into(),
        environment: secrets("environment"),
        mcp_servers: vec![server("a", Transport::Stdio(stdio)), server("b", Transport::Http(http))],
        ..Default::default()
    }
}

/// All that a call said, as bytes.
fn said<M: prost::Message>(answer: Result<M, Status>) -> Vec<u8> {
    match answer {
        Ok(message) => message.encode_to_vec(),
        Err(status) => [status.message().as_bytes(), status.details()].concat(),
    }
}

fn has_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

#[tokio::test]
async fn a_secret_never_comes_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let server = Server::start_telling(&log, "trace");
    let mut profiles = server.profiles().await;
    let mut all = Vec::new();

    let request =
        |request_id: &str| proto::CreateProfileRequest { profile: Some(profile()), request_id: request_id.into() };
    let created = profiles.create_profile(request("one")).await.expect("created").into_inner();
    let read = created.profile.clone().expect("a profile");
    assert_eq!(read.environment["GIVEN"], Secret::default(), "the name is there");
    assert_eq!(read.environment["NAMED"], reference("STORED"));
    all.extend(created.encode_to_vec());
    all.extend(said(profiles.create_profile(request("one")).await.map(tonic::Response::into_inner)));
    let id = read.profile_id.clone();

    // Errors of calls that carry one, in each place.
    let mut too_long = profile();
    too_long.environment.insert("LONG".into(), value(&format!("{CANARY}{}", "x".repeat(33_000))));
    let mut nul = profile();
    nul.environment.insert("NUL".into(), value(&format!("{CANARY}\0")));
    let mut split = profile();
    let Some(Transport::Http(http)) = &mut split.mcp_servers[1].transport else { panic!("another transport") };
    http.headers.insert("X".into(), value(&format!("{CANARY}\r\n")));
    for wrong in [too_long, nul, split, AgentProfile { name: String::new(), ..profile() }] {
        let request = proto::CreateProfileRequest { profile: Some(wrong), ..Default::default() };
        let refused = profiles.create_profile(request).await.map(tonic::Response::into_inner);
        assert!(refused.is_err());
        all.extend(said(refused));
    }
    let stale = AgentProfile { profile_id: id.clone(), etag: "stale".into(), ..profile() };
    all.extend(said(update(&mut profiles, stale, &["environment"]).await));
    let changed = AgentProfile { profile_id: id.clone(), description: "changed".into(), ..profile() };
    let changed = update(&mut profiles, changed, &["description", "environment"]).await;
    assert_eq!(changed.as_ref().map(|profile| profile.revision).ok(), Some(2));
    all.extend(said(changed));
    for revision in [0, 1, 2] {
        all.extend(said(get(&mut profiles, &id, revision).await));
    }
    let list = profiles.list_profiles(proto::ListProfilesRequest::default()).await.map(tonic::Response::into_inner);
    assert!(list.as_ref().is_ok_and(|list| list.profiles.iter().all(|profile| profile.environment.is_empty())));
    all.extend(said(list));
    assert!(!has_canary(&all), "an answer or an error has it");

    for args in [vec!["list"], vec!["get", "secretive"], vec!["get", &id, "--revision", "1"]] {
        for json in [false, true] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
            command.env("RUST_LOG", "trace").arg("--data").arg(server.data()).arg("profiles").args(&args);
            let output = command.args(json.then_some("--json")).output().expect("it runs");
            assert!(output.status.success(), "{args:?}: {output:?}");
            assert!(!has_canary(&output.stdout) && !has_canary(&output.stderr), "{args:?}");
        }
    }

    // What is remembered of calls has none; the revisions have one each, in the file that is theirs.
    let data = server.kill().expect("its own folder");
    assert!(!has_canary(&fs::read(&log).expect("a log")), "the log has it");
    assert!(fs::metadata(&log).expect("a log").len() > 1000, "nothing was logged");
    let mut holders = Vec::new();
    for entry in fs::read_dir(data.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() && has_canary(&fs::read(&path).expect("readable")) {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = path.metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{path:?} can be read by others");
            holders.push(path);
        }
    }
    assert!(!holders.is_empty(), "the canary was not stored at all");
    let store = SqliteStore::open(&data.path().join("agent-runtime.db")).await.expect("the database");
    let (tenant, one) = (TenantId::default_tenant(), RequestId::new("one"));
    let call = store.request(&tenant, &one, Timestamp(0)).await.expect("read").expect("remembered");
    let answer = serde_json::to_string(&call.answer).expect("plain data");
    assert!(answer.contains("secretive") && !answer.contains(CANARY), "{answer}");
    let revision = store.profile(&tenant, &ProfileId::new(id), 2).await.expect("read").expect("there");
    assert!(serde_json::to_string(&revision).expect("plain data").contains(CANARY), "the value is lost");
    store.close().await;
}

#[tokio::test]
async fn a_secret_is_kept_until_it_is_replaced_or_left_out() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_on(data.path(), &[]);
    let mut profiles = server.profiles().await;
    let read = create(&mut profiles, profile()).await;

    // Read, changed and written back as a whole, by somebody who never saw a value.
    let mask = ["environment", "mcp_servers", "system_prompt"];
    let edited = AgentProfile { system_prompt: "p".into(), ..read.clone() };
    let written = update(&mut profiles, edited, &mask).await.expect("changed");
    assert_eq!((&written.environment, &written.mcp_servers), (&read.environment, &read.mcp_servers));
    // Nothing to see from outside, so the values are looked for where they are: an update to the same values is none.
    let same = AgentProfile { profile_id: read.profile_id.clone(), ..profile() };
    let unchanged = update(&mut profiles, same.clone(), &["environment", "mcp_servers"]).await.expect("as it is");
    assert_eq!(unchanged.revision, written.revision, "a value was lost");
    let mut other = same;
    other.environment.insert("GIVEN".into(), value("another"));
    let replaced = update(&mut profiles, other, &["environment"]).await.expect("changed");
    assert_eq!(replaced.revision, written.revision + 1);

    let without = AgentProfile {
        profile_id: read.profile_id.clone(),
        environment: [("NAMED".into(), Secret::default())].into(),
        ..Default::default()
    };
    let removed = update(&mut profiles, without, &["environment"]).await.expect("changed");
    assert_eq!(removed.environment, [("NAMED".into(), reference("STORED"))].into(), "a reference is kept too");
    let again = AgentProfile {
        profile_id: read.profile_id,
        environment: [("GIVEN".into(), Secret::default())].into(),
        ..Default::default()
    };
    let refused = update(&mut profiles, again, &["environment"]).await.expect_err("it was removed");
    assert_eq!(fields(&refused), ["profile.environment[\"GIVEN\"]"]);
}

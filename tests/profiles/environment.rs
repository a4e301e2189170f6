//! What a profile gives its agent beside words: variables, secrets, files, a sandbox.

use agent_runtime::{
    domain::{ProfileSetup, SandboxSpec, Secret},
    proto,
};
use serde_json::json;

use crate::{
    rig::{claude_with, file, of, results, runs},
    support::{PATIENCE, Server, fold, get, play, processes_of, reason, send, until_end_of, watch},
};

fn secret(value: &str) -> Secret {
    Secret::Value(value.into())
}

#[tokio::test]
async fn variables_and_named_secrets_are_in_the_agents_environment_and_in_no_argument() {
    let secrets = tempfile::tempdir().expect("a folder");
    std::fs::write(secrets.path().join("deploy_token"), "by name\n").expect("written");
    let setup = ProfileSetup {
        environment: [
            ("PLAIN_VALUE".to_owned(), secret("it's \"plain\" ${HOME}")),
            ("DEPLOY_TOKEN".to_owned(), Secret::Ref("deploy_token".into())),
            ("CLAUDE_CODE_MAX_RETRIES".to_owned(), secret("2")),
        ]
        .into(),
        ..ProfileSetup::default()
    };
    let folder = secrets.path().to_str().expect("a path");
    let command = "printenv PLAIN_VALUE DEPLOY_TOKEN CLAUDE_CODE_MAX_RETRIES OF_THE_SERVER | tr '\\n' '|' > seen.txt";
    let env = [("OF_THE_SERVER", "not for agents")];
    let Some(mut house) = claude_with(setup, runs(command), &["--secrets", folder], &env).await else { return };
    let id = house.session().await;
    house.play_in(&id, "Look.").await;
    let seen = std::fs::read_to_string(house.sandbox(&id).await.join("workspace/seen.txt")).expect("written");
    assert_eq!(seen, "it's \"plain\" ${HOME}|by name|2|", "the profile's win over the server's");
    let argv: Vec<_> = processes_of(house.data.path()).into_iter().flat_map(|process| process.argv).collect();
    assert!(argv.iter().any(|argument| argument.ends_with("/claude")), "{argv:?}");
    assert!(argv.iter().all(|argument| !argument.contains("by name") && !argument.contains("plain")), "{argv:?}");
}

#[tokio::test]
async fn default_files_are_there_under_the_sessions_own() {
    let setup = ProfileSetup {
        default_files: vec![file("notes/a.txt", "profile's a"), file("notes/b.txt", "profile's b")],
        ..ProfileSetup::default()
    };
    let command = "cat notes/a.txt notes/b.txt";
    let Some(mut house) = claude_with(setup, runs(command), &[], &[]).await else { return };
    let own = proto::FileContent { path: "notes/b.txt".into(), content: "own b".into(), mode: 0 };
    let request = proto::CreateSessionRequest { workspace_files: vec![own], ..of("claude-code") };
    let session = house.create(request).await.expect("created");
    let played = house.play_in(&session.session_id, "Look.").await;
    assert!(results(&played)[0].contains("profile's aown b"), "{:?}", results(&played));
}

#[tokio::test]
async fn the_scripted_agent_has_files_and_sandbox_too() {
    let data = tempfile::tempdir().expect("a folder");
    let spec = SandboxSpec { provider: "elsewhere".into(), ..SandboxSpec::default() };
    let setup = ProfileSetup {
        default_files: vec![file("a.txt", "from the profile")],
        sandbox: Some(spec),
        ..ProfileSetup::default()
    };
    crate::rig::store(data.path(), setup, 1).await;
    let server = Server::start_on(data.path(), &[]);
    let mut sessions = server.sessions().await;
    let refused = sessions.create_session(of("scripted")).await.expect_err("the profile's sandbox is not offered");
    assert_eq!(reason(&refused), "INVALID_FIELD");
    assert!(refused.message().contains("sandbox.provider"), "{refused:?}");
    let empty = proto::CreateSessionRequest { sandbox: Some(proto::SandboxSpec::default()), ..of("scripted") };
    sessions.create_session(empty).await.expect("a sandbox that says nothing stands in the profile's place");
    let here = proto::SandboxSpec { provider: "local".into(), ..Default::default() };
    let request = proto::CreateSessionRequest { sandbox: Some(here), ..of("scripted") };
    let id = sessions.create_session(request).await.expect("created").into_inner().session.expect("one").session_id;
    let script = json!({ "say": "hello" }).to_string();
    let played = play(&mut sessions, &id, &script).await;
    let sandbox = played.state.session.expect("a session").sandbox.expect("a sandbox").sandbox_id;
    let file = data.path().join("sandboxes").join(sandbox).join("workspace/a.txt");
    assert_eq!(std::fs::read_to_string(file).expect("there"), "from the profile");
}

#[tokio::test]
async fn a_secret_that_changed_without_a_server_is_known_as_what_the_program_was_given() {
    let (data, secrets) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let put = |value: &str| std::fs::write(secrets.path().join("token"), value).expect("written");
    put("first-canary-1");
    let environment = [("TOKEN".to_owned(), Secret::Ref("token".into()))].into();
    crate::rig::store(data.path(), ProfileSetup { environment, ..ProfileSetup::default() }, 1).await;
    let args = ["--secrets", secrets.path().to_str().expect("a path")];
    let server = Server::start_on(data.path(), &args);
    let mut sessions = server.sessions().await;
    let id =
        sessions.create_session(of("scripted")).await.expect("created").into_inner().session.expect("one").session_id;
    let script = json!([{ "run": "touch begun; until [ -e go ]; do sleep 0.05; done; echo \"<$TOKEN>\"" }]).to_string();
    let (turn, sequence) = send(&mut sessions, &id, &script).await.expect("accepted");
    let begun = async {
        loop {
            let sandbox = get(&mut sessions, &id).await.sandbox.and_then(|sandbox| {
                let folder = data.path().join("sandboxes").join(sandbox.sandbox_id).join("workspace");
                folder.join("begun").exists().then_some(folder)
            });
            match sandbox {
                Some(folder) => return folder,
                None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    };
    let workspace = tokio::time::timeout(PATIENCE, begun).await.expect("it begins");
    server.kill();
    put("second-canary-2");
    let server = Server::start_on(data.path(), &args);
    let mut sessions = server.sessions().await;
    std::fs::write(workspace.join("go"), "").expect("written");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    let shown = format!("{:?}", fold(&events).blocks);
    assert!(shown.contains("<[secret TOKEN]>") && !shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn a_secret_that_got_another_value_is_shown_as_little_as_the_one_before() {
    let (data, secrets) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let put = |value: &str| std::fs::write(secrets.path().join("token"), value).expect("written");
    put("first-canary-1");
    let environment = [("TOKEN".to_owned(), Secret::Ref("token".into()))].into();
    crate::rig::store(data.path(), ProfileSetup { environment, ..ProfileSetup::default() }, 1).await;
    let server = Server::start_on(data.path(), &["--secrets", secrets.path().to_str().expect("a path")]);
    let mut sessions = server.sessions().await;
    // Somebody looks after the session from now on, and read the secret before it changes.
    let request = proto::CreateSessionRequest { start_sandbox: true, ..of("scripted") };
    let id = sessions.create_session(request).await.expect("created").into_inner().session.expect("one").session_id;
    let ready = async {
        let is_ready = |session: proto::Session| {
            session.sandbox.is_some_and(|sandbox| sandbox.status() == proto::SandboxStatus::Ready)
        };
        while !is_ready(get(&mut sessions, &id).await) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("the sandbox is made ready");
    put("second-canary-2");
    // Split, so that what is sent to the agent is no value.
    let script = json!([{ "run": "echo \"<$TOKEN> <first-ca''nary-1>\" | tr -d \"'\"" }]).to_string();
    let played = play(&mut sessions, &id, &script).await;
    let shown = results(&played).concat();
    assert!(shown.contains("<[secret TOKEN]> <[secret TOKEN]>"), "{shown}");
}

//! A server with a profile and a scripted model, and a look at what the model was asked.

use std::path::{Path, PathBuf};

use agent_runtime::{
    dev::model::{self, Handle, Script},
    domain::{Profile, ProfileFile, ProfileId, ProfileSetup, TenantId, Timestamp},
    proto::{self, TurnStatus, block::Content},
    store::{SqliteStore, Store as _},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::Status;

use crate::{
    cli,
    support::{Played, Server, Sessions, get, play},
};

/// Name of the profile that tests make.
pub(crate) const PROFILE: &str = "prof_test";

/// See the module. Fields go in order: the server before its folder.
pub(crate) struct House {
    /// Ends when it is dropped.
    _server: Server,
    pub(crate) sessions: Sessions,
    pub(crate) model: Handle,
    pub(crate) data: TempDir,
}

/// A server whose Claude Code talks to a model that plays these steps. `None`: there is no CLI here.
pub(crate) async fn claude(setup: ProfileSetup, steps: Value) -> Option<House> {
    claude_with(setup, steps, &[], &[]).await
}

/// The same with more arguments and environment.
pub(crate) async fn claude_with(
    setup: ProfileSetup,
    steps: Value,
    args: &[&str],
    env: &[(&str, &str)],
) -> Option<House> {
    let program = cli::installed().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let script = Script::parse(&json!({ "steps": steps }).to_string()).expect("a script");
    let model = model::serve(listener, script).expect("loopback");
    let data = TempDir::new().expect("a folder");
    store(data.path(), setup, 1).await;
    let [(name, url), (key_name, key)] = model.env();
    let env = [&[(name, url.as_str()), (key_name, key.as_str()), ("CLAUDE_CODE_MAX_RETRIES", "1")], env].concat();
    let args = [&["--claude-code", program.to_str().expect("a path")], args].concat();
    let server = Server::start_on_with(data.path(), &args, &env);
    let sessions = server.sessions().await;
    Some(House { _server: server, sessions, model, data })
}

/// Puts a revision of the profile into the store of a folder that no server uses.
pub(crate) async fn store(data: &Path, setup: ProfileSetup, revision: i64) {
    let store = SqliteStore::open(&data.join("agent-runtime.db")).await.expect("a store");
    let now = Timestamp::now();
    let profile = Profile {
        profile_id: ProfileId::new(PROFILE),
        revision,
        name: "test".into(),
        description: String::new(),
        agent: None,
        setup,
        created_by: None,
        create_time: now,
        update_time: now,
        etag: revision.to_string(),
    };
    store.put_profile(&TenantId::default_tenant(), &profile, None).await.expect("stored");
    store.close().await;
}

/// A file that a profile brings.
pub(crate) fn file(path: &str, content: &str) -> ProfileFile {
    ProfileFile { path: path.to_owned(), content: content.into(), mode: 0o644 }
}

/// What the profile's agent is, as `CreateSession` names it.
pub(crate) fn of(agent: &str) -> proto::CreateSessionRequest {
    proto::CreateSessionRequest { profile_id: PROFILE.into(), agent: agent.into(), ..Default::default() }
}

impl House {
    /// A session of the profile.
    pub(crate) async fn session(&mut self) -> String {
        self.create(of("claude-code")).await.expect("created").session_id
    }

    pub(crate) async fn create(&mut self, request: proto::CreateSessionRequest) -> Result<proto::Session, Status> {
        let created = self.sessions.create_session(request).await?;
        Ok(created.into_inner().session.expect("a session"))
    }

    /// Runs a message in a new session of the profile.
    pub(crate) async fn play(&mut self, text: &str) -> Played {
        let id = self.session().await;
        self.play_in(&id, text).await
    }

    /// Runs a message to its good end.
    pub(crate) async fn play_in(&mut self, id: &str, text: &str) -> Played {
        let played = play(&mut self.sessions, id, text).await;
        assert_eq!(played.turn.status(), TurnStatus::Completed, "{:?}", played.turn.error);
        played
    }

    /// The folder of a session's sandbox.
    pub(crate) async fn sandbox(&mut self, id: &str) -> PathBuf {
        let sandbox = get(&mut self.sessions, id).await.sandbox.expect("a sandbox").sandbox_id;
        self.data.path().join("sandboxes").join(sandbox)
    }

    /// The first of what the model was asked.
    pub(crate) fn call(&self) -> Call {
        self.calls().into_iter().next().expect("the model was asked")
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.model.calls().into_iter().map(Call).collect()
    }
}

/// What a model was asked.
pub(crate) struct Call(pub Value);

impl Call {
    /// The system prompt.
    pub(crate) fn system(&self) -> String {
        self.0["system"].to_string()
    }

    /// All that was said so far, with what the agent adds to it.
    pub(crate) fn messages(&self) -> String {
        self.0["messages"].to_string()
    }

    pub(crate) fn model(&self) -> &str {
        self.0["model"].as_str().expect("a model")
    }

    /// Names of the tools, but for the one by which the CLI keeps a place for others.
    pub(crate) fn tools(&self) -> Vec<&str> {
        let tools = self.0["tools"].as_array().into_iter().flatten().map(|tool| tool["name"].as_str().expect("a name"));
        tools.filter(|name| *name != "DeferredToolPlaceholder").collect()
    }
}

/// What tools returned, in order.
pub(crate) fn results(played: &Played) -> Vec<String> {
    let contents = played.contents().into_iter();
    let results = contents.filter_map(|content| match content {
        Content::ToolResult(result) => Some(format!("{:?}", result.output)),
        _ => None,
    });
    results.collect()
}

/// The model calls a tool with this input, then ends.
pub(crate) fn calls(tool: &str, input: &Value) -> Value {
    json!([{ "answer": [{ "tool": tool, "input": input }] }, { "answer": [{ "text": "Done." }] }])
}

/// The model runs this command, then ends.
pub(crate) fn runs(command: &str) -> Value {
    calls("Bash", &json!({ "command": command, "description": "Look" }))
}

/// What an event says of the sandbox.
pub(crate) fn sandbox_message(event: &proto::SessionEvent) -> Option<String> {
    match &event.kind {
        Some(proto::session_event::Kind::SandboxChanged(changed)) => {
            Some(changed.sandbox.as_ref().expect("a sandbox").status_message.clone())
        }
        _ => None,
    }
}

/// The turn and its session failed for want of a sandbox, and this is told.
pub(crate) fn failed(played: &Played, told: &str) {
    assert_eq!(played.turn.status(), TurnStatus::Failed);
    let error = played.turn.error.clone().expect("a cause");
    assert_eq!(error.reason(), proto::ErrorReason::SandboxFailed, "{error:?}");
    assert!(error.message.contains(told), "{}", error.message);
    let session = played.state.session.as_ref().expect("a session");
    assert_eq!(session.status(), proto::SessionStatus::Failed);
}

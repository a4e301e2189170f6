//! A server with an account at an emulator of Modal.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use agent_runtime::{
    dev::model::{self, Handle, Script},
    proto::{self, SandboxStatus, SessionEvent, session_event::Kind},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{
    cli,
    emulator::Emulator,
    support::{Played, Server, Sessions, get},
};

pub(crate) struct Rig {
    pub(crate) emulator: Emulator,
    data: TempDir,
    env: Vec<(String, String)>,
}

impl Rig {
    /// `None`, said aloud, where the emulator cannot make sandboxes.
    pub(crate) fn new(env: &[(&str, &str)]) -> Option<Self> {
        Self::with(&[], env)
    }

    /// The same, with arguments of the emulator.
    pub(crate) fn with(emulator: &[&str], env: &[(&str, &str)]) -> Option<Self> {
        let works = std::process::Command::new("bwrap").args(["--ro-bind", "/", "/", "true"]).status();
        if !works.is_ok_and(|status| status.success()) {
            println!("SKIPPED: the emulator of Modal needs bubblewrap");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have it");
            return None;
        }
        let emulator = Emulator::start_with(emulator);
        let own = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env = emulator.env.iter().cloned().chain(own).collect();
        Some(Self { emulator, data: TempDir::new().expect("a folder"), env })
    }

    /// One in which the real CLI talks to a model that takes these steps. `None`, said aloud, also where there is no CLI.
    pub(crate) async fn with_model(steps: Value, env: &[(&str, &str)]) -> Option<(Self, Handle)> {
        cli::installed().await?;
        let script = Script::parse(&json!({ "steps": steps }).to_string()).expect("a script");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let model = model::serve(listener, script).expect("loopback");
        let [(name, url), (key_name, key)] = model.env();
        let own = [(name, url.as_str()), (key_name, key.as_str()), ("CLAUDE_CODE_MAX_RETRIES", "1")];
        Some((Self::new(&[&own, env].concat())?, model))
    }

    pub(crate) fn path(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn open(&self) -> Server {
        self.open_on(self.path())
    }

    /// One with more arguments.
    pub(crate) fn open_with(&self, arguments: &[&str]) -> Server {
        Server::start_on_with(self.path(), &[&["--default-provider", "modal"], arguments].concat(), &self.env())
    }

    /// A server with other data, over the same emulator.
    pub(crate) fn open_on(&self, data: &Path) -> Server {
        Server::start_on_with(data, &["--default-provider", "modal"], &self.env())
    }

    /// One that tells this file all it has to say.
    pub(crate) fn open_telling(&self, log: &Path) -> Server {
        let args = ["--default-provider", "modal"];
        Server::start_on_telling(self.path(), log, "agent_runtime=debug", &args, &self.env())
    }

    fn env(&self) -> Vec<(&str, &str)> {
        self.env.iter().map(|(name, value)| (&**name, &**value)).collect()
    }

    /// One that leaves what runs when it is asked to end.
    pub(crate) fn open_detaching(&self) -> Server {
        self.open_with(&["--on-shutdown", "detach"])
    }

    /// One with the same data and another account: the one of this emulator. It tells this file all it has to say.
    pub(crate) fn open_at(&self, other: &Emulator, log: &Path, arguments: &[&str]) -> Server {
        let theirs = |name: &str| other.env.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
        let env: Vec<(&str, &str)> =
            self.env().into_iter().map(|(name, value)| (name, theirs(name).unwrap_or(value))).collect();
        let args = [&["--default-provider", "modal"], arguments].concat();
        Server::start_on_telling(self.path(), log, "agent_runtime=debug", &args, &env)
    }

    /// Replaces the emulator by another one, which knows nothing of what was.
    pub(crate) fn forget_all(&mut self) {
        self.emulator = Emulator::start();
        let now = &self.emulator.env;
        for (name, value) in &mut self.env {
            if let Some((_, fresh)) = now.iter().find(|(known, _)| known == name) {
                value.clone_from(fresh);
            }
        }
    }

    /// Ids at Modal of what runs.
    pub(crate) fn running(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.emulator.running().iter().map(|it| text(&it["id"])).collect();
        ids.sort();
        ids
    }
}

/// A size that can be set from outside.
pub(crate) fn size(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) async fn created(sessions: &mut Sessions, agent: &str) -> String {
    let request = proto::CreateSessionRequest { agent: agent.into(), ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

/// A session whose sandboxes live for so many seconds.
pub(crate) async fn lives(sessions: &mut Sessions, agent: &str, seconds: i64) -> String {
    let timeout = Some(prost_types::Duration { seconds, nanos: 0 });
    let modal = Some(proto::ModalSettings { timeout, ..Default::default() });
    let sandbox = Some(proto::SandboxSpec { modal, ..Default::default() });
    let request = proto::CreateSessionRequest { agent: agent.into(), sandbox, ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

pub(crate) fn shell(command: &str) -> String {
    json!([{ "run": command }]).to_string()
}

/// What happened to the session's sandbox, in order: its status, its message and its generation.
pub(crate) fn told(events: &[SessionEvent]) -> Vec<(SandboxStatus, String, i32)> {
    let sandboxes = events.iter().filter_map(|event| match &event.kind {
        Some(Kind::SandboxChanged(changed)) => changed.sandbox.as_ref(),
        _ => None,
    });
    sandboxes.map(|sandbox| (sandbox.status(), sandbox.status_message.clone(), sandbox.generation)).collect()
}

/// This event says so of the session's sandbox.
pub(crate) fn says(event: &SessionEvent, status: SandboxStatus, words: &str) -> bool {
    let said = told(std::slice::from_ref(event));
    said.iter().any(|(is, message, _)| *is == status && message.contains(words))
}

/// Its sandbox, as it is stored.
pub(crate) async fn sandbox(sessions: &mut Sessions, id: &str) -> proto::Sandbox {
    get(sessions, id).await.sandbox.expect("a sandbox")
}

/// What the last block says.
pub(crate) fn printed(played: &Played) -> String {
    format!("{:?}", played.contents().last().expect("a block"))
}

/// Waits until the server knows of no sandbox any more, not of one that ended either: its files go after it, then its row.
pub(crate) async fn nothing_is_listed(server: &Server) {
    let all = proto::ListSandboxesRequest { include_ended: true, ..Default::default() };
    let (mut runtime, patience) = (server.runtime().await, Instant::now() + Duration::from_mins(2));
    loop {
        let listed = runtime.list_sandboxes(all.clone()).await.expect("listed").into_inner().sandboxes;
        if listed.is_empty() {
            return;
        }
        assert!(Instant::now() < patience, "something is left: {listed:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a server that tells a file has told it this.
pub(crate) fn said(log: &Path, what: &str) -> bool {
    std::fs::read_to_string(log).unwrap_or_default().contains(what)
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_mins(2);
    while !so() {
        assert!(Instant::now() < patience, "not within two minutes: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

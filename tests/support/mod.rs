//! What tests over a real server share: the server's own process on a free port with a data folder of its own, clients
//! with its key, and the scripts that the scripted agent plays.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use agent_runtime::proto::{
    self, SessionEvent, profile_service_client::ProfileServiceClient, runtime_service_client::RuntimeServiceClient,
    session_event::Kind, session_service_client::SessionServiceClient,
};
use tempfile::TempDir;
use tonic::{
    Request, Status, Streaming,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

/// How long anything in a test may take before it counts as a hang.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A server's process.
pub struct Server {
    pub addr: String,
    pub key: String,
    data: Data,
    process: Child,
}

enum Data {
    Own(TempDir),
    Shared(PathBuf),
}

/// Sends the server's key.
#[derive(Clone)]
pub struct Bearer(String);

pub type Sessions = SessionServiceClient<InterceptedService<Channel, Bearer>>;
pub type Profiles = ProfileServiceClient<InterceptedService<Channel, Bearer>>;
pub type Runtime = RuntimeServiceClient<InterceptedService<Channel, Bearer>>;

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("Bearer {}", self.0)).expect("a key is ASCII");
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

impl Server {
    /// A server with a data folder of its own.
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// The same with more arguments and environment.
    pub fn start_with(args: &[&str], env: &[(&str, &str)]) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let path = data.path().to_owned();
        Self::spawn(Data::Own(data), &path, args, env)
    }

    /// A server on a folder that others use before or after.
    pub fn start_on(data: &Path, args: &[&str]) -> Self {
        Self::spawn(Data::Shared(data.to_owned()), data, args, &[])
    }

    fn spawn(data: Data, path: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut process = command(path)
            .args(args)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server's program");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let addr = loop {
            let line = lines.next().expect("the server says where it listens").expect("text");
            if let Some(addr) = line.strip_prefix("listening on ") {
                break addr.to_owned();
            }
        };
        // Whatever else it says goes to nobody, but must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let key = std::fs::read_to_string(path.join("key")).expect("the key file").trim().to_owned();
        Self { addr, key, data, process }
    }

    pub fn data(&self) -> &Path {
        match &self.data {
            Data::Own(folder) => folder.path(),
            Data::Shared(path) => path,
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills the server as a crash would, and returns its data folder if it is its own.
    pub fn kill(mut self) -> Option<TempDir> {
        self.process.kill().expect("kill -9");
        self.process.wait().expect("reaped");
        match std::mem::replace(&mut self.data, Data::Shared(PathBuf::new())) {
            Data::Own(folder) => Some(folder),
            Data::Shared(_) => None,
        }
    }

    /// Asks the server to stop, and returns how long that took.
    pub fn terminate(&mut self) -> Duration {
        let began = std::time::Instant::now();
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.process.id()).expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
        self.process.wait().expect("reaped");
        began.elapsed()
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.addr))
            .expect("an address")
            .timeout(PATIENCE)
            .connect()
            .await
            .expect("the server takes connections")
    }

    pub async fn sessions(&self) -> Sessions {
        SessionServiceClient::with_interceptor(self.channel().await, Bearer(self.key.clone()))
    }

    pub async fn profiles(&self) -> Profiles {
        ProfileServiceClient::with_interceptor(self.channel().await, Bearer(self.key.clone()))
    }

    pub async fn runtime(&self) -> Runtime {
        RuntimeServiceClient::with_interceptor(self.channel().await, Bearer(self.key.clone()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Politely first, so that its agents end with it.
        if matches!(self.process.try_wait(), Ok(None)) {
            let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
            let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
            let _ = self.process.wait();
        }
    }
}

/// The command that serves this folder on a free port.
pub fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).stderr(Stdio::inherit());
    command.env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "error".into()));
    command
}

/// A session of the scripted agent.
pub async fn scripted(sessions: &mut Sessions) -> proto::Session {
    let request = proto::CreateSessionRequest { agent: "scripted".into(), ..Default::default() };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session")
}

/// Gives the agent a script, and returns its turn and the sequence before it.
pub async fn send(sessions: &mut Sessions, session_id: &str, text: &str) -> Result<(proto::Turn, i64), Status> {
    let request = proto::SendMessageRequest { session_id: session_id.into(), text: text.into(), ..Default::default() };
    let response = sessions.send_message(request).await?.into_inner();
    Ok((response.turn.expect("a turn"), response.sequence))
}

/// Watches a session; `None`: with a snapshot.
pub async fn watch(
    sessions: &mut Sessions,
    session_id: &str,
    after: Option<i64>,
) -> Result<Streaming<proto::WatchSessionResponse>, Status> {
    let request =
        proto::WatchSessionRequest { session_id: session_id.into(), after_sequence: after, ..Default::default() };
    Ok(sessions.watch_session(request).await?.into_inner())
}

/// The events of a stream until one of them is the end of this turn, that one included.
pub async fn until_end_of(stream: &mut Streaming<proto::WatchSessionResponse>, turn_id: &str) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    loop {
        let response = tokio::time::timeout(PATIENCE, stream.message()).await.expect("no hang").expect("no error");
        for event in response.expect("the stream goes on").events {
            let ended = ended(&event, turn_id);
            events.push(event);
            if ended {
                return events;
            }
        }
    }
}

/// Whether this is the end of that turn.
pub fn ended(event: &SessionEvent, turn_id: &str) -> bool {
    match &event.kind {
        Some(Kind::TurnUpdated(update)) => {
            let turn = update.turn.as_ref().expect("a turn");
            turn.turn_id == turn_id && turn.status() as i32 >= proto::TurnStatus::Completed as i32
        }
        _ => false,
    }
}

/// Runs a message to its end and returns all its events.
pub async fn run(sessions: &mut Sessions, session_id: &str, text: &str) -> Vec<SessionEvent> {
    let (turn, sequence) = send(sessions, session_id, text).await.expect("accepted");
    let mut stream = watch(sessions, session_id, Some(sequence)).await.expect("a watch");
    until_end_of(&mut stream, &turn.turn_id).await
}

/// The final state of the last turn in these events.
pub fn last_turn(events: &[SessionEvent]) -> proto::Turn {
    let turns = events.iter().filter_map(|event| match &event.kind {
        Some(Kind::TurnUpdated(update)) => update.turn.clone(),
        _ => None,
    });
    turns.last().expect("a turn")
}

/// Checks the one rule of every stream: no hole and nothing twice. Returns the cursor after it.
pub fn check_ranges(mut cursor: i64, events: &[SessionEvent]) -> i64 {
    for event in events {
        let first = if event.first_sequence == 0 { event.sequence } else { event.first_sequence };
        assert_eq!(first, cursor + 1, "the range of {event:?} does not follow {cursor}");
        cursor = event.sequence;
    }
    cursor
}

/// The reason that a refusal names.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// The fields that a refusal names.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request();
    details.map(|bad| bad.field_violations.into_iter().map(|violation| violation.field).collect()).unwrap_or_default()
}

//! What tests over a real server share: the server's own process on a free port with a data folder of its own, clients
//! with its key, and the scripts that the scripted agent plays.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    time::{Duration, Instant},
};

use agent_runtime::{
    client::State,
    proto::{
        self, SessionEvent, profile_service_client::ProfileServiceClient, runtime_service_client::RuntimeServiceClient,
        session_event::Kind, session_service_client::SessionServiceClient,
        workspace_service_client::WorkspaceServiceClient,
    },
};
use rustix::process::{Pid, Signal, kill_process};
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

/// Drives the clients' connections: a test that waits for a server's end must not hold up the goodbye to it.
static CONNECTIONS: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
});

/// A server's process.
pub struct Server {
    pub addr: String,
    pub key: String,
    data: Data,
    process: Child,
    said: mpsc::Receiver<String>,
}

/// How a server ended that was asked to.
pub struct Ended {
    pub took: Duration,
    pub status: ExitStatus,
    /// What it said on its standard output since it listens.
    pub said: Vec<String>,
}

enum Data {
    Own(TempDir),
    Shared(PathBuf),
}

/// Sends the server's key.
#[derive(Clone)]
pub struct Bearer(String);

pub type Sessions = SessionServiceClient<InterceptedService<Channel, Bearer>>;
pub type Workspace = WorkspaceServiceClient<InterceptedService<Channel, Bearer>>;
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
        Self::start_on_with(data, args, &[])
    }

    /// The same with more environment.
    pub fn start_on_with(data: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::spawn(Data::Shared(data.to_owned()), data, args, env)
    }

    /// A server that tells this file all it has to say.
    pub fn start_telling(log: &Path, filter: &str) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let path = data.path().to_owned();
        Self::tell(Data::Own(data), &path, log, command(&path), filter)
    }

    /// The same on a folder that others use before or after, with more arguments and environment.
    pub fn start_on_telling(data: &Path, log: &Path, filter: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = command(data);
        command.args(args).envs(env.iter().copied());
        Self::tell(Data::Shared(data.to_owned()), data, log, command, filter)
    }

    /// A server that is started by another command, made of its own, and tells this file all it has to say.
    pub fn start_by(log: &Path, filter: &str, args: &[&str], by: impl FnOnce(&Command) -> Command) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        let path = data.path().to_owned();
        let mut own = command(&path);
        own.args(args);
        Self::tell(Data::Own(data), &path, log, by(&own), filter)
    }

    fn tell(data: Data, path: &Path, log: &Path, mut command: Command, filter: &str) -> Self {
        // A test leaves nothing behind, unless that is what it is about.
        command.env("AGENT_RUNTIME_ON_SHUTDOWN", "stop");
        command.env("RUST_LOG", filter).stderr(std::fs::File::create(log).expect("a log file"));
        Self::run(data, path, command)
    }

    fn spawn(data: Data, path: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = command(path);
        command.args(args).envs(env.iter().copied());
        Self::run(data, path, command)
    }

    fn run(data: Data, path: &Path, mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the server's program");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let addr = loop {
            let line = lines.next().expect("the server says where it listens").expect("text");
            if let Some(addr) = line.strip_prefix("listening on ") {
                break addr.to_owned();
            }
        };
        // Whatever else it says is kept, so that it cannot fill the pipe.
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let key = std::fs::read_to_string(path.join("key")).expect("the key file").trim().to_owned();
        Self { addr, key, data, process, said }
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

    /// Asks the server to stop, agents and all, and returns how long that took.
    pub fn terminate(&mut self) -> Duration {
        let Ended { took, .. } = self.end(Signal::TERM);
        nothing_is_left_of(self.data());
        took
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid_of(self.process.id()), signal).expect("the server is there");
    }

    /// Sends it a signal, and waits for its end.
    pub fn end(&mut self, signal: Signal) -> Ended {
        let began = Instant::now();
        self.signal(signal);
        let status = self.process.wait().expect("reaped");
        let mut said = Vec::new();
        loop {
            match self.said.recv_timeout(Duration::from_secs(5)) {
                Ok(line) => said.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("somebody else holds the server's standard output"),
            }
        }
        Ended { took: began.elapsed(), status, said }
    }

    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.addr)).expect("an address").timeout(PATIENCE);
        let connected = CONNECTIONS.spawn(async move { endpoint.connect().await }).await;
        connected.expect("no panic").expect("the server takes connections")
    }

    pub async fn sessions(&self) -> Sessions {
        SessionServiceClient::with_interceptor(self.channel().await, Bearer(self.key.clone()))
    }

    pub async fn workspace(&self) -> Workspace {
        WorkspaceServiceClient::with_interceptor(self.channel().await, Bearer(self.key.clone()))
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
            let _ = kill_process(pid_of(self.process.id()), Signal::TERM);
            let _ = self.process.wait();
            if !std::thread::panicking() {
                nothing_is_left_of(self.data());
            }
        }
    }
}

/// Nobody is there any more who has to do with this folder. What a server stopped is gone with it; of one that was killed
/// others must notice first.
pub fn nothing_is_left_of(data: &Path) {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let left = processes_of(data);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < patience, "processes are left of a server that stopped: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn pid_of(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid")
}

/// A process, as /proc tells of it.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    pub argv: Vec<String>,
}

/// Ends everything in a sandbox as a fault of the machine would, and removes its folder.
pub fn destroy(folder: &Path) {
    for process in processes_of(folder) {
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).expect("a pid");
        // Gone already: the same to us.
        let _ = kill_process(pid, Signal::KILL);
    }
    let patience = Instant::now() + Duration::from_secs(10);
    while let Err(error) = std::fs::remove_dir_all(folder) {
        // Somebody who is dying may still write.
        assert!(folder.exists() && Instant::now() < patience, "{error}");
    }
}

/// Processes that have to do with this folder: by their arguments, environment, working directory or mounts.
pub fn processes_of(data: &Path) -> Vec<Process> {
    let name = data.to_str().expect("a path of plain characters");
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let of = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let argv = of("cmdline");
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let concerned = cwd.starts_with(data)
            || [&argv, &of("environ"), &of("mountinfo")]
                .iter()
                .any(|text| String::from_utf8_lossy(text).contains(name));
        let argv = String::from_utf8_lossy(&argv);
        let argv: Vec<String> = argv.split_terminator('\0').map(str::to_owned).collect();
        (concerned && !argv.is_empty() && pid.to_string() != own).then_some(Process { pid, argv })
    })
    .collect()
}

/// The command that serves this folder on a free port.
pub fn command(data: &Path) -> Command {
    // Another build of the same program, where one is named.
    let program = std::env::var_os("SERVER_UNDER_TEST").filter(|program| !program.is_empty());
    let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_agent-runtime").into()));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).stderr(Stdio::inherit());
    // A test leaves nothing behind, unless that is what it is about.
    command.env("AGENT_RUNTIME_ON_SHUTDOWN", "stop");
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
    until(stream, |event| ended(event, turn_id)).await
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

/// A turn that was watched from the session's beginning on.
pub struct Played {
    /// Of this turn alone, up to its end.
    pub turn: proto::Turn,
    /// All of the session so far.
    pub events: Vec<SessionEvent>,
    /// What they fold to.
    pub state: proto::SessionState,
}

impl Played {
    /// The contents of the session's blocks.
    pub fn contents(&self) -> Vec<&proto::block::Content> {
        self.state.blocks.iter().map(|block| block.content.as_ref().expect("content")).collect()
    }

    /// What the reader of the agent's output could make nothing of.
    pub fn unparsed(&self) -> Vec<&proto::UnparsedOutput> {
        let kinds = self.events.iter().filter_map(|event| event.kind.as_ref());
        kinds.filter_map(|kind| if let Kind::UnparsedOutput(raw) = kind { Some(raw) } else { None }).collect()
    }

    /// The session's log lines.
    pub fn logged(&self) -> Vec<&str> {
        let kinds = self.events.iter().filter_map(|event| event.kind.as_ref());
        kinds.filter_map(|kind| if let Kind::Log(line) = kind { Some(line.message.as_str()) } else { None }).collect()
    }
}

/// Runs a message to its end under a watch of the whole session, and holds what came live to what a reload shows.
pub async fn play(sessions: &mut Sessions, session_id: &str, text: &str) -> Played {
    let mut live = watch(sessions, session_id, Some(0)).await.expect("a watch");
    let (turn, _) = send(sessions, session_id, text).await.expect("accepted");
    let mut events = Vec::new();
    let read = async {
        while !events.iter().any(|event| ended(event, &turn.turn_id)) {
            events.extend(next(&mut live).await);
        }
    };
    let done = tokio::time::timeout(PATIENCE, read).await;
    assert!(done.is_ok(), "the turn does not end; the last that came: {:?}", events.last());
    let turn = last_turn(&events);
    // What the session is after the turn comes behind its end.
    let (reloaded, head) = snapshot(sessions, session_id).await;
    while events.last().is_none_or(|event| event.sequence < head) {
        events.extend(next(&mut live).await);
    }
    check_ranges(0, &events);
    let state = fold(events.iter().filter(|event| event.sequence <= head));
    assert!(state == reloaded, "live is not what a reload shows:\n{state:#?}\n{reloaded:#?}");
    for event in &events {
        let size = prost::Message::encoded_len(event);
        assert!(size <= 512 * 1024, "an event has {size} bytes: {:?}", event.sequence);
    }
    Played { turn, events, state }
}

/// What these events fold to, by the client's own fold.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a SessionEvent>) -> proto::SessionState {
    let mut state = State::default();
    events.into_iter().for_each(|event| state.apply(event));
    state.as_proto().clone()
}

/// The state that a watch begins with, and its sequence.
pub async fn snapshot(sessions: &mut Sessions, session_id: &str) -> (proto::SessionState, i64) {
    let mut stream = watch(sessions, session_id, None).await.expect("a watch");
    let mut events = Vec::new();
    loop {
        for event in next(&mut stream).await {
            let complete = matches!(event.kind, Some(Kind::SnapshotComplete(_)));
            let sequence = event.sequence;
            events.push(event);
            if complete {
                return (fold(&events), sequence);
            }
        }
    }
}

/// A session as it is stored.
pub async fn get(sessions: &mut Sessions, session_id: &str) -> proto::Session {
    let request = proto::GetSessionRequest { session_id: session_id.into() };
    sessions.get_session(request).await.expect("there").into_inner().session.expect("a session")
}

/// Stops a session.
pub async fn stop(sessions: &mut Sessions, session_id: &str) -> proto::Session {
    let request = proto::StopSessionRequest { session_id: session_id.into(), ..Default::default() };
    sessions.stop_session(request).await.expect("stopped").into_inner().session.expect("a session")
}

/// Reads a watch on until this event, of which `at` then is one past the place. None is left out, also of what came with it.
pub async fn read_on(
    stream: &mut Streaming<proto::WatchSessionResponse>,
    events: &mut Vec<SessionEvent>,
    at: &mut usize,
    is_it: impl Fn(&SessionEvent) -> bool,
) {
    let read = async {
        loop {
            if let Some(found) = events[*at..].iter().position(&is_it) {
                *at += found + 1;
                return;
            }
            *at = events.len();
            let response = stream.message().await.expect("no error").expect("the stream goes on");
            events.extend(response.events);
        }
    };
    let done = tokio::time::timeout(PATIENCE, read).await;
    assert!(done.is_ok(), "what is waited for does not come; the last that came: {:?}", events.last());
}

/// Reads a watch until an event is what it is waited for, that one included.
pub async fn until(
    stream: &mut Streaming<proto::WatchSessionResponse>,
    is_it: impl Fn(&SessionEvent) -> bool,
) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    let read = async {
        loop {
            for event in next(stream).await {
                let found = is_it(&event);
                events.push(event);
                if found {
                    return;
                }
            }
        }
    };
    // Bookmarks come all the time, so each frame alone says nothing about a hang.
    let done = tokio::time::timeout(PATIENCE, read).await;
    assert!(done.is_ok(), "what is waited for does not come; the last that came: {:?}", events.last());
    events
}

/// The next frame's events.
async fn next(stream: &mut Streaming<proto::WatchSessionResponse>) -> Vec<SessionEvent> {
    let response = tokio::time::timeout(PATIENCE, stream.message()).await.expect("no hang").expect("no error");
    response.expect("the stream goes on").events
}

/// The agent took a turn up.
pub fn taken_up(event: &SessionEvent) -> bool {
    matches!(&event.kind, Some(Kind::TurnUpdated(update)) if update.turn.as_ref().is_some_and(|turn| turn.start_time.is_some()))
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

/// The same events however their text was cut: deltas of one block that follow each other are one.
pub fn joined(events: &[SessionEvent]) -> Vec<SessionEvent> {
    let mut joined: Vec<SessionEvent> = Vec::new();
    for event in events {
        if let Some(Kind::BlockDelta(more)) = &event.kind
            && let Some(last) = joined.last_mut()
            && let Some(Kind::BlockDelta(delta)) = &mut last.kind
            && delta.block_id == more.block_id
        {
            delta.delta.push_str(&more.delta);
            (last.sequence, last.event_time) = (event.sequence, event.event_time);
        } else {
            joined.push(SessionEvent { first_sequence: 0, ..event.clone() });
        }
    }
    joined
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

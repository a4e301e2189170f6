//! One session under faults: given its messages, watched twice, and held to what its script says.

use std::time::Duration;

use agent_runtime::proto::{
    self, BlockState, BusyPolicy, ModalSettings, SandboxSpec, SessionEvent, SessionStatus, TurnStatus, block::Content,
    content_part, read_file_response::Payload, session_event::Kind, tool_result::Output,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use tonic::Streaming;

use super::script::{Part, Said};
use crate::support::{Server, Sessions, Workspace, check_ranges, ended, fold, joined, snapshot, stop, watch};

/// Longer than anything takes that goes on at all.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);

type Stream = Streaming<proto::WatchSessionResponse>;

/// See the module.
pub(crate) struct Session {
    pub(crate) id: String,
    sessions: Sessions,
    workspace: Workspace,
    /// Never cut.
    live: Stream,
    /// All that came of it.
    events: Vec<SessionEvent>,
    /// Events before it were looked at.
    at: usize,
    turns: Vec<String>,
    said: Vec<Said>,
    logged: Vec<String>,
}

impl Session {
    pub(crate) async fn begin(server: &Server, gpu: bool) -> Self {
        let (mut sessions, workspace) = (server.sessions().await, server.workspace().await);
        let modal = gpu.then(|| ModalSettings { gpu: "A10G".into(), ..Default::default() });
        let sandbox = Some(SandboxSpec { modal, ..Default::default() });
        let request = proto::CreateSessionRequest { agent: "scripted".into(), sandbox, ..Default::default() };
        let created = sessions.create_session(request).await.expect("created").into_inner();
        let id = created.session.expect("a session").session_id;
        let live = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
        let (turns, said, logged) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, sessions, workspace, live, events: Vec::new(), at: 0, turns, said, logged }
    }

    /// A second watch, which ends again and again and begins where it stood. Its events.
    pub(crate) fn watched_in_pieces(&self, seed: u64) -> JoinSet<Vec<SessionEvent>> {
        let (mut sessions, id) = (self.sessions.clone(), self.id.clone());
        let mut beside = JoinSet::new();
        beside.spawn(async move {
            let (mut rng, mut events) = (StdRng::seed_from_u64(seed), Vec::<SessionEvent>::new());
            while !events.last().is_some_and(is_deletion) {
                let cursor = events.last().map_or(0, |event| event.sequence);
                let mut stream = watch(&mut sessions, &id, Some(cursor)).await.expect("a watch");
                let most = events.len() + rng.random_range(1..200);
                while events.len() < most && !events.last().is_some_and(is_deletion) {
                    events.extend(stream.message().await.expect("no error").expect("it goes on").events);
                }
            }
            events
        });
        beside
    }

    /// Gives it a message, and waits for the end of its turn.
    pub(crate) async fn turn(&mut self, part: Part) {
        self.send(part).await;
        self.until_end().await;
    }

    /// Gives it a message, which waits if another one is at work.
    pub(crate) async fn send(&mut self, part: Part) {
        let request = proto::SendMessageRequest {
            session_id: self.id.clone(),
            text: part.message(),
            busy_policy: BusyPolicy::Queue.into(),
            ..Default::default()
        };
        let taken = self.sessions.send_message(request).await.expect("taken").into_inner();
        self.turns.push(taken.turn.expect("a turn").turn_id);
        self.said.extend(part.said());
        self.logged.extend(part.logged().iter().cloned());
    }

    /// Waits for the end of the turn of the last message, and for the lines of standard error, which may come later.
    pub(crate) async fn until_end(&mut self) {
        let turn = self.turns.last().expect("a turn").clone();
        self.until(|event| ended(event, &turn)).await;
        let patience = Instant::now() + PATIENCE;
        while self.lines().count() < self.logged.len() {
            self.more(patience).await;
        }
    }

    /// Lets the agent do what it asks for.
    pub(crate) async fn allow(&mut self) {
        let asked = |event: &SessionEvent| match &event.kind {
            Some(Kind::PermissionRequested(requested)) => requested.permission.clone(),
            _ => None,
        };
        self.until(|event| asked(event).is_some()).await;
        let permission_id = asked(&self.events[self.at - 1]).expect("found").permission_id;
        let request = proto::ResolvePermissionRequest {
            session_id: self.id.clone(),
            permission_id,
            option_id: "allow_once".into(),
            ..Default::default()
        };
        self.sessions.resolve_permission(request).await.expect("allowed");
    }

    pub(crate) async fn write(&mut self, path: &str, content: &[u8]) {
        let file = Some(proto::FileContent { path: path.into(), content: content.to_vec().into(), mode: 0 });
        let request = proto::WriteFileRequest { session_id: self.id.clone(), file, ..Default::default() };
        self.workspace.write_file(request).await.expect("written");
    }

    pub(crate) async fn read(&mut self, path: &str) -> Vec<u8> {
        let request = proto::ReadFileRequest { session_id: self.id.clone(), path: path.into(), ..Default::default() };
        let mut stream = self.workspace.read_file(request).await.expect("readable").into_inner();
        let mut all = Vec::new();
        while let Some(piece) = stream.message().await.expect("read to its end") {
            match piece.payload {
                Some(Payload::Data(data)) => all.extend_from_slice(&data),
                Some(Payload::File(_)) | None => {}
            }
        }
        all
    }

    pub(crate) async fn stop(&mut self) {
        stop(&mut self.sessions, &self.id).await;
    }

    /// Nothing was lost, nothing came twice. The generation of its sandbox.
    pub(crate) async fn judge(&mut self) -> i32 {
        let (reloaded, head) = snapshot(&mut self.sessions, &self.id).await;
        self.read_to(head).await;
        let mut again = watch(&mut self.sessions, &self.id, Some(0)).await.expect("a watch");
        let stored = read_to(&mut again, Vec::new(), head).await;
        assert_eq!(told(&self.events, head), told(&stored, head), "what came live is what is stored");
        check_ranges(0, &stored);
        let live = self.events.iter().filter(|event| event.sequence <= head);
        assert!(fold(live) == reloaded, "live is not what a reload shows: {reloaded:#?}");

        assert_eq!(said(&reloaded), self.said, "what was said");
        let kinds = || self.events.iter().filter_map(|event| event.kind.as_ref());
        assert_eq!(self.lines().collect::<Vec<_>>(), self.logged, "the lines of standard error");
        let over = kinds().filter_map(|kind| match kind {
            Kind::TurnUpdated(update) => update.turn.as_ref(),
            _ => None,
        });
        let over = over.filter(|turn| turn.status() as i32 >= TurnStatus::Completed as i32);
        let over: Vec<_> = over.map(|turn| (turn.turn_id.clone(), turn.status())).collect();
        let all: Vec<_> = self.turns.iter().map(|turn| (turn.clone(), TurnStatus::Completed)).collect();
        assert_eq!(over, all, "each turn ends once, and well");
        let unparsed = kinds().filter(|kind| matches!(kind, Kind::UnparsedOutput(_))).count();
        assert_eq!(unparsed, 0, "every line was read whole");
        reloaded.session.and_then(|session| session.sandbox).expect("a sandbox").generation
    }

    /// Deletes it, and reads its watch to the end. All of its events.
    pub(crate) async fn delete(mut self) -> Vec<SessionEvent> {
        let request = proto::DeleteSessionRequest { session_id: self.id.clone(), ..Default::default() };
        self.sessions.delete_session(request).await.expect("deleted");
        while let Some(response) = timeout(PATIENCE, self.live.message()).await.expect("no hang").expect("no error") {
            self.events.extend(response.events);
        }
        assert!(self.events.last().is_some_and(is_deletion), "{:?}", self.events.last());
        check_ranges(0, &self.events);
        self.events
    }

    async fn read_to(&mut self, head: i64) {
        self.events = read_to(&mut self.live, std::mem::take(&mut self.events), head).await;
    }

    /// The lines of standard error so far.
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter_map(|event| match &event.kind {
            Some(Kind::Log(line)) => Some(&*line.message),
            _ => None,
        })
    }

    async fn until(&mut self, is_it: impl Fn(&SessionEvent) -> bool) {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.events[self.at..].iter().position(&is_it) {
                self.at += found + 1;
                return;
            }
            self.at = self.events.len();
            self.more(patience).await;
        }
    }

    /// The next frame. A bookmark comes in any case, so whoever waits for something else says how long.
    async fn more(&mut self, patience: Instant) {
        let response = self.live.message().await.expect("no error").expect("the stream goes on");
        self.events.extend(response.events);
        let last = self.events.last();
        assert!(Instant::now() < patience, "what is waited for does not come; the last that came: {last:?}");
    }
}

/// What both of two watches must tell alike, however it was cut.
pub(crate) fn told(events: &[SessionEvent], head: i64) -> Vec<SessionEvent> {
    let is_told = |event: &&SessionEvent| event.sequence <= head && !matches!(event.kind, Some(Kind::Bookmark(_)));
    joined(&events.iter().filter(is_told).cloned().collect::<Vec<_>>())
}

async fn read_to(stream: &mut Stream, mut events: Vec<SessionEvent>, head: i64) -> Vec<SessionEvent> {
    while events.last().is_none_or(|event| event.sequence < head) {
        let response = timeout(PATIENCE, stream.message()).await.expect("no hang").expect("no error");
        events.extend(response.expect("it goes on").events);
    }
    events
}

fn is_deletion(event: &SessionEvent) -> bool {
    matches!(&event.kind, Some(Kind::StatusChanged(changed)) if changed.status() == SessionStatus::Deleted)
}

/// The blocks of a session, as far as a script says them.
fn said(state: &proto::SessionState) -> Vec<Said> {
    let json = |text: &str| serde_json::from_str(text).expect("JSON");
    let blocks = state.blocks.iter().filter_map(|block| {
        assert_eq!(block.state(), BlockState::Complete, "{block:?}");
        Some(match block.content.as_ref().expect("content") {
            Content::UserMessage(message) => match message.parts.first().and_then(|part| part.part.as_ref()) {
                Some(content_part::Part::Text(text)) => Said::User(text.clone()),
                other => panic!("{other:?}"),
            },
            Content::AssistantText(said) => Said::Text(said.text.clone()),
            Content::Thinking(thought) => Said::Thought(thought.text.clone()),
            Content::ToolUse(call) => Said::Call(json(&call.input_json)),
            Content::ToolResult(result) => match &result.output {
                Some(Output::Text(text)) => Said::Result(text.clone()),
                Some(Output::OutputJson(text)) => Said::Result(json(text).to_string()),
                other => panic!("{other:?}"),
            },
            Content::System(_) => return None,
            other @ (Content::Subagent(_) | Content::Error(_)) => panic!("{other:?}"),
        })
    });
    blocks.collect()
}

//! What the tests of queues and interrupts do again and again: an agent at work, and the calls about its turns.

use agent_runtime::proto::{
    self, BusyPolicy, SessionEvent, Turn, TurnStatus, block::Content, content_part::Part, session_event::Kind,
};
use serde_json::json;
use tonic::{Status, Streaming};

use crate::support::{Server, Sessions, ended, fold, processes_of, scripted, send, watch};

/// A script of an agent that says this much and is at work until it is interrupted.
pub(crate) const WORKS: &str = r#"[{"say":"Half."},{"pause_ms":600000},{"say":"Never."}]"#;

/// A script of an agent that waits for an answer, and then is done.
pub(crate) fn asks() -> String {
    json!([{ "ask": { "tool": "Bash", "input": { "command": "ls" } } }, { "say": "Went on." }]).to_string()
}

/// A session and what is seen of it, from its beginning on.
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) stream: Streaming<proto::WatchSessionResponse>,
    pub(crate) events: Vec<SessionEvent>,
    /// Events before it were looked at.
    at: usize,
}

impl Seen {
    pub(crate) async fn new(sessions: &mut Sessions) -> Self {
        let id = scripted(sessions).await.session_id;
        Self::of(sessions, id).await
    }

    pub(crate) async fn of(sessions: &mut Sessions, id: String) -> Self {
        let stream = watch(sessions, &id, Some(0)).await.expect("a watch");
        Self { id, stream, events: Vec::new(), at: 0 }
    }

    /// A session whose agent is at this script, up to the first thing it said or asked.
    pub(crate) async fn at_work(sessions: &mut Sessions, script: &str) -> (Self, Turn) {
        let mut seen = Self::new(sessions).await;
        let turn = seen.begin(sessions, script).await;
        (seen, turn)
    }

    /// Gives the agent this script, up to the first thing it says or asks.
    pub(crate) async fn begin(&mut self, sessions: &mut Sessions, script: &str) -> Turn {
        let (turn, _) = send(sessions, &self.id, script).await.expect("accepted");
        let id = turn.turn_id.clone();
        self.until(|event| match &event.kind {
            Some(Kind::BlockStart(start)) => {
                let block = start.block.as_ref().expect("a block");
                block.turn_id == id && !matches!(block.content, Some(Content::UserMessage(_)))
            }
            _ => false,
        })
        .await;
        turn
    }

    /// Goes on with another watch, after what was seen.
    pub(crate) async fn watch_again(&mut self, sessions: &mut Sessions) {
        let cursor = self.events.last().map_or(0, |event| event.sequence);
        self.stream = watch(sessions, &self.id, Some(cursor)).await.expect("a watch");
    }

    /// Reads on until this event. None is left out.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&SessionEvent) -> bool) {
        crate::support::read_on(&mut self.stream, &mut self.events, &mut self.at, is_it).await;
    }

    /// Reads on until the permission that the agent asks for, and its turn waits.
    pub(crate) async fn asked(&mut self) -> proto::PermissionRequest {
        self.until(|event| matches!(event.kind, Some(Kind::PermissionRequested(_)))).await;
        let Some(Kind::PermissionRequested(asked)) = &self.events[self.at - 1].kind else { unreachable!() };
        let asked = asked.permission.clone().expect("a permission");
        self.until(|event| status(event) == Some(TurnStatus::AwaitingInput)).await;
        asked
    }

    /// Reads on until the question that the agent asks, and its turn waits.
    pub(crate) async fn questioned(&mut self) -> proto::Question {
        self.until(|event| matches!(event.kind, Some(Kind::QuestionRequested(_)))).await;
        let Some(Kind::QuestionRequested(asked)) = &self.events[self.at - 1].kind else { unreachable!() };
        let asked = asked.question.clone().expect("a question");
        self.until(|event| status(event) == Some(TurnStatus::AwaitingInput)).await;
        asked
    }

    /// Reads on to the end of a turn, and returns it.
    pub(crate) async fn end_of(&mut self, turn: &Turn) -> Turn {
        self.until(|event| ended(event, &turn.turn_id)).await;
        let Some(Kind::TurnUpdated(updated)) = &self.events[self.at - 1].kind else { unreachable!() };
        updated.turn.clone().expect("a turn")
    }

    pub(crate) fn state(&self) -> proto::SessionState {
        fold(&self.events)
    }

    /// What was said, by both.
    pub(crate) fn said(&self) -> Vec<String> {
        let blocks = self.state().blocks.into_iter();
        let said = blocks.filter_map(|block| match block.content {
            Some(Content::AssistantText(text)) => Some(text.text),
            Some(Content::UserMessage(message)) => Some(format!("> {}", text(&message))),
            _ => None,
        });
        said.collect()
    }
}

/// The text of a message.
pub(crate) fn text(message: &proto::UserMessage) -> String {
    let parts = message.parts.iter();
    parts.map(|part| if let Some(Part::Text(text)) = &part.part { text.as_str() } else { "" }).collect()
}

/// How a turn stands, where the event says so.
pub(crate) fn status(event: &SessionEvent) -> Option<TurnStatus> {
    match &event.kind {
        Some(Kind::TurnUpdated(updated)) => updated.turn.as_ref().map(Turn::status),
        Some(Kind::TurnQueued(queued)) => queued.turn.as_ref().map(Turn::status),
        _ => None,
    }
}

pub(crate) async fn send_with(
    sessions: &mut Sessions,
    id: &str,
    text: &str,
    policy: BusyPolicy,
) -> Result<Turn, Status> {
    let request = proto::SendMessageRequest {
        session_id: id.into(),
        text: text.into(),
        busy_policy: policy.into(),
        ..Default::default()
    };
    Ok(sessions.send_message(request).await?.into_inner().turn.expect("a turn"))
}

pub(crate) async fn queue(sessions: &mut Sessions, id: &str, text: &str) -> Turn {
    let turn = send_with(sessions, id, text, BusyPolicy::Queue).await.expect("accepted");
    assert_eq!(turn.status(), TurnStatus::Queued);
    assert_eq!(turn.message.as_ref().map(self::text).as_deref(), Some(text));
    turn
}

/// Ends a turn; an empty id: whichever is active.
pub(crate) async fn interrupt(sessions: &mut Sessions, id: &str, turn_id: &str) -> Result<Option<Turn>, Status> {
    interrupt_as(sessions, id, turn_id, "").await
}

pub(crate) async fn interrupt_as(
    sessions: &mut Sessions,
    id: &str,
    turn_id: &str,
    request_id: &str,
) -> Result<Option<Turn>, Status> {
    let request =
        proto::InterruptTurnRequest { session_id: id.into(), turn_id: turn_id.into(), request_id: request_id.into() };
    Ok(sessions.interrupt_turn(request).await?.into_inner().turn)
}

pub(crate) async fn cancel(sessions: &mut Sessions, id: &str, turn_id: &str) -> Result<Turn, Status> {
    cancel_as(sessions, id, turn_id, "").await
}

pub(crate) async fn cancel_as(
    sessions: &mut Sessions,
    id: &str,
    turn_id: &str,
    request_id: &str,
) -> Result<Turn, Status> {
    let request =
        proto::CancelTurnRequest { session_id: id.into(), turn_id: turn_id.into(), request_id: request_id.into() };
    Ok(sessions.cancel_turn(request).await?.into_inner().turn.expect("a turn"))
}

/// A turn as it is stored.
pub(crate) async fn get_turn(sessions: &mut Sessions, id: &str, turn_id: &str) -> Result<Turn, Status> {
    let request = proto::GetTurnRequest { session_id: id.into(), turn_id: turn_id.into() };
    Ok(sessions.get_turn(request).await?.into_inner().turn.expect("a turn"))
}

/// Lets the agent use its tool.
pub(crate) async fn allow(sessions: &mut Sessions, id: &str, permission_id: &str) -> Result<(), Status> {
    let request = proto::ResolvePermissionRequest {
        session_id: id.into(),
        permission_id: permission_id.into(),
        option_id: "allow_once".into(),
        ..Default::default()
    };
    sessions.resolve_permission(request).await.map(drop)
}

/// The processes of scripted agents.
pub(crate) fn agents(server: &Server) -> Vec<u32> {
    let is_agent = |argv: &[String]| argv.len() == 2 && argv[1] == "scripted-agent";
    processes_of(server.data()).into_iter().filter(|found| is_agent(&found.argv)).map(|found| found.pid).collect()
}

/// Why a turn was taken out of the queue.
pub(crate) fn cause(turn: &Turn) -> String {
    let error = turn.error.as_ref().expect("a cancelled turn says why");
    assert_eq!(error.reason(), proto::ErrorReason::TurnCancelled);
    assert!(error.retryable);
    error.metadata["cause"].clone()
}

//! What the tests of this folder do again and again: an agent that asks, and somebody who answers.

use agent_runtime::proto::{
    self, InputOutcome, PermissionRequest, SessionEvent, SessionStatus, TurnStatus, block::Content, session_event::Kind,
};
use serde_json::{Value, json};
use tonic::{Status, Streaming};

use crate::support::{Sessions, ended, fold, scripted, send, watch};

/// A session whose agent asks and waits.
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) turn: proto::Turn,
    pub(crate) permission: PermissionRequest,
    /// Of the whole session.
    pub(crate) stream: Streaming<proto::WatchSessionResponse>,
    pub(crate) events: Vec<SessionEvent>,
    /// Events before it were looked at.
    at: usize,
}

/// A step that asks, and says what came of it.
pub(crate) fn ask() -> Value {
    json!({
        "ask": { "tool": "Bash", "input": { "command": "ls", "timeout": 5 } },
        "then": [{ "say": "It ran." }],
        "else": [{ "say": "It did not run." }],
    })
}

impl Asked {
    /// The agent of a new session plays this script up to its first request.
    pub(crate) async fn by(sessions: &mut Sessions, script: &Value) -> Self {
        let id = scripted(sessions).await.session_id;
        Self::of(sessions, id, &script.to_string()).await
    }

    /// The agent of a session is given this message, and asks.
    pub(crate) async fn of(sessions: &mut Sessions, id: String, text: &str) -> Self {
        let mut asked = Self::given(sessions, id, text).await;
        asked.again().await;
        asked
    }

    /// The agent of a new session plays this script.
    pub(crate) async fn playing(sessions: &mut Sessions, script: &Value) -> Self {
        let id = scripted(sessions).await.session_id;
        Self::given(sessions, id, &script.to_string()).await
    }

    /// The agent of a session is given this message.
    pub(crate) async fn given(sessions: &mut Sessions, id: String, text: &str) -> Self {
        let stream = watch(sessions, &id, Some(0)).await.expect("a watch");
        let (turn, _) = send(sessions, &id, text).await.expect("accepted");
        let permission = PermissionRequest::default();
        Self { id, turn, permission, stream, events: Vec::new(), at: 0 }
    }

    /// Gives the agent another message, and reads on to the end of its turn.
    pub(crate) async fn next(&mut self, sessions: &mut Sessions, text: &str) -> proto::Turn {
        self.turn = send(sessions, &self.id, text).await.expect("accepted").0;
        self.end().await
    }

    /// Reads on until the agent asks a question, and its turn waits.
    pub(crate) async fn question(&mut self) -> proto::Question {
        self.until(|event| questioned(event).is_some()).await;
        let question = questioned(&self.events[self.at - 1]).expect("found");
        self.until(|event| status(event) == Some(SessionStatus::AwaitingInput)).await;
        question
    }

    /// Reads on until the agent asks, for the first time or once more, and its turn waits.
    pub(crate) async fn again(&mut self) {
        self.until(|event| requested(event).is_some()).await;
        self.permission = requested(&self.events[self.at - 1]).expect("found");
        self.until(|event| status(event) == Some(SessionStatus::AwaitingInput)).await;
    }

    /// Goes on with another watch, after what was seen.
    pub(crate) async fn watch_again(&mut self, sessions: &mut Sessions) {
        let cursor = self.events.last().map(|event| event.sequence);
        self.stream = watch(sessions, &self.id, cursor).await.expect("a watch");
    }

    /// Reads on until this event. None is left out.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&SessionEvent) -> bool) {
        crate::support::read_on(&mut self.stream, &mut self.events, &mut self.at, is_it).await;
    }

    /// Reads on to the end of the turn and what the session is then, and returns how the turn stands.
    pub(crate) async fn end(&mut self) -> proto::Turn {
        let id = self.turn.turn_id.clone();
        self.until(|event| ended(event, &id)).await;
        let ended = crate::support::last_turn(&self.events[..self.at]);
        self.until(|event| status(event).is_some()).await;
        ended
    }

    pub(crate) fn allow(&self) -> proto::ResolvePermissionRequest {
        self.answer("allow_once")
    }

    pub(crate) fn reject(&self, message: &str) -> proto::ResolvePermissionRequest {
        proto::ResolvePermissionRequest { message: message.into(), ..self.answer("reject_once") }
    }

    pub(crate) fn answer(&self, option_id: &str) -> proto::ResolvePermissionRequest {
        proto::ResolvePermissionRequest {
            session_id: self.id.clone(),
            permission_id: self.permission.permission_id.clone(),
            option_id: option_id.into(),
            ..Default::default()
        }
    }

    /// How the request ended, as the events tell.
    pub(crate) fn resolution(&self) -> proto::InputResolution {
        let resolved: Vec<_> = self.events.iter().filter_map(resolved).collect();
        let mine = resolved.iter().filter(|resolved| resolved.permission_id == self.permission.permission_id);
        let mine: Vec<_> = mine.collect();
        assert_eq!(mine.len(), 1, "a request ends once");
        mine[0].resolution.clone().expect("a resolution")
    }

    pub(crate) fn outcome(&self) -> InputOutcome {
        self.resolution().outcome()
    }

    /// What the agent said.
    pub(crate) fn said(&self) -> Vec<String> {
        let blocks = fold(&self.events).blocks.into_iter();
        let text = blocks.filter_map(|block| match block.content {
            Some(Content::AssistantText(text)) => Some(text.text),
            _ => None,
        });
        text.collect()
    }

    /// What the tools gave back.
    pub(crate) fn results(&self) -> Vec<proto::ToolResult> {
        let blocks = fold(&self.events).blocks.into_iter();
        let results = blocks.filter_map(|block| match block.content {
            Some(Content::ToolResult(result)) => Some(result),
            _ => None,
        });
        results.collect()
    }
}

/// Answers a request.
pub(crate) async fn resolve(
    sessions: &mut Sessions,
    request: proto::ResolvePermissionRequest,
) -> Result<PermissionRequest, Status> {
    let response = sessions.resolve_permission(request).await?.into_inner();
    Ok(response.permission.expect("a permission"))
}

/// The JSON that a tool gave back.
pub(crate) fn json_of(result: &proto::ToolResult) -> Value {
    match &result.output {
        Some(proto::tool_result::Output::OutputJson(json)) => serde_json::from_str(json).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

/// The text that a tool gave back.
pub(crate) fn text_of(result: &proto::ToolResult) -> String {
    match &result.output {
        Some(proto::tool_result::Output::Text(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn requested(event: &SessionEvent) -> Option<PermissionRequest> {
    match &event.kind {
        Some(Kind::PermissionRequested(requested)) => requested.permission.clone(),
        _ => None,
    }
}

pub(crate) fn questioned(event: &SessionEvent) -> Option<proto::Question> {
    match &event.kind {
        Some(Kind::QuestionRequested(requested)) => requested.question.clone(),
        _ => None,
    }
}

pub(crate) fn resolved(event: &SessionEvent) -> Option<&proto::PermissionResolved> {
    match &event.kind {
        Some(Kind::PermissionResolved(resolved)) => Some(resolved),
        _ => None,
    }
}

/// What the session does, where the event says so.
pub(crate) fn status(event: &SessionEvent) -> Option<SessionStatus> {
    match &event.kind {
        Some(Kind::StatusChanged(changed)) => Some(changed.status()),
        _ => None,
    }
}

/// How the turn stands, where the event says so.
pub(crate) fn turn_status(event: &SessionEvent) -> Option<TurnStatus> {
    match &event.kind {
        Some(Kind::TurnUpdated(updated)) => updated.turn.as_ref().map(proto::Turn::status),
        _ => None,
    }
}

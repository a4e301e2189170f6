//! Streams that go on: the one place that knows cursors, ranges, and when to open a stream again.

use std::{collections::VecDeque, time::Duration};

use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::time::{sleep, timeout};
use tonic::Code;

use super::{
    Error, Events,
    backoff::Backoff,
    connect::{self, Route, Stub},
    once::Changes as _,
};
use crate::proto::{
    RunTurnRequest, RunTurnResponse, SessionEvent, SessionStatus, Turn, TurnStatus, WatchSessionRequest,
    WatchSessionResponse, session_event::Kind, session_service_client::SessionServiceClient,
};

type Sessions = SessionServiceClient<Stub>;

/// The server's own default; a stream that is silent for three of them is dead.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(15);

/// See [`super::Client::watch_session`].
pub(super) fn watch(route: Route, sessions: Sessions, request: WatchSessionRequest) -> Events {
    let interval = request.bookmark_interval.and_then(|interval| Duration::try_from(interval).ok());
    let (cursor, uid) = (request.after_sequence, request.expected_uid.clone());
    let silence = interval.unwrap_or(BOOKMARK_INTERVAL) * 3;
    Resumed::new(route, sessions, Call::Watch(request), cursor, uid, silence).events()
}

/// See [`super::Client::run_turn`].
pub(super) fn run_turn(route: Route, sessions: Sessions, request: RunTurnRequest) -> Events {
    let cursor = request.after_sequence;
    let call = Call::Turn { request: request.named(), turn_id: String::new() };
    Resumed::new(route, sessions, call, cursor, String::new(), BOOKMARK_INTERVAL * 3).events()
}

/// What is asked for, again and again.
enum Call {
    Watch(WatchSessionRequest),
    Turn { request: RunTurnRequest, turn_id: String },
}

/// A response of either call.
struct Frame {
    events: Vec<SessionEvent>,
    uid: String,
    accepted: Option<(Turn, i64)>,
}

struct Resumed {
    route: Route,
    sessions: Sessions,
    call: Call,
    /// Everything up to here was delivered; `None`: nothing yet, or a snapshot is on its way.
    cursor: Option<i64>,
    uid: String,
    silence: Duration,
    backoff: Backoff,
    open: Option<BoxStream<'static, Result<Frame, Error>>>,
    pending: VecDeque<SessionEvent>,
    done: bool,
}

impl Resumed {
    fn new(route: Route, sessions: Sessions, call: Call, cursor: Option<i64>, uid: String, silence: Duration) -> Self {
        Self {
            route,
            sessions,
            call,
            cursor,
            uid,
            silence,
            backoff: Backoff::default(),
            open: None,
            pending: VecDeque::new(),
            done: false,
        }
    }

    fn events(self) -> Events {
        stream::unfold(self, |mut this| async move { this.next().await.map(|item| (item, this)) }).boxed()
    }

    async fn next(&mut self) -> Option<Result<SessionEvent, Error>> {
        while !self.done {
            if let Some(event) = self.pending.pop_front() {
                return Some(self.accept(&event).map(|()| event));
            }
            let wait = match self.read().await {
                Ok(Some(frame)) => {
                    self.take(frame);
                    continue;
                }
                // It ended without its last event: the server drains.
                Ok(None) => self.backoff.next(None),
                Err(error) if error.wants_snapshot() && matches!(self.call, Call::Watch(_)) => {
                    tracing::info!(%error, "starting over with a snapshot");
                    (self.cursor, self.uid) = (None, String::new());
                    self.backoff.next(error.retry_after)
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, cursor = self.cursor, "the stream was cut; opening it again");
                    self.backoff.next(error.retry_after)
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            };
            self.open = None;
            sleep(wait).await;
        }
        None
    }

    async fn read(&mut self) -> Result<Option<Frame>, Error> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => match timeout(self.silence, self.connect()).await {
                Ok(opened) => opened?,
                Err(_) => return Err(self.silent()),
            },
        };
        let Ok(frame) = timeout(self.silence, open.next()).await else { return Err(self.silent()) };
        let frame = frame.transpose()?;
        self.open = Some(open);
        Ok(frame)
    }

    /// A connection whose other end forgot it is known as dead only after half a minute: this stream goes on over another.
    fn silent(&mut self) -> Error {
        self.sessions = connect::sessions(self.route.apart());
        Error::local(Code::DeadlineExceeded, "the server has been silent for too long")
    }

    async fn connect(&mut self) -> Result<BoxStream<'static, Result<Frame, Error>>, Error> {
        let mut sessions = self.sessions.clone();
        match &self.call {
            Call::Watch(request) => {
                let mut request = request.clone();
                request.after_sequence = self.cursor;
                request.expected_uid = if self.cursor.is_some() { self.uid.clone() } else { String::new() };
                let responses = sessions.watch_session(request).await?.into_inner();
                Ok(responses.map(|response| Ok(Frame::from(response?))).boxed())
            }
            // The same request: a message that was taken is not sent again, and its turn goes on after the cursor.
            Call::Turn { request, .. } => {
                let request = RunTurnRequest { after_sequence: self.cursor, ..request.clone() };
                let responses = sessions.run_turn(request).await?.into_inner();
                Ok(responses.map(|response| Ok(Frame::from(response?))).boxed())
            }
        }
    }

    fn take(&mut self, frame: Frame) {
        self.backoff.reset();
        if !frame.uid.is_empty() {
            self.uid = frame.uid;
        }
        if let (Call::Turn { turn_id, .. }, Some((turn, sequence))) = (&mut self.call, frame.accepted) {
            *turn_id = turn.turn_id;
            self.cursor.get_or_insert(sequence);
        }
        self.pending.extend(frame.events);
    }

    /// Moves the cursor over the event, by the one rule of ranges.
    fn accept(&mut self, event: &SessionEvent) -> Result<(), Error> {
        match &event.kind {
            Some(Kind::SnapshotStart(_)) => self.cursor = None,
            Some(Kind::SnapshotChunk(_)) => {}
            Some(Kind::SnapshotComplete(_)) => self.cursor = Some(event.sequence),
            kind => {
                let first = if event.first_sequence == 0 { event.sequence } else { event.first_sequence };
                let empty = i64::from(matches!(kind, Some(Kind::Bookmark(_))));
                if self.cursor.is_none_or(|cursor| first != cursor + 1) || event.sequence < first - empty {
                    self.done = true;
                    let (cursor, last) = (self.cursor, event.sequence);
                    let what = format!("the server broke the range rule: {first} to {last} came after {cursor:?}");
                    return Err(Error::local(Code::DataLoss, what));
                }
                self.cursor = Some(event.sequence);
                self.done = self.is_last(kind.as_ref());
            }
        }
        Ok(())
    }

    fn is_last(&self, kind: Option<&Kind>) -> bool {
        match (&self.call, kind) {
            (Call::Watch(_), Some(Kind::StatusChanged(changed))) => changed.status() == SessionStatus::Deleted,
            (Call::Turn { turn_id, .. }, Some(Kind::TurnUpdated(updated))) => {
                updated.turn.as_ref().is_some_and(|turn| turn.turn_id == *turn_id && is_final(turn.status()))
            }
            (Call::Watch(_) | Call::Turn { .. }, _) => false,
        }
    }
}

impl From<WatchSessionResponse> for Frame {
    fn from(response: WatchSessionResponse) -> Self {
        Self { events: response.events, uid: response.uid, accepted: None }
    }
}

impl From<RunTurnResponse> for Frame {
    fn from(response: RunTurnResponse) -> Self {
        let accepted = response.turn.map(|turn| (turn, response.sequence));
        Self { events: response.events, uid: String::new(), accepted }
    }
}

/// Whether a turn of that status is over.
fn is_final(status: TurnStatus) -> bool {
    match status {
        TurnStatus::Completed
        | TurnStatus::Interrupted
        | TurnStatus::Cancelled
        | TurnStatus::Failed
        | TurnStatus::BudgetExhausted
        | TurnStatus::Lost => true,
        TurnStatus::Unspecified
        | TurnStatus::Queued
        | TurnStatus::Running
        | TurnStatus::AwaitingInput
        | TurnStatus::Parked => false,
    }
}

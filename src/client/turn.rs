//! The events of one turn, up to its end: by its own call, and once the server no longer remembers that one, out of all that
//! happens in its session.

use std::collections::BTreeSet;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::{
    Error,
    events::{pass, whose},
    once::Changes as _,
    resume::{Opening, Resumable, Sessions, frames},
};
use crate::proto::{
    RunTurnRequest, RunTurnResponse, SessionEvent, TurnStatus, WatchSessionRequest, WatchSessionResponse,
    session_event::Kind,
};

/// A message, and the events of its turn. In the request stands how far they were given out; its id is the same again and
/// again, so that a message that was taken is not sent twice.
pub(super) struct Run {
    request: RunTurnRequest,
    turn_id: String,
    /// There once the server no longer knows the request, which it does for a day, while a turn may wait for an answer for
    /// longer: the blocks of other turns, for what follows of a block does not name its turn.
    others: Option<BTreeSet<String>>,
}

impl Run {
    pub(super) fn new(request: RunTurnRequest) -> Self {
        Self { request: request.named(), turn_id: String::new(), others: None }
    }
}

impl Resumable for Run {
    type Response = RunTurnResponse;
    type Item = SessionEvent;

    fn open(&mut self, mut sessions: Sessions) -> Opening<RunTurnResponse> {
        let request = self.request.clone();
        if self.others.is_none() {
            return async move { Ok(frames(sessions.run_turn(request).await?)) }.boxed();
        }
        let RunTurnRequest { session_id, after_sequence, omit_deltas, .. } = request;
        let watch = WatchSessionRequest { session_id, after_sequence, omit_deltas, ..WatchSessionRequest::default() };
        let events = |WatchSessionResponse { events, .. }| RunTurnResponse { events, ..RunTurnResponse::default() };
        async move { Ok(frames(sessions.watch_session(watch).await?).map_ok(events).boxed()) }.boxed()
    }

    fn take(&mut self, response: RunTurnResponse) -> Vec<SessionEvent> {
        if let Some(turn) = response.turn {
            self.turn_id = turn.turn_id;
            self.request.after_sequence.get_or_insert(response.sequence);
        }
        response.events
    }

    fn pass(&mut self, event: &SessionEvent) -> Result<bool, Error> {
        pass(&mut self.request.after_sequence, event)?;
        let Some(Kind::TurnUpdated(updated)) = &event.kind else { return Ok(false) };
        Ok(updated.turn.as_ref().is_some_and(|turn| turn.turn_id == self.turn_id && is_final(turn.status())))
    }

    fn wants(&mut self, event: &SessionEvent) -> bool {
        let Some(others) = &mut self.others else { return true };
        let (turn_id, block_id) = event.kind.as_ref().map(whose).unwrap_or_default();
        if turn_id.is_empty() {
            return !others.contains(block_id);
        }
        let is_own = turn_id == self.turn_id;
        if !is_own && !block_id.is_empty() {
            others.insert(block_id.to_owned());
        }
        is_own
    }

    fn cursor(&self) -> Option<i64> {
        self.request.after_sequence
    }

    fn asks_otherwise(&mut self, refused: &Error) -> bool {
        let is_cursor = refused.field_violations.iter().any(|bad| bad.field == "after_sequence");
        let is_forgotten = refused.reason == "INVALID_FIELD" && is_cursor;
        let is_news = is_forgotten && !self.turn_id.is_empty() && self.others.is_none();
        if is_news {
            self.others = Some(BTreeSet::new());
        }
        is_news
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

//! Turns: to read, to list, to end.

use super::{check::Check, request};
use crate::{
    domain::{Failure, Request, SessionId, TurnId, TurnStatus},
    grpc::page,
    proto,
    store::{TurnPage, TurnQuery},
};

/// A turn to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetTurn {
    /// Of which session.
    pub session_id: SessionId,
    /// Which.
    pub turn_id: TurnId,
}

/// A page of turns to list.
#[derive(Clone, Debug)]
pub struct ListTurns {
    /// Of which session.
    pub session_id: SessionId,
    /// What to ask the store for.
    pub query: TurnQuery,
    page: page::Query,
}

/// A turn to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptTurn {
    /// Of which session.
    pub session_id: SessionId,
    /// `None`: whichever is active.
    pub turn_id: Option<TurnId>,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

/// A turn to take out of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelTurn {
    /// Of which session.
    pub session_id: SessionId,
    /// Which.
    pub turn_id: TurnId,
    /// The call, where it may be repeated.
    pub request: Option<Request>,
}

impl ListTurns {
    /// The page, of what the store answered to [`Self::query`].
    #[must_use]
    pub fn respond(&self, page: TurnPage) -> proto::ListTurnsResponse {
        let TurnPage { turns, next } = page;
        proto::ListTurnsResponse {
            turns: turns.into_iter().map(Into::into).collect(),
            next_page_token: next.map(|position| self.page.token(&position)).unwrap_or_default(),
        }
    }
}

/// Checks a `GetTurn` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn get_turn(request: proto::GetTurnRequest) -> Result<GetTurn, Failure> {
    let proto::GetTurnRequest { session_id, turn_id } = request;
    let mut check = Check::default();
    let session_id = SessionId::new(check.id("session_id", session_id));
    let turn_id = TurnId::new(check.id("turn_id", turn_id));
    check.finish(GetTurn { session_id, turn_id })
}

/// Checks a `ListTurns` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn list_turns(request: proto::ListTurnsRequest) -> Result<ListTurns, Failure> {
    let proto::ListTurnsRequest { session_id, status, order, page_size, page_token } = request;
    let mut check = Check::default();
    let session_id = SessionId::new(check.id("session_id", session_id));
    let newest_first = match check.known("order", order, "ListOrder") {
        None | Some(proto::ListOrder::Unspecified | proto::ListOrder::OldestFirst) => false,
        Some(proto::ListOrder::NewestFirst) => true,
    };
    let page = page::Query::new("turns", &(&session_id, status, newest_first));
    let query = TurnQuery {
        status: turn_status(&mut check, status),
        newest_first,
        after: check.take(page.position(&page_token)),
        limit: check.page_size(page_size),
        max_bytes: page::MAX_BYTES,
    };
    check.finish(ListTurns { session_id, query, page })
}

/// Checks an `InterruptTurn` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn interrupt_turn(mut request: proto::InterruptTurnRequest) -> Result<InterruptTurn, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/InterruptTurn", id, &request);
    let proto::InterruptTurnRequest { session_id, turn_id, request_id: _ } = request;
    let session_id = SessionId::new(check.id("session_id", session_id));
    let turn_id = if turn_id.is_empty() { None } else { Some(TurnId::new(check.id("turn_id", turn_id))) };
    check.finish(InterruptTurn { session_id, turn_id, request: call })
}

/// Checks a `CancelTurn` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn cancel_turn(mut request: proto::CancelTurnRequest) -> Result<CancelTurn, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "SessionService/CancelTurn", id, &request);
    let proto::CancelTurnRequest { session_id, turn_id, request_id: _ } = request;
    let session_id = SessionId::new(check.id("session_id", session_id));
    let turn_id = TurnId::new(check.id("turn_id", turn_id));
    check.finish(CancelTurn { session_id, turn_id, request: call })
}

/// `None`: any.
fn turn_status(check: &mut Check, status: i32) -> Option<TurnStatus> {
    match check.known("status", status, "TurnStatus")? {
        proto::TurnStatus::Unspecified => None,
        proto::TurnStatus::Queued => Some(TurnStatus::Queued),
        proto::TurnStatus::Running => Some(TurnStatus::Running),
        proto::TurnStatus::AwaitingInput => Some(TurnStatus::AwaitingInput),
        proto::TurnStatus::Parked => Some(TurnStatus::Parked),
        proto::TurnStatus::Completed => Some(TurnStatus::Completed),
        proto::TurnStatus::Interrupted => Some(TurnStatus::Interrupted),
        proto::TurnStatus::Cancelled => Some(TurnStatus::Cancelled),
        proto::TurnStatus::Failed => Some(TurnStatus::Failed),
        proto::TurnStatus::BudgetExhausted => Some(TurnStatus::BudgetExhausted),
        proto::TurnStatus::Lost => Some(TurnStatus::Lost),
    }
}

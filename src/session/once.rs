//! Calls that may be repeated: each has its effect once, and every repetition gets the first answer.
//!
//! What a call was answered is stored with its effect, in one transaction. While a call is at work its repetitions wait for
//! it here, because one process owns the database; after a refusal, which is not remembered, the next one tries by itself.
//! A call runs to its end also when its caller hangs up: what was begun cannot be taken back, and its repetition must not
//! overtake it.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OwnedMutexGuard;
use tracing::Instrument as _;

use super::{Accepted, Created, Manager, Resolved, Unpacked, edit::Changed};
use crate::{
    domain::{
        Failure, FirstAnswer, Profile, Question, Reason, Request, RequestId, Session, TenantId, Timestamp, Turn,
        WorkspaceFile,
    },
    log::unavailable,
    store::{self, SessionView},
};

/// An answer that can be given again.
pub(super) trait Recall: Sized + Send + 'static {
    /// `None`: it is the answer to another sort of call.
    fn recall(answer: FirstAnswer) -> Option<Self>;
}

impl Manager {
    /// Runs a call, or gives the answer that the same call got before.
    pub(super) async fn once<T: Recall>(
        &self,
        tenant: &TenantId,
        request: Option<Request>,
        run: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let (manager, tenant) = (self.clone(), tenant.clone());
        let call = async move {
            let Some(request) = request else { return run.await };
            let _flight = Flights::enter(&manager.shared.flights, (tenant.clone(), request.id.clone())).await;
            match manager.recall(&tenant, &request).await? {
                Some(answer) => Ok(answer),
                None => run.await,
            }
        };
        let ended = self.shared.tasks.spawn(call.in_current_span()).await;
        ended.unwrap_or_else(|error| {
            tracing::error!(%error, "a call did not come to its end");
            let message = "it is not known what became of the call; try again with the same request_id";
            Err(Failure::new(Reason::StorageUnavailable, message))
        })
    }

    async fn recall<T: Recall>(&self, tenant: &TenantId, request: &Request) -> Result<Option<T>, Failure> {
        let known = self.log().store().request(tenant, &request.id, Timestamp::now()).await;
        let Some(known) = known.map_err(|error| unavailable(&error))? else { return Ok(None) };
        if known.request != *request {
            let Request { id, method, hash: _ } = known.request;
            let message = format!("request_id {id} was used for another {method}; use a new one for another request");
            let failure = Failure::new(Reason::RequestIdReused, message);
            return Err(failure.with("request_id", id).with("method", method));
        }
        let answer = T::recall(known.answer).ok_or_else(|| {
            unavailable(&store::Error::Corrupt(format!("request {tenant}/{}: not an answer of its method", request.id)))
        })?;
        Ok(Some(answer))
    }
}

/// Whose call it is, and which.
type Key = (TenantId, RequestId);

/// The calls with an id that are at work.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>);

/// One call that is at work; the next one of its id goes on when it is dropped.
struct Flight {
    flights: Arc<Flights>,
    key: Key,
    gate: Arc<tokio::sync::Mutex<()>>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// Waits until no other call of that id is at work.
    async fn enter(flights: &Arc<Self>, key: Key) -> Flight {
        let gate = Arc::clone(flights.gates().entry(key.clone()).or_default());
        let mut flight = Flight { flights: Arc::clone(flights), key, gate, turn: None };
        flight.turn = Some(Arc::clone(&flight.gate).lock_owned().await);
        flight
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.turn = None;
        let mut gates = self.flights.gates();
        // Two: the map's and this one's. Gates are taken under the same lock, so nobody comes in between.
        if Arc::strong_count(&self.gate) == 2 {
            gates.remove(&self.key);
        }
    }
}

/// A session with the turn that holds it, as calls answer.
fn view(session: Session, oldest_sequence: i64, active_turn: Option<Turn>) -> SessionView {
    let (queued_turns, open_permissions, open_questions) = (Vec::new(), Vec::new(), Vec::new());
    SessionView { session, oldest_sequence, active_turn, queued_turns, open_permissions, open_questions }
}

/// A session that is new: nothing of its log is gone.
pub(super) fn created(session: Session, active_turn: Option<Turn>) -> SessionView {
    view(session, 1, active_turn)
}

/// A session in which nothing is at work.
pub(super) fn stopped(session: Session, oldest_sequence: i64) -> SessionView {
    view(session, oldest_sequence, None)
}

impl From<Created> for FirstAnswer {
    fn from(created: Created) -> Self {
        let Created { view, turn, sequence } = created;
        Self::Created { session: Box::new(view.session), turn: turn.map(Box::new), sequence }
    }
}

impl From<Accepted> for FirstAnswer {
    fn from(accepted: Accepted) -> Self {
        let Accepted { turn, sequence } = accepted;
        Self::Accepted { turn: Box::new(turn), sequence }
    }
}

impl From<Changed> for FirstAnswer {
    fn from(changed: Changed) -> Self {
        match changed {
            Changed::Written(file) => Self::File { file: Box::new(file) },
            Changed::Unpacked(Unpacked { files }) => Self::Unpacked { files },
            Changed::Deleted => Self::Deleted,
        }
    }
}

impl Recall for Changed {
    fn recall(answer: FirstAnswer) -> Option<Self> {
        match answer {
            FirstAnswer::File { file } => Some(Self::Written(*file)),
            FirstAnswer::Unpacked { files } => Some(Self::Unpacked(Unpacked { files })),
            FirstAnswer::Deleted => Some(Self::Deleted),
            FirstAnswer::Created { .. }
            | FirstAnswer::Accepted { .. }
            | FirstAnswer::Stopped { .. }
            | FirstAnswer::Session { .. }
            | FirstAnswer::Interrupted { .. }
            | FirstAnswer::Cancelled { .. }
            | FirstAnswer::Resolved { .. }
            | FirstAnswer::Answered { .. }
            | FirstAnswer::Profile { .. } => None,
        }
    }
}

impl Recall for SessionView {
    fn recall(answer: FirstAnswer) -> Option<Self> {
        match answer {
            FirstAnswer::Stopped { session, oldest_sequence } => Some(stopped(*session, oldest_sequence)),
            FirstAnswer::Session { session, oldest_sequence, turns } => {
                let (active, queued_turns): (Vec<_>, Vec<_>) =
                    turns.into_iter().partition(|turn| turn.status.is_active());
                let view = view(*session, oldest_sequence, active.into_iter().next());
                Some(Self { queued_turns, ..view })
            }
            FirstAnswer::Created { .. }
            | FirstAnswer::Accepted { .. }
            | FirstAnswer::Deleted
            | FirstAnswer::File { .. }
            | FirstAnswer::Unpacked { .. }
            | FirstAnswer::Interrupted { .. }
            | FirstAnswer::Cancelled { .. }
            | FirstAnswer::Resolved { .. }
            | FirstAnswer::Answered { .. }
            | FirstAnswer::Profile { .. } => None,
        }
    }
}

macro_rules! recall {
    ($($type:ty: $answer:pat => $value:expr;)*) => {
        $(impl Recall for $type {
            fn recall(answer: FirstAnswer) -> Option<Self> {
                if let $answer = answer { Some($value) } else { None }
            }
        })*
    };
}

recall! {
    Created: FirstAnswer::Created { session, turn, sequence } => {
        let turn = turn.map(|turn| *turn);
        Created { view: created(*session, turn.clone()), turn, sequence }
    };
    Accepted: FirstAnswer::Accepted { turn, sequence } => Accepted { turn: *turn, sequence };
    Option<Turn>: FirstAnswer::Interrupted { turn } => turn.map(|turn| *turn);
    Turn: FirstAnswer::Cancelled { turn } => *turn;
    Resolved: FirstAnswer::Resolved { permission, rule } => {
        Resolved { permission: *permission, rule: rule.map(|rule| *rule) }
    };
    Question: FirstAnswer::Answered { question } => *question;
    Profile: FirstAnswer::Profile { profile } => *profile;
    (): FirstAnswer::Deleted => ();
    WorkspaceFile: FirstAnswer::File { file } => *file;
    Unpacked: FirstAnswer::Unpacked { files } => Unpacked { files };
}

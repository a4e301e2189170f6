//! Turns, one by one and in pages: what is open is the session's actor's to change, what is over is told from the store.

use super::{Command, Manager};
use crate::{
    domain::{
        Caller, Command as Table, Effect, Failure, Reason, Request, SessionId, SessionKey, Turn, TurnId, TurnStatus,
    },
    log::failure,
    store::{TurnPage, TurnQuery},
};

/// How often a turn that changed in between is looked at again: what it became is stored by then.
const LOOKS: usize = 3;

impl Manager {
    /// A turn, also long after it ended.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::TurnNotFound`], [`Reason::StorageUnavailable`].
    pub async fn turn(&self, key: &SessionKey, turn_id: &TurnId) -> Result<Turn, Failure> {
        let found = self.log().store().turn(key, turn_id).await.map_err(|error| failure(error, key))?;
        if let Some(turn) = found {
            return Ok(turn);
        }
        self.view(key).await?;
        let message = format!("there is no turn {turn_id} in this session");
        Err(Failure::new(Reason::TurnNotFound, message).with("turn_id", turn_id))
    }

    /// A page of a session's turns.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::StorageUnavailable`].
    pub async fn turns(&self, key: &SessionKey, query: &TurnQuery) -> Result<TurnPage, Failure> {
        let page = self.log().store().turns(key, query).await.map_err(|error| failure(error, key))?;
        page.ok_or_else(|| Failure::session_not_found(&key.session))
    }

    /// Ends a turn, or whichever is active, and returns it as it is then; its end follows. `None`: there was nothing to
    /// end.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::TurnNotFound`], [`Reason::RequestIdReused`],
    /// [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn interrupt(
        &self,
        caller: &Caller,
        id: &SessionId,
        turn_id: Option<TurnId>,
        request: Option<Request>,
    ) -> Result<Option<Turn>, Failure> {
        let Some(turn_id) = turn_id else {
            let command = move |by, request, reply| Command::Interrupt { turn_id: None, by, request, reply };
            return self.call_once(caller, id, request, command).await;
        };
        let (manager, by, id, same) = (self.clone(), caller.clone(), id.clone(), request.clone());
        let interrupt = async move {
            let command = |by, reply| {
                let (turn_id, request) = (Some(turn_id.clone()), same.clone());
                Command::Interrupt { turn_id, by, request, reply }
            };
            manager.change_turn(&by, &id, &turn_id, Table::Interrupt, command).await.map(Some)
        };
        self.once(&caller.tenant, request, interrupt).await
    }

    /// Takes a turn out of the queue.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::TurnNotFound`], [`Reason::TurnStarted`], [`Reason::TurnFinished`],
    /// [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn cancel(
        &self,
        caller: &Caller,
        id: &SessionId,
        turn_id: TurnId,
        request: Option<Request>,
    ) -> Result<Turn, Failure> {
        let (manager, by, id, same) = (self.clone(), caller.clone(), id.clone(), request.clone());
        let cancel = async move {
            let command = |by, reply| {
                let (turn_id, request) = (turn_id.clone(), same.clone());
                Command::Cancel { turn_id, by, request, reply }
            };
            manager.change_turn(&by, &id, &turn_id, Table::Cancel, command).await
        };
        self.once(&caller.tenant, request, cancel).await
    }

    /// Has the session's actor change a turn that is open. What is over never changes, so that need not be remembered.
    async fn change_turn(
        &self,
        caller: &Caller,
        id: &SessionId,
        turn_id: &TurnId,
        what: Table,
        command: impl Fn(crate::domain::Principal, super::Reply<Option<Turn>>) -> Command + Send + Sync,
    ) -> Result<Turn, Failure> {
        self.open()?;
        let key = SessionKey { tenant: caller.tenant.clone(), session: id.clone() };
        for _ in 0..LOOKS {
            let turn = self.turn(&key, turn_id).await?;
            if turn.status.is_final() {
                return match what.effect(turn.status) {
                    Effect::Refuse(reason) => Err(finished(reason, turn_id, turn.status)),
                    Effect::Proceed | Effect::End(_) | Effect::GoOn | Effect::Wait | Effect::Overtake => Ok(turn),
                };
            }
            if let Some(turn) = self.call(caller, id, &command).await? {
                return Ok(turn);
            }
        }
        Err(Failure::new(Reason::StorageUnavailable, "the turn could not be reached; try again"))
    }
}

fn finished(reason: Reason, turn_id: &TurnId, status: TurnStatus) -> Failure {
    let failure = Failure::new(reason, "the turn is over already").with("turn_id", turn_id);
    failure.with("turn_status", format!("TURN_STATUS_{}", super::turn::status_name(status)))
}

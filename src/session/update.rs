//! Changes of a session's record: its name, labels, metadata and options. All are one event, whether anything runs or not;
//! what an agent has to be told of new options it is told with its next message.

use std::{collections::BTreeMap, time::Duration};

use ulid::Ulid;

use super::{Command, Manager, pending::Pending, permissions};
use crate::{
    domain::{
        Budget, Caller, Failure, Kind, Metadata, Principal, Reason, Request, Session, SessionId, SessionKey,
        SessionOptions, SessionUpdate,
    },
    store::SessionView,
};

/// What is to be changed. `None`: it stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Must match, when there is one.
    pub etag: Option<String>,
    /// Empty: none.
    pub name: Option<String>,
    /// All of them.
    pub labels: Option<BTreeMap<String, String>>,
    /// `Some(None)`: none.
    pub metadata: Option<Option<Metadata>>,
    /// How the agent is run.
    pub options: OptionsUpdate,
}

/// Which options are to be changed. What is cleared is as the profile says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionsUpdate {
    /// Empty: cleared.
    pub model: Option<String>,
    /// Empty: cleared.
    pub permission_mode: Option<String>,
    /// `Some(None)`: cleared.
    pub budget: Option<Option<Budget>>,
    /// `Some(None)`: cleared.
    pub idle_timeout: Option<Option<Duration>>,
}

impl OptionsUpdate {
    fn of(self, held: &SessionOptions) -> SessionOptions {
        let Self { model, permission_mode, budget, idle_timeout } = self;
        SessionOptions {
            model: model.unwrap_or_else(|| held.model.clone()),
            permission_mode: permission_mode.unwrap_or_else(|| held.permission_mode.clone()),
            budget: budget.unwrap_or_else(|| held.budget.clone()),
            idle_timeout: idle_timeout.unwrap_or(held.idle_timeout),
        }
    }
}

impl Manager {
    /// Changes the record of a session; new options count from the next turn on.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::EtagMismatch`], [`Reason::InvalidField`], [`Reason::RequestIdReused`],
    /// [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn update(
        &self,
        caller: &Caller,
        id: &SessionId,
        update: Update,
        request: Option<Request>,
    ) -> Result<SessionView, Failure> {
        let (manager, by, id, same) = (self.clone(), caller.clone(), id.clone(), request.clone());
        let call = async move {
            let key = SessionKey { tenant: by.tenant.clone(), session: id.clone() };
            let Session { profile_id, profile_revision, .. } = manager.view(&key).await?.session;
            let defaults = match manager.profile(&by.tenant, Some(&profile_id), profile_revision).await {
                Ok(profile) => profile.setup.default_options,
                // Deleted since: what is cleared is as the agent has it.
                Err(failure) if failure.reason == Reason::ProfileNotFound => SessionOptions::default(),
                Err(failure) => return Err(failure),
            };
            let command = |by, reply| {
                let (update, defaults, request) = (update.clone(), defaults.clone(), same.clone());
                Command::Update { update: Box::new(update), defaults, by, request, reply }
            };
            manager.call(&by, &id, command).await
        };
        self.once(&caller.tenant, request, call).await
    }

    /// Saves files and agent state of a session, where it has a sandbox that is at work.
    ///
    /// # Errors
    /// [`Reason::SandboxFailed`] when they could not be looked at, [`Reason::SessionNotFound`],
    /// [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn sync(
        &self,
        caller: &Caller,
        id: &SessionId,
        request: Option<Request>,
    ) -> Result<SessionView, Failure> {
        self.call_once(caller, id, request, |_, request, reply| Command::Sync { request, reply }).await
    }
}

impl Pending {
    /// Records a change of the record.
    pub(super) fn change_record(
        &mut self,
        update: Update,
        defaults: &SessionOptions,
        by: &Principal,
    ) -> Result<(), Failure> {
        let Update { etag, name, labels, metadata, options } = update;
        let mut session = self.state().session.clone();
        if etag.is_some_and(|etag| etag != session.etag) {
            return Err(etag_mismatch(&session.etag));
        }
        session.options = options.of(&session.options).or(defaults);
        permissions::mode_is_known(&session, "session.options.permission_mode")?;
        let update = SessionUpdate {
            name: name.unwrap_or(session.name),
            labels: labels.unwrap_or(session.labels),
            metadata: metadata.unwrap_or(session.metadata),
            options: session.options,
            etag: Ulid::new().to_string(),
        };
        self.record_session(Some(by), Kind::SessionUpdated(update));
        Ok(())
    }

    /// The session as a call answers it, with the turns that are not over.
    pub(super) fn view(&self, oldest_sequence: i64) -> SessionView {
        let state = self.state();
        let queued = state.turns.iter().filter(|turn| !turn.status.is_final() && !turn.status.is_active());
        SessionView {
            session: state.session.clone(),
            oldest_sequence,
            active_turn: state.active_turn().cloned(),
            queued_turns: queued.cloned().collect(),
            open_permissions: Vec::new(),
            open_questions: Vec::new(),
        }
    }
}

/// The record is not as its caller read it.
pub(super) fn etag_mismatch(held: &str) -> Failure {
    let message = "the session changed since you read it; read it again";
    Failure::new(Reason::EtagMismatch, message).with("etag", held)
}

//! The manager: which session has an actor now. It starts one where there is something to do, hands it commands, and ends
//! them all when the server stops.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use ulid::Ulid;

use super::{
    Command, Config, NewSession, Reply,
    actor::Actor,
    launch,
    pending::Pending,
    shared::Shared,
    turn::{Accepted, Prompt},
};
use crate::{
    domain::{
        Caller, ContentPart, Conversation, ConversationId, Failure, Kind, LogUid, Principal, Profile, Reason, Session,
        SessionId, SessionKey, SessionState, SessionStatus, TenantId, Timestamp, Turn, Usage,
    },
    log::{EventLog, failure, unavailable},
    store::{self, Batch, SessionQuery, SessionView, parts_of},
};

/// Commands that wait for one actor.
const QUEUE: usize = 64;
/// How often a command is handed over again to an actor that was just leaving.
const ATTEMPTS: usize = 8;

/// Runs sessions. Clones share everything.
#[derive(Clone)]
pub struct Manager {
    shared: Arc<Shared>,
}

/// A session that was created.
#[derive(Clone, Debug)]
pub struct Created {
    /// As it is stored.
    pub view: SessionView,
    /// Of the first message, where there was one.
    pub turn: Option<Turn>,
    /// Watch after this to see everything that follows the creation.
    pub sequence: i64,
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Manager {
    /// A manager over a log. Its actors run on `tasks`.
    #[must_use]
    pub fn new(log: EventLog, config: Config, tasks: &TaskTracker) -> Self {
        let (drain, tasks) = (CancellationToken::new(), tasks.clone());
        Self { shared: Arc::new(Shared { log, config, drain, tasks, actors: Mutex::default() }) }
    }

    /// The log, to read and to watch.
    #[must_use]
    pub fn log(&self) -> &EventLog {
        &self.shared.log
    }

    /// How sessions are run.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Looks after what an earlier server left: sandboxes nobody can drive are ended, and turns that were running are lost.
    ///
    /// # Errors
    /// What the store or the provider says; nothing should be served then.
    pub async fn recover(&self) -> Result<(), Failure> {
        let reaped = self.shared.config.provider.reap().await;
        reaped.map_err(|error| Failure::new(Reason::SandboxFailed, error.to_string()))?;
        let unfinished = self.shared.log.store().unfinished().await;
        for key in unfinished.map_err(|error| unavailable(&error))? {
            self.actor(&key);
        }
        Ok(())
    }

    /// Stores a session; with a message its agent is started.
    ///
    /// # Errors
    /// [`Reason::ProfileNotFound`], [`Reason::SandboxUnsuitable`], [`Reason::ExternalIdInUse`],
    /// [`Reason::StorageUnavailable`], [`Reason::ShuttingDown`].
    pub async fn create(&self, caller: &Caller, new: NewSession) -> Result<Created, Failure> {
        self.open()?;
        let config = &self.shared.config;
        launch::suitable(config, &new.sandbox.provider, new.sandbox.min_isolation)?;
        let profile = self.profile(&caller.tenant, new.profile_id.as_ref(), 0).await?;
        let key = SessionKey { tenant: caller.tenant.clone(), session: SessionId::mint() };
        let message = new.message.clone();
        let session = self.record(&key, caller, &profile, new);
        let by = &caller.principal;
        let mut pending = Pending::new(SessionState::new(Session { sequence: 0, ..session.clone() }));
        pending.record_session(Some(by), Kind::SessionCreated { session: Box::new(session.clone()) });
        let begun = Kind::ConversationUpdated { conversation: Conversation::main(), session_usage: Usage::default() };
        pending.record(ConversationId::main(), None, begun);
        let sequence = pending.head();
        let accepted = message.map(|parts| pending.accept(parts, by)).transpose()?;
        if accepted.is_some() {
            let sandbox = launch::announce(config, &pending.state().session);
            pending.record_session(None, Kind::SandboxChanged { sandbox });
        }
        let (turn, prompt) = accepted.map(|(accepted, prompt)| (accepted.turn, prompt)).unzip();
        // On a task of its own: a caller that hangs up must not leave half of it.
        let (shared, of) = (Arc::clone(&self.shared), key.clone());
        let begun = self.shared.tasks.spawn(async move { begin(shared, of, session, pending, prompt).await }).await;
        begun.map_err(|_| Failure::new(Reason::StorageUnavailable, "the session could not be stored; try again"))??;
        let view = self.view(&key).await?;
        Ok(Created { view, turn, sequence })
    }

    fn record(&self, key: &SessionKey, caller: &Caller, profile: &Profile, new: NewSession) -> Session {
        let now = Timestamp::now();
        let NewSession { profile_id: _, agent, external_id, name, options, labels, metadata, sandbox, message: _ } =
            new;
        Session {
            session_id: key.session.clone(),
            uid: LogUid::mint(),
            external_id,
            agent: agent.or(profile.agent).unwrap_or(self.shared.config.default_agent),
            name,
            status: SessionStatus::Idle,
            profile_id: profile.profile_id.clone(),
            profile_revision: profile.revision,
            sequence: 1,
            sandbox: None,
            sandbox_spec: sandbox,
            options,
            usage: Usage::default(),
            labels,
            metadata,
            created_by: caller.principal.clone(),
            create_time: now,
            last_activity_time: now,
            etag: Ulid::new().to_string(),
            error: None,
        }
    }

    /// Gives the agent a message.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::SessionBusy`], [`Reason::StorageUnavailable`], [`Reason::ShuttingDown`].
    pub async fn send(&self, caller: &Caller, id: &SessionId, parts: &[ContentPart]) -> Result<Accepted, Failure> {
        self.call(caller, id, |by, reply| Command::Send { parts: parts.to_vec(), by, reply }).await
    }

    /// Ends what runs and stops the sandbox; the record stays.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::StorageUnavailable`], [`Reason::ShuttingDown`].
    pub async fn stop(&self, caller: &Caller, id: &SessionId) -> Result<SessionView, Failure> {
        self.call(caller, id, |by, reply| Command::Stop { by, reply }).await?;
        self.view(&SessionKey { tenant: caller.tenant.clone(), session: id.clone() }).await
    }

    /// Stops a session and deletes it.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::EtagMismatch`], [`Reason::StorageUnavailable`], [`Reason::ShuttingDown`].
    pub async fn delete(&self, caller: &Caller, id: &SessionId, etag: Option<&str>) -> Result<(), Failure> {
        self.call(caller, id, |by, reply| Command::Delete { etag: etag.map(str::to_owned), by, reply }).await
    }

    /// A session as it is stored.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::StorageUnavailable`].
    pub async fn view(&self, key: &SessionKey) -> Result<SessionView, Failure> {
        let view = self.shared.log.store().session(key).await.map_err(|error| failure(error, key))?;
        view.ok_or_else(|| Failure::session_not_found(&key.session))
    }

    /// A page of a tenant's sessions, as they are stored.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`].
    pub async fn sessions(&self, tenant: &TenantId, query: &SessionQuery) -> Result<Vec<SessionView>, Failure> {
        self.shared.log.store().sessions(tenant, query).await.map_err(|error| unavailable(&error))
    }

    /// Ends all agents and actors; nothing is accepted any more. Returns when all that was decided is stored, or when the
    /// patience is over.
    pub async fn drain(&self, patience: Duration) {
        self.shared.drain.cancel();
        let done = async {
            while !self.slots().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(patience, done).await.is_err() {
            tracing::warn!(actors = self.slots().len(), "some sessions did not end in time");
        }
    }

    /// Removes what is left of sessions that were deleted before `before`.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`].
    pub async fn purge(&self, before: Timestamp) -> Result<(), Failure> {
        let purged = self.shared.log.store().purge(before).await;
        for id in purged.map_err(|error| unavailable(&error))? {
            if let Err(error) = self.shared.config.provider.destroy(&id).await {
                tracing::warn!(sandbox = %id, %error, "a deleted session's sandbox could not be removed");
            }
        }
        Ok(())
    }

    fn open(&self) -> Result<(), Failure> {
        if self.shared.drain.is_cancelled() {
            return Err(Failure::new(Reason::ShuttingDown, "the server is stopping; try again at the next one"));
        }
        Ok(())
    }

    /// Hands a command to the session's actor. One that was leaving just then did nothing with it: it goes to the next.
    async fn call<T>(
        &self,
        caller: &Caller,
        id: &SessionId,
        command: impl Fn(Principal, Reply<T>) -> Command,
    ) -> Result<T, Failure> {
        let key = SessionKey { tenant: caller.tenant.clone(), session: id.clone() };
        for _ in 0..ATTEMPTS {
            self.open()?;
            let (reply, answer) = oneshot::channel();
            // What could not be sent must go at once: it holds the other end of the answer that is waited for.
            let sent = self.actor(&key).send(command(caller.principal.clone(), reply)).await.is_ok();
            if sent && let Ok(answer) = answer.await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
        Err(Failure::new(Reason::StorageUnavailable, "the session could not be reached; try again"))
    }

    /// The session's actor; one is started where there is none.
    fn actor(&self, key: &SessionKey) -> mpsc::Sender<Command> {
        let mut slots = self.slots();
        if let Some(sender) = slots.get(key) {
            return sender.clone();
        }
        let (sender, commands) = mpsc::channel(QUEUE);
        slots.insert(key.clone(), sender.clone());
        self.shared.tasks.spawn(host(Arc::clone(&self.shared), key.clone(), commands, None));
        sender
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<SessionKey, mpsc::Sender<Command>>> {
        self.shared.slots()
    }
}

/// Stores a new session and starts its agent where it has a message.
async fn begin(
    shared: Arc<Shared>,
    key: SessionKey,
    session: Session,
    mut pending: Pending,
    prompt: Option<Prompt>,
) -> Result<(), Failure> {
    // The slot comes first: nobody may find the session and take its first turn for one that was left behind.
    let (sender, commands) = mpsc::channel(QUEUE);
    shared.slots().insert(key.clone(), sender);
    let drained = pending.drain();
    let (record, parts) = parts_of(pending.state(), &drained.changes);
    let batch = Batch { events: drained.events, record, parts, ..Batch::new(key.clone(), 0, drained.head) };
    let stored = shared.log.create(&session, &batch).await;
    if let (Ok(()), Some(prompt)) = (&stored, prompt) {
        shared.tasks.spawn(host(Arc::clone(&shared), key, commands, Some(prompt)));
    } else {
        // Whoever found the session meanwhile asks again, and finds no slot.
        shared.slots().remove(&key);
    }
    stored
}

/// One actor after the other, for as long as there are commands; then the slot is given back.
async fn host(shared: Arc<Shared>, key: SessionKey, mut commands: mpsc::Receiver<Command>, mut prompt: Option<Prompt>) {
    loop {
        match shared.log.store().acquire(&key).await {
            Ok(Some(acquired)) => {
                let actor = Actor::new(Arc::clone(&shared), key.clone(), commands, acquired);
                commands = run_traced(&key, actor.run(prompt.take())).await;
                let mut slots = shared.slots();
                if commands.is_empty() {
                    slots.remove(&key);
                    return;
                }
            }
            Ok(None) => return refuse_all(&shared, &key, commands, store::Error::NotFound),
            Err(error) => return refuse_all(&shared, &key, commands, error),
        }
    }
}

async fn run_traced(key: &SessionKey, run: impl Future<Output = mpsc::Receiver<Command>>) -> mpsc::Receiver<Command> {
    use tracing::Instrument as _;
    run.instrument(tracing::info_span!("session", session = %key.session)).await
}

/// There is no session to act on: whoever waits is told, and the slot is given back.
fn refuse_all(shared: &Shared, key: &SessionKey, mut commands: mpsc::Receiver<Command>, error: store::Error) {
    shared.slots().remove(key);
    let refusal = failure(error, key);
    while let Ok(command) = commands.try_recv() {
        // Whoever hung up does not want to know.
        match command {
            Command::Send { reply, .. } => drop(reply.send(Err(refusal.clone()))),
            Command::Stop { reply, .. } | Command::Delete { reply, .. } => drop(reply.send(Err(refusal.clone()))),
        }
    }
}

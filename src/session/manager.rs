//! The manager: which session has an actor now. It starts one where there is something to do, hands it commands, and ends
//! them all when the server stops.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use ulid::Ulid;

use super::{
    Command, Config, Ending, NewSession, Reply,
    edit::{Change, Changed},
    host::{Begin, host},
    images, launch,
    once::{self, Recall},
    pending::{Drained, Pending},
    permissions,
    prebuilt::Prebuilt,
    redact::Known,
    setup,
    shared::Shared,
    suitable,
    turn::Accepted,
};
use crate::{
    domain::{
        Busy, Caller, ContentPart, Conversation, ConversationId, Failure, Kind, LogLevel, LogUid, Principal, Profile,
        Reason, Remembered, Request, Session, SessionId, SessionKey, SessionState, SessionStatus, TenantId, Timestamp,
        Turn, Usage, WorkspaceSource,
    },
    log::{EventLog, failure, unavailable},
    store::{Batch, BlobBytes, SessionQuery, SessionView, parts_of},
    workspace,
};

/// Commands that wait for one actor.
const QUEUE: usize = 64;
/// How often a command is handed over again to an actor that was just leaving.
const ATTEMPTS: usize = 8;

/// Runs sessions. Clones share everything.
#[derive(Clone)]
pub struct Manager {
    pub(super) shared: Arc<Shared>,
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
        Self {
            shared: Arc::new(Shared {
                log,
                known: Known::new(&config.own_secrets, &config.environment),
                config,
                drain,
                ending: OnceLock::new(),
                tasks,
                reap: Notify::new(),
                flights: Arc::default(),
                prebuilt: Prebuilt::default(),
                actors: Mutex::default(),
            }),
        }
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

    /// Looks after what an earlier server left: what runs in sandboxes that no session needs is ended, and of every other
    /// session an actor goes on where the last one stood, while this server serves already.
    ///
    /// # Errors
    /// What the store or the provider says; nothing should be served then.
    pub async fn recover(&self) -> Result<(), Failure> {
        let store = self.shared.log.store();
        let unfinished = store.unfinished().await.map_err(|error| unavailable(&error))?;
        let mut keep = Vec::new();
        for key in &unfinished {
            let view = store.session(key).await.map_err(|error| unavailable(&error))?;
            keep.extend(view.and_then(|view| view.session.sandbox).and_then(|sandbox| sandbox.sandbox_id));
        }
        let named = store.sandboxes().await.map_err(|error| unavailable(&error))?;
        for provider in self.shared.config.providers.all() {
            let reaped = provider.reap(&keep, &named).await;
            reaped.map_err(|error| Failure::new(Reason::SandboxFailed, error.to_string()))?;
        }
        for key in unfinished {
            self.actor(&key, Begin::Left);
        }
        Ok(())
    }

    /// Stores a session; with a message its agent is started.
    ///
    /// # Errors
    /// [`Reason::ProfileNotFound`], [`Reason::SandboxUnsuitable`], [`Reason::ExternalIdInUse`],
    /// [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn create(&self, caller: &Caller, new: NewSession) -> Result<Created, Failure> {
        let (manager, by, request) = (self.clone(), caller.clone(), new.request.clone());
        let create = async move { manager.create_now(&by, new).await };
        self.once(&caller.tenant, request, create).await
    }

    async fn create_now(&self, caller: &Caller, mut new: NewSession) -> Result<Created, Failure> {
        self.open()?;
        let config = &self.shared.config;
        let profile = self.profile(&caller.tenant, new.profile_id.as_ref(), 0).await?;
        setup::merge(&mut new, &profile.setup);
        suitable::settle(&config.providers, new.sandbox.get_or_insert_default())?;
        if let Some(WorkspaceSource::Directory { path }) = &new.workspace {
            workspace::allowed(Path::new(path), &config.copying)
                .map_err(|error| Failure::invalid("workspace_source.directory", error.to_string()))?;
        }
        let key = SessionKey { tenant: caller.tenant.clone(), session: SessionId::mint() };
        let (message, request, seeds) = (new.message.clone(), new.request.clone(), std::mem::take(&mut new.seeds));
        let opened = new.start_sandbox || message.is_some();
        let session = self.record(&key, caller, &profile, new);
        permissions::mode_is_known(&session, "options.permission_mode")?;
        setup::refuse(config, session.agent, &profile.setup)?;
        images::takeable(session.agent, message.as_deref().unwrap_or_default())?;
        let by = &caller.principal;
        let mut pending = Pending::new(SessionState::new(Session { sequence: 0, ..session.clone() }));
        pending.record_session(Some(by), Kind::SessionCreated { session: Box::new(session.clone()) });
        let begun = Kind::ConversationUpdated { conversation: Conversation::main(), session_usage: Usage::default() };
        pending.record(ConversationId::main(), None, begun);
        let sequence = pending.head();
        if let Some(why) = self.shared.prebuilt.trouble(&key.tenant, &profile) {
            pending.log(LogLevel::Warn, format!("the image of the profile could not be built ahead: {why}"));
        }
        let accepted = message.map(|parts| pending.accept(parts, by));
        if opened {
            let sandbox = launch::announce(config, &pending.state().session);
            pending.record_session(None, Kind::SandboxChanged { sandbox });
        }
        let record = pending.state().session.clone();
        let turn = accepted.as_ref().map(|(accepted, _)| accepted.turn.clone());
        let created = Created { view: once::created(record, turn.clone()), turn, sequence };
        let call = request.map(|request| Remembered::now(request, created.clone().into()));
        // The slot comes first: nobody may find the session and take its first turn for one that was left behind.
        let (sender, commands) = mpsc::channel(QUEUE);
        self.slots().insert(key.clone(), sender);
        let stored = self.store(&key, &session, &mut pending, seeds, call).await;
        if stored.is_ok() && opened {
            let why = accepted.map_or(Begin::Opened, |(_, prompt)| Begin::Accepted(prompt));
            self.shared.tasks.spawn(host(Arc::clone(&self.shared), key.clone(), commands, why));
        } else {
            // Whoever found the session meanwhile asks again, and finds no slot.
            self.slots().remove(&key);
        }
        stored.map(|()| created)
    }

    async fn store(
        &self,
        key: &SessionKey,
        session: &Session,
        pending: &mut Pending,
        seeds: Vec<BlobBytes>,
        call: Option<Remembered>,
    ) -> Result<(), Failure> {
        let mut drained = pending.drain();
        drained.beside.blobs.extend(seeds);
        let (record, parts) = parts_of(pending.state(), &drained.changes);
        let (calls, Drained { head, events, changes: _, beside }) = (call.into_iter().collect(), drained);
        let batch = Batch { events, record, parts, calls, beside, ..Batch::new(key.clone(), 0, head) };
        self.shared.log.create(session, &batch).await
    }

    fn record(&self, key: &SessionKey, caller: &Caller, profile: &Profile, new: NewSession) -> Session {
        let now = Timestamp::now();
        let NewSession {
            profile_id: _,
            agent,
            external_id,
            name,
            options,
            labels,
            metadata,
            sandbox,
            workspace,
            seed_files,
            seeds: _,
            start_sandbox: _,
            message: _,
            request: _,
        } = new;
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
            sandbox_spec: sandbox.unwrap_or_default(),
            workspace,
            seed_files,
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

    /// Gives the agent a message, at once or when it is its turn.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::SessionBusy`], [`Reason::QueueFull`], [`Reason::RequestIdReused`],
    /// [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn send(
        &self,
        caller: &Caller,
        id: &SessionId,
        parts: Vec<ContentPart>,
        busy: Busy,
        request: Option<Request>,
    ) -> Result<Accepted, Failure> {
        let command = move |by, request, reply| Command::Send { parts: parts.clone(), busy, by, request, reply };
        self.call_once(caller, id, request, command).await
    }

    /// The message that a call sent before; it is never sent by this.
    ///
    /// # Errors
    /// [`Reason::InvalidField`] when the call is not known, [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`].
    pub async fn sent(&self, caller: &Caller, request: Request) -> Result<Accepted, Failure> {
        let unknown = "only with a request_id that was used within 24 h; without it the message is sent anew";
        let refuse = async move { Err(Failure::invalid("after_sequence", unknown)) };
        self.once(&caller.tenant, Some(request), refuse).await
    }

    /// Ends what runs and stops the sandbox; the record stays.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::RequestIdReused`], [`Reason::StorageUnavailable`],
    /// [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn stop(
        &self,
        caller: &Caller,
        id: &SessionId,
        request: Option<Request>,
    ) -> Result<SessionView, Failure> {
        self.call_once(caller, id, request, |by, request, reply| Command::Stop { by, request, reply }).await
    }

    /// Changes files of a session's workspace; its sandbox is made ready for that, and no agent is started.
    ///
    /// # Errors
    /// [`Reason::WorkspacePath`], [`Reason::FileNotFound`], [`Reason::EtagMismatch`], [`Reason::MessageTooLarge`],
    /// [`Reason::InvalidField`], [`Reason::SandboxFailed`], [`Reason::SessionNotFound`], [`Reason::RequestIdReused`],
    /// [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub(super) async fn change(
        &self,
        caller: &Caller,
        id: &SessionId,
        change: Change,
        request: Option<Request>,
    ) -> Result<Changed, Failure> {
        let command = move |by, request, reply| Command::Edit { change: change.clone(), by, request, reply };
        self.call_once(caller, id, request, command).await
    }

    /// Stops a session and deletes it.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::EtagMismatch`], [`Reason::RequestIdReused`],
    /// [`Reason::StorageUnavailable`], [`Reason::StorageFull`], [`Reason::ShuttingDown`].
    pub async fn delete(
        &self,
        caller: &Caller,
        id: &SessionId,
        etag: Option<String>,
        request: Option<Request>,
    ) -> Result<(), Failure> {
        let command = move |by, request, reply| Command::Delete { etag: etag.clone(), by, request, reply };
        self.call_once(caller, id, request, command).await
    }

    /// A session as it is stored.
    ///
    /// # Errors
    /// [`Reason::SessionNotFound`], [`Reason::StorageUnavailable`].
    pub async fn view(&self, key: &SessionKey) -> Result<SessionView, Failure> {
        let view = self.shared.log.store().session(key).await.map_err(|error| failure(error, key))?;
        view.ok_or_else(|| Failure::session_not_found(&key.session))
    }

    /// A page of a tenant's sessions, as they are stored, and the list's revision at the first page, which later pages
    /// are given.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`].
    pub async fn sessions(
        &self,
        tenant: &TenantId,
        query: &SessionQuery,
        revision: Option<i64>,
    ) -> Result<(Vec<SessionView>, i64), Failure> {
        // The revision first, and what was created later left out: all that happens after it is told to whoever watches
        // after it, and nothing that is told means something that was not listed or told before.
        let revision = match revision {
            Some(revision) => revision,
            None => self.shared.log.revision(tenant).await?,
        };
        let query = SessionQuery { as_of: Some(revision), ..query.clone() };
        let views = self.shared.log.store().sessions(tenant, &query).await.map_err(|error| unavailable(&error))?;
        Ok((views, revision))
    }

    /// Ends all actors, and agents with them or not; nothing is accepted any more. Returns when all that was decided is
    /// stored, or when the patience is over.
    pub async fn drain(&self, ending: Ending, patience: Duration) {
        // The first one counts.
        let _ = self.shared.ending.set(ending);
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

    /// Removes what is left of sessions that were deleted before `before`, and calls that need not be remembered.
    ///
    /// # Errors
    /// [`Reason::StorageUnavailable`].
    pub async fn purge(&self, before: Timestamp) -> Result<(), Failure> {
        self.shared.log.ready()?;
        let log = &self.shared.log;
        log.noted(log.store().forget_requests(Timestamp::now()).await).map_err(|error| unavailable(&error))?;
        let purged = log.noted(log.store().purge(before).await);
        for id in purged.map_err(|error| unavailable(&error))? {
            if let Err(error) = self.shared.config.providers.destroy(&id).await {
                tracing::warn!(sandbox = %id, %error, "a deleted session's sandbox could not be removed");
            }
        }
        Ok(())
    }

    /// The door: refuses what changes something where that cannot be done.
    pub(super) fn open(&self) -> Result<(), Failure> {
        if self.shared.drain.is_cancelled() {
            return Err(Failure::new(Reason::ShuttingDown, "the server is stopping; try again at the next one"));
        }
        self.shared.log.ready()
    }

    /// Hands a command to the session's actor, unless that was done before.
    pub(super) async fn call_once<T: Recall>(
        &self,
        caller: &Caller,
        id: &SessionId,
        request: Option<Request>,
        command: impl Fn(Principal, Option<Request>, Reply<T>) -> Command + Send + Sync + 'static,
    ) -> Result<T, Failure> {
        let (manager, by, id, same) = (self.clone(), caller.clone(), id.clone(), request.clone());
        let call = async move { manager.call(&by, &id, |by, reply| command(by, same.clone(), reply)).await };
        self.once(&caller.tenant, request, call).await
    }

    /// Hands a command to the session's actor. One that was leaving just then did nothing with it: it goes to the next.
    pub(super) async fn call<T>(
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
            let sent = self.actor(&key, Begin::Asked).send(command(caller.principal.clone(), reply)).await.is_ok();
            if sent && let Ok(answer) = answer.await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
        Err(Failure::new(Reason::StorageUnavailable, "the session could not be reached; try again"))
    }

    /// The session's actor; one is started where there is none.
    fn actor(&self, key: &SessionKey, begin: Begin) -> mpsc::Sender<Command> {
        let mut slots = self.slots();
        if let Some(sender) = slots.get(key) {
            return sender.clone();
        }
        let (sender, commands) = mpsc::channel(QUEUE);
        slots.insert(key.clone(), sender.clone());
        self.shared.tasks.spawn(host(Arc::clone(&self.shared), key.clone(), commands, begin));
        sender
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<SessionKey, mpsc::Sender<Command>>> {
        self.shared.slots()
    }
}

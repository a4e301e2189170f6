//! Sessions, events and batches to store, made the way the session makes them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicI64, Ordering},
};

use agent_runtime::{
    domain::{
        Agent, Block, BlockId, BlockState, Content, ConversationId, Event, Isolation, Kind, LogUid, Meter,
        PermissionRequest, Principal, Profile, ProfileId, Question, Sandbox, SandboxId, SandboxSpec, SandboxStatus,
        Session, SessionId, SessionKey, SessionOptions, SessionState, SessionStatus, TenantId, Timestamp, Turn, TurnId,
        TurnOrigin, TurnStatus, Usage,
    },
    store::{Acquired, Batch, BlockQuery, Error, SessionQuery, Store, parts_of},
};

/// Every session is younger than the one made before it.
static CLOCK: AtomicI64 = AtomicI64::new(1_700_000_000_000_000);

pub(crate) fn now() -> Timestamp {
    Timestamp(CLOCK.fetch_add(1000, Ordering::Relaxed))
}

pub(crate) fn key(tenant: &str) -> SessionKey {
    SessionKey { tenant: TenantId::new(tenant), session: SessionId::mint() }
}

pub(crate) fn session(key: &SessionKey) -> Session {
    let time = now();
    Session {
        session_id: key.session.clone(),
        uid: LogUid::mint(),
        external_id: String::new(),
        agent: Agent::Scripted,
        name: "a session".into(),
        status: SessionStatus::Idle,
        profile_id: ProfileId::new("default"),
        profile_revision: 1,
        sequence: 1,
        sandbox: None,
        sandbox_spec: SandboxSpec::default(),
        workspace: None,
        seed_files: Vec::new(),
        options: SessionOptions::default(),
        usage: Usage::default(),
        labels: BTreeMap::new(),
        metadata: None,
        created_by: Principal::system(),
        create_time: time,
        last_activity_time: time,
        etag: "1".into(),
        error: None,
    }
}

pub(crate) fn sandbox(id: &str, status: SandboxStatus) -> Sandbox {
    Sandbox {
        sandbox_id: Some(SandboxId::new(id)),
        provider: "local".into(),
        status,
        status_message: String::new(),
        generation: 1,
        isolation: Isolation::Process,
        restored_to_sequence: 0,
        not_applied: Vec::new(),
        expire_time: None,
        last_health_check_time: None,
    }
}

pub(crate) fn turn(id: &str, status: TurnStatus) -> Turn {
    Turn {
        turn_id: TurnId::new(id),
        status,
        origin: TurnOrigin::User,
        block_id: None,
        message: None,
        created_by: Principal::system(),
        create_time: Timestamp(1),
        start_time: None,
        end_time: None,
        usage: Usage::default(),
        error: None,
        goes_first: false,
        interrupt_time: None,
        carried: Vec::new(),
        moving: None,
        meter: Meter::default(),
    }
}

pub(crate) fn text_block(id: &str, text: &str, state: BlockState) -> Block {
    Block {
        block_id: BlockId::new(id),
        conversation_id: ConversationId::main(),
        turn_id: None,
        state,
        create_time: Timestamp(1),
        complete_time: None,
        truncated_bytes: 0,
        content: Content::AssistantText { text: text.into(), model: "m".into() },
    }
}

pub(crate) fn permission(id: &str) -> PermissionRequest {
    PermissionRequest {
        permission_id: id.into(),
        conversation_id: ConversationId::main(),
        turn_id: TurnId::new("turn_1"),
        tool_use_id: String::new(),
        tool_name: "Bash".into(),
        input_json: "{}".into(),
        title: String::new(),
        options: Vec::new(),
        create_time: Timestamp(1),
        expire_time: None,
        resolution: None,
        asked: None,
    }
}

pub(crate) fn question(id: &str) -> Question {
    Question {
        question_id: id.into(),
        conversation_id: ConversationId::main(),
        turn_id: TurnId::new("turn_1"),
        tool_use_id: String::new(),
        items: Vec::new(),
        create_time: Timestamp(1),
        expire_time: None,
        resolution: None,
        tool_name: String::new(),
        input_json: String::new(),
        asked: None,
    }
}

pub(crate) fn delta(id: &str, delta: &str, offset: usize) -> Kind {
    Kind::BlockDelta { block_id: BlockId::new(id), delta: delta.into(), offset: i64::try_from(offset).unwrap() }
}

pub(crate) fn log_line(message: &str) -> Kind {
    Kind::Log { level: agent_runtime::domain::LogLevel::Info, message: message.into() }
}

/// Whoever owns a session: holds its open state, and makes batches from events.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) key: SessionKey,
    pub(crate) epoch: i64,
    pub(crate) live: SessionState,
    /// All events there are.
    pub(crate) log: Vec<Event>,
}

impl Owner {
    pub(crate) async fn create(store: &dyn Store, key: SessionKey, edit: impl FnOnce(&mut Session)) -> Self {
        let (owner, batch) = Self::creation(key, edit);
        store.create_session(&owner.live.session, &batch).await.unwrap();
        owner
    }

    /// A session that is not stored yet, and the batch that stores it.
    pub(crate) fn creation(key: SessionKey, edit: impl FnOnce(&mut Session)) -> (Self, Batch) {
        let mut session = session(&key);
        edit(&mut session);
        let live = SessionState::new(session.clone());
        let mut owner = Self { key, epoch: 0, live, log: Vec::new() };
        let mut batch = owner.batch([Kind::SessionCreated { session: Box::new(session) }]);
        batch.head = 0;
        (owner, batch)
    }

    pub(crate) fn head(&self) -> i64 {
        self.log.last().map_or(0, |event| event.sequence)
    }

    pub(crate) fn batch(&mut self, kinds: impl IntoIterator<Item = Kind>) -> Batch {
        let head = self.head();
        let mut events = Vec::new();
        let mut changes = Vec::new();
        for (sequence, kind) in (head + 1..).zip(kinds) {
            let event = Event {
                sequence,
                first_sequence: sequence,
                conversation_id: ConversationId::main(),
                time: Timestamp(self.live.session.create_time.0 + sequence),
                actor: (sequence % 2 == 0).then(Principal::agent),
                kind,
            };
            changes.push(self.live.apply(&event));
            events.push(event);
        }
        self.log.extend(events.iter().cloned());
        let (record, parts) = parts_of(&self.live, &changes);
        let (key, epoch) = (self.key.clone(), self.epoch);
        Batch { events, record, parts, ..Batch::new(key, epoch, head) }
    }

    pub(crate) async fn append(&mut self, store: &dyn Store, kinds: impl IntoIterator<Item = Kind>) {
        let batch = self.batch(kinds);
        store_one(store, batch).await.unwrap();
    }

    pub(crate) async fn delete(&mut self, store: &dyn Store) {
        let status = Kind::StatusChanged { status: SessionStatus::Deleted, reason: String::new(), error: None };
        let batch = self.batch([status]);
        store_one(store, Batch { deletes: true, ..batch }).await.unwrap();
    }

    /// Takes the session over: goes on with what the store gives it, and nothing else.
    pub(crate) async fn acquire(&mut self, store: &dyn Store) -> Acquired {
        let acquired = store.acquire(&self.key).await.unwrap().unwrap();
        assert_eq!(acquired.epoch, self.epoch + 1);
        self.epoch = acquired.epoch;
        self.live = acquired.open.clone();
        acquired
    }

    pub(crate) fn folded(&self) -> SessionState {
        SessionState::fold(&self.log).unwrap()
    }
}

pub(crate) async fn store_one(store: &dyn Store, batch: Batch) -> Result<(), Error> {
    store.append(&[batch]).await.unwrap().remove(0)
}

pub(crate) fn profile(id: &str, revision: i64, name: &str) -> Profile {
    Profile {
        profile_id: ProfileId::new(id),
        revision,
        name: name.into(),
        description: String::new(),
        agent: None,
        setup: agent_runtime::domain::ProfileSetup::default(),
        created_by: None,
        create_time: Timestamp(1),
        update_time: Timestamp(revision),
        etag: revision.to_string(),
    }
}

pub(crate) fn all() -> SessionQuery {
    SessionQuery { limit: 1000, ..SessionQuery::default() }
}

pub(crate) fn main_blocks() -> BlockQuery {
    let conversation_id = ConversationId::main();
    BlockQuery { conversation_id, newest_first: false, after: None, limit: 1000, max_bytes: usize::MAX }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) async fn ids(store: &dyn Store, tenant: &str, query: &SessionQuery) -> Vec<String> {
    let page = store.sessions(&TenantId::new(tenant), query).await.unwrap();
    page.into_iter().map(|view| view.session.session_id.to_string()).collect()
}

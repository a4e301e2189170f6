//! What the store alone takes: batches through `Store::append` in this process, on a file with full synchronisation.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use agent_runtime::{
    domain::{
        Agent, Block, BlockId, BlockState, Content, ConversationId, Event, ExecId, Kind, LogUid, Principal, ProfileId,
        SandboxId, SandboxSpec, Session, SessionId, SessionKey, SessionOptions, SessionStatus, TenantId, Timestamp,
        Usage,
    },
    store::{Batch, ExecMark, Part, SqliteStore, Store as _},
};

use crate::{Failure, number, spread::Spread};

/// Of one delta: what a few merged ones make.
const TEXT: usize = 100;

/// What is appended: batches in one transaction, each of another session as the log makes them; events in each batch.
pub(crate) const ROWS: &[(&str, &str)] = &[
    ("batches=1 events=1 sessions=50", "measured, no target"),
    ("batches=10 events=1 sessions=50", "measured, no target"),
    ("batches=100 events=1 sessions=100", "measured, no target"),
    ("batches=1000 events=1 sessions=1000", "durable_per_s>=100000"),
    ("batches=1 events=1000 sessions=50", "durable_per_s>=100000"),
    ("batches=10 events=100 sessions=50", "durable_per_s>=100000"),
    ("batches=50 events=20 sessions=50", "durable_per_s>=100000"),
];

pub(crate) fn run(params: &str) -> Result<String, Failure> {
    let get = |name: &str, default: usize| -> Result<usize, Failure> {
        let word = params.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        Ok(word.map(str::parse).transpose()?.unwrap_or(default))
    };
    let (batches, events, sessions) = (get("batches", 1)?, get("events", 1)?, get("sessions", 50)?);
    let time = Duration::from_millis(get("millis", 1500)? as u64);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(batches, events, sessions, time))
}

async fn measure(batches: usize, events: usize, sessions: usize, time: Duration) -> Result<String, Failure> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(&folder.path().join("bench.db")).await?;
    let mut writers = Vec::new();
    for _ in 0..sessions {
        writers.push(Writer::create(&store).await?);
    }
    let (mut micros, mut spent, mut next) = (Vec::new(), Duration::ZERO, 0);
    while spent < time {
        let group: Vec<Batch> = (next..next + batches).map(|at| writers[at % sessions].deltas(events)).collect();
        next += batches;
        let began = Instant::now();
        let outcomes = store.append(&group).await?;
        let took = began.elapsed();
        outcomes.into_iter().collect::<Result<Vec<()>, _>>()?;
        micros.push(took.as_secs_f64() * 1e6);
        spent += took;
    }
    // All of it is there.
    for writer in &writers {
        let head = store.events(&writer.key, writer.head, 1).await?.head;
        if head != writer.head {
            return Err(format!("the store has {head} of {} events", writer.head).into());
        }
    }
    store.close().await;
    let (commits, appended) = (micros.len(), number((next * events) as u64));
    let commit = Spread::of(micros);
    Ok(format!(
        "durable_per_s={:.0} commit_p50_us={:.0} commit_p99_us={:.0} commits={commits} bytes={TEXT}",
        appended / spent.as_secs_f64(),
        commit.median,
        commit.p99
    ))
}

/// One session, whose block grows.
struct Writer {
    key: SessionKey,
    head: i64,
    block_id: BlockId,
    bytes: i64,
    mark: ExecMark,
}

impl Writer {
    async fn create(store: &SqliteStore) -> Result<Self, Failure> {
        let key = SessionKey { tenant: TenantId::default_tenant(), session: SessionId::mint() };
        let session = session(&key);
        let block = block();
        let kinds =
            [Kind::SessionCreated { session: Box::new(session.clone()) }, Kind::BlockStart { block: block.clone() }];
        let events: Vec<Event> = (1..).zip(kinds).map(|(sequence, kind)| event(sequence, kind)).collect();
        let mark = ExecMark {
            exec_id: ExecId::mint(),
            sandbox_id: SandboxId::mint(),
            generation: 1,
            stdout_offset: 0,
            stderr_offset: 0,
            parser_version: 1,
            parser_state: Some("{}".into()),
            held: Vec::new(),
            ended: false,
        };
        let writer = Self { key: key.clone(), head: 2, block_id: block.block_id.clone(), bytes: 0, mark };
        let first = Batch { events, parts: vec![Part::Block(block)], ..Batch::new(key, 0, 0) };
        store.create_session(&session, &first).await?;
        Ok(writer)
    }

    /// The next deltas, and where reading stands after them, as the session sends them.
    fn deltas(&mut self, count: usize) -> Batch {
        let batch = Batch::new(self.key.clone(), 0, self.head);
        let mut events = Vec::with_capacity(count);
        for _ in 0..count {
            self.head += 1;
            let delta = format!("{:0width$} ", self.head, width = TEXT - 1);
            let (block_id, offset) = (self.block_id.clone(), self.bytes);
            self.bytes += i64::try_from(delta.len()).unwrap_or(0);
            self.mark.stdout_offset += delta.len() as u64;
            events.push(event(self.head, Kind::BlockDelta { block_id, delta, offset }));
        }
        let mark = self.mark.clone();
        self.mark.parser_state = None;
        Batch { events, exec: Some(mark), ..batch }
    }
}

fn event(sequence: i64, kind: Kind) -> Event {
    let conversation_id = ConversationId::main();
    Event { sequence, first_sequence: sequence, conversation_id, time: Timestamp::now(), actor: None, kind }
}

fn block() -> Block {
    Block {
        block_id: BlockId::mint(),
        conversation_id: ConversationId::main(),
        turn_id: None,
        state: BlockState::Streaming,
        create_time: Timestamp::now(),
        complete_time: None,
        truncated_bytes: 0,
        content: Content::AssistantText { text: String::new(), model: String::new() },
    }
}

fn session(key: &SessionKey) -> Session {
    let now = Timestamp::now();
    Session {
        session_id: key.session.clone(),
        uid: LogUid::mint(),
        external_id: String::new(),
        agent: Agent::Scripted,
        name: String::new(),
        status: SessionStatus::Running,
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
        create_time: now,
        last_activity_time: now,
        etag: "1".into(),
        error: None,
    }
}

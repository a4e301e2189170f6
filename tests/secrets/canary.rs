//! Values that are looked for, the servers that know them, and the places where they must not be.

use std::path::{Path, PathBuf};

use agent_runtime::{
    domain::{Principal, Profile, ProfileId, ProfileSetup, Secret, TenantId, Timestamp},
    proto::{self, SessionEvent},
    store::{SqliteStore, Store as _},
};
use prost::Message;
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tonic::Streaming;

use crate::support::{PATIENCE, Server, Sessions, processes_of, snapshot, watch};

/// Of the server's environment.
pub(crate) const PASSED: [(&str, &str); 3] = [
    ("ANTHROPIC_API_KEY", "sk-ant-canary-4f1d2c7b9e"),
    ("ANTHROPIC_AUTH_TOKEN", "sk-ant-canary-of-another-kind"),
    ("AWS_SECRET_ACCESS_KEY", "canary/aws+4f1d2c7b9e=="),
];
/// Of a profile.
const OF_PROFILE: [(&str, &str); 2] = [("PROFILE_TOKEN", "profile-canary-77"), ("QUOTED", "q\"uo\\te-canary-ü")];
/// A profile that has them.
const PROFILE: &str = "prof_canary";

/// A server's folder, and what nobody is to see of it.
pub(crate) struct Cage {
    folder: TempDir,
    log: PathBuf,
    env: Vec<(String, String)>,
    args: Vec<String>,
}

impl Cage {
    /// With a profile that has secrets, and these variables and arguments.
    pub(crate) async fn new(args: &[&str], env: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let log = folder.path().join("log");
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let env = PASSED.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let cage = Self { folder, log, env, args };
        std::fs::create_dir(cage.data()).expect("made");
        let store = SqliteStore::open(&cage.database()).await.expect("a store");
        store.put_profile(&TenantId::default_tenant(), &profile(), None).await.expect("stored");
        store.close().await;
        cage
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn database(&self) -> PathBuf {
        self.data().join("agent-runtime.db")
    }

    /// A server that says all it can say.
    pub(crate) fn open(&self) -> Server {
        let env: Vec<_> = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let args: Vec<_> = self.args.iter().map(String::as_str).collect();
        Server::start_on_telling(&self.data(), &self.log, "debug", &args, &env)
    }

    /// Every secret, by name. The server's own key is one.
    pub(crate) fn secrets(&self) -> Vec<(String, String)> {
        let key = std::fs::read_to_string(self.data().join("key")).expect("a key").trim().to_owned();
        let known = PASSED.iter().chain(&OF_PROFILE).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        known.chain([("AGENT_RUNTIME_KEY".to_owned(), key)]).collect()
    }

    /// A text that says all of them.
    pub(crate) fn all(&self) -> String {
        self.secrets().iter().map(|(_, value)| format!("<{value}>")).collect::<Vec<_>>().concat()
    }

    /// The same as it is to be shown.
    pub(crate) fn shown(&self) -> String {
        self.secrets().iter().map(|(name, _)| format!("<[secret {name}]>")).collect::<Vec<_>>().concat()
    }

    /// The file of the database has nothing of what came by the environment, also not where it is free again. Only of agents
    /// that have kept nothing themselves.
    pub(crate) fn search_the_file(&self) {
        let database = std::fs::read(self.database()).expect("the database");
        for (name, value) in PASSED {
            assert!(!contains(&database, value.as_bytes()), "{name} is in the database's file");
        }
    }

    /// A script as a message that does not say what the agent will.
    pub(crate) fn spelled(&self, script: &Value) -> String {
        let mut text = script.to_string();
        for (_, value) in self.secrets() {
            let letters: Vec<_> = value.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            text = text.replace(&escaped(&value), &letters.concat());
        }
        text
    }

    /// A session with the profile.
    pub(crate) async fn session(sessions: &mut Sessions, agent: &str, mode: &str) -> String {
        let options = proto::SessionOptions { permission_mode: mode.into(), ..Default::default() };
        let request = proto::CreateSessionRequest {
            agent: agent.into(),
            profile_id: PROFILE.into(),
            options: Some(options),
            ..Default::default()
        };
        sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
    }

    /// Looks for the values in all that a server answers about a session, in what it says and starts, and in all it keeps
    /// but the agents' own folders, what checkpoints keep of these, the key's own file and the profiles' own rows.
    pub(crate) async fn search(&self, server: Server, id: &str, seen: &[SessionEvent]) {
        let mut sessions = server.sessions().await;
        let mut found = Vec::new();
        let mut look = |place: &str, bytes: &[u8]| {
            for (name, value) in self.secrets() {
                if spellings(&value).iter().any(|value| contains(bytes, value.as_bytes())) {
                    found.push(format!("{name} in {place}"));
                }
            }
        };
        for event in seen {
            look("a watch", &event.encode_to_vec());
        }
        for (place, bytes) in answers(&mut sessions, id).await {
            look(&place, &bytes);
        }
        for process in processes_of(&self.data()) {
            look("a command line", process.argv.join(" ").as_bytes());
        }
        drop(sessions);
        drop(server);
        for file in files(&self.data()).into_iter().chain([self.log.clone()]) {
            if file.ends_with("key") || file.file_name().is_some_and(|name| name.to_string_lossy().contains(".db")) {
                continue;
            }
            look(&file.display().to_string(), &std::fs::read(&file).unwrap_or_default());
        }
        for (place, bytes) in self.rows().await {
            look(&place, &bytes);
        }
        assert!(found.is_empty(), "{found:#?}");
        assert!(std::fs::read(&self.log).expect("the log").len() > 1000, "the server said nothing");
    }

    /// Every field of the database, but those of profiles.
    async fn rows(&self) -> Vec<(String, Vec<u8>)> {
        let mut database = SqliteConnectOptions::new().filename(self.database()).connect().await.expect("open");
        let sql = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c
            WHERE m.type = 'table' AND m.name <> 'profile'";
        let columns = sqlx::query(sql).fetch_all(&mut database).await.expect("tables");
        let mut rows = Vec::new();
        for column in columns {
            let (table, name): (String, String) = (column.get(0), column.get(1));
            // What no event names is what a checkpoint keeps of the folders.
            let of_files = if table == "blob_piece" {
                "AND blob_id IN (SELECT blob_id FROM blob_ref WHERE by_event = 1)"
            } else {
                ""
            };
            let sql =
                format!("SELECT CAST(\"{name}\" AS BLOB) FROM \"{table}\" WHERE \"{name}\" IS NOT NULL {of_files}");
            let fields = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut database).await.expect("fields");
            rows.extend(fields.iter().map(|field| (format!("{table}.{name}"), field.get::<Vec<u8>, _>(0))));
        }
        database.close().await.expect("closed");
        assert!(rows.len() > 100, "the database was not read");
        rows
    }
}

fn profile() -> Profile {
    let now = Timestamp::now();
    let secret = |(name, value): (&str, &str)| (name.to_owned(), Secret::Value(value.to_owned()));
    Profile {
        profile_id: ProfileId::new(PROFILE),
        revision: 1,
        name: "canary".to_owned(),
        description: String::new(),
        agent: None,
        setup: ProfileSetup { environment: OF_PROFILE.into_iter().map(secret).collect(), ..ProfileSetup::default() },
        created_by: Some(Principal::system()),
        create_time: now,
        update_time: now,
        etag: "1".to_owned(),
    }
}

/// All that calls say of a session, each answer with its name.
async fn answers(sessions: &mut Sessions, id: &str) -> Vec<(String, Vec<u8>)> {
    let mut answers = Vec::new();
    let mut keep = |place: &str, bytes: Vec<u8>| answers.push((place.to_owned(), bytes));
    let request = proto::GetSessionRequest { session_id: id.into() };
    keep("GetSession", sessions.get_session(request).await.expect("there").into_inner().encode_to_vec());
    let list = sessions.list_sessions(proto::ListSessionsRequest::default()).await.expect("a list").into_inner();
    keep("ListSessions", list.encode_to_vec());
    let (state, head) = snapshot(sessions, id).await;
    keep("a snapshot", state.encode_to_vec());
    let mut replayed = watch(sessions, id, Some(0)).await.expect("a watch");
    let mut cursor = 0;
    while cursor < head {
        let response = replayed.message().await.expect("no error").expect("it goes on");
        cursor = response.events.last().map_or(cursor, |event| event.sequence);
        keep("a replay", response.encode_to_vec());
    }
    let request = proto::ListBlocksRequest { session_id: id.into(), page_size: 1000, ..Default::default() };
    let blocks = sessions.list_blocks(request).await.expect("blocks").into_inner();
    keep("ListBlocks", blocks.encode_to_vec());
    assert!(!blocks.blocks.is_empty());
    for block in blocks.blocks {
        keep("ReadBlockContent", content(sessions, id, &block.block_id).await);
    }
    answers
}

/// Reads whole frames until an event is what it is waited for, which comes last in its frame or not.
pub(crate) async fn read_until(
    stream: &mut Streaming<proto::WatchSessionResponse>,
    events: &mut Vec<SessionEvent>,
    is_it: impl Fn(&[SessionEvent]) -> bool,
) {
    let read = async {
        while !is_it(events) {
            events.extend(stream.message().await.expect("no error").expect("the stream goes on").events);
        }
    };
    let done = tokio::time::timeout(PATIENCE, read).await;
    assert!(done.is_ok(), "what is waited for does not come; the last that came: {:?}", events.last());
}

/// The whole text of a block.
pub(crate) async fn content(sessions: &mut Sessions, id: &str, block_id: &str) -> Vec<u8> {
    let request =
        proto::ReadBlockContentRequest { session_id: id.into(), block_id: block_id.into(), ..Default::default() };
    let mut stream = sessions.read_block_content(request).await.expect("a stream").into_inner();
    let mut whole = Vec::new();
    while let Some(piece) = stream.message().await.expect("no error") {
        whole.extend(piece.data);
    }
    whole
}

/// A value, and how JSON spells it, also inside of JSON.
fn spellings(value: &str) -> Vec<String> {
    let once = escaped(value);
    vec![value.to_owned(), escaped(&once), once]
}

fn escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("text");
    quoted[1..quoted.len() - 1].to_owned()
}

fn contains(bytes: &[u8], value: &[u8]) -> bool {
    bytes.windows(value.len()).any(|window| window == value)
}

/// All files below a folder but those of sandboxes and of installed agents.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let kept = entries.filter(|path| !path.ends_with("sandboxes") && !path.ends_with("cache"));
    kept.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

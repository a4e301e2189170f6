//! What is written down of a run: one JSON line for each thing that a client did or was told, in the order in which the
//! recorder heard of it. A history needs no server to be judged.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead as _, BufWriter, Write as _},
    path::Path,
};

use agent_runtime::proto::{Block, SessionEvent, SessionState};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap as _};

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Since the run began, by a clock that never goes back.
    pub at_us: u64,
    /// Whose line it is; 0 is the run itself.
    pub client: u32,
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "most lines are frames, and those are small")]
pub enum What {
    /// What kind of run it was, and its seed. `compacts`: deltas go from the log while it runs.
    Run {
        name: String,
        seed: u64,
        #[serde(default)]
        compacts: bool,
    },
    /// What was done to the server: "started", "killed", "detached", "stopped", "continued", "power lost".
    Server {
        fate: String,
        /// When, by the clock of the log's own times, in microseconds.
        #[serde(default)]
        unix_us: i64,
        /// What the harness waited for to do it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        moment: String,
    },
    /// The harness takes away the sandbox, with all that ran there.
    Destroyed { sandbox: String },
    /// Whoever followed this turn was patient, and it did not end.
    Stuck { session: String, turn: String },
    /// Processes that have to do with the data folder, once nothing began or ended any more; of each sandbox how many.
    /// `over`: nothing may be left.
    Processes {
        over: bool,
        supervisors: BTreeMap<String, usize>,
        agents: BTreeMap<String, usize>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
    },
    /// A call that the model was asked for: who asked, how often the model had answered since the prompt, and the prompt.
    Asked { session: String, answers: usize, prompt: String },
    /// A client asks for something.
    Call(Call),
    /// It is answered, or fails.
    Answer { call: u64, answer: Answer },
    /// A client opens a watch.
    Open(Open),
    /// A response of a watch, as it came.
    Frame { stream: u64, uid: String, events: Vec<Wire<SessionEvent>> },
    /// A watch is over. Code "cut": the client hung up.
    Close { stream: u64, code: String, reason: String },
    /// Read from the database when all is over: the log, row by row; what is up to `trimmed` is not kept.
    Log {
        session: String,
        uid: String,
        #[serde(default)]
        trimmed: i64,
        events: Vec<Wire<SessionEvent>>,
    },
    /// Read back at the end: the snapshot, and the blocks as they are listed.
    State { session: String, sequence: i64, snapshot: Wire<SessionState>, blocks: Vec<Wire<Block>> },
    /// Read back at the end: there is no such session.
    Gone { session: String },
    /// A file of the sandbox: what a program was given ("stdin") or printed ("stdout").
    Spool { sandbox: String, exec: String, fd: String, data: String },
}

/// A call with one answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(clippy::struct_field_names, reason = "the number of the call is what lines call it")]
pub struct Call {
    pub call: u64,
    pub method: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// The message. Every one is unlike any other, but for retries.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// The permission it answers, and how.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub permission: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub option: String,
    /// It interrupts what runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupts: bool,
    /// It takes up a turn again, behind this sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Ok {
        session: String,
        uid: String,
        turn: String,
        sequence: i64,
        /// The option that a permission was resolved with.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        option: String,
    },
    Err {
        code: String,
        reason: String,
        message: String,
    },
}

/// A watch as it was asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Open {
    pub stream: u64,
    pub session: String,
    /// `None`: with a snapshot.
    pub after: Option<i64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expected_uid: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub or_snapshot: bool,
    #[serde(default)]
    pub filter: Filter,
    /// Only up to the end of the turn that this call began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_call: Option<u64>,
}

/// What a watch leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    pub omit_deltas: bool,
    pub conversation_ids: Vec<String>,
    pub max_batch_delay_ms: u64,
}

/// A message of the contract, in its binary form; of events the line shows a little for readers.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire<M>(pub M);

impl Filter {
    pub fn is_none(&self) -> bool {
        !self.omit_deltas && self.conversation_ids.is_empty()
    }
}

impl<M: Message + 'static> Serialize for Wire<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(event) = (&self.0 as &dyn std::any::Any).downcast_ref::<SessionEvent>() {
            map.serialize_entry("sequence", &event.sequence)?;
            map.serialize_entry("first", &event.first_sequence)?;
            map.serialize_entry("kind", &kind_of(event))?;
        }
        map.serialize_entry("wire", &STANDARD.encode(self.0.encode_to_vec()))?;
        map.end()
    }
}

impl<'de, M: Message + Default> Deserialize<'de> for Wire<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Form {
            wire: String,
        }
        let bytes = STANDARD.decode(Form::deserialize(deserializer)?.wire).map_err(D::Error::custom)?;
        M::decode(bytes.as_slice()).map(Self).map_err(D::Error::custom)
    }
}

/// The name of an event's kind, for people.
pub fn kind_of(event: &SessionEvent) -> String {
    let text = event.kind.as_ref().map(|kind| format!("{kind:?}")).unwrap_or_default();
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}

/// Writes a history.
pub fn write(path: &Path, history: &[Line]) -> io::Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    for line in history {
        serde_json::to_writer(&mut file, line)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Reads a history.
pub fn read(path: &Path) -> io::Result<Vec<Line>> {
    let file = io::BufReader::new(fs::File::open(path)?);
    file.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

//! Stories that nobody thought of: events of every kind, made out of a seed by the descriptors, and the state that the
//! independent fold makes of them. Knows the contract's messages, and no fold but that one.

use agent_runtime::proto::{self, Block, SessionEvent, SessionState, Turn, TurnStatus, block::Content, descriptors};
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, Value};

use crate::{
    dice::Dice,
    fill::{TEXTS, fill, ids, set, value},
    wire_fold,
};

/// Where the expected states come from: said in each file.
pub(crate) const FOLD: &str = "tests/support/wire_fold.rs";

/// What depends on what was before it.
const OFTEN: &[&str] = &[
    "block_start",
    "block_start",
    "block_delta",
    "block_delta",
    "block_delta",
    "block_update",
    "block_update",
    "block_update",
    "block_complete",
    "turn_queued",
    "turn_updated",
    "turn_updated",
    "files_changed",
    "permission_resolved",
    "question_resolved",
];

/// A story, and its state.
pub(crate) struct Made {
    pub(crate) events: Vec<SessionEvent>,
    pub(crate) state: SessionState,
}

/// The story of a seed.
pub(crate) fn made(seed: u64) -> Made {
    let mut maker = Maker { dice: Dice::new(seed), events: Vec::new(), state: SessionState::default(), time: 0 };
    let length = 12 + maker.dice.below(6);
    // Every kind has its turn, whatever the dice say; the rest is as they fall.
    let kinds = kinds();
    let offset = usize::try_from(seed).unwrap() * 5;
    maker.begin();
    for at in 0..length {
        if at % 3 == 0 {
            maker.add(&kinds[(offset + at / 3) % kinds.len()]);
        } else {
            let kind = maker.dice.pick(OFTEN);
            maker.add(kind);
        }
    }
    // What a whole block would hide again comes last.
    for _ in 0..3 {
        maker.add("block_update");
    }
    // Only as the last does it show that its time does not count.
    if seed.is_multiple_of(4) {
        maker.add("bookmark");
    }
    Made { events: maker.events, state: maker.state }
}

/// The names of all kinds of events that the contract has.
pub(crate) fn kinds() -> Vec<String> {
    let group = message("SessionEvent").oneofs().find(|group| group.name() == "kind").unwrap();
    group.fields().map(|field| field.name().to_owned()).collect()
}

fn message(name: &str) -> MessageDescriptor {
    descriptors().get_message_by_name(&format!("agentruntime.v1.{name}")).unwrap()
}

/// Whose file a vector is in: one event a line.
pub(crate) fn text(seed: u64, Made { events, state }: &Made) -> String {
    let events: Vec<String> =
        events.iter().map(|event| format!("    {}", proto::to_json("agentruntime.v1.SessionEvent", event))).collect();
    let state = proto::to_json("agentruntime.v1.SessionState", state);
    let description = format!("Made of seed {seed} by tests/vectors/made.rs; the state by {FOLD}.");
    format!(
        "{{\n  \"description\": \"{description}\",\n  \"events\": [\n{}\n  ],\n  \"state\": {state}\n}}\n",
        events.join(",\n")
    )
}

struct Maker {
    dice: Dice,
    events: Vec<SessionEvent>,
    /// What the events fold to so far.
    state: SessionState,
    time: i64,
}

impl Maker {
    /// A log begins with its session.
    fn begin(&mut self) {
        let mut created = fill(&mut self.dice, &message("SessionCreated"), 0);
        let session = self.session();
        set(&mut created, "session", Value::Message(session));
        self.put("session_created", created);
    }

    /// One event of that kind, or a few where one alone is nothing.
    fn add(&mut self, kind: &str) {
        let of = message("SessionEvent").get_field_by_name(kind).unwrap().kind().as_message().unwrap().clone();
        let mut made = fill(&mut self.dice, &of, 0);
        match kind {
            "block_start" | "block_complete" => {
                let block = self.block();
                set(&mut made, "block", Value::Message(block));
            }
            "block_delta" => self.grow(&mut made),
            "block_update" => {
                let id = self.held_block().map_or_else(|| "b1".to_owned(), |block| block.block_id);
                set(&mut made, "block_id", Value::String(id));
            }
            "turn_queued" | "turn_updated" => {
                let turn = self.turn(kind == "turn_queued");
                set(&mut made, "turn", Value::Message(turn));
            }
            "conversation_updated" => self.named(&mut made, "conversation", "conversation_id"),
            "permission_requested" => self.named(&mut made, "permission", "permission_id"),
            "question_requested" => self.named(&mut made, "question", "question_id"),
            "permission_resolved" => self.id(&mut made, "permission_id"),
            "question_resolved" => self.id(&mut made, "question_id"),
            "files_changed" => {
                let changes = (0..=self.dice.below(4)).map(|_| Value::Message(self.file_change())).collect();
                set(&mut made, "changes", Value::List(changes));
            }
            "session_updated"
            | "status_changed"
            | "sandbox_changed"
            | "permission_rules_changed"
            | "error"
            | "log"
            | "unparsed_output" => {}
            // It is sequence 1 and nothing else.
            "session_created" => return self.nothing_known(),
            "snapshot_start" | "snapshot_chunk" | "snapshot_complete" => return self.snapshot(),
            "bookmark" => return self.bookmark(made),
            new => panic!("the contract has a new kind of event, {new}: say here how it is made"),
        }
        self.put(kind, made);
    }

    /// Adds an event at the next sequence, or as one that stands for some more.
    fn put(&mut self, kind: &str, made: DynamicMessage) {
        let last = self.head();
        let more = if self.events.is_empty() || self.dice.hits(80) { 0 } else { 1 + self.dice.below(9) };
        let sequence = last + 1 + i64::try_from(more).unwrap();
        let first_sequence = if more == 0 { 0 } else { last + 1 };
        let event = self.of(kind, made);
        self.push(SessionEvent { sequence, first_sequence, ..event });
    }

    /// An event of that kind, with what is beside it, and without a sequence.
    fn of(&mut self, kind: &str, made: DynamicMessage) -> SessionEvent {
        let of = message("SessionEvent");
        let mut event = DynamicMessage::new(of.clone());
        for name in ["conversation_id", "actor"] {
            if self.dice.hits(20) {
                let beside = value(&mut self.dice, &of.get_field_by_name(name).unwrap(), 1);
                set(&mut event, name, beside);
            }
        }
        set(&mut event, kind, Value::Message(made));
        let event_time = Some(self.now());
        SessionEvent { event_time, ..event.transcode_to().unwrap() }
    }

    fn push(&mut self, event: SessionEvent) {
        wire_fold::apply(&mut self.state, &event);
        self.events.push(event);
    }

    fn head(&self) -> i64 {
        self.state.session.as_ref().map_or(0, |session| session.sequence)
    }

    /// Each event has a time of its own.
    fn now(&mut self) -> prost_types::Timestamp {
        self.time += 1;
        prost_types::Timestamp { seconds: 1_767_225_600 + self.time, nanos: 0 }
    }

    /// A kind that this reader does not know: only the cursor moves.
    fn nothing_known(&mut self) {
        let event_time = Some(self.now());
        self.push(SessionEvent { sequence: self.head() + 1, event_time, ..SessionEvent::default() });
    }

    /// Covers some of what follows, or nothing.
    fn bookmark(&mut self, made: DynamicMessage) {
        let (first, covers) = (self.head() + 1, i64::try_from(self.dice.below(3)).unwrap());
        let event = self.of("bookmark", made);
        self.push(SessionEvent { sequence: first - 1 + covers, first_sequence: first, ..event });
    }

    /// A session without what follows from its turns, as it is told when it begins.
    fn session(&mut self) -> DynamicMessage {
        let mut session = fill(&mut self.dice, &message("Session"), 0);
        session.clear_field_by_name("active_turn");
        session.clear_field_by_name("queued_turns");
        session
    }

    /// A block whose id stands for what it is.
    fn block(&mut self) -> DynamicMessage {
        let of = message("Block");
        let mut block = fill(&mut self.dice, &of, 0);
        let fields: Vec<_> = of.oneofs().find(|group| group.name() == "content").unwrap().fields().collect();
        let all = ids("block_id").unwrap();
        assert_eq!(all.len(), fields.len(), "an id for each kind of block");
        // Those that can change are the most.
        let at = if self.dice.hits(75) { self.dice.pick(&[1, 2, 3, 4, 4, 6, 6]) } else { self.dice.below(all.len()) };
        set(&mut block, "block_id", Value::String(all[at].to_owned()));
        let content = value(&mut self.dice, &fields[at], 0);
        block.set_field(&fields[at], content);
        block
    }

    fn held_block(&mut self) -> Option<Block> {
        (!self.state.blocks.is_empty() && self.dice.hits(90)).then(|| self.dice.pick(&self.state.blocks))
    }

    /// A delta that fits, that says some of what is known again, or that comes too early.
    fn grow(&mut self, made: &mut DynamicMessage) {
        let growing = |block: &Block| text_of(block).is_some();
        let blocks: Vec<Block> = self.state.blocks.iter().filter(|block| growing(block)).cloned().collect();
        let (id, held) = if blocks.is_empty() || self.dice.hits(10) {
            ("nobody".to_owned(), String::new())
        } else {
            let block = self.dice.pick(&blocks);
            (block.block_id.clone(), text_of(&block).unwrap())
        };
        let fresh = self.dice.pick(TEXTS);
        let (offset, delta) = match self.dice.below(10) {
            0 => (held.len() + 1, fresh.to_owned()),
            1..=3 => {
                let cuts: Vec<usize> = held.char_indices().map(|(at, _)| at).chain([held.len()]).collect();
                let cut = self.dice.pick(&cuts);
                (cut, format!("{}{fresh}", &held[cut..]))
            }
            _ => (held.len(), fresh.to_owned()),
        };
        set(made, "block_id", Value::String(id));
        set(made, "delta", Value::String(delta));
        set(made, "offset", Value::I64(i64::try_from(offset).unwrap()));
    }

    /// A turn; only one at a time is at work.
    fn turn(&mut self, queued: bool) -> DynamicMessage {
        let active = [TurnStatus::Running, TurnStatus::AwaitingInput, TurnStatus::Parked];
        let mut turn = fill(&mut self.dice, &message("Turn"), 0);
        self.id(&mut turn, "turn_id");
        let made: Turn = turn.transcode_to().unwrap();
        let others =
            self.state.turns.iter().any(|held| held.turn_id != made.turn_id && active.contains(&held.status()));
        if queued || self.dice.hits(30) || (others && active.contains(&made.status())) {
            set(&mut turn, "status", Value::EnumNumber(TurnStatus::Queued.into()));
        }
        turn
    }

    /// Puts something that has an id into the field.
    fn named(&mut self, made: &mut DynamicMessage, field: &str, id: &str) {
        let of = made.descriptor().get_field_by_name(field).unwrap().kind().as_message().unwrap().clone();
        let mut item = fill(&mut self.dice, &of, 0);
        self.id(&mut item, id);
        set(made, field, Value::Message(item));
    }

    fn id(&mut self, made: &mut DynamicMessage, name: &str) {
        let id = self.dice.pick(ids(name).unwrap());
        set(made, name, Value::String(id.to_owned()));
    }

    fn file_change(&mut self) -> DynamicMessage {
        let mut change = fill(&mut self.dice, &message("FileChange"), 0);
        let mut file = fill(&mut self.dice, &message("WorkspaceFile"), 1);
        for (message, name) in [(&mut file, "path"), (&mut change, "previous_path")] {
            self.id(message, name);
            // Most changes are of files that are there.
            if self.dice.hits(50) && !self.state.files.is_empty() {
                let path = self.dice.pick(&self.state.files).path;
                set(message, name, Value::String(path));
            }
        }
        set(&mut change, "file", Value::Message(file));
        change
    }

    /// Another story's state in chunks; one in four is cut before it is whole, and comes again.
    fn snapshot(&mut self) {
        let mut other =
            Maker { dice: Dice::new(0), events: Vec::new(), state: SessionState::default(), time: self.time };
        std::mem::swap(&mut self.dice, &mut other.dice);
        other.begin();
        let kinds: Vec<String> = kinds().into_iter().filter(|kind| !kind.starts_with("snapshot_")).collect();
        for _ in 0..5 {
            let kind = other.dice.pick(&kinds);
            other.add(&kind);
        }
        std::mem::swap(&mut self.dice, &mut other.dice);
        self.time = other.time;
        let sequence = self.head() + 1 + i64::try_from(self.dice.below(5)).unwrap();
        let mut state = other.state;
        state.session.as_mut().unwrap().sequence = sequence;
        if self.dice.hits(25) {
            self.frames(&state, false);
        }
        self.frames(&state, true);
        let made = DynamicMessage::new(message("SnapshotComplete"));
        let event = self.of("snapshot_complete", made);
        self.push(SessionEvent { sequence, ..event });
    }

    fn frames(&mut self, state: &SessionState, whole: bool) {
        let mut state =
            DynamicMessage::decode(message("SessionState"), &*prost::Message::encode_to_vec(state)).unwrap();
        let session = state.get_field_by_name("session").unwrap().into_owned();
        state.clear_field_by_name("session");
        let mut chunk = DynamicMessage::new(state.descriptor());
        set(&mut chunk, "session", session);
        let mut chunks = vec![chunk];
        for (field, items) in state.fields() {
            for item in items.as_list().unwrap() {
                if self.dice.hits(25) {
                    chunks.push(DynamicMessage::new(state.descriptor()));
                }
                let chunk = chunks.last_mut().unwrap();
                chunk.get_field_mut(&field).as_list_mut().unwrap().push(item.clone());
            }
        }
        if !whole {
            chunks.truncate(1 + self.dice.below(chunks.len()));
        }
        self.frame("snapshot_start", DynamicMessage::new(message("SnapshotStart")));
        for part in chunks {
            let mut chunk = DynamicMessage::new(message("SnapshotChunk"));
            set(&mut chunk, "state", Value::Message(part));
            self.frame("snapshot_chunk", chunk);
        }
    }

    /// Something that has no sequence and no time.
    fn frame(&mut self, kind: &str, made: DynamicMessage) {
        let mut event = DynamicMessage::new(message("SessionEvent"));
        set(&mut event, kind, Value::Message(made));
        let event = event.transcode_to().unwrap();
        self.push(event);
    }
}

/// What grows of a block, as the contract's comments name it; `None`: nothing does.
fn text_of(block: &Block) -> Option<String> {
    use agent_runtime::proto::tool_result::Output;

    match block.content.as_ref()? {
        Content::AssistantText(content) => Some(content.text.clone()),
        Content::Thinking(content) => Some(content.text.clone()),
        Content::ToolUse(content) => Some(content.input_json.clone()),
        Content::ToolResult(content) => match &content.output {
            None => Some(String::new()),
            Some(Output::Text(text)) => Some(text.clone()),
            Some(Output::OutputJson(_) | Output::Parts(_)) => None,
        },
        Content::UserMessage(_) | Content::System(_) | Content::Subagent(_) | Content::Error(_) => None,
    }
}

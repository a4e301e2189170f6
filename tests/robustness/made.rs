//! A true history made by hand: a log that grows, and clients that see what a server without faults would show them. For what
//! traffic cannot produce, or not every time.

use std::collections::BTreeMap;

use agent_runtime::proto::{
    self, AssistantText, Block, BlockComplete, BlockDelta, BlockStart, BlockState, Bookmark, ContentPart,
    ConversationUpdated, InputOutcome, InputResolution, PermissionRequest, PermissionRequested, PermissionResolved,
    Sandbox, SandboxChanged, Session, SessionCreated, SessionEvent, SessionStatus, SnapshotChunk, SnapshotComplete,
    SnapshotStart, StatusChanged, ToolResult, ToolUse, Turn, TurnOrigin, TurnStatus, TurnUpdated, UserMessage,
    block::Content, content_part::Part, session_event::Kind,
};

use crate::{
    case::first,
    history::{Answer, Call, Line, Open, What, Wire},
    judge::Folded,
};

/// The one session of the history.
pub const SESSION: &str = "ses_made";
pub const UID: &str = "log_made";

/// See the module.
#[derive(Default)]
pub struct Made {
    lines: Vec<Line>,
    log: Vec<SessionEvent>,
    /// Streams that are open, with what each was shown.
    cursors: BTreeMap<u64, i64>,
    clients: BTreeMap<u64, u32>,
    ids: u64,
    turns: Vec<Turn>,
    /// What the agent was given, and what it printed.
    stdin: String,
    stdout: String,
}

impl Made {
    pub fn add(&mut self, client: u32, what: What) {
        let at_us = self.lines.len() as u64;
        self.lines.push(Line { at_us, client, what });
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Stores one event.
    pub fn store(&mut self, kind: Kind) -> i64 {
        let sequence = i64::try_from(self.log.len()).expect("few") + 1;
        let event_time = Some(prost_types::Timestamp { seconds: sequence, nanos: 0 });
        let conversation_id = "main".to_owned();
        let event = SessionEvent { sequence, event_time, conversation_id, kind: Some(kind), ..Default::default() };
        self.log.push(event);
        sequence
    }

    pub fn created(compacts: bool) -> Self {
        let mut made = Self::default();
        made.add(0, What::Run { name: "made".into(), seed: 0, compacts });
        let call = made.call(1, Call { method: "CreateSession".into(), ..Call::default() });
        let session = Session {
            session_id: SESSION.into(),
            uid: UID.into(),
            status: SessionStatus::Idle.into(),
            sequence: 1,
            ..Default::default()
        };
        made.store(Kind::SessionCreated(Box::new(SessionCreated { session: Some(session) })));
        let conversation = proto::Conversation { conversation_id: "main".into(), ..Default::default() };
        let begun = ConversationUpdated { conversation: Some(conversation), session_usage: None };
        made.store(Kind::ConversationUpdated(Box::new(begun)));
        made.answer(1, call, "", 2, UID);
        made
    }

    pub fn call(&mut self, client: u32, mut call: Call) -> u64 {
        call.call = self.id();
        let id = call.call;
        self.add(client, What::Call(call));
        id
    }

    pub fn answer(&mut self, client: u32, call: u64, turn: &str, sequence: i64, uid: &str) {
        self.add(client, What::Answer { call, answer: done(turn, sequence, uid, "") });
    }

    /// A message is sent, accepted and given to the agent.
    pub fn send(&mut self, client: u32, text: &str, request_id: &str) -> usize {
        let call = self.call(
            client,
            Call {
                method: "SendMessage".into(),
                session: SESSION.into(),
                text: text.into(),
                request_id: request_id.into(),
                ..Call::default()
            },
        );
        let before = self.head();
        let at = self.turns.len();
        let turn = Turn {
            turn_id: format!("turn_{at}"),
            block_id: format!("blk_{at}"),
            status: TurnStatus::Running.into(),
            origin: TurnOrigin::User.into(),
            ..Default::default()
        };
        self.turns.push(turn.clone());
        self.store(updated(turn.clone()));
        self.status(SessionStatus::Running);
        let parts = vec![ContentPart { part: Some(Part::Text(text.into())) }];
        let content = Content::UserMessage(UserMessage { parts, created_by: None });
        let block = block(&turn.block_id, &turn.turn_id, BlockState::Complete, content);
        self.store(Kind::BlockStart(Box::new(BlockStart { block: Some(block) })));
        let sandbox = Sandbox { sandbox_id: "sbx_made".into(), ..Default::default() };
        self.store(Kind::SandboxChanged(Box::new(SandboxChanged { sandbox: Some(sandbox) })));
        self.answer(client, call, &turn.turn_id, before, "");
        let given = serde_json::json!({"type": "user", "id": turn.block_id, "text": text});
        line(&mut self.stdin, &given);
        let heard = serde_json::json!({"turn_start": {"id": turn.block_id}});
        line(&mut self.stdout, &heard);
        self.add(0, What::Asked { session: "of the agent".into(), answers: 0, prompt: text.into() });
        at
    }

    fn status(&mut self, status: SessionStatus) {
        let changed = StatusChanged { status: status.into(), ..Default::default() };
        self.store(Kind::StatusChanged(Box::new(changed)));
    }

    /// The agent begins a block of text.
    pub fn begin(&mut self, turn: usize, name: &str) -> String {
        let turn = self.turns[turn].clone();
        let id = format!("{}/{name}", turn.block_id);
        let block = block(&id, &turn.turn_id, BlockState::Streaming, said(""));
        self.store(Kind::BlockStart(Box::new(BlockStart { block: Some(block) })));
        id
    }

    /// It grows.
    pub fn delta(&mut self, id: &str, text: &str) -> i64 {
        let offset = i64::try_from(self.text(id).len()).expect("short");
        let printed = serde_json::json!({"delta": {"id": id, "text": text}});
        line(&mut self.stdout, &printed);
        self.store(Kind::BlockDelta(BlockDelta { block_id: id.into(), delta: text.into(), offset }))
    }

    fn text(&self, id: &str) -> String {
        let deltas = self.log.iter().filter_map(|event| match &event.kind {
            Some(Kind::BlockDelta(delta)) if delta.block_id == id => Some(delta.delta.as_str()),
            _ => None,
        });
        deltas.collect()
    }

    /// It is over.
    pub fn complete(&mut self, turn: usize, id: &str, state: BlockState) {
        let text = self.text(id);
        let block = block(id, &self.turns[turn].turn_id.clone(), state, said(&text));
        self.store(Kind::BlockComplete(Box::new(BlockComplete { block: Some(block) })));
    }

    /// The agent asks before it uses a tool, and two answer at once.
    pub fn ask(&mut self, turn: usize, call: &str, result: &str) {
        let (permission_id, turn) = ("perm_made".to_owned(), self.turns[turn].clone());
        let [call, result] = [call, result].map(|name| format!("{}/{name}", turn.block_id));
        let asks = serde_json::json!({"permission": {"id": call, "tool": call}});
        line(&mut self.stdout, &asks);
        let used = ToolUse { tool_use_id: call.clone(), tool_name: "Bash".into(), ..Default::default() };
        let used = block(&call, &turn.turn_id, BlockState::Streaming, Content::ToolUse(used));
        self.store(Kind::BlockStart(Box::new(BlockStart { block: Some(used.clone()) })));
        let permission = PermissionRequest {
            permission_id: permission_id.clone(),
            turn_id: turn.turn_id.clone(),
            tool_use_id: call.clone(),
            ..Default::default()
        };
        self.store(Kind::PermissionRequested(Box::new(PermissionRequested { permission: Some(permission) })));
        let answer = |client: u32, option: &str| Call {
            method: "ResolvePermission".into(),
            session: SESSION.into(),
            permission: permission_id.clone(),
            option: option.into(),
            request_id: format!("r-answer-{client}"),
            ..Call::default()
        };
        let (yes, no) = (self.call(1, answer(1, "allow")), self.call(2, answer(2, "reject")));
        let outcome = InputOutcome::Allowed.into();
        let resolution = Some(InputResolution { outcome, option_id: "allow".into(), ..Default::default() });
        self.store(Kind::PermissionResolved(Box::new(PermissionResolved {
            permission_id: permission_id.clone(),
            resolution,
        })));
        self.add(1, What::Answer { call: yes, answer: done("", 0, "", "allow") });
        let (code, reason) = ("FailedPrecondition".into(), "ALREADY_RESOLVED".into());
        self.add(2, What::Answer { call: no, answer: Answer::Err { code, reason, message: String::new() } });
        let told = serde_json::json!({"type": "answer", "id": call, "allow": true});
        line(&mut self.stdin, &told);
        self.store(Kind::BlockComplete(Box::new(BlockComplete {
            block: Some(Block { state: BlockState::Complete.into(), ..used }),
        })));
        let output = ToolResult { tool_use_id: call, ..Default::default() };
        let output = block(&result, &turn.turn_id, BlockState::Complete, Content::ToolResult(output));
        self.store(Kind::BlockStart(Box::new(BlockStart { block: Some(output) })));
    }

    pub fn end(&mut self, turn: usize, status: TurnStatus) {
        self.turns[turn].status = status.into();
        let turn = self.turns[turn].clone();
        self.store(updated(turn));
        self.status(SessionStatus::Idle);
    }

    pub fn head(&self) -> i64 {
        self.log.last().map_or(0, |last| last.sequence)
    }

    /// Every delta goes; what comes next stands for it.
    pub fn compact(&mut self) {
        let mut gone = None;
        for mut event in std::mem::take(&mut self.log) {
            let begin = gone.unwrap_or(event.sequence);
            gone = matches!(event.kind, Some(Kind::BlockDelta(_))).then_some(begin);
            if gone.is_none() {
                event.first_sequence = if begin == event.sequence { 0 } else { begin };
                self.log.push(event);
            }
        }
    }

    /// A client opens a watch; with a snapshot it is there at once.
    pub fn open(&mut self, client: u32, after: Option<i64>, expected_uid: &str) -> u64 {
        let stream = self.id();
        let expected_uid = expected_uid.to_owned();
        self.add(client, What::Open(Open { stream, session: SESSION.into(), after, expected_uid, ..Open::default() }));
        self.clients.insert(stream, client);
        let head = self.head();
        let frames = if let Some(after) = after {
            vec![bookmark(after, after, head)]
        } else {
            let mut folded = Folded::default();
            self.log.iter().for_each(|event| folded.apply(event));
            let frame = |kind| SessionEvent { kind: Some(kind), ..Default::default() };
            vec![
                frame(Kind::SnapshotStart(SnapshotStart {})),
                frame(Kind::SnapshotChunk(Box::new(SnapshotChunk { state: Some(folded.0) }))),
                SessionEvent {
                    sequence: head,
                    event_time: self.log.last().and_then(|last| last.event_time),
                    ..frame(Kind::SnapshotComplete(SnapshotComplete {}))
                },
            ]
        };
        for (at, event) in frames.into_iter().enumerate() {
            let uid = if at == 0 { UID.to_owned() } else { String::new() };
            self.add(client, What::Frame { stream, uid, events: vec![Wire(event)] });
        }
        self.cursors.insert(stream, after.unwrap_or(head));
        stream
    }

    /// Shows a stream all that is stored and not shown yet.
    pub fn show(&mut self, stream: u64) {
        let events = self.unseen(stream);
        self.deliver(stream, events);
    }

    /// The same as a watch brings it that reads the store: deltas that follow each other are one.
    pub fn replay(&mut self, stream: u64) {
        let mut merged: Vec<SessionEvent> = Vec::new();
        for event in self.unseen(stream) {
            let last = merged.last_mut().map(|last| (first(last), last));
            if let Some((begin, last)) = last
                && let (Some(Kind::BlockDelta(held)), Some(Kind::BlockDelta(next))) = (&mut last.kind, &event.kind)
                && held.block_id == next.block_id
            {
                held.delta.push_str(&next.delta);
                (last.first_sequence, last.sequence, last.event_time) = (begin, event.sequence, event.event_time);
            } else {
                merged.push(event);
            }
        }
        self.deliver(stream, merged);
    }

    fn unseen(&self, stream: u64) -> Vec<SessionEvent> {
        let mut cursor = self.cursors[&stream];
        let mut events: Vec<_> = self.log.iter().filter(|event| event.sequence > cursor).cloned().collect();
        for event in &mut events {
            // Of what is gone the client may have a part.
            event.first_sequence = if cursor + 1 == event.sequence { 0 } else { cursor + 1 };
            cursor = event.sequence;
        }
        events
    }

    fn deliver(&mut self, stream: u64, events: Vec<SessionEvent>) {
        let head = self.head();
        let events: Vec<_> = events.into_iter().map(Wire).collect();
        if !events.is_empty() {
            self.add(self.clients[&stream], What::Frame { stream, uid: String::new(), events });
            self.cursors.insert(stream, head);
        }
    }

    /// Hangs up, and returns the cursor.
    pub fn cut(&mut self, stream: u64) -> i64 {
        self.add(self.clients[&stream], What::Close { stream, code: "cut".into(), reason: String::new() });
        self.cursors[&stream]
    }

    /// Who is there: the one sandbox's supervisor and its agent, and in the end nobody.
    pub fn processes(&mut self, over: bool) {
        let one: BTreeMap<String, usize> = (!over).then(|| ("sbx_made".to_owned(), 1)).into_iter().collect();
        self.add(0, What::Processes { over, supervisors: one.clone(), agents: one, left: Vec::new() });
    }

    /// All as it is in the end.
    pub fn finish(mut self) -> Vec<Line> {
        self.processes(true);
        for (fd, data) in [("stdin", self.stdin.clone()), ("stdout", self.stdout.clone())] {
            self.add(0, What::Spool { sandbox: "sbx_made".into(), exec: "exec_made".into(), fd: fd.into(), data });
        }
        let events = self.log.iter().cloned().map(Wire).collect();
        self.add(0, What::Log { session: SESSION.into(), uid: UID.into(), trimmed: 0, events });
        let mut folded = Folded::default();
        self.log.iter().for_each(|event| folded.apply(event));
        let blocks = folded.0.blocks.iter().cloned().map(Wire).collect();
        let sequence = self.head();
        self.add(0, What::State { session: SESSION.into(), sequence, snapshot: Wire(folded.0), blocks });
        self.lines
    }
}

/// One more line of what a program was given, or printed.
fn line(of: &mut String, value: &serde_json::Value) {
    of.push_str(&value.to_string());
    of.push('\n');
}

/// What is answered to a call that was done.
fn done(turn: &str, sequence: i64, uid: &str, option: &str) -> Answer {
    Answer::Ok { session: SESSION.into(), uid: uid.into(), turn: turn.into(), sequence, option: option.into() }
}

/// An empty bookmark, or one that stands for what was left out.
pub fn bookmark(cursor: i64, sequence: i64, head: i64) -> SessionEvent {
    let kind = Some(Kind::Bookmark(Bookmark { head_sequence: head }));
    SessionEvent { first_sequence: cursor + 1, sequence, kind, ..Default::default() }
}

fn updated(turn: Turn) -> Kind {
    Kind::TurnUpdated(Box::new(TurnUpdated { turn: Some(turn) }))
}

fn said(text: &str) -> Content {
    Content::AssistantText(AssistantText { text: text.into(), model: String::new() })
}

fn block(id: &str, turn: &str, state: BlockState, content: Content) -> Block {
    Block {
        block_id: id.into(),
        conversation_id: "main".into(),
        turn_id: turn.into(),
        state: state.into(),
        content: Some(content),
        ..Default::default()
    }
}

#[allow(clippy::many_single_char_names, reason = "streams and blocks, as on paper")]
/// Two clients, three turns, blocks that grow at the same time, cuts in their middle, snapshots, an interruption that was
/// asked for twice, and who comes late gets deltas merged, or none where they were compacted.
pub fn history(compacts: bool) -> Vec<Line> {
    let number = |number: u64| format!("{number:020} ");
    let mut made = Made::created(compacts);
    let a = made.open(1, Some(0), "");
    let first = made.send(1, r#"[{"count":4,"size":21},{"say":"über 漢字 "},{"ask":{"tool":"Bash"}}]"#, "r-1");
    made.show(a);
    let (x, y) = (made.begin(first, "1"), made.begin(first, "2"));
    made.delta(&x, &number(1));
    made.delta(&x, &number(2));
    let c = made.open(3, Some(0), "");
    made.show(c);
    let inside = made.cut(c);
    // Joins in the middle of a block, and goes on live.
    let b = made.open(2, None, "");
    made.delta(&x, &number(3));
    made.delta(&y, "über ");
    made.delta(&x, &number(4));
    made.delta(&y, "漢字 ");
    made.show(a);
    made.show(b);
    let cursor = made.cut(a);
    made.complete(first, &y, BlockState::Complete);
    made.complete(first, &x, BlockState::Complete);
    made.ask(first, "3", "4");
    made.show(b);
    made.end(first, TurnStatus::Completed);
    made.show(b);
    // Comes back behind all that another has seen.
    let a = made.open(1, Some(cursor), UID);
    made.show(a);
    made.processes(false);
    made.add(0, What::Server { fate: "killed".into(), unix_us: 0, moment: String::new() });
    let second = made.send(2, r#"[{"count":2,"size":21}]"#, "r-2");
    let z = made.begin(second, "1");
    made.delta(&z, &number(1));
    made.show(a);
    for _ in 0..2 {
        let call = made.call(
            2,
            Call {
                method: "InterruptTurn".into(),
                session: SESSION.into(),
                request_id: "r-3".into(),
                interrupts: true,
                ..Call::default()
            },
        );
        made.answer(2, call, "", 0, "");
    }
    made.complete(second, &z, BlockState::Interrupted);
    made.end(second, TurnStatus::Interrupted);
    made.show(a);
    let third = made.send(1, r#"[{"count":1,"size":21}]"#, "r-4");
    let w = made.begin(third, "1");
    made.delta(&w, &number(1));
    made.complete(third, &w, BlockState::Complete);
    made.end(third, TurnStatus::Completed);
    made.show(b);
    made.show(a);
    if compacts {
        made.compact();
    }
    for (client, after) in [(3, inside), (4, 0)] {
        let late = made.open(client, Some(after), UID);
        made.replay(late);
    }
    made.finish()
}

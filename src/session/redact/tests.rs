//! Whatever is said, however it is cut, and whoever goes on with it: what is recorded of it is the whole text without values.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use proptest::prelude::*;

use super::{Redaction, Values, values::placeholder};
use crate::{
    agent::{Action, Ask, Draft, Outcome, TurnEnd},
    domain::{
        Agent, Blob, BlobData, Block, BlockId, BlockPatch, Content, ContentPart, ConversationId, Event, ExecId,
        ExecutionStatus, Kind, LogLevel, NoticeKind, QuestionChoice, QuestionItem, Reason, SessionError, SessionState,
        SubagentCall, ToolOutput, ToolResult, ToolUse, Usage, UserMessage,
    },
    session::{pending::Pending, replay},
    store::Held,
};

/// Values that begin alike, stand in each other, and are spelled in two ways.
const SECRETS: [(&str, &str); 5] = [
    ("SHORT", "secret-aa"),
    ("LONG", "secret-aa-secret-bb"),
    ("INNER", "aa-secret-b"),
    ("QUOTED", "a\"b\\c\nü-secret"),
    ("AGAIN", "aaaaaaaaab"),
];

static VALUES: LazyLock<Arc<Values>> =
    LazyLock::new(|| Arc::new(Values::new(SECRETS.map(|(name, value)| (name.to_owned(), value.to_owned())))));

fn values() -> Arc<Values> {
    Arc::clone(&VALUES)
}

fn without(text: &str) -> String {
    let mut text = text.to_owned();
    values().replace(&mut text);
    text
}

fn id(block: usize) -> BlockId {
    BlockId::new(["one", "two"][block])
}

fn begun(text: &str) -> Content {
    Content::AssistantText { text: text.to_owned(), model: String::new() }
}

/// A session as a server has it: what is decided, and what is stored.
struct Session {
    pending: Pending,
    stored: SessionState,
    held: Vec<Held>,
    /// All events that are stored.
    events: Vec<Event>,
}

impl Session {
    fn new() -> Self {
        let stored = SessionState::new(replay::record(Agent::Scripted));
        let pending = Pending::new(stored.clone()).hiding(values(), &[]);
        Self { pending, stored, held: Vec::new(), events: Vec::new() }
    }

    fn act(&mut self, action: Action) {
        if let Some(action) = self.pending.redact(action) {
            self.pending.act(action, &ExecId::new("exec"), std::time::Duration::ZERO);
        }
    }

    fn emit(&mut self, draft: Draft) {
        self.act(Action::Emit(draft));
    }

    fn delta(&mut self, block: usize, text: &str) {
        self.emit(Draft::Delta { block_id: id(block), text: text.to_owned() });
    }

    fn commit(&mut self) {
        self.held = self.pending.held();
        let events = self.pending.drain().events;
        for event in &events {
            self.stored.apply(event);
        }
        self.events.extend(events);
        self.pending.prune();
    }

    /// The next owner knows what is stored, and nothing else.
    fn kill(&mut self, values: Arc<Values>) {
        self.pending = Pending::new(self.stored.clone()).hiding(values, &self.held);
    }

    /// What a watcher has of a block by its beginning and its deltas alone.
    fn live(&self, block: usize) -> String {
        let mut text = String::new();
        for event in &self.events {
            match &event.kind {
                Kind::BlockStart { block: begun } if begun.block_id == id(block) => {
                    text = begun.content.growing().expect("text").to_owned();
                }
                Kind::BlockDelta { block_id, delta, offset } if *block_id == id(block) => {
                    assert_eq!(usize::try_from(*offset), Ok(text.len()), "an offset counts what was sent");
                    text.push_str(delta);
                }
                _ => {}
            }
        }
        text
    }

    fn whole(&self, block: usize) -> &Block {
        self.stored.block(&id(block)).expect("a block")
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Piece(usize, usize),
    Commit,
    Kill,
}

fn text() -> impl Strategy<Value = String> {
    let all: Vec<_> = SECRETS.map(|(_, value)| value.to_owned()).into();
    let spelled = all.clone().into_iter().map(|value| serde_json::to_string(&value).expect("text"));
    let whole = prop::sample::select(all.iter().cloned().chain(spelled).collect::<Vec<_>>());
    let beginning = (prop::sample::select(all), 0_usize..24).prop_map(|(value, cut)| value.chars().take(cut).collect());
    let other = prop::sample::select(vec!["", " ", "a", "aa", "-", "s", "ü", "\n", "secret", "other words"]);
    let part = prop_oneof![3 => whole, 3 => beginning, 2 => other.prop_map(str::to_owned)];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..2, 1_usize..9).prop_map(|(block, size)| Step::Piece(block, size)),
        2 => Just(Step::Commit),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #[test]
    fn a_text_in_pieces_is_the_whole_text_without_values(texts in [text(), text()], begins in 0_usize..12,
                                                         steps in prop::collection::vec(step(), 0..60)) {
        let mut session = Session::new();
        let (mut read, mut committed) = ([0; 2], [0; 2]);
        for (block, text) in texts.iter().enumerate() {
            // One block begins with some of its text.
            read[block] = text.floor_char_boundary(begins * block);
            let content = begun(&text[..read[block]]);
            let conversation_id = ConversationId::main();
            session.emit(Draft::Start { conversation_id, block_id: id(block), content });
        }
        session.commit();
        committed.clone_from(&read);
        let rest = [Step::Piece(0, usize::MAX / 2), Step::Piece(1, usize::MAX / 2), Step::Commit];
        for step in steps.into_iter().chain(rest) {
            match step {
                Step::Piece(block, size) => {
                    let text = &texts[block][read[block]..];
                    let size = text.ceil_char_boundary(size.min(text.len()));
                    if size > 0 {
                        session.delta(block, &text[..size]);
                        read[block] += size;
                    }
                }
                Step::Commit => {
                    session.commit();
                    committed.clone_from(&read);
                }
                Step::Kill => {
                    session.kill(values());
                    read.clone_from(&committed);
                }
            }
            for (block, text) in texts.iter().enumerate() {
                let (live, all) = (session.live(block), without(text));
                prop_assert!(all.starts_with(&live), "{:?} is no beginning of {:?}", live, all);
            }
        }
        let content = begun(&texts[0]);
        let conversation_id = ConversationId::main();
        session.emit(Draft::Complete { conversation_id, block_id: id(0), content: Some(content) });
        session.pending.interrupt_blocks();
        session.commit();
        prop_assert_eq!(&session.held, &[]);
        for (block, text) in texts.iter().enumerate() {
            let all = without(text);
            prop_assert_eq!(session.live(block), all.clone());
            prop_assert_eq!(session.whole(block).content.growing(), Some(all.as_str()));
        }
    }
}

#[test]
fn values_are_found_leftmost_and_longest() {
    for (text, expected) in [
        ("x secret-aa y", "x [secret SHORT] y"),
        ("secret-aa-secret-bb", "[secret LONG]"),
        ("secret-aa-secret-b", "[secret SHORT]-secret-b"),
        ("aa-secret-bb", "[secret INNER]b"),
        ("aaaaaaaaaaab", "aa[secret AGAIN]"),
        (r#"{"k":"a\"b\\c\nü-secret"}"#, r#"{"k":"[secret QUOTED]"}"#),
        (r#"{"k":"a\"b\\c\n\u00fc-secret"}"#, r#"{"k":"[secret QUOTED]"}"#),
        ("nothing here", "nothing here"),
    ] {
        assert_eq!(without(text), expected, "{text}");
    }
}

#[test]
fn only_what_may_be_the_beginning_of_a_value_is_held_back() {
    let mut session = Session::new();
    session.emit(Draft::Start { conversation_id: ConversationId::main(), block_id: id(0), content: begun("") });
    for (piece, live) in [
        ("the s", "the "),
        ("ecret of", "the secret of"),
        (" secret-aa", "the secret of "),
        ("-secre", "the secret of "),
        ("cy", "the secret of [secret SHORT]-secrecy"),
        (" secret", "the secret of [secret SHORT]-secrecy "),
    ] {
        session.delta(0, piece);
        session.commit();
        assert_eq!(session.live(0), live, "after {piece:?}");
        let kept = format!("{:?}", session.held);
        assert!(!kept.contains("secret-") && session.held.len() <= 1, "{kept}");
    }
    // A server that knows the value goes on with it; one that does not says what it was, and nothing of another value.
    let other = ("SHORT".to_owned(), "another-value".to_owned());
    for (values, after) in [
        (values(), "secret"),
        (Arc::new(Values::default()), "[secret SHORT]"),
        (Arc::new(Values::new([other])), "[secret SHORT]"),
    ] {
        let mut next = Session { events: session.events.clone(), held: session.held.clone(), ..Session::new() };
        next.stored = session.stored.clone();
        next.kill(values);
        next.delta(0, " it is,");
        next.commit();
        assert_eq!(next.live(0), format!("the secret of [secret SHORT]-secrecy {after} it is,"));
    }
}

/// What an agent says of a block that it cannot be about changes nothing of what is held of it.
#[test]
fn a_block_that_is_begun_again_keeps_what_is_held_of_it() {
    let mut session = Session::new();
    let start = |text: &str| {
        let (conversation_id, content) = (ConversationId::main(), begun(text));
        Draft::Start { conversation_id, block_id: id(0), content }
    };
    session.emit(start("a sec"));
    session.emit(start("other secret-a"));
    session.emit(start(""));
    session.delta(0, "ret-aa,");
    // Nothing is open of this one, and nothing is held of it.
    session.delta(1, "secret-a");
    let patch = BlockPatch { input_json: Some("secret-a".to_owned()), ..BlockPatch::default() };
    session.emit(Draft::Update { block_id: id(1), patch });
    session.commit();
    assert_eq!((session.live(0).as_str(), &session.held), ("a [secret SHORT],", &Vec::new()));
}

/// A text with a value, wherever an agent can say something.
#[test]
fn no_field_is_forgotten() {
    let secret = || "<secret-aa>".to_owned();
    let plain = |text: &str| text.to_owned();
    let (conversation_id, none) = (ConversationId::main(), String::new());
    let error = || SessionError {
        reason: Reason::AgentFailed,
        message: secret(),
        retryable: false,
        metadata: BTreeMap::from([("key".to_owned(), secret())]),
    };
    let result = |output| {
        let tool_use_id = plain("call");
        let (is_error, duration, markdown, exit_code) = (false, None, false, None);
        Content::ToolResult(ToolResult { tool_use_id, is_error, output: Some(output), duration, markdown, exit_code })
    };
    let blob = || Blob {
        sha256: plain("hash"),
        size_bytes: 1,
        media_type: secret(),
        name: secret(),
        data: BlobData::default(),
    };
    let parts = || {
        let (image, attachment) = (ContentPart::Image(blob()), ContentPart::Attachment(blob()));
        vec![
            ContentPart::Text(secret()),
            image,
            attachment,
            ContentPart::ImageUri(secret()),
            ContentPart::FilePath(secret()),
        ]
    };
    let contents = [
        Content::UserMessage(UserMessage { parts: parts(), created_by: None }),
        Content::AssistantText { text: secret(), model: secret() },
        Content::Thinking { text: secret(), summary: secret() },
        Content::ToolUse(ToolUse {
            tool_use_id: plain("call"),
            tool_name: secret(),
            input_json: secret(),
            status: ExecutionStatus::Running,
            display_name: secret(),
            description: secret(),
        }),
        result(ToolOutput::Text(secret())),
        result(ToolOutput::Json(secret())),
        result(ToolOutput::Parts(parts())),
        Content::System { kind: NoticeKind::Status, message: secret(), metadata_json: secret() },
        Content::Subagent(SubagentCall {
            subagent_id: ConversationId::new("sub"),
            name: secret(),
            input: secret(),
            status: ExecutionStatus::Running,
            output: secret(),
            duration: None,
            tool_use_id: plain("call"),
        }),
        Content::Error { code: secret(), message: secret() },
    ];
    let patch = BlockPatch {
        input_json: Some(secret()),
        display_name: Some(secret()),
        description: Some(secret()),
        summary: Some(secret()),
        output: Some(secret()),
        ..BlockPatch::default()
    };
    let mut drafts = vec![
        Draft::Delta { block_id: id(0), text: secret() },
        Draft::Update { block_id: id(0), patch },
        Draft::Used { conversation_id: conversation_id.clone(), usage: Usage::default(), model: secret() },
        Draft::Error(error()),
        Draft::Log(LogLevel::Warn, secret()),
        Draft::Unparsed { raw: secret().into_bytes(), truncated_bytes: 0 },
        Draft::Blob { sha256: plain("hash"), data: secret().into_bytes() },
    ];
    for content in contents {
        let (conversation_id, block_id) = (conversation_id.clone(), id(0));
        drafts.push(Draft::Start {
            conversation_id: conversation_id.clone(),
            block_id: block_id.clone(),
            content: content.clone(),
        });
        drafts.push(Draft::Complete { conversation_id, block_id, content: Some(content) });
    }
    let mut actions: Vec<_> = drafts.into_iter().map(Action::Emit).collect();
    actions.push(Action::Ask(Box::new(Ask {
        agent_request_id: none.clone(),
        conversation_id,
        tool_use_id: none,
        tool_name: secret(),
        input_json: secret(),
        title: secret(),
        questions: vec![QuestionItem {
            header: secret(),
            text: secret(),
            choices: vec![QuestionChoice { label: secret(), description: secret() }],
            multiple: false,
        }],
        always: Some(secret()),
        cwd: String::new(),
        given_sha256: None,
        only_by_rule: false,
    })));
    actions.push(Action::TurnEnded(TurnEnd { outcome: Outcome::Failed(error()), usage: Usage::default() }));
    for is_open in [true, false] {
        for action in actions.clone() {
            let (mut redaction, _) = Redaction::new(values(), &[]);
            let before = format!("{action:?}");
            let after = redaction.action(action, |id| id, |_| is_open).expect("all of it is sure");
            let said = |text: &str| text.matches("secret-aa").count() + text.matches(&raw("secret-aa")).count();
            let after = format!("{after:?}");
            assert!(said(&before) > 0 && said(&after) == 0, "{before}\nbecame\n{after}");
            let named = after.matches("<[secret SHORT]>").count() + after.matches(&raw("[secret SHORT]")).count();
            assert_eq!(named, said(&before), "{before}\nbecame\n{after}");
        }
    }
}

#[test]
fn calls_that_look_alike_without_their_secrets_are_not_the_same() {
    let (mut redaction, _) = Redaction::new(values(), &[]);
    let mut shown = |input: &str| {
        let ask = Ask { input_json: input.to_owned(), ..Ask::default() };
        let given = ask.input_sha256();
        let redacted = redaction.action(Action::Ask(Box::new(ask)), |id| id, |_| false).expect("sure");
        let Action::Ask(ask) = redacted.into_action() else { panic!("it asks") };
        assert_eq!(ask.input_sha256(), given);
        *ask
    };
    let (secret, named) = (shown(r#"{"a":"secret-aa"}"#), shown(r#"{"a":"[secret SHORT]"}"#));
    assert_eq!(secret.input_json, named.input_json);
    assert_ne!(secret.input_sha256(), named.input_sha256());
}

/// As bytes are shown.
fn raw(text: &str) -> String {
    let list = format!("{:?}", text.as_bytes());
    list[1..list.len() - 1].to_owned()
}

#[test]
fn bytes_that_held_a_value_are_named_by_what_they_are_now() {
    use sha2::{Digest as _, Sha256};
    let (mut redaction, _) = Redaction::new(values(), &[]);
    let mut redact = |draft| match redaction.action(Action::Emit(draft), |id| id, |_| false).expect("sure").0 {
        Action::Emit(draft) => draft,
        other => panic!("{other:?}"),
    };
    let bytes = b"\x89PNG secret-aa \xff".to_vec();
    let sha256 = format!("{:x}", Sha256::digest(&bytes));
    let blob = |sha256: &str, size_bytes| {
        let (media_type, name) = ("image/png".to_owned(), String::new());
        ContentPart::Image(Blob { sha256: sha256.to_owned(), size_bytes, media_type, name, data: BlobData::default() })
    };
    let content = |part| Content::UserMessage(UserMessage { parts: vec![part], created_by: None });
    let complete =
        |content| Draft::Complete { conversation_id: ConversationId::main(), block_id: id(0), content: Some(content) };
    let size = i64::try_from(bytes.len()).expect("small");
    let Draft::Blob { sha256: renamed, data } = redact(Draft::Blob { sha256: sha256.clone(), data: bytes }) else {
        panic!("a blob")
    };
    assert_eq!(data, b"\x89PNG [secret SHORT] \xff");
    assert_eq!(renamed, format!("{:x}", Sha256::digest(&data)));
    let grown = i64::try_from(data.len()).expect("small");
    assert_eq!(redact(complete(content(blob(&sha256, size)))), complete(content(blob(&renamed, grown))));
    let other = complete(content(blob("other", 3)));
    assert_eq!(redact(other.clone()), other);
}

#[test]
fn output_that_was_cut_does_not_end_with_the_beginning_of_a_value() {
    let (mut redaction, _) = Redaction::new(values(), &[]);
    let mut redact = |raw: &[u8], truncated_bytes| {
        let draft = Draft::Unparsed { raw: raw.to_vec(), truncated_bytes };
        match redaction.action(Action::Emit(draft), |id| id, |_| false).expect("sure").0 {
            Action::Emit(Draft::Unparsed { raw, truncated_bytes }) => (raw, truncated_bytes),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(redact(b"x\xff secret-a", 0), (b"x\xff secret-a".to_vec(), 0));
    assert_eq!(redact(b"x\xff secret-a", 5), (b"x\xff ".to_vec(), 13));
    let (raw, lost) = redact("secret-aa".repeat(7000).as_bytes(), 0);
    let shown = "[secret SHORT]".repeat(7000);
    assert!(raw == shown.as_bytes()[..raw.len()]);
    assert_eq!((raw.len(), raw.len() + usize::try_from(lost).expect("small")), (64 << 10, shown.len()));
}

#[test]
fn what_a_parser_remembers_says_the_same_without_values() {
    let values = Values::new([("PIN".to_owned(), "12345678".to_owned())]);
    let mut state = r#"{"hash":123456789,"kinds":["a 12345678"],"12345678":{"b":"c"}}"#.to_owned();
    values.replace_in_strings(&mut state);
    assert_eq!(state, r#"{"[secret PIN]":{"b":"c"},"hash":123456789,"kinds":["a [secret PIN]"]}"#);
    let mut same = "{ \"spaces\" : 1 }".to_owned();
    values.replace_in_strings(&mut same);
    assert_eq!(same, "{ \"spaces\" : 1 }");
}

#[test]
fn a_name_cannot_make_json_something_else() {
    assert_eq!(placeholder("web.X-Api-Key"), "[secret web.X-Api-Key]");
    assert_eq!(placeholder("a\"b\\c]\n"), "[secret a_b_c__]");
}

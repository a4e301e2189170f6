//! What is checked in beside the vectors by hand: each is what its seed makes, and together they leave nothing out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use agent_runtime::proto::{SessionEvent, SessionState, SnapshotChunk, descriptors, session_event::Kind};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Value};

use crate::{
    made::{self, FOLD, Made, made},
    wire_fold,
};

/// How many there are.
const COUNT: u64 = 48;

/// Kinds that change no state but sequence and time, by the contract.
const HISTORY: &[&str] = &["error", "log", "unparsed_output", "snapshot_complete"];
/// What an event is about: without it, it says nothing.
const SUBJECTS: &[&str] = &["block", "turn", "conversation", "permission", "question", "state"];
/// Fields that change none: they are for whoever reads the stream.
const NO_STATE: &[&str] = &["status_changed.reason", "files_changed.more", "bookmark.head_sequence"];

fn file_of(seed: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/made-{seed:02}.json"))
}

/// `WRITE_VECTORS=1 cargo test --test vectors` writes them.
#[test]
fn what_is_made_is_what_is_checked_in() {
    for seed in 1..=COUNT {
        let (file, text) = (file_of(seed), made::text(seed, &made(seed)));
        if std::env::var_os("WRITE_VECTORS").is_some() {
            fs::write(&file, text).unwrap();
            continue;
        }
        let held = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(
            held == text,
            "{} is not what its seed and {FOLD} make: run WRITE_VECTORS=1 cargo test --test vectors, and look at what \
             changed",
            file.display()
        );
    }
}

/// Whatever makes expected states uses no fold that they are held against.
#[test]
fn what_makes_them_shares_nothing_with_the_folds_under_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [FOLD, "tests/vectors/made.rs", "tests/vectors/fill.rs", "tests/vectors/dice.rs"] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        for (at, name) in text.match_indices("agent_runtime") {
            let rest = &text[at + name.len()..];
            assert!(rest.starts_with("::proto::"), "{file} uses more of the crate than its messages: {rest:.40}");
        }
    }
}

/// Every kind of event, and every field of each, changes what some vector folds to: a fold that leaves one out fails.
#[test]
fn every_kind_and_every_field_counts_somewhere() {
    let (mut counts, mut wanted) = (BTreeMap::<String, usize>::new(), Vec::new());
    for kind in made::kinds().into_iter().filter(|kind| !HISTORY.contains(&kind.as_str())) {
        let fields: Vec<String> = fields_of(&kind).map(|field| format!("{kind}.{field}")).collect();
        wanted.extend(fields.into_iter().filter(|field| !NO_STATE.contains(&field.as_str())));
        wanted.push(kind);
    }
    let mut seen = BTreeSet::new();
    for seed in 1..=COUNT {
        let Made { events, state } = made(seed);
        for (at, event) in events.iter().enumerate() {
            for (name, changed) in weaker(event) {
                seen.insert(name.clone());
                let mut others = events.clone();
                others[at] = changed;
                // A log without its beginning is none.
                if at > 0 && wire_fold::fold(&others) != state {
                    *counts.entry(name).or_default() += 1;
                }
            }
        }
    }
    counts.insert("session_created".into(), 1);
    counts.insert("session_created.session".into(), 1);
    let never: Vec<&String> = wanted.iter().filter(|name| !counts.contains_key(*name)).collect();
    assert!(never.is_empty(), "no vector depends on {never:?}");
    let unseen: Vec<_> = made::kinds().into_iter().filter(|kind| !seen.contains(kind)).collect();
    assert!(unseen.is_empty(), "no vector has {unseen:?}");
    for name in NO_STATE {
        assert!(seen.contains(*name) && !counts.contains_key(*name), "{name} changes a state, or no vector has it");
    }
    for kind in HISTORY {
        assert!(!counts.contains_key(*kind), "{kind} changes a state");
    }
}

fn fields_of(kind: &str) -> impl Iterator<Item = String> {
    let event = descriptors().get_message_by_name("agentruntime.v1.SessionEvent").unwrap();
    let kind = event.get_field_by_name(kind).unwrap().kind();
    let fields: Vec<String> = kind.as_message().unwrap().fields().map(|field| field.name().to_owned()).collect();
    fields.into_iter()
}

/// The event as a fold would see it that does not know its kind, or one field of it.
fn weaker(event: &SessionEvent) -> Vec<(String, SessionEvent)> {
    let of = descriptors().get_message_by_name("agentruntime.v1.SessionEvent").unwrap();
    let whole = DynamicMessage::decode(of, event.encode_to_vec().as_slice()).unwrap();
    let Some(kind) = made::kinds().into_iter().find(|kind| whole.has_field_by_name(kind)) else { return Vec::new() };
    let unknown = SessionEvent { kind: unknown(event), ..event.clone() };
    let mut weaker = vec![(kind.clone(), unknown.clone())];
    let inner = whole.get_field_by_name(&kind).unwrap().into_owned();
    for (field, _) in inner.as_message().unwrap().fields() {
        let changed = if SUBJECTS.contains(&field.name()) {
            unknown.clone()
        } else {
            let (mut inner, mut whole) = (inner.as_message().unwrap().clone(), whole.clone());
            inner.clear_field(&field);
            whole.set_field_by_name(&kind, Value::Message(inner));
            whole.transcode_to().unwrap()
        };
        weaker.push((format!("{kind}.{}", field.name()), changed));
    }
    weaker
}

/// What is left of an event's kind when it says nothing: of a snapshot the session, without which there is no state.
fn unknown(event: &SessionEvent) -> Option<Kind> {
    let Some(Kind::SnapshotChunk(chunk)) = &event.kind else { return None };
    let session = chunk.state.as_ref().and_then(|state| state.session.clone());
    Some(Kind::SnapshotChunk(Box::new(SnapshotChunk {
        state: Some(SessionState { session, ..SessionState::default() }),
    })))
}

//! The shared vectors, by the crate's own fold: the same files that the clients in other languages run. And those among
//! them that are made, held to what makes them.

mod check;
mod dice;
mod fill;
mod made;
#[path = "../support/wire_fold.rs"]
#[allow(unreachable_pub, dead_code)]
mod wire_fold;

use std::{fs, path::Path};

use agent_runtime::{
    client::State,
    proto::{self, SessionEvent, SessionState},
};
use serde_json::Value;

fn event(value: &Value) -> SessionEvent {
    proto::from_json("agentruntime.v1.SessionEvent", &value.to_string()).expect("a SessionEvent")
}

#[test]
fn every_vector_folds_to_its_state() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let files = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut count = 0;
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let text = fs::read_to_string(&file).expect("text");
        let vector: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let expected: SessionState =
            proto::from_json("agentruntime.v1.SessionState", &vector["state"].to_string()).expect("a SessionState");
        let mut state = State::default();
        vector["events"].as_array().expect("events").iter().for_each(|value| state.apply(&event(value)));
        assert_eq!(state.as_proto(), &expected, "{}: {}", file.display(), vector["description"]);
        count += 1;
    }
    assert!(count >= 15, "only {count} vectors were found");
}

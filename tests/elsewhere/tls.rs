//! A server that speaks TLS to Modal, and whom it believes by what stands in its environment.

use agent_runtime::proto::TurnStatus;
use serde_json::json;

use crate::{
    authority::Authority,
    rig::{Rig, created},
    support::{last_turn, play, send, until_end_of, watch},
};

#[tokio::test]
async fn roots_are_named_by_a_variable() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(authority) = Authority::new(folder.path(), "ours") else { return };
    let root = authority.root.to_str().expect("a plain path");
    let Some(rig) = Rig::with(&authority.arguments(), &[("SSL_CERT_FILE", root)]) else { return };
    let server = rig.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    let played = play(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await;
    assert!(crate::rig::printed(&played).contains("hello"));
    drop(server);

    // Set to nothing, it is as if it were not set: the web's authorities do not vouch for a stand-in.
    let stranger = Rig::with(&authority.arguments(), &[("SSL_CERT_FILE", "")]).expect("it was made before");
    let server = stranger.open();
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    let (turn, sequence) = send(&mut sessions, &id, &json!({ "say": "hello" }).to_string()).await.expect("taken");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until_end_of(&mut stream, &turn.turn_id).await;
    let turn = last_turn(&events);
    assert_eq!(turn.status(), TurnStatus::Failed, "{turn:?}");
    assert!(format!("{turn:?}").contains("SSL_CERT_FILE"), "{turn:?}");
}

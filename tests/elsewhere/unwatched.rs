//! Files of sandboxes in which nothing can watch them: changes are told while the turn runs all the same.

use std::fs;

use agent_runtime::proto::{SessionEvent, session_event::Kind};
use serde_json::json;

use crate::{
    rig::{Rig, created, eventually, said},
    support::{ended, send, stop, until, watch},
};

#[tokio::test(flavor = "multi_thread")]
async fn without_modals_tool_files_are_looked_for_until_it_is_there() {
    let Some(rig) = Rig::new(&[]) else { return };
    let tools = rig.emulator.file_tools();
    let aside = tools.with_extension("aside");
    fs::rename(&tools, &aside).expect("taken away");
    let log = rig.path().join("told");
    let server = rig.open_telling(&log);
    let mut sessions = server.sessions().await;
    let id = created(&mut sessions, "scripted").await;
    // After the second one nothing happens that anybody could hint at.
    let script = json!([
        {"run": "echo 1 >first"}, {"pause_ms": 3000}, {"run": "echo 1 >second"}, {"pause_ms": 600_000}
    ]);
    let (turn, sequence) = send(&mut sessions, &id, &script.to_string()).await.expect("taken");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    for path in ["first", "second"] {
        let tells = |event: &SessionEvent| {
            let Some(Kind::FilesChanged(changed)) = &event.kind else { return false };
            changed.changes.iter().filter_map(|change| change.file.as_ref()).any(|file| file.path == path)
        };
        let seen = until(&mut stream, |event| tells(event) || ended(event, &turn.turn_id)).await;
        assert!(seen.last().is_some_and(tells), "{path} is told at the end of the turn only");
    }
    assert!(said(&log, "changes of files are not all told: they are looked for now and then"));
    fs::rename(&aside, &tools).expect("put back");
    eventually("it watches", || said(&log, "changes of files are told again")).await;
    stop(&mut sessions, &id).await;
}

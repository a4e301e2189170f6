//! Saving: what there is is saved when the call returns, also in the midst of a turn.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use agent_runtime::proto::{self, SessionStatus, session_event::Kind};
use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::support::{Server, Sessions, ended, get, pid_of, play, processes_of, scripted, send, stop, until, watch};

/// Ends everything in a sandbox as a fault of the machine would, and removes its folder.
fn destroy(folder: &Path) {
    for process in processes_of(folder) {
        // Gone already: the same to us.
        let _ = kill_process(pid_of(process.pid), Signal::KILL);
    }
    let patience = Instant::now() + Duration::from_secs(10);
    while let Err(error) = std::fs::remove_dir_all(folder) {
        // Somebody who is dying may still write.
        assert!(folder.exists() && Instant::now() < patience, "{error}");
    }
}

async fn sync(sessions: &mut Sessions, id: &str, request_id: &str) -> proto::Session {
    let request = proto::SyncSessionRequest { session_id: id.into(), request_id: request_id.into() };
    sessions.sync_session(request).await.expect("saved").into_inner().session.expect("a session")
}

async fn read(server: &Server, id: &str, path: &str) -> Vec<u8> {
    let request = proto::ReadFileRequest { session_id: id.into(), path: path.into(), ..Default::default() };
    let mut stream = server.workspace().await.read_file(request).await.expect("there").into_inner();
    let mut data = Vec::new();
    while let Some(piece) = stream.message().await.expect("read") {
        if let Some(proto::read_file_response::Payload::Data(bytes)) = piece.payload {
            data.extend_from_slice(&bytes);
        }
    }
    data
}

#[tokio::test]
async fn what_there_is_is_saved_when_the_call_returns() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    // Without a sandbox there is nothing to save.
    let idle = sync(&mut sessions, &id, "").await;
    assert_eq!((idle.status(), idle.sandbox.clone()), (SessionStatus::Idle, None));

    let script = json!([{ "run": "echo half > made.txt" }, { "say": "Half." }, { "pause_ms": 3_600_000 }]).to_string();
    let (turn, _) = send(&mut sessions, &id, &script).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    until(&mut stream, |event| matches!(&event.kind, Some(Kind::BlockComplete(_)))).await;
    let sandbox = get(&mut sessions, &id).await.sandbox.expect("one").sandbox_id;
    let place = server.data().join("sandboxes").join(&sandbox);
    std::fs::write(place.join("workspace/late.txt"), "late").expect("written");
    let synced = sync(&mut sessions, &id, "s-1").await;
    assert_eq!(synced.status(), SessionStatus::Running);
    assert_eq!(synced.active_turn.as_ref().map(|turn| turn.origin()), Some(proto::TurnOrigin::User));
    assert_eq!(read(&server, &id, "late.txt").await, b"late");
    // The same call saves nothing again.
    std::fs::write(place.join("workspace/late.txt"), "later").expect("written");
    assert_eq!(sync(&mut sessions, &id, "s-1").await, synced);

    // The sandbox is lost with what came after; what was saved comes back.
    destroy(&place);
    until(&mut stream, |event| ended(event, &turn.turn_id)).await;
    let played = play(&mut sessions, &id, &json!([{ "run": "cat made.txt late.txt" }]).to_string()).await;
    let outputs: Vec<_> = played
        .contents()
        .into_iter()
        .filter_map(|content| match content {
            proto::block::Content::ToolResult(result) => Some(format!("{:?}", result.output)),
            _ => None,
        })
        .collect();
    assert!(outputs.last().expect("an output").contains("half\\nlate"), "{outputs:?}");
    stop(&mut sessions, &id).await;
    assert_eq!(sync(&mut sessions, &id, "").await.status(), SessionStatus::Stopped);
}

//! What is kept, over the real server: compacted logs, retention, long texts and the bytes that blocks name.

use std::{os::unix::fs::PermissionsExt, path::Path};

use agent_runtime::proto::{self, SessionEvent, block::Content, session_event::Kind};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    PATIENCE, Server, Sessions, check_ranges, fields, fold, get, play, reason, scripted, send, snapshot, stop, until,
    watch,
};

/// A piece of text whose characters have 1 to 4 bytes, 103 in all.
const PIECE: &str = "one \u{e9}\u{df} two \u{20ac}\u{2028} three \u{1f980}\u{1f642} four five six seven eight nine ten eleven twelve thirteen fourteen en";
/// What a block shows at most.
const INLINE: usize = 256 * 1024;

/// A line of the scripted agent, as a step.
fn raw(line: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({ "raw": format!("{line}\n") })
}

/// A block that grows by so many pieces, and what else happens to it.
fn grows(id: &str, pieces: usize, then: &[serde_json::Value]) -> String {
    let delta = raw(&serde_json::json!({ "delta": { "id": id, "text": PIECE } }));
    let mut steps = vec![
        raw(&serde_json::json!({ "start": { "id": id, "kind": "text" } })),
        serde_json::json!({ "repeat": pieces, "steps": [delta] }),
    ];
    steps.extend_from_slice(then);
    serde_json::to_string(&steps).expect("JSON")
}

async fn content(sessions: &mut Sessions, id: &str, block: &str, offset: i64) -> Result<Vec<u8>, Status> {
    let request = proto::ReadBlockContentRequest { session_id: id.into(), block_id: block.into(), offset };
    let mut stream = sessions.read_block_content(request).await?.into_inner();
    let mut all = Vec::new();
    while let Some(response) = stream.message().await? {
        assert!(!response.data.is_empty() && response.data.len() <= 256 * 1024);
        all.extend_from_slice(&response.data);
    }
    Ok(all)
}

/// What must come about before patience ends.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it does not come about")
}

async fn blob(sessions: &mut Sessions, id: &str, sha256: &str, offset: i64) -> Result<Vec<u8>, Status> {
    let request = proto::ReadBlobRequest { session_id: id.into(), sha256: sha256.into(), offset };
    let mut stream = sessions.read_blob(request).await?.into_inner();
    let mut all = Vec::new();
    while let Some(response) = stream.message().await? {
        all.extend_from_slice(&response.data);
    }
    Ok(all)
}

fn text(block: &proto::Block) -> &str {
    match block.content.as_ref().expect("content") {
        Content::AssistantText(text) => &text.text,
        Content::ToolResult(result) => match result.output.as_ref().expect("output") {
            proto::tool_result::Output::Text(text) | proto::tool_result::Output::OutputJson(text) => text,
            proto::tool_result::Output::Parts(_) => panic!("{result:?}"),
        },
        other => panic!("{other:?}"),
    }
}

async fn blocks(sessions: &mut Sessions, id: &str) -> Vec<proto::Block> {
    let request = proto::ListBlocksRequest { session_id: id.into(), ..Default::default() };
    sessions.list_blocks(request).await.expect("listed").into_inner().blocks
}

/// The block is cut to a prefix of the whole, and all of the whole can be read, from anywhere.
async fn all_is_there(sessions: &mut Sessions, id: &str, block: &proto::Block, whole: &str) {
    let shown = text(block);
    assert!(whole.starts_with(shown) && shown.len() <= INLINE && shown.len() > INLINE - 4, "{}", shown.len());
    assert_eq!(block.truncated_bytes, i64::try_from(whole.len() - shown.len()).expect("small"));
    let middle = whole.find('\u{1f980}').expect("a crab") + 1;
    let (shown, end) = (shown.len(), whole.len());
    let places = [0, 1, middle, INLINE - 1, INLINE, INLINE + 1, shown, INLINE * 2 + 1, end - 1, end];
    for offset in places.into_iter().filter(|offset| *offset <= end) {
        let read = content(sessions, id, &block.block_id, i64::try_from(offset).expect("small")).await.expect("read");
        assert!(read == whole.as_bytes()[offset..], "from {offset}: {} bytes", read.len());
    }
}

#[tokio::test]
async fn text_past_what_a_block_shows_can_be_read_whole() {
    let mut server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let whole = PIECE.repeat(7000);
    let complete = raw(&serde_json::json!({ "complete": { "id": "long" } }));
    let played = play(&mut sessions, &id, &grows("long", 7000, &[complete])).await;
    let listed = blocks(&mut sessions, &id).await;
    assert_eq!(played.state.blocks, listed);
    all_is_there(&mut sessions, &id, &listed[1], &whole).await;

    // A tool's output comes in one line.
    let (head, tail) = (
        r#"{"tool_result":{"id":"out","tool":"call","output":""#,
        "\",\"is_error\":false,\"duration_ms\":1,\"exit_code\":null}}\n",
    );
    let steps = serde_json::json!([
        raw(&serde_json::json!({ "tool": { "id": "call", "name": "Bash", "input": {} } })),
        { "raw": head }, { "repeat": 7000, "steps": [{ "raw": PIECE }] }, { "raw": tail },
    ]);
    let played = play(&mut sessions, &id, &steps.to_string()).await;
    assert_eq!(played.unparsed().len(), 0);
    let listed = blocks(&mut sessions, &id).await;
    assert_eq!(played.state.blocks, listed);
    let output = listed.iter().find(|block| block.block_id == "out").expect("the output").clone();
    all_is_there(&mut sessions, &id, &output, &whole).await;

    // What is not cut can be read too, and what is not there is told.
    let user = &listed[0].block_id;
    let said = content(&mut sessions, &id, user, 2).await.expect("read");
    assert!(String::from_utf8(said).expect("text").contains("repeat"));
    let missing = content(&mut sessions, &id, "nobody", 0).await.expect_err("no block");
    assert_eq!((missing.code(), reason(&missing).as_str()), (Code::NotFound, "BLOCK_NOT_FOUND"));
    let beyond = content(&mut sessions, &id, "long", i64::try_from(whole.len() + 1).expect("small")).await;
    let beyond = beyond.expect_err("beyond the end");
    assert_eq!((reason(&beyond).as_str(), fields(&beyond)), ("INVALID_FIELD", vec!["offset".to_owned()]));
    let nobody = content(&mut sessions, "ses_nobody", "long", 0).await.expect_err("no session");
    assert_eq!(reason(&nobody), "SESSION_NOT_FOUND");

    // All of it outlives the server.
    let data = server.data().to_owned();
    server.terminate();
    let again = Server::start_on(&data, &[]);
    let mut sessions = again.sessions().await;
    assert_eq!(blocks(&mut sessions, &id).await, listed);
    all_is_there(&mut sessions, &id, &output, &whole).await;
}

#[tokio::test]
async fn a_long_text_outlives_a_crash_in_the_middle_and_goes_on() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let whole = PIECE.repeat(4000);
    let more = raw(&serde_json::json!({ "delta": { "id": "long", "text": PIECE } }));
    let script = grows("long", 4000, &[serde_json::json!({ "pause_ms": 3000 }), more]);
    let (_, sequence) = send(&mut sessions, &id, &script).await.expect("accepted");
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    until(&mut stream, |event| matches!(event.kind, Some(Kind::BlockUpdate(_)))).await;
    // The update says that text was lost: what was lost with it is there already.
    let first = content(&mut sessions, &id, "long", 0).await.expect("read");
    assert!(first.len() > INLINE && whole.as_bytes().starts_with(&first), "{}", first.len());
    // The rest follows, though no event tells of it.
    soon(async { while content(&mut sessions, &id, "long", 0).await.expect("read").len() < whole.len() {} }).await;
    // What is shown meanwhile is what the events say.
    let head = get(&mut sessions, &id).await.sequence;
    let shown = snapshot(&mut sessions, &id).await.0.blocks;
    assert_eq!(fold(&all(&mut sessions, &id, 0, head).await).blocks, shown);
    let folder = server.kill().expect("its own folder");
    let server = Server::start_on(folder.path(), &[]);
    let mut sessions = server.sessions().await;
    let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
    let events = until(&mut stream, |event| matches!(event.kind, Some(Kind::BlockComplete(_)))).await;
    check_ranges(sequence, &events);
    let block = blocks(&mut sessions, &id).await.remove(1);
    // Its turn ended without completing it.
    assert_eq!(block.state(), proto::BlockState::Interrupted);
    all_is_there(&mut sessions, &id, &block, &PIECE.repeat(4001)).await;
}

/// Five blocks that overlap, 40 deltas each, and a tool call around some of them.
fn interleaved() -> String {
    let line = |name: &str, value: serde_json::Value| raw(&serde_json::json!({ name: value }));
    let mut steps = Vec::new();
    for round in 0..48 {
        for block in 0..5 {
            let id = format!("b{block}");
            match round - block * 2 {
                0 => steps.push(line(
                    "start",
                    serde_json::json!({ "id": id, "kind": if block == 2 { "thinking" } else { "text" } }),
                )),
                41 => steps.push(line("complete", serde_json::json!({ "id": id }))),
                1..=40 => steps.push(line("delta", serde_json::json!({ "id": id, "text": format!("{round}\u{e9} ") }))),
                _ => {}
            }
        }
        if round == 20 {
            steps.push(
                serde_json::json!({ "tool": "Bash", "input": { "command": "ls" }, "output": "a", "duration_ms": 60 }),
            );
        }
        if round % 3 == 0 {
            steps.push(serde_json::json!({ "pause_ms": 8 }));
        }
    }
    serde_json::to_string(&steps).expect("JSON")
}

async fn all(sessions: &mut Sessions, id: &str, after: i64, head: i64) -> Vec<SessionEvent> {
    let mut events = Vec::new();
    if after < head {
        let mut stream = watch(sessions, id, Some(after)).await.expect("a watch");
        events =
            until(&mut stream, |event| event.sequence >= head && !matches!(event.kind, Some(Kind::Bookmark(_)))).await;
    }
    check_ranges(after, &events);
    events
}

/// Wherever a watch was cut, what follows in the compacted log folds to what the whole log folded to.
async fn resumes_everywhere(sessions: &mut Sessions, id: &str, live: &[SessionEvent], head: i64) {
    let (reloaded, _) = snapshot(sessions, id).await;
    for cut in 0..=live.len() {
        let after = cut.checked_sub(1).map_or(0, |last| live[last].sequence);
        let rest = all(sessions, id, after, head).await;
        for event in &rest {
            assert!(event.event_time.is_some());
        }
        let state = fold(live[..cut].iter().chain(&rest));
        assert!(state == reloaded, "cut after {after}:\n{state:#?}\n{reloaded:#?}");
    }
}

#[tokio::test]
async fn a_compacted_log_resumes_at_every_sequence() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["--delta-window", "1"];
    let mut server = Server::start_on(folder.path(), &options);
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    let played = play(&mut sessions, &id, &interleaved()).await;
    stop(&mut sessions, &id).await;
    let head = get(&mut sessions, &id).await.sequence;
    let live = all(&mut sessions, &id, 0, head).await;
    let deltas =
        |events: &[SessionEvent]| events.iter().filter(|event| matches!(event.kind, Some(Kind::BlockDelta(_)))).count();
    assert!(deltas(&live) > 50, "{} deltas are no test", deltas(&live));
    assert_eq!(played.state.blocks, fold(&live).blocks);
    server.terminate();

    // The next server finds what this one did not come to.
    let server = Server::start_on(folder.path(), &["--delta-window", "1", "--compact-after", "0"]);
    let mut sessions = server.sessions().await;
    soon(async { while deltas(&all(&mut sessions, &id, 0, head).await) > 0 {} }).await;
    resumes_everywhere(&mut sessions, &id, &live, head).await;

    // A turn under a server that compacts all the time: live, reload and log are one.
    let played = play(&mut sessions, &id, &interleaved()).await;
    let head = get(&mut sessions, &id).await.sequence;
    soon(async { while deltas(&all(&mut sessions, &id, 0, head).await) > 0 {} }).await;
    let (reloaded, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(fold(&all(&mut sessions, &id, 0, head).await), reloaded);
    assert_eq!(fold(&played.events).blocks, reloaded.blocks);
}

#[tokio::test]
async fn events_that_retention_removed_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ["--compact-after", "0", "--retain-events", "0s"];
    let mut server = Server::start_on(folder.path(), &options);
    let mut sessions = server.sessions().await;
    let id = scripted(&mut sessions).await.session_id;
    play_out(&mut sessions, &id).await;
    for _ in 0..2 {
        let session = soon(async {
            loop {
                let session = get(&mut sessions, &id).await;
                if session.oldest_sequence == session.sequence {
                    return session;
                }
            }
        })
        .await;
        let head = session.sequence;
        let state = snapshot(&mut sessions, &id).await.0;
        assert!(state.blocks.len() > 1, "what the events made stays");
        for after in [0, 1, head - 2] {
            let refused = watch(&mut sessions, &id, Some(after)).await.expect_err("too old");
            assert_eq!((refused.code(), reason(&refused).as_str()), (Code::OutOfRange, "SEQUENCE_TRUNCATED"));
            let info = refused.get_details_error_info().expect("details");
            assert_eq!(info.metadata["after_sequence"], after.to_string());
            assert_eq!(info.metadata["oldest_sequence"], head.to_string());
            let request = proto::WatchSessionRequest {
                session_id: id.clone(),
                after_sequence: Some(after),
                snapshot_if_truncated: true,
                ..Default::default()
            };
            let mut stream = sessions.watch_session(request).await.expect("a watch").into_inner();
            let events = until(&mut stream, |event| matches!(event.kind, Some(Kind::SnapshotComplete(_)))).await;
            assert_eq!(fold(&events).blocks, state.blocks);
        }
        // What a watch resumes after need not be there itself.
        assert_eq!(all(&mut sessions, &id, head - 1, head).await.last().expect("the newest").sequence, head);
        assert!(watch(&mut sessions, &id, Some(head)).await.is_ok());
        server.terminate();
        server = Server::start_on(folder.path(), &options);
        sessions = server.sessions().await;
    }
}

/// Runs a turn to its end without looking back.
async fn play_out(sessions: &mut Sessions, id: &str) {
    let (turn, _) = send(sessions, id, r#"[{"say":"some words"},{"count":20}]"#).await.expect("accepted");
    assert_ne!(turn.turn_id, "");
    soon(async { while get(sessions, id).await.active_turn.is_some() {} }).await;
    stop(sessions, id).await;
}

/// A program that answers a message with a picture.
fn painter(folder: &Path, picture: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let call = r#"{"type":"assistant","uuid":"u","message":{"id":"a","model":"m","content":[{"type":"tool_use","id":"t1","name":"Read","input":{}}]}}"#;
    let result = serde_json::json!({ "type": "user", "message": { "content": [{
        "type": "tool_result", "tool_use_id": "t1", "content": [
            { "type": "text", "text": "seen" },
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": STANDARD.encode(picture) } },
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "no base64" } },
        ] }] } });
    let end = r#"{"type":"result","subtype":"success","is_error":false,"total_cost_usd":0.1,"modelUsage":{}}"#;
    std::fs::write(folder.join("lines"), format!("{call}\n{result}\n{end}\n")).expect("written");
    let program = folder.join("claude");
    let script = format!("#!/bin/sh\nwhile read -r line; do cat {}/lines; done\n", folder.display());
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a program");
    program.to_str().expect("a path").to_owned()
}

#[tokio::test]
async fn a_picture_that_a_tool_gives_can_be_read_by_its_hash() {
    use sha2::{Digest as _, Sha256};

    let folder = tempfile::tempdir().expect("a folder");
    let picture: Vec<u8> = (0..700_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let program = painter(folder.path(), &picture);
    let server = Server::start_with(&["--sandbox", "process", "--claude-code", &program], &[]);
    let mut sessions = server.sessions().await;
    let create = proto::CreateSessionRequest { agent: "claude-code".into(), ..Default::default() };
    let mut session = async || sessions.create_session(create.clone()).await.expect("created").into_inner().session;
    let (id, other) = (session().await.expect("one").session_id, session().await.expect("one").session_id);
    let played = play(&mut sessions, &id, "paint").await;
    let parts = played.contents().into_iter().find_map(|content| match content {
        Content::ToolResult(proto::ToolResult { output: Some(proto::tool_result::Output::Parts(parts)), .. }) => {
            Some(parts)
        }
        _ => None,
    });
    let parts: Vec<_> = parts.expect("parts").parts.iter().map(|part| part.part.clone().expect("a part")).collect();
    let [
        proto::content_part::Part::Text(seen),
        proto::content_part::Part::Image(image),
        proto::content_part::Part::Text(lost),
    ] = &parts[..]
    else {
        panic!("{parts:?}")
    };
    assert_eq!((seen.as_str(), lost.contains("not kept")), ("seen", true));
    let sha256 = format!("{:x}", Sha256::digest(&picture));
    assert_eq!((&image.sha256, image.size_bytes, image.media_type.as_str()), (&sha256, 700_000, "image/png"));
    assert!(image.data.is_empty(), "bytes are never sent in a block");
    for offset in [0, 1, 262_144, 262_145, 699_999, 700_000] {
        let read = blob(&mut sessions, &id, &sha256, offset).await.expect("read");
        assert!(read == picture[usize::try_from(offset).expect("small")..], "from {offset}");
    }
    let beyond = blob(&mut sessions, &id, &sha256, 700_001).await.expect_err("beyond the end");
    assert_eq!((reason(&beyond).as_str(), fields(&beyond)), ("INVALID_FIELD", vec!["offset".to_owned()]));
    for (id, sha256) in [(&other, sha256.clone()), (&id, format!("{:x}", Sha256::digest(b"other")))] {
        let missing = blob(&mut sessions, id, &sha256, 0).await.expect_err("not its own");
        assert_eq!((missing.code(), reason(&missing).as_str()), (Code::NotFound, "BLOB_NOT_FOUND"));
    }
}

//! What the client can do, against a real server.

use std::{io, time::Duration};

use agent_runtime::{
    client::{Client, Code, Target},
    proto::{
        self, CreateSessionRequest, FileContent, ListBlocksRequest, ListFilesRequest, ListSessionsRequest,
        ReadFileRequest, ResolvePermissionRequest, RunTurnRequest, UploadFileHeader, WatchSessionRequest,
        session_event::Kind,
    },
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::support::Server;

/// A client of the server.
pub(crate) async fn client(server: &Server) -> Client {
    at(&server.addr, server).await
}

/// A client of the server by another way.
pub(crate) async fn at(addr: &str, server: &Server) -> Client {
    let target = Target { addr: addr.to_owned(), key: server.key.clone() };
    Client::connect(target).await.expect("the server answers")
}

/// The text of so many numbered deltas of 20 bytes.
pub(crate) fn numbers(last: u32) -> String {
    (1..=last).fold(String::new(), |text, number| text + &format!("{number:019} "))
}

#[tokio::test]
async fn a_session_answers_and_shows_its_files() {
    let server = Server::start();
    let client = client(&server).await;
    let request = CreateSessionRequest {
        agent: "scripted".to_owned(),
        labels: [("test".to_owned(), "answers".to_owned())].into(),
        workspace_files: vec![FileContent { path: "a.txt".into(), content: "hi".into(), ..FileContent::default() }],
        ..CreateSessionRequest::default()
    };
    let session_id = client.create_session(request).await.unwrap().session.unwrap().session_id;
    let script = r#"[{"think": "Easy."}, {"say": "One, ", "size": 2}, {"run": "echo hello > b.txt"}, {"say": "two."}]"#;
    let mut ids: Vec<String> = Vec::new();
    let mut blocks = client.run(&session_id, script);
    while let Some(block) = blocks.try_next().await.unwrap() {
        if !ids.contains(&block.block_id) {
            ids.push(block.block_id);
        }
    }
    // In pages, of which there are three.
    let request = ListBlocksRequest { session_id: session_id.clone(), page_size: 2, ..ListBlocksRequest::default() };
    let listed: Vec<_> = client.blocks(request).map_ok(|block| block.block_id).try_collect().await.unwrap();
    assert_eq!((listed.len(), &listed), (6, &ids));
    let request = ListFilesRequest { session_id: session_id.clone(), ..ListFilesRequest::default() };
    let files: Vec<_> = client.files(request).map_ok(|file| file.path).try_collect().await.unwrap();
    assert_eq!(files, ["a.txt", "b.txt"]);
    assert_eq!(client.ask(&session_id, r#"[{"say": "Grüße"}, {"say": "😀"}]"#).await.unwrap(), "Grüße\n\n😀");
    let labels = [("test".to_owned(), "answers".to_owned())].into();
    let request = ListSessionsRequest { labels, ..ListSessionsRequest::default() };
    let sessions: Vec<_> = client.sessions(request).map_ok(|session| session.session_id).try_collect().await.unwrap();
    assert_eq!(sessions, [session_id.as_str()]);

    // More than a block shows.
    let long = client.ask(&session_id, r#"{"count": 20000, "size": 20}"#).await.unwrap();
    assert!(long == numbers(20_000), "{} bytes came", long.len());

    let failed = client.ask(&session_id, r#"{"error": "no luck"}"#).await.unwrap_err();
    assert_eq!((failed.code, failed.reason.as_str()), (Code::Aborted, "AGENT_FAILED"));
    assert!(failed.message.contains("no luck"), "{failed}");
}

#[tokio::test]
async fn files_go_up_and_down() {
    let server = Server::start();
    let client = client(&server).await;
    let session_id = client.create("scripted").await.unwrap().session_id;
    let big: Bytes = (0..=3_u32 << 20).map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    let header =
        |path: &str| UploadFileHeader { session_id: session_id.clone(), path: path.into(), ..Default::default() };
    let pieces = || stream::iter([Ok(big.slice(..100)), Ok(big.slice(100..))]);
    let uploaded = client.upload_file(header("dir/big"), pieces).await.unwrap().file.unwrap();
    let read = |path: &str| ReadFileRequest { session_id: session_id.clone(), path: path.into(), ..Default::default() };
    let (file, bytes) = client.read_file(read("dir/big")).await.unwrap();
    let bytes: Vec<Bytes> = bytes.try_collect().await.unwrap();
    assert!(bytes.concat() == big, "what came back is not what was sent");
    assert_eq!(file.sha256, uploaded.sha256);

    let stale = UploadFileHeader { if_sha256: "-".into(), ..header("dir/big") };
    let other = || stream::iter([Ok(big.slice(1..))]);
    assert_eq!(client.upload_file(stale, other).await.unwrap_err().reason, "ETAG_MISMATCH");
    let broken = || stream::iter([Ok(big.clone()), Err(io::Error::other("the disk is gone"))]);
    let failed = client.upload_file(header("broken"), broken).await.unwrap_err();
    assert!(failed.message.contains("the disk is gone"), "{failed}");
    let missing = client.read_file(read("broken")).await.err().expect("half a file is there");
    assert_eq!(missing.reason, "FILE_NOT_FOUND");
}

#[tokio::test]
async fn a_permission_is_asked_for_and_given_once() {
    let server = Server::start();
    let client = client(&server).await;
    let session_id = client.create("scripted").await.unwrap().session_id;
    let text = r#"{"ask": {"tool": "Bash", "input": {"command": "ls"}}, "then": [{"say": "It ran."}]}"#.to_owned();
    let mut events = client.run_turn(RunTurnRequest { session_id: session_id.clone(), text, ..Default::default() });
    let (mut asked, mut said) = (String::new(), String::new());
    while let Some(event) = events.try_next().await.unwrap() {
        match event.kind {
            Some(Kind::PermissionRequested(requested)) => {
                asked = requested.permission.unwrap().permission_id;
                client.resolve_permission(answer(&session_id, &asked, "allow_once")).await.unwrap();
            }
            Some(Kind::BlockComplete(complete)) => {
                said = agent_runtime::client::words_of(&complete.block.unwrap()).into_owned();
            }
            _ => {}
        }
    }
    assert_eq!(said, "It ran.");
    let late = client.resolve_permission(answer(&session_id, &asked, "reject_once")).await.unwrap_err();
    assert_eq!((late.reason.as_str(), late.metadata["option_id"].as_str()), ("ALREADY_RESOLVED", "allow_once"));
}

fn answer(session_id: &str, permission_id: &str, option_id: &str) -> ResolvePermissionRequest {
    ResolvePermissionRequest {
        session_id: session_id.to_owned(),
        permission_id: permission_id.to_owned(),
        option_id: option_id.to_owned(),
        ..ResolvePermissionRequest::default()
    }
}

#[tokio::test]
async fn what_is_refused_says_why_and_is_not_tried_again() {
    let server = Server::start();
    for (key, reason) in [("", "AUTH_MISSING"), ("art_wrong", "AUTH_INVALID")] {
        let target = Target { addr: server.addr.clone(), key: key.to_owned() };
        let stranger = Client::connect(target).await.unwrap();
        let call = stranger.create("scripted").await.unwrap_err();
        let stream = stranger.watch("ses_1", Some(0)).next().await.unwrap().unwrap_err();
        for refused in [call, stream] {
            assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated, reason));
            assert!(!refused.is_transient());
        }
    }
    let client = client(&server).await;
    let request = CreateSessionRequest { name: "x".repeat(201), agent: "scripted".into(), ..Default::default() };
    let bad = client.create_session(request).await.unwrap_err();
    assert_eq!((bad.reason.as_str(), bad.field_violations[0].field.as_str()), ("INVALID_FIELD", "name"));
    assert!(bad.to_string().contains("\n  name: "), "{bad}");
    let missing = client.get_session(proto::GetSessionRequest { session_id: "ses_nowhere".into() }).await.unwrap_err();
    assert_eq!(
        (missing.reason.as_str(), missing.metadata["session_id"].as_str()),
        ("SESSION_NOT_FOUND", "ses_nowhere")
    );
    let session_id = client.create("scripted").await.unwrap().session_id;
    let ahead = client.watch(&session_id, Some(1000)).next().await.unwrap().unwrap_err();
    assert_eq!(ahead.reason, "SEQUENCE_AHEAD");
    // A cursor of another log means nothing here: a snapshot comes.
    let mut events = client.watch_session(WatchSessionRequest {
        session_id,
        after_sequence: Some(1),
        expected_uid: "another-log".into(),
        ..WatchSessionRequest::default()
    });
    let first = events.next().await.unwrap().unwrap();
    assert!(matches!(first.kind, Some(Kind::SnapshotStart(_))), "{first:?}");
}

#[tokio::test]
async fn a_deadline_is_kept_over_all_attempts() {
    let server = Server::start();
    let client = client(&server).await;
    let session = client.create("scripted").await.unwrap();
    server.signal(rustix::process::Signal::STOP);
    let hurried = client.within(Duration::from_millis(300));
    let read = hurried.get_session(proto::GetSessionRequest { session_id: session.session_id.clone() }).await;
    let written = hurried.create("scripted").await;
    server.signal(rustix::process::Signal::CONT);
    for late in [read.expect_err("a server that stands still"), written.expect_err("the same")] {
        assert_eq!(late.code, Code::DeadlineExceeded, "{late}");
    }
    // The same connection goes on.
    let read = client.get_session(proto::GetSessionRequest { session_id: session.session_id.clone() }).await.unwrap();
    assert_eq!(read.session.unwrap().session_id, session.session_id);
}

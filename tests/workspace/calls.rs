//! Calls that read and change files, with and without an agent.

use agent_runtime::client::Code;
use agent_runtime::{
    client::{Client, Target},
    proto::{self, ArchiveFormat, FileChangeKind, FileChangeOrigin, FileContent, SandboxStatus, session_event::Kind},
};
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use serde_json::json;

use crate::{
    disk,
    support::{Server, get, last_turn, play, run, scripted, send, snapshot, stop, until_end_of, watch},
};

async fn client(server: &Server) -> Client {
    let target = Target { addr: format!("http://{}", server.addr), key: server.key.clone() };
    Client::connect(target).await.expect("connected")
}

fn file(path: &str, content: &[u8]) -> FileContent {
    FileContent { path: path.into(), content: Bytes::copy_from_slice(content), mode: 0 }
}

fn write(session_id: &str, path: &str, content: &[u8]) -> proto::WriteFileRequest {
    proto::WriteFileRequest { session_id: session_id.into(), file: Some(file(path, content)), ..Default::default() }
}

async fn read(client: &Client, session_id: &str, path: &str) -> Vec<u8> {
    let request = proto::ReadFileRequest { session_id: session_id.into(), path: path.into(), offset: 0, limit: 0 };
    let (_, bytes) = client.read_file(request).await.expect("readable");
    bytes
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
        .expect("bytes")
}

async fn paths(client: &Client, session_id: &str) -> Vec<String> {
    let request = proto::ListFilesRequest { session_id: session_id.into(), ..Default::default() };
    let listed = client.list_files(request).await.expect("listed");
    listed.files.into_iter().map(|file| file.path).collect()
}

fn upload(session_id: &str, path: &str) -> proto::UploadFileHeader {
    proto::UploadFileHeader { session_id: session_id.into(), path: path.into(), ..Default::default() }
}

fn whole(bytes: &[u8]) -> impl Fn() -> stream::Iter<std::vec::IntoIter<std::io::Result<Bytes>>> + use<> {
    let bytes = Bytes::copy_from_slice(bytes);
    move || stream::iter(vec![Ok(bytes.clone())])
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_written_read_listed_and_deleted() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let client = client(&server).await;
    let id = scripted(&mut sessions).await.session_id;

    // Before the first message, so without a sandbox.
    let written = client.write_file(write(&id, "src/a.txt", b"one")).await.expect("written").file.expect("a file");
    assert_eq!((written.path.as_str(), written.size_bytes, written.mode), ("src/a.txt", 3, 0o644));
    assert_eq!(written.sha256, disk::hash(b"one"));
    assert_eq!(read(&client, &id, "src/a.txt").await, b"one");
    client.write_file(write(&id, "b", b"")).await.expect("written");
    assert_eq!(paths(&client, &id).await, ["b", "src/a.txt"]);
    let sandbox = get(&mut sessions, &id).await.sandbox.expect("one was made");
    assert_eq!((sandbox.status(), sandbox.generation), (SandboxStatus::Ready, 1));

    // The agent finds them, and what it makes can be read.
    let played = play(&mut sessions, &id, &json!([{"run": "cat src/a.txt; echo two >c; rm b"}]).to_string()).await;
    assert_eq!(
        disk::told(&played.state),
        disk::things(&disk::sandbox(&server, &get(&mut sessions, &id).await).join("workspace"), false)
    );
    assert_eq!(paths(&client, &id).await, ["c", "src/a.txt"]);
    assert_eq!(read(&client, &id, "c").await, b"two\n");

    // Whoever watches is told, and by whom.
    let (_, head) = snapshot(&mut sessions, &id).await;
    let mut stream = watch(&mut sessions, &id, Some(head)).await.expect("a watch");
    let delete = proto::DeleteFileRequest { session_id: id.clone(), path: "c".into(), ..Default::default() };
    client.delete_file(delete.clone()).await.expect("deleted");
    let events = crate::support::until(&mut stream, |event| matches!(event.kind, Some(Kind::FilesChanged(_)))).await;
    let last = events.last().expect("an event");
    assert_eq!(last.actor.as_ref().expect("who").subject, "local");
    let Some(Kind::FilesChanged(changed)) = &last.kind else { panic!("{last:?}") };
    let [change] = &changed.changes[..] else { panic!("{changed:?}") };
    assert_eq!((change.kind(), change.origin()), (FileChangeKind::Deleted, FileChangeOrigin::Client));
    assert_eq!(paths(&client, &id).await, ["src/a.txt"]);
    let refused = client.delete_file(delete).await.expect_err("gone");
    assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, "FILE_NOT_FOUND"));
    let mut folder = write(&id, "src", b"x");
    folder.session_id.clone_from(&id);
    let refused = client.write_file(folder).await.expect_err("a folder is there");
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "WORKSPACE_PATH"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_only_changed_if_it_is_as_expected() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let client = client(&server).await;
    let id = scripted(&mut sessions).await.session_id;
    let only = |content: &[u8], if_sha256: &str| proto::WriteFileRequest {
        if_sha256: if_sha256.to_owned(),
        ..write(&id, "a", content)
    };
    let refused = client.write_file(only(b"x", &disk::hash(b"y"))).await.expect_err("there is none");
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    client.write_file(only(b"one", "-")).await.expect("there was none");
    let refused = client.write_file(only(b"two", "-")).await.expect_err("there is one");
    assert_eq!(refused.reason, "ETAG_MISMATCH");
    client.write_file(only(b"two", &disk::hash(b"one"))).await.expect("as expected");
    let delete = |sha: &[u8]| proto::DeleteFileRequest {
        session_id: id.clone(),
        path: "a".into(),
        if_sha256: disk::hash(sha),
        ..Default::default()
    };
    // The agent changed it meanwhile, and has told nobody yet.
    run(&mut sessions, &id, &json!([{"run": "printf three >a"}]).to_string()).await;
    assert_eq!(client.delete_file(delete(b"two")).await.expect_err("another").reason, "ETAG_MISMATCH");
    let header = proto::UploadFileHeader { if_sha256: disk::hash(b"two"), ..upload(&id, "a") };
    assert_eq!(client.upload_file(header, whole(b"four")).await.expect_err("another").reason, "ETAG_MISMATCH");
    assert_eq!(read(&client, &id, "a").await, b"three");
    client.delete_file(delete(b"three")).await.expect("as expected");
    assert!(paths(&client, &id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_changes_nothing_twice() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let client = client(&server).await;
    let id = scripted(&mut sessions).await.session_id;
    let once = proto::WriteFileRequest { request_id: "write-1".into(), ..write(&id, "a", b"one") };
    let first = client.write_file(once.clone()).await.expect("written");
    client.write_file(write(&id, "a", b"two")).await.expect("written");
    assert_eq!(client.write_file(once).await.expect("answered as then"), first);
    assert_eq!(read(&client, &id, "a").await, b"two", "the repetition wrote again");
    let header = proto::UploadFileHeader { request_id: "upload-1".into(), ..upload(&id, "b") };
    client.upload_file(header.clone(), whole(b"bytes")).await.expect("uploaded");
    let other = client.upload_file(header.clone(), whole(b"other")).await.expect_err("the bytes are a part of it");
    assert_eq!(other.reason, "REQUEST_ID_REUSED");
    let delete = proto::DeleteFileRequest {
        session_id: id.clone(),
        path: "b".into(),
        request_id: "delete-1".into(),
        ..Default::default()
    };
    client.delete_file(delete.clone()).await.expect("deleted");
    client.delete_file(delete).await.expect("answered as then");
    client.upload_file(header, whole(b"bytes")).await.expect("answered as then");
    assert_eq!(paths(&client, &id).await, ["a"], "the repetition uploaded again");
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        // Also what the library itself would refuse.
        let name = header.as_gnu_mut().expect("gnu");
        name.name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).expect("packed");
    }
    builder.into_inner().expect("packed")
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_and_archives_are_uploaded() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let client = client(&server).await;
    let id = scripted(&mut sessions).await.session_id;
    let large: Vec<u8> = (0..5_000_000_u32).flat_map(|n| n.to_le_bytes()[..1].to_vec()).collect();
    let header = proto::UploadFileHeader { mode: 0o755, ..upload(&id, "bin/large") };
    let uploaded = client.upload_file(header, whole(&large)).await.expect("uploaded");
    let file = uploaded.file.expect("a file");
    assert_eq!((file.size_bytes, file.mode, file.sha256), (5_000_000, 0o755, disk::hash(&large)));
    assert!(read(&client, &id, "bin/large").await == large);

    let unpack = |path: &str| proto::UploadFileHeader { unpack: ArchiveFormat::Tar as i32, ..upload(&id, path) };
    let packed = archive(&[("a.txt", b"one"), ("deep/b.txt", b"two")]);
    let unpacked = client.upload_file(unpack("lib"), whole(&packed)).await.expect("unpacked");
    assert_eq!((unpacked.file, unpacked.file_count), (None, 2));
    assert_eq!(paths(&client, &id).await, ["bin/large", "lib/a.txt", "lib/deep/b.txt"]);
    for bad in [archive(&[("ok", b"x"), ("../out", b"x")]), archive(&[("/etc/x", b"x")]), b"no archive at all".to_vec()]
    {
        let refused = client.upload_file(unpack(""), whole(&bad)).await.expect_err("refused");
        assert_eq!(refused.code, Code::InvalidArgument, "{refused:?}");
    }
    assert_eq!(paths(&client, &id).await, ["bin/large", "lib/a.txt", "lib/deep/b.txt"], "all of it or nothing");
}

/// Whichever comes first: the sandbox is made ready once, the agent is given its message, and the file is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_and_a_file_at_the_same_moment_both_take_effect() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let client = client(&server).await;
    for round in 0..16 {
        let id = scripted(&mut sessions).await.session_id;
        if round % 2 == 0 {
            run(&mut sessions, &id, &json!([{"say": "first"}]).to_string()).await;
            stop(&mut sessions, &id).await;
        }
        let mut other = sessions.clone();
        let text = json!([{"say": "second"}]).to_string();
        let (sent, written) = tokio::join!(send(&mut other, &id, &text), client.write_file(write(&id, "a", b"one")));
        let (turn, sequence) = sent.expect("accepted");
        written.expect("written");
        let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
        let events = until_end_of(&mut stream, &turn.turn_id).await;
        assert_eq!(last_turn(&events).status(), proto::TurnStatus::Completed, "round {round}");
        assert_eq!(paths(&client, &id).await, ["a"], "round {round}");
    }
}

/// An agent that cannot be started takes nothing else with it.
#[tokio::test(flavor = "multi_thread")]
async fn files_can_be_written_where_no_agent_can_be_started() {
    let server = Server::start_with(&["--claude-code", "/no/such/program"], &[]);
    let mut sessions = server.sessions().await;
    let client = client(&server).await;
    for round in 0..8 {
        let request = proto::CreateSessionRequest { agent: "claude-code".into(), ..Default::default() };
        let created = sessions.create_session(request).await.expect("created").into_inner();
        let id = created.session.expect("a session").session_id;
        let mut other = sessions.clone();
        let (sent, written) = tokio::join!(send(&mut other, &id, "hello"), client.write_file(write(&id, "a", b"one")));
        let (turn, sequence) = sent.expect("accepted");
        let mut stream = watch(&mut sessions, &id, Some(sequence)).await.expect("a watch");
        let events = until_end_of(&mut stream, &turn.turn_id).await;
        assert_eq!(last_turn(&events).status(), proto::TurnStatus::Failed, "round {round}");
        if let Err(refused) = written {
            assert_eq!(refused.reason, "AGENT_UNAVAILABLE", "round {round}: {refused:?}");
        }
        client.write_file(write(&id, "b", b"two")).await.expect("written");
        assert_eq!(read(&client, &id, "b").await, b"two", "round {round}");
    }
}

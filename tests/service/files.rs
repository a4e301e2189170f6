//! The files of a workspace over the real server: listed, and read. What an agent wrote is put into the database by hand,
//! while no server has it.

use std::{collections::BTreeMap, path::Path};

use agent_runtime::{
    client::{Client, Target},
    domain::{
        ConversationId, Event, FileChange, FileChangeKind, FileChangeOrigin, FileType, Kind, SessionId, SessionKey,
        TenantId, Timestamp, WorkspaceFile,
    },
    proto,
    store::{Batch, Beside, BlobPiece, SqliteStore, Store as _, parts_of},
};
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{Server, Workspace, fields, reason, scripted};

/// Longer than a piece on the wire, and than one of an upload.
const LONG: usize = (1 << 20) + 12_345;

fn sha256(data: &[u8]) -> String {
    format!("{:x}", Sha256::digest(data))
}

fn entry(path: &str, file_type: FileType, data: &[u8]) -> WorkspaceFile {
    let is_file = matches!(file_type, FileType::File);
    WorkspaceFile {
        path: path.into(),
        file_type,
        size_bytes: i64::try_from(data.len()).expect("small"),
        sha256: if is_file { sha256(data) } else { String::new() },
        mode: 0o640,
        modify_time: Some(Timestamp(5)),
        symlink_target: if matches!(file_type, FileType::Symlink) { "no/where".into() } else { String::new() },
    }
}

/// Files as an agent made them, and their bytes: put ahead, then named by the event that tells of them.
async fn write(data: &Path, session: &str, files: &[WorkspaceFile], contents: &[Vec<u8>]) {
    let store = SqliteStore::open(&data.join("agent-runtime.db")).await.expect("nobody has it");
    let key = SessionKey { tenant: TenantId::default_tenant(), session: SessionId::new(session) };
    for content in contents {
        let pieces: Vec<BlobPiece> = (0..content.len().max(1))
            .step_by(200_000)
            .map(|at| BlobPiece {
                sha256: sha256(content),
                size: content.len() as u64,
                offset: at as u64,
                data: content[at..content.len().min(at + 200_000)].to_vec(),
            })
            .collect();
        store.put_blobs(&key.tenant, "test", &pieces).await.expect("kept");
    }
    let mut acquired = store.acquire(&key).await.expect("it answers").expect("a session");
    let head = acquired.open.session.sequence;
    let change = |file: &WorkspaceFile| FileChange {
        kind: FileChangeKind::Created,
        file: file.clone(),
        previous_path: String::new(),
        origin: FileChangeOrigin::Agent,
    };
    let event = Event {
        sequence: head + 1,
        first_sequence: head + 1,
        conversation_id: ConversationId::none(),
        time: Timestamp::now(),
        actor: None,
        kind: Kind::FilesChanged { changes: files.iter().map(change).collect(), more: false },
    };
    let changes = [acquired.open.apply(&event)];
    let (record, parts) = parts_of(&acquired.open, &changes);
    let names = contents.iter().map(|content| sha256(content)).collect();
    let beside = Beside { names, ..Beside::default() };
    let batch = Batch { events: vec![event], record, parts, beside, ..Batch::new(key, acquired.epoch, head) };
    store.append(&[batch]).await.expect("stored").remove(0).expect("it fits");
    store.close().await;
}

/// A server whose one session has these files.
async fn with_files(files: &[WorkspaceFile], contents: &[Vec<u8>]) -> (tempfile::TempDir, Server, String) {
    let server = Server::start();
    let id = scripted(&mut server.sessions().await).await.session_id;
    let data = server.kill().expect("its own folder");
    write(data.path(), &id, files, contents).await;
    let server = Server::start_on(data.path(), &[]);
    (data, server, id)
}

async fn list(
    workspace: &mut Workspace,
    id: &str,
    prefix: &str,
    page_size: i32,
) -> Result<Vec<proto::WorkspaceFile>, Status> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListFilesRequest { session_id: id.into(), prefix: prefix.into(), page_size, page_token };
        let page = workspace.list_files(request).await?.into_inner();
        assert!(page.files.len() <= usize::try_from(page_size).expect("a size"));
        all.extend(page.files);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

fn read(id: &str, path: &str, offset: usize, limit: usize) -> proto::ReadFileRequest {
    let number = |number: usize| i64::try_from(number).expect("small");
    proto::ReadFileRequest { session_id: id.into(), path: path.into(), offset: number(offset), limit: number(limit) }
}

#[tokio::test]
async fn files_are_listed_and_read() {
    let long: Vec<u8> = (0..LONG).map(|at| u8::try_from(at % 251).expect("small")).collect();
    let contents = vec![long.clone(), b"x".to_vec(), Vec::new()];
    let mut files: Vec<WorkspaceFile> = ["src/a", "src/b", "src/b.rs", "src/z/\u{e9}", "src-old"]
        .map(|path| entry(path, FileType::File, b"x"))
        .into_iter()
        .chain([
            entry("long", FileType::File, &long),
            entry("empty", FileType::File, b""),
            entry("src/link", FileType::Symlink, b""),
            entry("src/folder", FileType::Directory, b""),
        ])
        .collect();
    let (_data, server, id) = with_files(&files, &contents).await;
    let mut workspace = server.workspace().await;
    files.sort_by(|one, other| one.path.as_bytes().cmp(other.path.as_bytes()));
    let all: Vec<proto::WorkspaceFile> = files.iter().cloned().map(Into::into).collect();
    for size in [1, 2, 4, 1000] {
        assert_eq!(list(&mut workspace, &id, "", size).await.expect("pages"), all);
        let below = all.iter().filter(|file| file.path.starts_with("src/")).cloned().collect::<Vec<_>>();
        assert_eq!(list(&mut workspace, &id, "src", size).await.expect("pages"), below);
    }
    assert_eq!(list(&mut workspace, &id, "long", 10).await.expect("pages"), []);

    let client =
        Client::connect(Target { addr: server.addr.clone(), key: server.key.clone() }).await.expect("it answers");
    let by_path: BTreeMap<&str, &proto::WorkspaceFile> = all.iter().map(|file| (file.path.as_str(), file)).collect();
    let cases = [
        ("long", 0, 0, &long[..]),
        ("long", 5, 0, &long[5..]),
        ("long", 300_000, 600_000, &long[300_000..900_000]),
        ("long", LONG - 3, 1000, &long[LONG - 3..]),
        ("long", LONG, 1, b""),
        ("long", 0, 1, &long[..1]),
        ("src/a", 0, 0, b"x"),
        ("empty", 0, 0, b""),
        ("src/link", 0, 0, b""),
        ("src/folder", 0, 7, b""),
    ];
    for (path, offset, limit, expected) in cases {
        let (file, bytes) = client.read_file(read(&id, path, offset, limit)).await.expect("a file");
        assert_eq!(&file, by_path[path]);
        let pieces: Vec<bytes::Bytes> = bytes.try_collect().await.expect("all of it");
        assert!(pieces.iter().all(|piece| (1..=256 << 10).contains(&piece.len())), "{path}");
        assert!(pieces.concat() == expected, "{path} from {offset}, {limit} bytes");
    }
    let beyond = workspace.read_file(read(&id, "long", LONG + 1, 0)).await.expect_err("beyond the end");
    assert_eq!((beyond.code(), fields(&beyond)), (Code::InvalidArgument, vec!["offset".to_owned()]));
}

#[tokio::test]
async fn what_is_no_file_of_the_workspace_is_refused() {
    let lost = entry("lost", FileType::File, b"never kept");
    let (_data, server, id) = with_files(&[entry("a", FileType::File, b"x"), lost.clone()], &[b"x".to_vec()]).await;
    let mut workspace = server.workspace().await;
    for path in ["b", "a/b", "A", "a\n"] {
        let refused = workspace.read_file(read(&id, path, 0, 0)).await.expect_err("no such file");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "FILE_NOT_FOUND"), "{path:?}");
        assert_eq!(refused.get_details_error_info().expect("details").metadata["path"], path);
    }
    for (path, rule) in [("../a", "no .. part"), ("/a", "relative to the workspace, without a leading /")] {
        let refused = workspace.read_file(read(&id, path, 0, 0)).await.expect_err("no such path");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "WORKSPACE_PATH"));
        assert_eq!(fields(&refused), ["path"]);
        let metadata = refused.get_details_error_info().expect("details").metadata;
        assert_eq!((metadata["path"].as_str(), metadata["rule"].as_str()), (path, rule));
        assert_eq!(reason(&list(&mut workspace, &id, path, 10).await.expect_err("no such folder")), "WORKSPACE_PATH");
    }
    let refused = workspace.read_file(read(&id, "lost", 0, 0)).await.expect_err("its bytes are not there");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "BLOB_NOT_FOUND"));
    assert_eq!(refused.get_details_error_info().expect("details").metadata["sha256"], lost.sha256);

    let refused = list(&mut workspace, "ses_none", "", 10).await.expect_err("no such session");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "SESSION_NOT_FOUND"));
    let refused = workspace.read_file(read("ses_none", "a", 0, 0)).await.expect_err("no such session");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "SESSION_NOT_FOUND"));
}

/// What can be refused is refused before all of it came.
#[tokio::test]
async fn an_upload_is_refused_as_early_as_it_can_be() {
    use proto::upload_file_request::Payload;
    let server = Server::start();
    let id = scripted(&mut server.sessions().await).await.session_id;
    let mut workspace = server.workspace().await;
    let header = |session: &str, path: &str| {
        let (session_id, path) = (session.to_owned(), path.to_owned());
        Payload::Header(proto::UploadFileHeader { session_id, path, ..Default::default() })
    };
    let data = |length: usize| Payload::Data(vec![0; length].into());
    let cases = [
        (vec![], Code::InvalidArgument, "INVALID_FIELD"),
        (vec![data(1)], Code::InvalidArgument, "INVALID_FIELD"),
        (vec![header("ses_none", "a")], Code::NotFound, "SESSION_NOT_FOUND"),
        (vec![header(&id, "../a")], Code::InvalidArgument, "WORKSPACE_PATH"),
        (vec![header(&id, "a"), header(&id, "a")], Code::InvalidArgument, "INVALID_FIELD"),
        (vec![header(&id, "a"), data(1 << 20), data((1 << 20) + 1)], Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
    ];
    for (payloads, code, why) in cases {
        let ends = payloads.is_empty();
        let requests = payloads.into_iter().map(|payload| proto::UploadFileRequest { payload: Some(payload) });
        // The caller would go on for ever.
        let requests = futures::stream::iter(requests.collect::<Vec<_>>());
        let rest: futures::stream::BoxStream<'static, _> =
            if ends { Box::pin(futures::stream::empty()) } else { Box::pin(futures::stream::pending()) };
        let refused = workspace.upload_file(futures::StreamExt::chain(requests, rest)).await.expect_err(why);
        assert_eq!((refused.code(), reason(&refused).as_str()), (code, why));
    }
}

/// The command line lists and reads them too.
#[tokio::test]
async fn the_command_line_lists_and_reads_files() {
    let data = b"line\n\x00\xff".to_vec();
    let files = [entry("src/a", FileType::File, &data), entry("l\u{1b}[2Jk", FileType::Symlink, b"")];
    let (folder, _server, id) = with_files(&files, std::slice::from_ref(&data)).await;
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agent-runtime"));
        command.arg("--data").arg(folder.path()).args(args).output().expect("it runs")
    };
    let listed = run(&["files", "list", &id]);
    let text = String::from_utf8(listed.stdout).expect("text");
    assert_eq!(text, "MODE  SIZE     PATH\n640   symlink  lk -> no/where\n640   7        src/a\n");
    assert_eq!(run(&["files", "get", &id, "src/a"]).stdout, data);
    let copy = folder.path().join("copy");
    let saved = run(&["files", "get", &id, "src/a", "-o", copy.to_str().expect("text")]);
    assert!(saved.status.success());
    assert_eq!(std::fs::read(&copy).expect("written"), data);
    let missing = run(&["files", "get", &id, "src/b", "-o", copy.to_str().expect("text")]);
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("FILE_NOT_FOUND"), "{missing:?}");
    assert_eq!(std::fs::read(&copy).expect("still there"), data);
}

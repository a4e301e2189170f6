//! Where a workspace starts from: files of the call, an archive, a folder of the server's machine, a repository.

use std::{fs, path::Path, process::Command};

use agent_runtime::proto::{
    self, ArchiveFormat, ArchiveSource, CreateSessionRequest, FileChangeOrigin, FileContent, GitSource, SandboxStatus,
    WorkspaceSource, session_event::Kind, workspace_source::Source,
};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
};
use bytes::Bytes;
use serde_json::json;
use tonic::Code;

use crate::{
    disk,
    support::{Server, Sessions, get, play, reason, snapshot, until, watch},
};

async fn create(sessions: &mut Sessions, request: CreateSessionRequest) -> String {
    let request = CreateSessionRequest { agent: "scripted".into(), ..request };
    sessions.create_session(request).await.expect("created").into_inner().session.expect("a session").session_id
}

fn from(source: Source) -> WorkspaceSource {
    WorkspaceSource { source: Some(source) }
}

fn file(path: &str, content: &'static [u8]) -> FileContent {
    FileContent { path: path.into(), content: Bytes::from_static(content), mode: 0o600 }
}

/// The workspace after a first turn, as it is told and as it is: the same.
async fn begun(server: &Server, sessions: &mut Sessions, id: &str) -> Vec<String> {
    let played = play(sessions, id, &json!([{"run": "true"}]).to_string()).await;
    let root = disk::sandbox(server, &get(sessions, id).await).join("workspace");
    assert_eq!(disk::told(&played.state), disk::things(&root, false));
    let told = played.events.iter().filter_map(|event| match &event.kind {
        Some(Kind::FilesChanged(changed)) => Some(&changed.changes),
        _ => None,
    });
    assert!(told.flatten().all(|change| change.origin() == FileChangeOrigin::Client));
    played.state.files.into_iter().map(|file| file.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_call_lie_over_an_archive() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in [("a", &b"archive"[..]), ("b", b"archive")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, content).expect("packed");
    }
    let data = Bytes::from(builder.into_inner().expect("packed"));
    let request = CreateSessionRequest {
        workspace_source: Some(from(Source::Archive(ArchiveSource { format: ArchiveFormat::Tar as i32, data }))),
        workspace_files: vec![file("b", b"call"), file("c/d", b"call")],
        ..Default::default()
    };
    let id = create(&mut sessions, request).await;
    assert_eq!(begun(&server, &mut sessions, &id).await, ["a", "b", "c/d"]);
    let root = disk::sandbox(&server, &get(&mut sessions, &id).await).join("workspace");
    assert_eq!(fs::read(root.join("b")).expect("there"), b"call");
    // The same again when the sandbox goes before anything was done in it.
    fs::remove_dir_all(root.parent().expect("a folder")).expect("removed");
    crate::support::stop(&mut sessions, &id).await;
    assert_eq!(begun(&server, &mut sessions, &id).await, ["a", "b", "c/d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_copied_if_the_server_allows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = folder.path().join("project");
    fs::create_dir_all(project.join("src")).expect("made");
    fs::write(project.join("src/main.rs"), "fn main() {}").expect("written");
    let server = Server::start_with(&["--workspace-root", folder.path().to_str().expect("plain")], &[]);
    let mut sessions = server.sessions().await;
    let of = |path: &Path| CreateSessionRequest {
        agent: "scripted".into(),
        workspace_source: Some(from(Source::Directory(path.to_str().expect("plain").into()))),
        ..Default::default()
    };
    let id = create(&mut sessions, of(&project)).await;
    assert_eq!(begun(&server, &mut sessions, &id).await, ["src/main.rs"]);
    for outside in [Path::new("/etc"), server.data(), &folder.path().join("nothing")] {
        let refused = sessions.create_session(of(outside)).await.expect_err("refused");
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::InvalidArgument, "INVALID_FIELD"),
            "{outside:?}"
        );
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let done = Command::new("git").arg("-C").arg(folder).args(arguments).output().expect("git");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Serves a folder as files.
async fn serve(folder: &Path) -> String {
    async fn give(State(folder): State<std::path::PathBuf>, uri: Uri) -> Result<Vec<u8>, StatusCode> {
        fs::read(folder.join(uri.path().trim_start_matches('/'))).map_err(|_| StatusCode::NOT_FOUND)
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().fallback(give).with_state(folder.to_owned());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = listener.into_std().expect("a listener");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, router).await
        })
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_cloned_at_a_branch_and_comes_back_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let (work, bare) = (folder.path().join("work"), folder.path().join("served/repo.git"));
    fs::create_dir_all(&work).expect("made");
    git(&work, &["init", "-q", "-b", "main"]);
    git(&work, &["config", "user.email", "a@example.org"]);
    git(&work, &["config", "user.name", "A"]);
    fs::write(work.join("README"), "first").expect("written");
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-qm", "one"]);
    git(&work, &["checkout", "-qb", "topic"]);
    fs::write(work.join("more"), "second").expect("written");
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-qm", "two"]);
    git(folder.path(), &["clone", "-q", "--bare", "work", "served/repo.git"]);
    git(&bare, &["update-server-info"]);
    let url = serve(&folder.path().join("served")).await + "/repo.git";
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let source = GitSource { url: url.clone(), r#ref: "topic".into(), depth: 0 };
    let request = CreateSessionRequest { workspace_source: Some(from(Source::Git(source))), ..Default::default() };
    let id = create(&mut sessions, request).await;
    assert_eq!(begun(&server, &mut sessions, &id).await, ["README", "more"]);
    let root = disk::sandbox(&server, &get(&mut sessions, &id).await).join("workspace");
    assert!(root.join(".git").is_dir());

    // What cannot be cloned fails the turn, with what git says.
    let source = GitSource { url: url.replace("repo", "none"), ..Default::default() };
    let request = CreateSessionRequest { workspace_source: Some(from(Source::Git(source))), ..Default::default() };
    let id = create(&mut sessions, request).await;
    let failed = play(&mut sessions, &id, "hello").await;
    assert_eq!(failed.turn.status(), proto::TurnStatus::Failed);
    let error = failed.turn.error.expect("an error");
    assert!(error.message.contains("none.git"), "{error:?}");
    for bad in ["ftp://example.org/x", "https://user:secret@example.org/x", "http://example.org/x", "-x", ""] {
        let source = GitSource { url: bad.into(), ..Default::default() };
        let request = CreateSessionRequest {
            agent: "scripted".into(),
            workspace_source: Some(from(Source::Git(source))),
            ..Default::default()
        };
        let refused = sessions.create_session(request).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_started_without_a_message() {
    let server = Server::start();
    let mut sessions = server.sessions().await;
    let request =
        CreateSessionRequest { start_sandbox: true, workspace_files: vec![file("a", b"one")], ..Default::default() };
    let id = create(&mut sessions, request).await;
    let mut stream = watch(&mut sessions, &id, Some(0)).await.expect("a watch");
    until(&mut stream, |event| matches!(event.kind, Some(Kind::FilesChanged(_)))).await;
    let (state, _) = snapshot(&mut sessions, &id).await;
    assert_eq!(state.files.len(), 1);
    let sandbox = state.session.expect("a session").sandbox.expect("a sandbox");
    assert_eq!((sandbox.status(), sandbox.generation), (SandboxStatus::Ready, 1));
    assert_eq!(begun(&server, &mut sessions, &id).await, ["a"]);
}

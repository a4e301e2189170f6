//! Requests about files, and what a session's workspace starts with.

use agent_runtime::{
    domain::{
        ArchiveFormat, Failure, FileType, Reason, SeedFile, SessionId, WorkspaceFile, WorkspacePath, WorkspaceSource,
    },
    grpc::validate::{
        self, MAX_SOURCE_ARCHIVE, MAX_UPLOAD, MAX_UPLOAD_PIECE, MAX_WORKSPACE_FILES, MAX_WRITE_FILE, Uploaded,
    },
    proto::{self, upload_file_request::Payload, workspace_source::Source},
    session::{Content, Expected, NewSession},
    store::{FilePage, FileQuery},
};

use crate::{creation, fields, refused};

/// The SHA-256 of "x".
const X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

/// The one field whose path is refused, and the rule.
#[track_caller]
fn refused_path<T: std::fmt::Debug>(result: Result<T, Failure>, field: &str, rule: &str) {
    let failure = result.unwrap_err();
    assert_eq!((failure.reason, fields(&failure)), (Reason::WorkspacePath, vec![field]), "{failure}");
    assert_eq!(failure.metadata["rule"], rule);
}

/// What is over which limit.
#[track_caller]
fn too_large<T: std::fmt::Debug>(result: Result<T, Failure>, field: &str, size: Option<u64>, limit: u64) {
    let failure = result.unwrap_err();
    assert_eq!(failure.reason, Reason::MessageTooLarge, "{failure}");
    assert_eq!(failure.metadata["field"], field);
    assert_eq!(failure.metadata.get("size_bytes").cloned(), size.map(|size| size.to_string()));
    assert_eq!(failure.metadata["limit_bytes"], limit.to_string());
}

/// Paths that no call may name, and the rule that each breaks.
fn bad_paths() -> Vec<(String, &'static str)> {
    let bad = [
        ("", "must not be empty"),
        ("/a", "relative to the workspace, without a leading /"),
        ("a//b", "no empty part"),
        ("./a", "no . part"),
        ("a/../b", "no .. part"),
        ("a\0", "no U+0000"),
    ];
    let long = ("a/".repeat(512) + "a", "at most 1024 bytes");
    let part = ("a".repeat(256), "no part of more than 255 bytes");
    bad.map(|(path, rule)| (path.to_owned(), rule)).into_iter().chain([long, part]).collect()
}

fn with_source(source: Source) -> Result<NewSession, Failure> {
    let workspace_source = Some(proto::WorkspaceSource { source: Some(source) });
    validate::create_session(proto::CreateSessionRequest { workspace_source, ..creation() })
}

fn git(url: &str, reference: &str, depth: i32) -> Result<NewSession, Failure> {
    with_source(Source::Git(proto::GitSource { url: url.into(), r#ref: reference.into(), depth }))
}

fn archive(format: proto::ArchiveFormat, data: Vec<u8>) -> Result<NewSession, Failure> {
    with_source(Source::Archive(proto::ArchiveSource { format: format.into(), data: data.into() }))
}

#[test]
fn a_workspace_starts_from_one_source() {
    let taken = git("https://example.com/a.git", "feature/x", 3).unwrap();
    let (url, reference) = ("https://example.com/a.git".to_owned(), "feature/x".to_owned());
    assert_eq!(taken.workspace, Some(WorkspaceSource::Git { url, reference, depth: 3 }));
    assert!(taken.seeds.is_empty());
    assert!(git("git@example.com:a/b.git", "", 0).is_ok());
    let taken = with_source(Source::Directory("/srv/a b".into())).unwrap();
    assert_eq!(taken.workspace, Some(WorkspaceSource::Directory { path: "/srv/a b".into() }));
    for (format, same) in [
        (proto::ArchiveFormat::Tar, ArchiveFormat::Tar),
        (proto::ArchiveFormat::TarGz, ArchiveFormat::TarGz),
        (proto::ArchiveFormat::Zip, ArchiveFormat::Zip),
    ] {
        let taken = archive(format, b"x".to_vec()).unwrap();
        assert_eq!(taken.workspace, Some(WorkspaceSource::Archive { format: same, sha256: X.into() }));
        assert_eq!((taken.seeds[0].sha256.as_str(), taken.seeds[0].data.as_slice()), (X, &b"x"[..]));
    }
    assert!(archive(proto::ArchiveFormat::Zip, vec![0; MAX_SOURCE_ARCHIVE]).is_ok());
}

#[test]
fn a_source_has_bounds() {
    for url in ["", "http://example.com/a", "https://u:p@example.com/a", "file:///etc", "--upload-pack=x", "ext::sh"] {
        refused(git(url, "", 0), "workspace_source.git.url");
    }
    for reference in ["-b", "a b", "a..b", "a:b", "a\u{7f}", "HEAD~1", "v[1]", "a\\b", &"r".repeat(256)] {
        refused(git("https://example.com/a", reference, 0), "workspace_source.git.ref");
    }
    assert!(git("https://example.com/a", &"r".repeat(255), 0).is_ok());
    refused(git("https://example.com/a", "", -1), "workspace_source.git.depth");
    for path in ["", "srv", "~/a", "/srv/../etc", "/a\nb", &format!("/{}", "a".repeat(4096))] {
        refused(with_source(Source::Directory(path.into())), "workspace_source.directory");
    }
    refused(archive(proto::ArchiveFormat::Unspecified, vec![1]), "workspace_source.archive.format");
    refused(archive(proto::ArchiveFormat::Tar, vec![]), "workspace_source.archive.data");
    let long = archive(proto::ArchiveFormat::Tar, vec![0; MAX_SOURCE_ARCHIVE + 1]);
    too_large(long, "workspace_source.archive.data", Some(MAX_SOURCE_ARCHIVE as u64 + 1), MAX_SOURCE_ARCHIVE as u64);
    let none = Some(proto::WorkspaceSource { source: None });
    refused(
        validate::create_session(proto::CreateSessionRequest { workspace_source: none, ..creation() }),
        "workspace_source",
    );
}

fn content(path: &str, content: &str, mode: u32) -> proto::FileContent {
    proto::FileContent { path: path.into(), content: content.as_bytes().to_vec().into(), mode }
}

fn with_files(workspace_files: Vec<proto::FileContent>) -> Result<NewSession, Failure> {
    validate::create_session(proto::CreateSessionRequest { workspace_files, ..creation() })
}

#[test]
fn a_session_is_created_with_files() {
    let files = vec![content("a/b", "x", 0), content("a/c", "x", 0o755), content("d", "", 0o777)];
    let request = proto::CreateSessionRequest { workspace_files: files, start_sandbox: true, ..creation() };
    let taken = validate::create_session(request).unwrap();
    assert!(taken.start_sandbox);
    let file = |path: &str, sha256: &str, size, mode| SeedFile { path: path.into(), sha256: sha256.into(), size, mode };
    let empty = Content::in_memory("").sha256;
    let expected = [file("a/b", X, 1, 0o644), file("a/c", X, 1, 0o755), file("d", &empty, 0, 0o777)];
    assert_eq!(taken.seed_files, expected);
    let seeds: Vec<_> = taken.seeds.iter().map(|blob| (blob.sha256.as_str(), blob.data.as_slice())).collect();
    assert_eq!(seeds, [(X, &b"x"[..]), (empty.as_str(), b"")]);
    let none = with_files(vec![]).unwrap();
    assert!(!none.start_sandbox && none.seed_files.is_empty() && none.workspace.is_none());
}

#[test]
fn files_of_a_creation_have_bounds() {
    for (path, rule) in bad_paths().into_iter().chain([("a\tb".into(), "no control characters")]) {
        refused_path(with_files(vec![content("ok", "", 0), content(&path, "", 0)]), "workspace_files[1].path", rule);
    }
    refused(with_files(vec![content("a", "", 0o1000)]), "workspace_files[0].mode");
    refused(with_files(vec![content("a", "1", 0), content("a", "2", 0)]), "workspace_files[1].path");
    refused(with_files(vec![content("a/b/c", "", 0), content("a/b", "", 0)]), "workspace_files");
    let many = |count: usize| (0..count).map(|at| content(&format!("f{at}"), "x", 0)).collect();
    assert_eq!(with_files(many(MAX_WORKSPACE_FILES)).unwrap().seed_files.len(), MAX_WORKSPACE_FILES);
    refused(with_files(many(MAX_WORKSPACE_FILES + 1)), "workspace_files");
    let full = "x".repeat(MAX_WRITE_FILE);
    let files =
        |tail: &str| ["a", "b", "c"].map(|path| content(path, &full, 0)).into_iter().chain([content("d", tail, 0)]);
    assert!(with_files(files("").collect()).is_ok());
    too_large(with_files(files("x").collect()), "workspace_files", Some((3 << 20) + 1), 3 << 20);
    let long = with_files(vec![content("a", &(full.clone() + "x"), 0)]);
    too_large(long, "workspace_files[0].content", Some((1 << 20) + 1), 1 << 20);
    // A path beside other mistakes is one of them.
    let both = with_files(vec![content("../a", "", 0o1000)]).unwrap_err();
    assert_eq!(both.reason, Reason::InvalidField);
    assert_eq!(fields(&both), ["workspace_files[0].path", "workspace_files[0].mode"]);
}

#[test]
fn pages_of_files_follow_each_other() {
    let request = |prefix: &str, page_size, page_token: &str| proto::ListFilesRequest {
        session_id: "ses_1".into(),
        prefix: prefix.into(),
        page_size,
        page_token: page_token.into(),
    };
    let list = validate::list_files(request("src", 2, "")).unwrap();
    assert_eq!(list.session_id, SessionId::new("ses_1"));
    assert_eq!(list.query, FileQuery { prefix: "src".into(), after: None, limit: 2 });
    let file = |path: &str, size: usize| WorkspaceFile {
        path: path.into(),
        file_type: FileType::Symlink,
        size_bytes: 0,
        sha256: String::new(),
        mode: 0o777,
        modify_time: None,
        symlink_target: "t".repeat(size),
    };
    let page = list.respond(FilePage { files: vec![file("src/a", 1), file("src/b", 1)], more: true });
    assert_eq!(page.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["src/a", "src/b"]);
    let next = validate::list_files(request("src", 1000, &page.next_page_token)).unwrap();
    assert_eq!(next.query, FileQuery { prefix: "src".into(), after: Some("src/b".into()), limit: 1000 });
    assert_eq!(next.respond(FilePage { files: vec![file("src/c", 1)], more: false }).next_page_token, "");
    assert_eq!(next.respond(FilePage { files: vec![], more: false }), proto::ListFilesResponse::default());
    // A page also ends where it would get too large; the next one goes on there.
    let long = next.respond(FilePage { files: vec![file("src/c", 2 << 20), file("src/d", 2 << 20)], more: false });
    assert_eq!(long.files.len(), 1);
    let rest = validate::list_files(request("src", 1000, &long.next_page_token)).unwrap();
    assert_eq!(rest.query.after.as_deref(), Some("src/c"));

    assert_eq!(validate::list_files(request("", 0, "")).unwrap().query.limit, 50);
    refused(validate::list_files(request("", 1001, "")), "page_size");
    refused(validate::list_files(request("", 0, "garbage")), "page_token");
    refused(validate::list_files(request("lib", 0, &page.next_page_token)), "page_token");
    refused(validate::list_files(proto::ListFilesRequest::default()), "session_id");
    for (path, rule) in bad_paths().into_iter().filter(|(path, _)| !path.is_empty()) {
        refused_path(validate::list_files(request(&path, 0, "")), "prefix", rule);
    }
    refused_path(validate::list_files(request("src/", 0, "")), "prefix", "no empty part");
}

#[test]
fn a_read_says_which_file_and_how_much() {
    let request = |path: &str, offset, limit| proto::ReadFileRequest {
        session_id: "ses_1".into(),
        path: path.into(),
        offset,
        limit,
    };
    let taken = validate::read_file(request("a/b", 5, 7)).unwrap();
    assert_eq!((taken.session_id.as_str(), taken.path.as_str()), ("ses_1", "a/b"));
    assert_eq!((taken.offset, taken.limit), (5, Some(7)));
    // Agents give their files any name.
    let taken = validate::read_file(request("a\nb", 0, 0)).unwrap();
    assert_eq!((taken.path.as_str(), taken.offset, taken.limit), ("a\nb", 0, None));
    for (path, rule) in bad_paths() {
        refused_path(validate::read_file(request(&path, 0, 0)), "path", rule);
    }
    refused(validate::read_file(request("a", -1, 0)), "offset");
    refused(validate::read_file(request("a", 0, -1)), "limit");
    refused(
        validate::read_file(proto::ReadFileRequest { session_id: String::new(), ..request("a", 0, 0) }),
        "session_id",
    );
}

fn write(path: &str, data: &str, if_sha256: &str) -> proto::WriteFileRequest {
    let file = Some(content(path, data, 0o600));
    proto::WriteFileRequest { session_id: "ses_1".into(), file, if_sha256: if_sha256.into(), request_id: "r-1".into() }
}

#[test]
fn a_file_to_write_is_taken() {
    let taken = validate::write_file(write("a/b", "x", X)).unwrap();
    assert_eq!((taken.session_id.as_str(), taken.path.as_str(), taken.mode), ("ses_1", "a/b", 0o600));
    assert_eq!((taken.content.sha256.as_str(), taken.content.size), (X, 1));
    assert_eq!(taken.expect, Some(Expected::Sha256(X.into())));
    let call = taken.request.unwrap();
    assert_eq!((call.id.as_str(), call.method.as_str()), ("r-1", "WorkspaceService/WriteFile"));
    let other = validate::write_file(write("a/b", "y", X)).unwrap();
    assert_ne!(other.request.unwrap().hash, call.hash);
    assert_eq!(validate::write_file(write("a", "", "-")).unwrap().expect, Some(Expected::Absent));
    assert_eq!(validate::write_file(write("a", "", "")).unwrap().expect, None);
    assert!(validate::write_file(write("a", &"x".repeat(MAX_WRITE_FILE), "")).is_ok());
}

#[test]
fn a_file_to_write_has_bounds() {
    for (path, rule) in bad_paths().into_iter().chain([("a\u{1b}[2J".into(), "no control characters")]) {
        refused_path(validate::write_file(write(&path, "", "")), "file.path", rule);
    }
    for sha256 in ["--", "x", &X.to_uppercase(), &X[1..]] {
        refused(validate::write_file(write("a", "", sha256)), "if_sha256");
    }
    let large = validate::write_file(write("a", &"x".repeat(MAX_WRITE_FILE + 1), ""));
    too_large(large, "file.content", Some(MAX_WRITE_FILE as u64 + 1), MAX_WRITE_FILE as u64);
    let mode = Some(proto::FileContent { mode: 0o4755, ..content("a", "", 0) });
    refused(validate::write_file(proto::WriteFileRequest { file: mode, ..write("a", "", "") }), "file.mode");
    let nothing = validate::write_file(proto::WriteFileRequest { file: None, ..write("a", "", "") }).unwrap_err();
    assert!(fields(&nothing).contains(&"file"), "{nothing}");
    refused(
        validate::write_file(proto::WriteFileRequest { request_id: "a b".into(), ..write("a", "", "") }),
        "request_id",
    );
}

fn header(path: &str, unpack: proto::ArchiveFormat) -> proto::UploadFileHeader {
    proto::UploadFileHeader {
        session_id: "ses_1".into(),
        path: path.into(),
        unpack: unpack.into(),
        request_id: "r-1".into(),
        ..Default::default()
    }
}

fn upload(header: proto::UploadFileHeader) -> Result<validate::UploadFile, Failure> {
    validate::upload_file(proto::UploadFileRequest { payload: Some(Payload::Header(header)) })
}

#[test]
fn an_upload_says_where_its_bytes_go() {
    let file = proto::UploadFileHeader {
        mode: 0o755,
        if_sha256: "-".into(),
        ..header("a/b", proto::ArchiveFormat::Unspecified)
    };
    let taken = upload(file.clone()).unwrap();
    assert_eq!((taken.session_id.as_str(), taken.call.as_ref().unwrap().id.as_str()), ("ses_1", "r-1"));
    let Uploaded::File(write) = taken.clone().with(Content::in_memory("x")) else { panic!("{taken:?}") };
    assert_eq!((write.path.as_str(), write.mode, &write.expect), ("a/b", 0o755, &Some(Expected::Absent)));
    assert_eq!(write.content.sha256, X);
    // Header and bytes are what is asked for.
    let hash = |header: proto::UploadFileHeader, data: &'static str| match upload(header)
        .unwrap()
        .with(Content::in_memory(data))
    {
        Uploaded::File(write) => write.request.unwrap().hash,
        Uploaded::Archive(unpack) => unpack.request.unwrap().hash,
    };
    let first = write.request.unwrap().hash;
    assert_eq!(hash(file.clone(), "x"), first);
    assert_ne!(hash(file.clone(), "y"), first);
    assert_ne!(hash(proto::UploadFileHeader { path: "a/c".into(), ..file.clone() }, "x"), first);
    assert_eq!(hash(proto::UploadFileHeader { request_id: "r-2".into(), ..file }, "x"), first);

    for (path, folder) in [("", None), ("a/b", Some("a/b"))] {
        for (format, same) in [
            (proto::ArchiveFormat::Tar, ArchiveFormat::Tar),
            (proto::ArchiveFormat::TarGz, ArchiveFormat::TarGz),
            (proto::ArchiveFormat::Zip, ArchiveFormat::Zip),
        ] {
            let taken = upload(header(path, format)).unwrap().with(Content::in_memory("x"));
            let Uploaded::Archive(unpack) = taken else { panic!("{taken:?}") };
            assert_eq!((unpack.folder.as_ref().map(WorkspacePath::as_str), unpack.format), (folder, same));
        }
    }
}

#[test]
fn an_upload_has_bounds() {
    let plain = proto::ArchiveFormat::Unspecified;
    for (path, rule) in bad_paths() {
        refused_path(upload(header(&path, plain)), "header.path", rule);
        if !path.is_empty() {
            refused_path(upload(header(&path, proto::ArchiveFormat::Zip)), "header.path", rule);
        }
    }
    refused(upload(proto::UploadFileHeader { mode: 0o1000, ..header("a", plain) }), "header.mode");
    refused(upload(proto::UploadFileHeader { mode: 0o644, ..header("a", proto::ArchiveFormat::Tar) }), "header.mode");
    refused(upload(proto::UploadFileHeader { if_sha256: "x".into(), ..header("a", plain) }), "header.if_sha256");
    let both = proto::UploadFileHeader { if_sha256: X.into(), ..header("a", proto::ArchiveFormat::Tar) };
    refused(upload(both), "header.if_sha256");
    refused(upload(proto::UploadFileHeader { unpack: 9, ..header("a", plain) }), "header.unpack");
    refused(upload(proto::UploadFileHeader { session_id: String::new(), ..header("a", plain) }), "header.session_id");
    refused(upload(proto::UploadFileHeader { request_id: "a b".into(), ..header("a", plain) }), "header.request_id");

    let data = |length: usize| proto::UploadFileRequest { payload: Some(Payload::Data(vec![0; length].into())) };
    refused(validate::upload_file(data(1)), "header");
    refused(validate::upload_file(proto::UploadFileRequest::default()), "header");
    let again = proto::UploadFileRequest { payload: Some(Payload::Header(header("a", plain))) };
    refused(validate::upload_piece(again, 0), "header");
    refused(validate::upload_piece(proto::UploadFileRequest::default(), 0), "data");
    assert_eq!(
        validate::upload_piece(data(MAX_UPLOAD_PIECE), MAX_UPLOAD - MAX_UPLOAD_PIECE as u64).unwrap().len(),
        1 << 20
    );
    assert!(validate::upload_piece(data(0), MAX_UPLOAD).unwrap().is_empty());
    let piece = validate::upload_piece(data(MAX_UPLOAD_PIECE + 1), 0);
    too_large(piece, "data", Some(MAX_UPLOAD_PIECE as u64 + 1), MAX_UPLOAD_PIECE as u64);
    too_large(validate::upload_piece(data(1), MAX_UPLOAD), "", None, MAX_UPLOAD);
}

#[test]
fn a_file_to_delete_is_taken() {
    let request = |path: &str, if_sha256: &str| proto::DeleteFileRequest {
        session_id: "ses_1".into(),
        path: path.into(),
        if_sha256: if_sha256.into(),
        request_id: "r-1".into(),
    };
    let taken = validate::delete_file(request("a\nb", X)).unwrap();
    assert_eq!((taken.session_id.as_str(), taken.path.as_str()), ("ses_1", "a\nb"));
    assert_eq!(taken.expect_sha256.as_deref(), Some(X));
    assert_eq!(taken.request.unwrap().method, "WorkspaceService/DeleteFile");
    assert_eq!(validate::delete_file(request("a", "")).unwrap().expect_sha256, None);
    for (path, rule) in bad_paths() {
        refused_path(validate::delete_file(request(&path, "")), "path", rule);
    }
    refused(validate::delete_file(request("a", "-")), "if_sha256");
}

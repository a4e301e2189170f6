//! Files of a workspace: list, read, write, upload, delete.

use sha2::{Digest as _, Sha256};

use super::{
    MAX_UPLOAD, MAX_UPLOAD_PIECE, MAX_WRITE_FILE,
    check::{Check, too_large},
    content::from,
    request,
};
use crate::{
    domain::{ArchiveFormat, Failure, Request, SessionId, WorkspacePath},
    grpc::page,
    proto::{self, upload_file_request::Payload},
    session::{Content, DeleteFile, Expected, Unpack, WriteFile},
    store::{FilePage, FileQuery},
};

/// A page of files to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFiles {
    /// Of which session.
    pub session_id: SessionId,
    /// What to ask the store for.
    pub query: FileQuery,
    page: page::Query,
}

impl ListFiles {
    /// The page, of what the store answered to [`Self::query`].
    #[must_use]
    pub fn respond(&self, found: FilePage) -> proto::ListFilesResponse {
        let FilePage { files, more } = found;
        let after = files.last().filter(|_| more).map(|file| file.path.clone());
        let items = files.into_iter().map(|file| {
            let path = file.path.clone();
            (proto::WorkspaceFile::from(file), path)
        });
        let (files, last) = page::cut(items.collect(), self.query.limit);
        let next_page_token = last.or(after).map(|path| self.page.token(&path)).unwrap_or_default();
        proto::ListFilesResponse { files, next_page_token }
    }
}

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFile {
    /// Of which session.
    pub session_id: SessionId,
    /// Which.
    pub path: WorkspacePath,
    /// From this byte on.
    pub offset: u64,
    /// So many; `None`: to the end.
    pub limit: Option<u64>,
}

/// What is uploaded, before its bytes are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadFile {
    /// For which session.
    pub session_id: SessionId,
    /// The call, where it may be repeated; what it asks for is known when the bytes are.
    pub call: Option<Request>,
    target: Target,
}

/// Where bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    File { path: WorkspacePath, mode: u32, expect: Option<Expected> },
    Folder { folder: Option<WorkspacePath>, format: ArchiveFormat },
}

/// An upload that is all there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// A file.
    File(WriteFile),
    /// An archive.
    Archive(Unpack),
}

impl UploadFile {
    /// What is asked for, now that its bytes are there: they are part of the request.
    #[must_use]
    pub fn with(self, content: Content) -> Uploaded {
        let Self { session_id, call, target } = self;
        let request = call.map(|Request { id, method, hash }| {
            let hash = Sha256::new().chain_update(hash).chain_update(&content.sha256).finalize().into();
            Request { id, method, hash }
        });
        match target {
            Target::File { path, mode, expect } => {
                Uploaded::File(WriteFile { session_id, path, mode, content, expect, request })
            }
            Target::Folder { folder, format } => {
                Uploaded::Archive(Unpack { session_id, folder, format, content, request })
            }
        }
    }
}

/// Checks a `ListFiles` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`], [`crate::domain::Reason::WorkspacePath`].
pub fn list_files(request: proto::ListFilesRequest) -> Result<ListFiles, Failure> {
    let proto::ListFilesRequest { session_id, prefix, page_size, page_token } = request;
    let mut check = Check::default();
    let session_id = SessionId::new(check.id("session_id", session_id));
    let folder = if prefix.is_empty() { None } else { check.path("prefix", prefix) };
    let prefix = folder.map(|folder| folder.to_string()).unwrap_or_default();
    let limit = check.page_size(page_size);
    let page = page::Query::new("files", &(&session_id, &prefix));
    let after = check.take(page.position(&page_token));
    check.finish(ListFiles { session_id, query: FileQuery { prefix, after, limit }, page })
}

/// Checks a `ReadFile` request.
///
/// # Errors
/// As [`list_files`].
pub fn read_file(request: proto::ReadFileRequest) -> Result<ReadFile, Failure> {
    let proto::ReadFileRequest { session_id, path, offset, limit } = request;
    let mut check = Check::default();
    let session_id = SessionId::new(check.id("session_id", session_id));
    let path = check.path("path", path);
    let offset = from(&mut check, offset);
    if limit < 0 {
        check.refuse("limit", "must not be negative");
    }
    let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0);
    check.finish_with(path, |path| ReadFile { session_id, path, offset, limit })
}

/// Checks a `WriteFile` request.
///
/// # Errors
/// As [`list_files`], and [`crate::domain::Reason::MessageTooLarge`].
pub fn write_file(mut request: proto::WriteFileRequest) -> Result<WriteFile, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "WorkspaceService/WriteFile", id, &request);
    let proto::WriteFileRequest { session_id, file, if_sha256, request_id: _ } = request;
    let session_id = SessionId::new(check.id("session_id", session_id));
    let expect = check.expected("if_sha256", if_sha256);
    if file.is_none() {
        check.refuse("file", "required");
    }
    let proto::FileContent { path, content, mode } = file.unwrap_or_default();
    let path = check.new_path("file.path", path);
    let mode = check.mode("file.mode", mode);
    check.size("file.content", content.len(), MAX_WRITE_FILE);
    check.finish_with(path, |path| {
        let content = Content::in_memory(content);
        WriteFile { session_id, path, mode, content, expect, request: call }
    })
}

/// Checks the first request of an `UploadFile` call.
///
/// # Errors
/// As [`list_files`].
pub fn upload_file(first: proto::UploadFileRequest) -> Result<UploadFile, Failure> {
    let proto::UploadFileRequest { payload } = first;
    let mut header = match payload {
        Some(Payload::Header(header)) => header,
        Some(Payload::Data(_)) | None => return Err(Failure::invalid("header", "required in the first request")),
    };
    let mut check = Check::default();
    let id = std::mem::take(&mut header.request_id);
    let call = request::call_in(&mut check, "header.request_id", "WorkspaceService/UploadFile", id, &header);
    let proto::UploadFileHeader { session_id, path, mode, if_sha256, unpack, request_id: _ } = header;
    let session_id = SessionId::new(check.id("header.session_id", session_id));
    let format = match check.known("header.unpack", unpack, "ArchiveFormat") {
        None | Some(proto::ArchiveFormat::Unspecified) => None,
        Some(proto::ArchiveFormat::Tar) => Some(ArchiveFormat::Tar),
        Some(proto::ArchiveFormat::TarGz) => Some(ArchiveFormat::TarGz),
        Some(proto::ArchiveFormat::Zip) => Some(ArchiveFormat::Zip),
    };
    let Some(format) = format else {
        let path = check.new_path("header.path", path);
        let mode = check.mode("header.mode", mode);
        let expect = check.expected("header.if_sha256", if_sha256);
        return check.finish_with(path, |path| {
            let target = Target::File { path, mode, expect };
            UploadFile { session_id, call, target }
        });
    };
    let folder = if path.is_empty() { None } else { check.new_path("header.path", path) };
    if mode != 0 {
        check.refuse("header.mode", "not with unpack: an archive has its own");
    }
    if !if_sha256.is_empty() {
        check.refuse("header.if_sha256", "not with unpack");
    }
    check.finish(UploadFile { session_id, call, target: Target::Folder { folder, format } })
}

/// Checks another request of an `UploadFile` call; `size` bytes came before.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`], [`crate::domain::Reason::MessageTooLarge`].
pub fn upload_piece(next: proto::UploadFileRequest, size: u64) -> Result<bytes::Bytes, Failure> {
    let proto::UploadFileRequest { payload } = next;
    let data = match payload {
        Some(Payload::Data(data)) => data,
        Some(Payload::Header(_)) => return Err(Failure::invalid("header", "in the first request only")),
        None => return Err(Failure::invalid("data", "required in every request but the first")),
    };
    if data.len() > MAX_UPLOAD_PIECE {
        return Err(too_large("data", data.len() as u64, MAX_UPLOAD_PIECE as u64, "send smaller pieces"));
    }
    let size = size + data.len() as u64;
    if size > MAX_UPLOAD {
        return Err(too_large("", size, MAX_UPLOAD, "upload it in parts"));
    }
    Ok(data)
}

/// Checks a `DeleteFile` request.
///
/// # Errors
/// As [`list_files`].
pub fn delete_file(mut request: proto::DeleteFileRequest) -> Result<DeleteFile, Failure> {
    let mut check = Check::default();
    let id = std::mem::take(&mut request.request_id);
    let call = request::call(&mut check, "WorkspaceService/DeleteFile", id, &request);
    let proto::DeleteFileRequest { session_id, path, if_sha256, request_id: _ } = request;
    let session_id = SessionId::new(check.id("session_id", session_id));
    let path = check.path("path", path);
    let expect_sha256 = check.if_sha256("if_sha256", if_sha256);
    check.finish_with(path, |path| DeleteFile { session_id, path, expect_sha256, request: call })
}

//! `WorkspaceService`.

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{caller, pieces, status::built, validate};
use crate::{
    domain::{Caller, Failure, FileType, Reason, SessionKey},
    log::failure,
    proto::{self, workspace_service_server::WorkspaceService},
    session::{Content, Manager},
    store::Piece,
};

/// Serves the files of sessions.
#[derive(Debug)]
pub(super) struct Workspace {
    manager: Manager,
    drain: CancellationToken,
}

impl Workspace {
    pub(super) fn new(manager: Manager, drain: CancellationToken) -> Self {
        Self { manager, drain }
    }

    /// The bytes of an upload, once all of them are there.
    async fn receive(
        &self,
        caller: &Caller,
        upload: &validate::UploadFile,
        mut requests: Streaming<proto::UploadFileRequest>,
    ) -> Result<Content, Status> {
        let id = upload.call.as_ref().map(|call| &call.id);
        let mut incoming = self.manager.incoming(caller, &upload.session_id, id).await?;
        while let Some(next) = self.next(&mut requests).await? {
            incoming.push(validate::upload_piece(next, incoming.size())?).await?;
        }
        Ok(incoming.finish())
    }

    /// The next request of a call, unless the server stops: nothing was done yet, so nothing is lost.
    async fn next(
        &self,
        requests: &mut Streaming<proto::UploadFileRequest>,
    ) -> Result<Option<proto::UploadFileRequest>, Status> {
        let stopping = || Failure::new(Reason::ShuttingDown, "the server is stopping; try again at the next one");
        self.drain.run_until_cancelled(requests.message()).await.unwrap_or_else(|| Err(stopping().into()))
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl WorkspaceService for Workspace {
    type ReadFileStream = BoxStream<'static, Result<proto::ReadFileResponse, Status>>;

    async fn list_files(&self, request: Request<proto::ListFilesRequest>) -> Answer<proto::ListFilesResponse> {
        let caller = caller(request.extensions())?;
        let list = validate::list_files(request.into_inner())?;
        let key = SessionKey { tenant: caller.tenant, session: list.session_id.clone() };
        let page = self.manager.list_files(&key, &list.query).await?;
        Ok(Response::new(list.respond(page)))
    }

    async fn read_file(&self, request: Request<proto::ReadFileRequest>) -> Answer<Self::ReadFileStream> {
        let caller = caller(request.extensions())?;
        let validate::ReadFile { session_id, path, offset, limit } = validate::read_file(request.into_inner())?;
        let key = SessionKey { tenant: caller.tenant, session: session_id };
        let file = self.manager.file(&key, &path).await?;
        let holds = matches!(file.file_type, FileType::File).then(|| file.sha256.clone());
        let log = self.manager.log().clone();
        let read = move |offset| {
            let (log, key, holds) = (log.clone(), key.clone(), holds.clone());
            async move {
                // Links and folders have no bytes.
                let Some(sha256) = holds else { return Ok(Piece { data: Vec::new(), end: 0 }) };
                let piece = log.store().blob(&key, &sha256, offset).await.map_err(|error| failure(error, &key))?;
                let missing = || Failure::new(Reason::BlobNotFound, "the bytes of this version are not kept");
                piece.ok_or_else(|| missing().with("sha256", &sha256))
            }
        };
        let pieces = pieces::from(offset, limit, read).await?;
        let response = |payload| proto::ReadFileResponse { payload: Some(payload) };
        let first = response(proto::read_file_response::Payload::File(file.into()));
        let rest = pieces.map(move |data| Ok(response(proto::read_file_response::Payload::Data(data?))));
        Ok(Response::new(stream::iter([Ok(first)]).chain(rest).boxed()))
    }

    async fn write_file(&self, request: Request<proto::WriteFileRequest>) -> Answer<proto::WriteFileResponse> {
        built("WorkspaceService/WriteFile")?;
        let caller = caller(request.extensions())?;
        let file = self.manager.write_file(&caller, validate::write_file(request.into_inner())?).await?;
        Ok(Response::new(proto::WriteFileResponse { file: Some(file.into()) }))
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<proto::UploadFileRequest>>,
    ) -> Answer<proto::UploadFileResponse> {
        built("WorkspaceService/UploadFile")?;
        let caller = caller(request.extensions())?;
        let mut requests = request.into_inner();
        let header = self.next(&mut requests).await?.unwrap_or_default();
        let upload = validate::upload_file(header)?;
        let content = self.receive(&caller, &upload, requests).await?;
        let (file, file_count) = match upload.with(content) {
            validate::Uploaded::File(write) => (Some(self.manager.write_file(&caller, write).await?.into()), 1),
            validate::Uploaded::Archive(unpack) => (None, self.manager.unpack(&caller, unpack).await?.files),
        };
        Ok(Response::new(proto::UploadFileResponse { file, file_count }))
    }

    async fn delete_file(&self, request: Request<proto::DeleteFileRequest>) -> Answer<proto::DeleteFileResponse> {
        built("WorkspaceService/DeleteFile")?;
        let caller = caller(request.extensions())?;
        self.manager.delete_file(&caller, validate::delete_file(request.into_inner())?).await?;
        Ok(Response::new(proto::DeleteFileResponse {}))
    }
}

//! `WorkspaceService`: none of it is built yet.

use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::status::not_implemented;
use crate::proto::{self, workspace_service_server::WorkspaceService};

/// Refuses by name.
#[derive(Debug)]
pub(super) struct Workspace;

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl WorkspaceService for Workspace {
    type ReadFileStream = BoxStream<'static, Result<proto::ReadFileResponse, Status>>;

    async fn list_files(&self, _: Request<proto::ListFilesRequest>) -> Answer<proto::ListFilesResponse> {
        Err(not_implemented("WorkspaceService/ListFiles"))
    }

    async fn read_file(&self, _: Request<proto::ReadFileRequest>) -> Answer<Self::ReadFileStream> {
        Err(not_implemented("WorkspaceService/ReadFile"))
    }

    async fn write_file(&self, _: Request<proto::WriteFileRequest>) -> Answer<proto::WriteFileResponse> {
        Err(not_implemented("WorkspaceService/WriteFile"))
    }

    async fn upload_file(&self, _: Request<Streaming<proto::UploadFileRequest>>) -> Answer<proto::UploadFileResponse> {
        Err(not_implemented("WorkspaceService/UploadFile"))
    }

    async fn delete_file(&self, _: Request<proto::DeleteFileRequest>) -> Answer<proto::DeleteFileResponse> {
        Err(not_implemented("WorkspaceService/DeleteFile"))
    }
}

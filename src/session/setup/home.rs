//! Files that are put into a home over what the agent made of it: it may have put a directory or a link in their place, or in
//! that of a folder above them, and must not keep its session from starting by that.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{FileType, WorkspaceFile},
    sandbox::{Content, Contents, Error, Files, Root},
    workspace::{Ignore, Scope},
};

/// Writes a file. What stands in its way is removed, links themselves and not what they lead to.
pub(super) async fn put(home: &dyn Files, path: &str, mode: u32, content: Bytes) -> Result<(), Error> {
    let size = content.len() as u64;
    match home.write(Root::Home, path, mode, Content::Bytes(content.clone()), size).await {
        Err(Error::Files(error)) => {
            tracing::info!(path, %error, "what the agent put there is removed");
            let sha256 = format!("{:x}", Sha256::digest(&content));
            let file = WorkspaceFile {
                path: path.to_owned(),
                file_type: FileType::File,
                size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
                sha256,
                mode,
                modify_time: None,
                symlink_target: String::new(),
            };
            // A home of which only this is to be: everything of another sort on the way there goes, and all else stays.
            let scope = Scope { ignore: Ignore::Nothing, ..Scope::only([path]) };
            home.restore(Root::Home, scope, vec![file], Arc::new(Given(content))).await.map(drop)
        }
        written => written.map(drop),
    }
}

/// Bytes that are asked for by nobody but who brought them.
#[derive(Debug)]
struct Given(Bytes);

#[async_trait]
impl Contents for Given {
    async fn open(&self, _: &str) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        Ok(stream::iter([Ok(self.0.clone())]).boxed())
    }
}

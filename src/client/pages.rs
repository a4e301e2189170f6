//! Lists that are read to their end, page by page.

use std::{collections::VecDeque, future::Future};

use futures::{StreamExt as _, stream, stream::BoxStream};

use super::{Client, Error};
use crate::proto::{
    Block, ListBlocksRequest, ListFilesRequest, ListSessionsRequest, ListTurnsRequest, Session, Turn, WorkspaceFile,
};

/// Items of a list; the next page is asked for when the one before was taken.
pub type Items<T> = BoxStream<'static, Result<T, Error>>;

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident by $call:ident($request:ident) -> $items:ident: $item:ident;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(&self, request: $request) -> Items<$item> {
                    let client = self.clone();
                    pages(request.page_token.clone(), move |page_token| {
                        let (client, request) = (client.clone(), $request { page_token, ..request.clone() });
                        async move {
                            let page = client.$call(request).await?;
                            Ok((page.$items, page.next_page_token))
                        }
                    })
                }
            )*
        }
    };
}

lists! {
    /// All sessions that match, newest first.
    sessions by list_sessions(ListSessionsRequest) -> sessions: Session;
    /// All turns of a session.
    turns by list_turns(ListTurnsRequest) -> turns: Turn;
    /// All blocks of a conversation.
    blocks by list_blocks(ListBlocksRequest) -> blocks: Block;
    /// All files of a workspace, or of a folder, by path.
    files by list_files(ListFilesRequest) -> files: WorkspaceFile;
}

/// Where reading stands.
struct Reading<T> {
    items: VecDeque<T>,
    /// Of the next page; `None` after the last.
    token: Option<String>,
}

fn pages<T, F>(first: String, page: impl Fn(String) -> F + Send + 'static) -> Items<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(Vec<T>, String), Error>> + Send + 'static,
{
    let reading = Reading { items: VecDeque::new(), token: Some(first) };
    stream::try_unfold((reading, page), |(mut reading, page)| async move {
        loop {
            if let Some(item) = reading.items.pop_front() {
                return Ok(Some((item, (reading, page))));
            }
            let Some(token) = reading.token.take() else { return Ok(None) };
            let (items, next) = page(token).await?;
            reading.items = items.into();
            reading.token = Some(next).filter(|token| !token.is_empty());
        }
    })
    .boxed()
}

//! Pages of blocks.

use super::{MAX_ID, check::Check};
use crate::{
    domain::{ConversationId, Failure, SessionId},
    grpc::page,
    proto,
    store::{BlockPage, BlockQuery},
};

/// A page of blocks to list.
#[derive(Clone, Debug)]
pub struct ListBlocks {
    /// Of which session.
    pub session_id: SessionId,
    /// What to ask the store for.
    pub query: BlockQuery,
    page: page::Query,
}

impl ListBlocks {
    /// The page, of what the store answered to [`Self::query`].
    #[must_use]
    pub fn respond(&self, page: BlockPage) -> proto::ListBlocksResponse {
        let BlockPage { blocks, next, sequence } = page;
        proto::ListBlocksResponse {
            blocks: blocks.into_iter().map(Into::into).collect(),
            next_page_token: next.map(|position| self.page.token(&position)).unwrap_or_default(),
            sequence,
        }
    }
}

/// Checks a `ListBlocks` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn list_blocks(request: proto::ListBlocksRequest) -> Result<ListBlocks, Failure> {
    let proto::ListBlocksRequest { session_id, conversation_id, order, page_size, page_token } = request;
    let mut check = Check::default();
    let session_id = SessionId::new(check.id("session_id", session_id));
    let conversation_id = match check.text("conversation_id", conversation_id, MAX_ID) {
        id if id.is_empty() => ConversationId::main(),
        id => ConversationId::new(id),
    };
    let newest_first = match check.known("order", order, "ListOrder") {
        None | Some(proto::ListOrder::Unspecified | proto::ListOrder::OldestFirst) => false,
        Some(proto::ListOrder::NewestFirst) => true,
    };
    let page = page::Query::new("blocks", &(&session_id, &conversation_id, newest_first));
    let query = BlockQuery {
        conversation_id,
        newest_first,
        after: check.take(page.position(&page_token)),
        limit: check.page_size(page_size),
        max_bytes: page::MAX_BYTES,
    };
    check.finish(ListBlocks { session_id, query, page })
}

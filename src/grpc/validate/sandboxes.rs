//! Sandboxes: a page of them.

use super::check::Check;
use crate::{
    domain::{Failure, ListedSandbox, SandboxId, TenantId, Timestamp},
    grpc::{convert, page},
    proto,
    store::LedgerQuery,
};

/// A page of sandboxes to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSandboxes {
    include_ended: bool,
    after: Option<SandboxId>,
    size: usize,
    page: page::Query,
}

impl ListSandboxes {
    /// What to ask the store for: one more than the page holds, which tells whether another page follows.
    #[must_use]
    pub fn query(&self, tenant: &TenantId) -> LedgerQuery {
        let Self { include_ended, after, size, page: _ } = self.clone();
        LedgerQuery { tenant: tenant.clone(), include_ended, after, limit: size + 1 }
    }

    /// The page, of what the store answered to [`Self::query`].
    #[must_use]
    pub fn respond(&self, entries: Vec<ListedSandbox>, now: Timestamp) -> proto::ListSandboxesResponse {
        let items = entries.into_iter().map(|entry| {
            let position = entry.id().clone();
            (convert::sandbox_record(entry, now), position)
        });
        let (sandboxes, last) = page::cut(items.collect(), self.size);
        let next_page_token = last.map(|position| self.page.token(&position)).unwrap_or_default();
        proto::ListSandboxesResponse { sandboxes, next_page_token, prices: crate::domain::PRICES.to_owned() }
    }
}

/// Checks a `ListSandboxes` request.
///
/// # Errors
/// [`crate::domain::Reason::InvalidField`].
pub fn list_sandboxes(request: proto::ListSandboxesRequest) -> Result<ListSandboxes, Failure> {
    let proto::ListSandboxesRequest { include_ended, page_size, page_token } = request;
    let mut check = Check::default();
    let size = check.page_size(page_size);
    let page = page::Query::new("sandboxes", &include_ended);
    let after = check.take(page.position::<SandboxId>(&page_token));
    check.finish(ListSandboxes { include_ended, after, size, page })
}

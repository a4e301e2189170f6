//! What there is at Modal of this owner's, read to the end.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Modal, failure,
    make::{self, OWNER, SANDBOX, SESSION},
    origin::{self, Witness},
    pages::Pages,
    remote::Remote,
};
use crate::{
    domain::{LedgerEntry, SandboxId, Timestamp},
    modal_wire::client::{SandboxInfo, SandboxListRequest, SandboxTag},
    sandbox::{
        Error,
        inventory::{Inventory, Listed},
    },
};

#[async_trait]
impl Inventory for Modal {
    async fn list(&self) -> Result<Vec<Listed>, Error> {
        let failed = |status: tonic::Status| failure::unavailable(&status);
        let control = &self.0.control;
        let app_id = self.0.home.find(control).await.map_err(failed)?.app_id;
        let owner = SandboxTag { tag_name: OWNER.to_owned(), tag_value: self.0.ledger.owner().to_owned() };
        let mut request = SandboxListRequest {
            app_id,
            environment_name: self.0.home.environment().to_owned(),
            tags: vec![owner.clone()],
            ..SandboxListRequest::default()
        };
        let mut pages = Pages::default();
        loop {
            request.before_timestamp = pages.before();
            let page = control
                .call(request.clone(), |mut control, request| async move { control.sandbox_list_v2(request).await })
                .await
                .map_err(failed)?;
            if !pages.take(page.sandboxes) {
                // Whose it is stands in the sandbox: that only ours were asked for is not enough.
                let ours = pages.all().into_iter().filter(|info| info.tags.contains(&owner));
                return Ok(ours.map(listed).collect());
            }
        }
    }

    fn out_of_reach(&self, entry: &LedgerEntry) -> Option<String> {
        origin::suspect(&self.0.home, entry)
    }

    async fn is_over(&self, entry: &LedgerEntry) -> Result<bool, Error> {
        let remote = Remote::of(&self.0.control, &self.0.home, entry);
        remote.over().await.map(|over| over.is_some()).map_err(|status| failure::unavailable(&status))
    }

    async fn running(&self, entry: &LedgerEntry) -> Result<Option<String>, Error> {
        let running = make::running(&self.0.control, &self.0.home, entry).await;
        running.map_err(|status| failure::unavailable(&status))
    }

    async fn end(&self, entry: &LedgerEntry, external_id: &str) -> Result<(), Error> {
        self.0.slots.held()?;
        let remote = Remote::new(Arc::clone(&self.0.control), external_id.to_owned());
        let remote = remote.told_by(Witness::of_life(&self.0.home, entry));
        remote.terminate().await.map_err(|status| failure::unavailable(&status))
    }

    async fn drop_kept(&self, entry: &LedgerEntry) -> Result<(), Error> {
        self.0.slots.held()?;
        self.0.kept.drop_all(entry).await.map_err(|status| failure::unavailable(&status))
    }
}

fn listed(info: SandboxInfo) -> Listed {
    let tag = |name: &str| info.tags.iter().find(|tag| tag.tag_name == name).map(|tag| tag.tag_value.clone());
    // Modal tells seconds.
    #[expect(clippy::cast_possible_truncation, reason = "a time in microseconds fits for 292,000 years")]
    let create_time = Timestamp((info.created_at * 1e6) as i64);
    let (id, session) = (tag(SANDBOX).map(SandboxId::new), tag(SESSION).unwrap_or_default());
    Listed { external_id: info.id, id, session, create_time }
}

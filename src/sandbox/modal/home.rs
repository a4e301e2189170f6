//! Where our sandboxes belong at Modal: an app of an environment, and the version of the builder that makes images there. Asked
//! once, and again when it may have been stopped or deleted meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Mutex as Turn;
use tonic::Status;

use super::control::Control;
use crate::{
    domain::LedgerOrigin,
    modal_wire::client::{
        AppGetOrCreateRequest, EnvironmentGetOrCreateRequest, ObjectCreationType, SandboxGetFromNameRequest,
    },
};

/// What was asked, and what it came to.
#[derive(Debug)]
pub(super) struct Home {
    named: Named,
    asking: Turn<()>,
    found: Mutex<Option<Found>>,
}

/// What is ours at Modal, in the words of whoever runs the server.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// Address of the API.
    pub(super) server: String,
    /// An app by this name.
    pub(super) app: String,
    /// Empty: the account's default.
    pub(super) environment: String,
    /// Of the account's token.
    pub(super) token_id: String,
    /// Ids of apps in which nothing is any more.
    pub(super) given_up: Vec<String>,
}

/// The app and its surroundings.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) app_id: String,
    /// Empty: Modal's own choice.
    pub(super) builder_version: String,
}

impl Home {
    pub(super) fn new(named: Named) -> Self {
        Self { named, asking: Turn::default(), found: Mutex::default() }
    }

    /// As Modal is asked about it; empty: the account's default.
    pub(super) fn environment(&self) -> &str {
        &self.named.environment
    }

    /// Ids of apps in which nothing is any more, as whoever runs the server says.
    pub(super) fn given_up(&self) -> &[String] {
        &self.named.given_up
    }

    /// The app, made if it is not there.
    pub(super) async fn find(&self, control: &Control) -> Result<Found, Status> {
        let _one = self.asking.lock().await;
        if let Some(found) = self.found().clone() {
            return Ok(found);
        }
        let found = self.ask(control).await?;
        *self.found() = Some(found.clone());
        Ok(found)
    }

    /// Where sandboxes are made now.
    pub(super) async fn here(&self, control: &Control) -> Result<LedgerOrigin, Status> {
        self.find(control).await.map(|found| self.origin(found))
    }

    /// The same, if it was asked before.
    pub(super) fn known(&self) -> Option<LedgerOrigin> {
        let found = self.found().clone();
        found.map(|found| self.origin(found))
    }

    fn origin(&self, found: Found) -> LedgerOrigin {
        let Named { server, app, environment, token_id, given_up: _ } = self.named.clone();
        LedgerOrigin { server, app_id: found.app_id, app, environment, token_id }
    }

    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The app that is there now, where what was found before does not do; `None`: it is the same one.
    pub(super) async fn find_again(&self, control: &Control, before: &Found) -> Result<Option<Found>, Status> {
        {
            let _one = self.asking.lock().await;
            self.found().take_if(|found| found.app_id == before.app_id);
        }
        let found = self.find(control).await?;
        Ok((found.app_id != before.app_id).then_some(found))
    }

    async fn ask(&self, control: &Control) -> Result<Found, Status> {
        let request = AppGetOrCreateRequest {
            app_name: self.named.app.clone(),
            environment_name: self.named.environment.clone(),
            object_creation_type: ObjectCreationType::CreateIfMissing.into(),
        };
        let app = control
            .change(request, |mut control, request| async move { control.app_get_or_create(request).await })
            .await?;
        let request = EnvironmentGetOrCreateRequest {
            deployment_name: self.named.environment.clone(),
            ..EnvironmentGetOrCreateRequest::default()
        };
        let environment = control
            .call(request, |mut control, request| async move { control.environment_get_or_create(request).await })
            .await?;
        let settings = environment.metadata.and_then(|metadata| metadata.settings);
        let builder_version = settings.map(|settings| settings.image_builder_version).unwrap_or_default();
        Ok(Found { app_id: app.app_id, builder_version })
    }

    /// How the sandbox that runs under a name is looked for: where it was made, else here.
    pub(super) fn by_name(&self, name: String, origin: Option<&LedgerOrigin>) -> SandboxGetFromNameRequest {
        let here = (&self.named.app, &self.named.environment);
        let (app, environment) = origin.map_or(here, |origin| (&origin.app, &origin.environment));
        SandboxGetFromNameRequest {
            sandbox_name: name,
            environment_name: environment.clone(),
            app_name: app.clone(),
            include_terminated: false,
        }
    }
}

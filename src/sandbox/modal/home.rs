//! Where our sandboxes belong at Modal: an app of an environment, and the version of the builder that makes images there. Asked
//! once, and again when it may have been stopped or deleted meanwhile.

use tokio::sync::Mutex as Turn;
use tonic::Status;

use super::control::Control;
use crate::modal_wire::client::{
    AppGetOrCreateRequest, EnvironmentGetOrCreateRequest, ObjectCreationType, SandboxGetFromNameRequest,
};

/// What was asked, and what it came to.
#[derive(Debug)]
pub(super) struct Home {
    app: String,
    environment: String,
    found: Turn<Option<Found>>,
}

/// The app and its surroundings.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) app_id: String,
    /// Empty: Modal's own choice.
    pub(super) builder_version: String,
}

impl Home {
    /// An app by this name in an environment; empty: the account's default.
    pub(super) fn new(app: String, environment: String) -> Self {
        Self { app, environment, found: Turn::default() }
    }

    /// As Modal is asked about it; empty: the account's default.
    pub(super) fn environment(&self) -> &str {
        &self.environment
    }

    /// The app, made if it is not there.
    pub(super) async fn find(&self, control: &Control) -> Result<Found, Status> {
        let mut found = self.found.lock().await;
        match &*found {
            Some(found) => Ok(found.clone()),
            None => Ok(found.insert(self.ask(control).await?).clone()),
        }
    }

    /// The app that is there now, where what was found before does not do; `None`: it is the same one.
    pub(super) async fn find_again(&self, control: &Control, before: &Found) -> Result<Option<Found>, Status> {
        {
            let mut found = self.found.lock().await;
            if found.as_ref().is_some_and(|found| found.app_id == before.app_id) {
                *found = None;
            }
        }
        let found = self.find(control).await?;
        Ok((found.app_id != before.app_id).then_some(found))
    }

    async fn ask(&self, control: &Control) -> Result<Found, Status> {
        let request = AppGetOrCreateRequest {
            app_name: self.app.clone(),
            environment_name: self.environment.clone(),
            object_creation_type: ObjectCreationType::CreateIfMissing.into(),
        };
        let app = control
            .change(request, |mut control, request| async move { control.app_get_or_create(request).await })
            .await?;
        let request = EnvironmentGetOrCreateRequest {
            deployment_name: self.environment.clone(),
            ..EnvironmentGetOrCreateRequest::default()
        };
        let environment = control
            .call(request, |mut control, request| async move { control.environment_get_or_create(request).await })
            .await?;
        let settings = environment.metadata.and_then(|metadata| metadata.settings);
        let builder_version = settings.map(|settings| settings.image_builder_version).unwrap_or_default();
        Ok(Found { app_id: app.app_id, builder_version })
    }

    /// How the sandbox that runs under a name is looked for.
    pub(super) fn by_name(&self, name: String) -> SandboxGetFromNameRequest {
        SandboxGetFromNameRequest {
            sandbox_name: name,
            environment_name: self.environment.clone(),
            app_name: self.app.clone(),
            include_terminated: false,
        }
    }
}

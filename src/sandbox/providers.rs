//! The providers of one server, by name. A session keeps to the one that it began with; where a server was started without
//! that one, its sandboxes are out of reach, and whoever wants one is told what to do.
//!
//! It must not know which providers there are.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use super::{Epoch, Error, NewSandbox, Provider, Sandbox};
use crate::domain::{Isolation, SandboxId, SandboxSpec, Session};

/// All providers; the first one is the default. A clone is the same.
#[derive(Clone, Debug)]
pub struct Providers(Vec<Arc<dyn Provider>>);

impl Providers {
    /// These, in the order in which they are told of; the first is taken where a session names none.
    #[must_use]
    pub fn new(first: Arc<dyn Provider>, others: impl IntoIterator<Item = Arc<dyn Provider>>) -> Self {
        Self([first].into_iter().chain(others).collect())
    }

    /// All of them, the default first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.0.iter()
    }

    /// The one that is taken where none is named.
    #[must_use]
    pub fn default(&self) -> &Arc<dyn Provider> {
        &self.0[0]
    }

    /// The one of this name; empty: the default.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        if name.is_empty() { Some(self.default()) } else { self.0.iter().find(|provider| provider.name() == name) }
    }

    /// The one that a session keeps to. Where it is not there, one that can give nothing and says why.
    #[must_use]
    pub fn of(&self, session: &Session) -> Arc<dyn Provider> {
        let name = session.sandbox.as_ref().map_or(&session.sandbox_spec.provider, |sandbox| &sandbox.provider);
        self.get(name).map_or_else(|| Arc::new(Absent(name.clone())) as Arc<dyn Provider>, Arc::clone)
    }

    /// Removes a sandbox and all its files at whichever provider it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when a provider does not answer; try again.
    pub async fn destroy(&self, id: &SandboxId) -> Result<(), Error> {
        let mut destroyed = Ok(());
        for provider in &self.0 {
            if let Err(error) = provider.destroy(id).await {
                destroyed = Err(error);
            }
        }
        destroyed
    }
}

/// Stands for a provider that this server was started without.
#[derive(Debug)]
struct Absent(String);

impl Absent {
    fn error<T>(&self) -> Result<T, Error> {
        let why = format!("this server was started without the provider \"{}\"; give it what that needs", self.0);
        Err(Error::Unavailable(why))
    }
}

#[async_trait]
impl Provider for Absent {
    fn name(&self) -> &str {
        &self.0
    }

    /// Nothing is promised.
    fn isolation(&self) -> Isolation {
        Isolation::Process
    }

    fn shares_machine(&self) -> bool {
        false
    }

    fn not_applied(&self, _: &SandboxSpec) -> Vec<String> {
        Vec::new()
    }

    fn search_path(&self, _: &[PathBuf]) -> String {
        String::new()
    }

    async fn create(&self, _: NewSandbox) -> Result<Arc<dyn Sandbox>, Error> {
        self.error()
    }

    async fn attach(&self, _: &SandboxId, _: Epoch) -> Result<Arc<dyn Sandbox>, Error> {
        self.error()
    }

    async fn destroy(&self, _: &SandboxId) -> Result<(), Error> {
        self.error()
    }

    async fn reap(&self, _: &[SandboxId], _: &[SandboxId]) -> Result<(), Error> {
        Ok(())
    }
}

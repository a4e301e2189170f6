//! The provider for Modal over the emulator, for the suite: with a ledger and a lease that are the real store's.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use agent_runtime::{
    domain::{LedgerEntry, SandboxId},
    sandbox::{
        Error,
        lease::Lease,
        ledger::Ledger,
        modal::{Credentials, Modal, ModalConfig},
    },
    store::{LedgerRows as _, SqliteStore, Store as _},
};
use async_trait::async_trait;
use tempfile::TempDir;

use crate::emulator::Emulator;

/// An emulator of its own, and a provider over it.
pub(crate) struct Elsewhere {
    pub(crate) modal: Modal,
    pub(crate) emulator: Emulator,
    pub(crate) book: Arc<Book>,
    /// Where the provider asks.
    pub(crate) server: String,
    folder: TempDir,
}

impl Elsewhere {
    /// `None`, said aloud, where the emulator cannot make sandboxes; where everything must be tested, that is a failure.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(arguments: &[&str]) -> Option<Self> {
        crate::rig::Rig::namespace()?;
        let folder = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(&folder.path().join("store")).await.expect("a store");
        let owner = store.owner().await.expect("an owner");
        let emulator = Emulator::start_with(arguments);
        let book = Arc::new(Book { store, owner });
        let server = emulator.env[0].1.clone();
        let modal = provider(&emulator, &server, None, &book, folder.path().join("staging"));
        Some(Self { modal, emulator, book, server, folder })
    }

    /// The same over whatever `MODAL_SERVER_URL`, `MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET` name, if they are set: another
    /// stand-in of Modal's, or Modal itself.
    pub(crate) async fn stand_in() -> Option<Self> {
        let mut elsewhere = Self::start().await?;
        if let Ok(server) = std::env::var("MODAL_SERVER_URL") {
            for (name, value) in &mut elsewhere.emulator.env {
                *value = std::env::var(&*name).expect("all three are set");
            }
            elsewhere.modal = elsewhere.another(&server);
            elsewhere.server = server;
        }
        Some(elsewhere)
    }

    /// Another server's provider, over the same database, by another way to the emulator.
    pub(crate) fn another(&self, server: &str) -> Modal {
        provider(&self.emulator, server, None, &self.book, self.folder.path().join("staging"))
    }

    /// The same, believing only what these roots vouch for.
    pub(crate) fn believing(&self, roots: &Path) -> Modal {
        provider(&self.emulator, &self.server, Some(roots), &self.book, self.folder.path().join("staging"))
    }

    pub(crate) async fn close(self) {
        self.modal.shutdown().await.expect("shut down");
        self.book.store.close().await;
    }
}

fn provider(emulator: &Emulator, server: &str, roots: Option<&Path>, book: &Arc<Book>, staging: PathBuf) -> Modal {
    let roots = roots.map(Path::to_owned);
    let config = ModalConfig {
        server: server.to_owned(),
        roots,
        credentials: Credentials { token_id: emulator.env[1].1.clone(), token_secret: emulator.env[2].1.clone() },
        environment: String::new(),
        app: "agent-runtime".to_owned(),
        given_up: Vec::new(),
        staging,
    };
    Modal::new(config, Arc::clone(book) as _, Arc::clone(book) as _).expect("a provider")
}

/// The rows of a store, as the provider sees them.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) store: SqliteStore,
    owner: String,
}

fn failed(error: agent_runtime::store::Error) -> Error {
    Error::Unavailable(error.to_string())
}

#[async_trait]
impl Ledger for Book {
    fn owner(&self) -> &str {
        &self.owner
    }

    async fn put(&self, entry: &LedgerEntry) -> Result<(), Error> {
        self.store.put_entry(entry).await.map_err(failed)
    }

    async fn find(&self, id: &SandboxId) -> Result<Option<LedgerEntry>, Error> {
        self.store.entry(id).await.map_err(failed)
    }

    async fn all(&self, provider: &str) -> Result<Vec<LedgerEntry>, Error> {
        self.store.entries(provider).await.map_err(failed)
    }

    async fn remove(&self, id: &SandboxId) -> Result<(), Error> {
        self.store.remove_entry(id).await.map_err(failed)
    }
}

impl Lease for Book {
    fn held(&self) -> bool {
        self.store.is_owner()
    }
}

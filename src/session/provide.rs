//! Makes the sandbox of a session ready for what is to happen in it: the one it has, its first, which begins as the caller
//! asked for, or the next one, which is brought back from the newest checkpoint.

use std::{io::Write as _, sync::Arc};

use futures::StreamExt as _;

use super::{Config, contents::Named, launch, shared::Shared};
use crate::{
    domain::{Checkpoint, Failure, Reason, Sandbox as Described, SandboxId, SandboxStatus, SeedFile, Session, SessionKey, WorkspaceSource},
    log::unavailable,
    sandbox::{
        self, Epoch, Sandbox,
        files::{Content, Contents as _, Files, Root, Source},
    },
    workspace::{ArchiveLimits, Cloning, Copying, GitSource, Manifest, Scope},
};

/// A sandbox that is ready.
pub(super) struct Provided {
    pub(super) sandbox: Arc<dyn Sandbox>,
    /// What was put into it just now.
    pub(super) filled: Option<Filled>,
}

/// What a new sandbox was filled with.
pub(super) enum Filled {
    /// What the session was created with.
    Seeded,
    /// What a checkpoint kept.
    Restored(Checkpoint),
}

/// Why there is none.
pub(super) enum NotProvided {
    /// The one there was is lost. The next one is to be recorded, then made.
    Lost {
        /// Why.
        why: String,
        /// Sequence of the checkpoint that it will be brought back from; `None`: there is none.
        restores: Option<i64>,
    },
    /// It cannot be made ready.
    Failed(Failure),
}

impl From<Failure> for NotProvided {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Finds the sandbox that the session's record names, or makes it if it was only announced.
pub(super) async fn provide(
    shared: &Arc<Shared>,
    key: &SessionKey,
    epoch: Epoch,
    session: &Session,
) -> Result<Provided, NotProvided> {
    let config = &shared.config;
    let described = session.sandbox.as_ref().expect("a sandbox is named before it is made");
    let id = described.sandbox_id.as_ref().expect("a sandbox is named before it is made");
    match described.status {
        // Nothing ran in it yet: what a server that died in between put there is put there again.
        SandboxStatus::Starting => {
            let made = config.provider.create(id, key, epoch).await;
            let sandbox = made.map_err(|error| launch::failure(config, id, &error))?;
            let filled = fill(shared, key, session, &sandbox).await?;
            Ok(Provided { sandbox, filled: Some(filled) })
        }
        SandboxStatus::Ready | SandboxStatus::Unhealthy | SandboxStatus::Terminated => {
            match config.provider.attach(id, epoch).await {
                Ok(sandbox) => Ok(Provided { sandbox, filled: None }),
                Err(sandbox::Error::Gone(why)) => {
                    let checkpoint = newest(shared, key).await?;
                    Err(NotProvided::Lost { why, restores: checkpoint.map(|checkpoint| checkpoint.sequence) })
                }
                Err(error) => Err(launch::failure(config, id, &error).into()),
            }
        }
    }
}

/// The sandbox after one that was lost.
pub(super) fn next(config: &Config, session: &Session, why: &str, restores: Option<i64>) -> Described {
    let generation = session.sandbox.as_ref().map_or(0, |sandbox| sandbox.generation) + 1;
    Described {
        sandbox_id: Some(SandboxId::mint()),
        generation,
        restored_to_sequence: restores.unwrap_or(0),
        status_message: format!("bringing the workspace back: {why}"),
        ..launch::announce(config, session)
    }
}

async fn newest(shared: &Shared, key: &SessionKey) -> Result<Option<Checkpoint>, Failure> {
    shared.log.store().checkpoint(key).await.map_err(|error| unavailable(&error))
}

async fn fill(
    shared: &Arc<Shared>,
    key: &SessionKey,
    session: &Session,
    sandbox: &Arc<dyn Sandbox>,
) -> Result<Filled, Failure> {
    let named = Named { store: Arc::clone(shared.log.store()), key: key.clone() };
    let failed = |error: sandbox::Error| launch::failure(&shared.config, sandbox.id(), &error);
    let files = sandbox.files();
    let Some(checkpoint) = newest(shared, key).await? else {
        seed(&shared.config, &named, session, &*files).await.map_err(failed)?;
        return Ok(Filled::Seeded);
    };
    let manifest = named.all(&checkpoint.manifest).await.map_err(|error| unavailable(&error))?;
    let manifest = manifest.and_then(|bytes| Manifest::decode(&bytes).ok()).ok_or_else(|| {
        let message = "the checkpoint of the workspace cannot be read; its files can be read one by one";
        Failure::new(Reason::SandboxFailed, message).with("cause", "checkpoint_damaged")
    })?;
    let contents: Arc<Named> = Arc::new(named);
    let workspace = files.restore(Root::Workspace, Scope::kept(), manifest.workspace, contents.clone());
    let restored = workspace.await.map_err(failed)?;
    files.restore(Root::Home, Scope::kept(), manifest.home, contents).await.map_err(failed)?;
    tracing::info!(%key, written = restored.written, kept = restored.kept, "a workspace was brought back");
    Ok(Filled::Restored(checkpoint))
}

/// What the session was created with: the source first, then the single files over it.
async fn seed(config: &Config, named: &Named, session: &Session, files: &dyn Files) -> Result<(), sandbox::Error> {
    // What an attempt that was cut short left.
    files.restore(Root::Workspace, Scope::everything(), Vec::new(), Arc::new(named.clone())).await?;
    match &session.workspace {
        None => {}
        Some(WorkspaceSource::Git { url, reference, depth }) => {
            let source = GitSource { url: url.clone(), reference: reference.clone(), depth: u32::try_from(*depth).unwrap_or(0) };
            files.seed(Source::Git(source, Cloning::default())).await?;
        }
        Some(WorkspaceSource::Directory { path }) => {
            let copying = Copying { roots: config.workspace_roots.clone(), ..Copying::default() };
            files.seed(Source::Directory(path.into(), copying)).await?;
        }
        Some(WorkspaceSource::Archive { format, sha256 }) => {
            let archive = spool(named, sha256).await?;
            files.unpack(*format, archive, "", ArchiveLimits::default()).await?;
        }
    }
    for SeedFile { path, sha256, size, mode } in &session.seed_files {
        let content = Content::File(spool(named, sha256).await?);
        files.write(Root::Workspace, path, *mode, content, u64::try_from(*size).unwrap_or(0)).await?;
    }
    Ok(())
}

/// Stored bytes as an anonymous file. They are small: a call brought them.
async fn spool(named: &Named, sha256: &str) -> Result<std::fs::File, sandbox::Error> {
    use std::io::Seek as _;
    let failed = |error: std::io::Error| sandbox::Error::Unavailable(format!("no room for {sha256}: {error}"));
    let mut file = tempfile::tempfile().map_err(failed)?;
    let mut bytes = named.open(sha256).await?;
    while let Some(piece) = bytes.next().await {
        file.write_all(&piece?).map_err(failed)?;
    }
    file.rewind().map_err(failed)?;
    Ok(file)
}

//! Makes the sandbox of a session ready for what is to happen in it: the one it has, its first, which begins as the caller
//! asked for, or the next one, which is brought back from the newest checkpoint.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{Config, Content, contents::Named, launch, lifetime::Lifetime, setup, shared::Shared};
use crate::{
    domain::{
        Checkpoint, Failure, Reason, Sandbox as Described, SandboxId, SandboxStatus, SeedFile, Session, SessionKey,
        Timestamp, WorkspaceSource,
    },
    log::unavailable,
    sandbox::{self, Epoch, Files, NewSandbox, Progress, Provider, Root, Sandbox, Source},
    workspace::{ArchiveLimits, Cloning, GitSource, Ignore, Manifest, Scope},
};

/// How long a sandbox may take to answer: on this machine, and elsewhere, where it may have to be made again of what its
/// provider kept.
const ANSWERS: Duration = Duration::from_secs(30);
const ANSWERS_ELSEWHERE: Duration = Duration::from_mins(10);

/// A sandbox that is ready.
pub(super) struct Provided {
    pub(super) sandbox: Arc<dyn Sandbox>,
    /// Its provider had to make it anew, of what it kept, which is what the checkpoint at this sequence has, or newer; 0: there
    /// is none.
    pub(super) replaces: Option<i64>,
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
    progress: &Progress,
) -> Result<Provided, NotProvided> {
    let provider = shared.config.providers.of(session);
    let named = session.sandbox.as_ref().and_then(|sandbox| Some((sandbox.status, sandbox.sandbox_id.as_ref()?)));
    let Some((status, id)) = named else {
        let failure =
            Failure::new(Reason::SandboxFailed, "the sandbox was given up while it was being made; try again");
        return Err(failure.with("cause", "given_up").into());
    };
    let new = new(shared, key, epoch, session, &*provider, (status, id), progress).await?;
    match status {
        // Nothing ran in it yet: what a server that died in between put there is put there again.
        SandboxStatus::Starting => {
            let made = provider.create(new).await;
            let sandbox = made.map_err(|error| launch::failure(provider.name(), id, &error))?;
            let filled = fill(shared, key, session, &sandbox).await?;
            Ok(Provided { sandbox, replaces: None, filled: Some(filled) })
        }
        SandboxStatus::Ready | SandboxStatus::Unhealthy | SandboxStatus::Terminated => {
            let patience = if provider.shares_machine() { ANSWERS } else { ANSWERS_ELSEWHERE };
            let resumed = timeout(patience, resume(&*provider, new)).await.unwrap_or_else(|_| {
                Err(sandbox::Error::Unavailable(format!("the sandbox did not answer within {} s", patience.as_secs())))
            });
            match resumed {
                Ok(sandbox) => {
                    // Those that its provider makes one after the other are told apart by when they end.
                    let known = session.sandbox.as_ref().and_then(|known| known.expire_time);
                    let replaces = if known == sandbox.expires() {
                        None
                    } else {
                        Some(newest(shared, key).await?.map_or(0, |checkpoint| checkpoint.sequence))
                    };
                    Ok(Provided { sandbox, replaces, filled: None })
                }
                Err(sandbox::Error::Gone(why)) => {
                    let checkpoint = newest(shared, key).await?;
                    Err(NotProvided::Lost { why, restores: checkpoint.map(|checkpoint| checkpoint.sequence) })
                }
                Err(error) => Err(launch::failure(provider.name(), id, &error).into()),
            }
        }
    }
}

/// The sandbox that there is, or the one that its provider makes of what it left. One that ends soon is left at once: nothing
/// begins in it.
async fn resume(provider: &dyn Provider, new: NewSandbox) -> Result<Arc<dyn Sandbox>, sandbox::Error> {
    let sandbox = provider.resume(new.clone()).await?;
    let ends_soon = |expires| Lifetime::of(&new.spec, expires).leave <= Timestamp::now();
    if !sandbox.expires().is_some_and(ends_soon) {
        return Ok(sandbox);
    }
    sandbox.terminate(new.epoch).await?;
    provider.resume(new).await
}

async fn new(
    shared: &Shared,
    key: &SessionKey,
    epoch: Epoch,
    session: &Session,
    provider: &dyn Provider,
    (status, id): (SandboxStatus, &SandboxId),
    progress: &Progress,
) -> Result<NewSandbox, Failure> {
    let is_new = match status {
        SandboxStatus::Starting => true,
        SandboxStatus::Ready | SandboxStatus::Unhealthy | SandboxStatus::Terminated => false,
    };
    Ok(NewSandbox {
        id: id.clone(),
        session: key.clone(),
        generation: session.sandbox.as_ref().map_or(1, |sandbox| sandbox.generation),
        epoch,
        spec: session.sandbox_spec.clone(),
        contents: setup::contents(shared, key, session, provider, is_new, progress).await?,
        progress: progress.clone(),
    })
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
    let named = Named { log: shared.log.clone(), key: key.clone() };
    let failed = |error: sandbox::Error| launch::failure(sandbox.provider(), sandbox.id(), &error);
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
    let all = Scope { ignore: Ignore::Nothing, ..Scope::kept() };
    files.restore(Root::Workspace, all, Vec::new(), Arc::new(named.clone())).await?;
    match &session.workspace {
        None => {}
        Some(WorkspaceSource::Git { url, reference, depth }) => files.seed(repository(url, reference, *depth)).await?,
        Some(WorkspaceSource::Directory { path }) => {
            files.seed(Source::Directory(path.into(), config.copying.clone())).await?;
        }
        Some(WorkspaceSource::Archive { format, sha256 }) => {
            let archive = Content::in_memory(given(named, sha256).await?).open();
            let archive =
                archive.map_err(|error| sandbox::Error::Unavailable(format!("no room to unpack: {error}")))?;
            files.unpack(*format, archive, "", ArchiveLimits::default()).await?;
        }
    }
    for SeedFile { path, sha256, size, mode } in &session.seed_files {
        let content = sandbox::Content::Bytes(given(named, sha256).await?);
        files.write(Root::Workspace, path, *mode, content, u64::try_from(*size).unwrap_or(0)).await?;
    }
    Ok(())
}

fn repository(url: &str, reference: &str, depth: i32) -> Source {
    let mut cloning = Cloning::default();
    // Taken only where it does not leave the machine.
    if url.starts_with("http://") {
        cloning.protocols = vec!["http".to_owned()];
    }
    let depth = u32::try_from(depth).unwrap_or(0);
    Source::Git(GitSource { url: url.to_owned(), reference: reference.to_owned(), depth }, cloning)
}

/// What the call that created the session brought.
async fn given(named: &Named, sha256: &str) -> Result<Bytes, sandbox::Error> {
    let lost = |why: String| sandbox::Error::Unavailable(format!("what the session was created with is gone: {why}"));
    let bytes = named.all(sha256).await.map_err(|error| lost(error.to_string()))?;
    bytes.map(Bytes::from).ok_or_else(|| lost(format!("nothing has the hash {sha256}")))
}

//! Looks at the files of a session's sandbox: what is other than the log tells of them, and what a checkpoint of them needs.
//!
//! A look changes nothing but what it puts ahead in the store; what it found is recorded by the actor. The file system is
//! the truth: that something changed may be hinted at, but only a look tells what.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{ahead::Wanted, contents::Named, launch, shared::Shared};
use crate::{
    agent,
    domain::{Agent, Failure, FileChange, FileChangeKind, FileChangeOrigin, FileType, SandboxId, SessionKey},
    log::unavailable,
    sandbox::{self, Files, Root, Sandbox},
    store::{BlobPiece, FileQuery, Piece, Store},
    workspace::{Manifest, Scope, Tree, changes},
};

/// How long a look may take. A turn's end waits for it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often files that do not hold still are looked at again.
const ATTEMPTS: usize = 3;
/// Files read at once of what the log tells.
const PAGE: usize = 1000;

/// Who looks, and where.
pub(super) struct Eyes {
    pub(super) shared: Arc<Shared>,
    pub(super) key: SessionKey,
    pub(super) files: Arc<dyn Files>,
    /// Whose bytes are put ahead.
    pub(super) by: String,
    sandbox: SandboxId,
    provider: String,
    agent: Agent,
}

/// What an earlier look knew.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// All that is kept of the workspace.
    tree: Arc<Tree>,
    /// What is kept of the home: by which the agent remembers.
    home: Arc<Tree>,
    /// What the log tells.
    shown: Arc<Tree>,
    checkpoint: Arc<Kept>,
    /// The checkpoint is of these very trees.
    current: bool,
}

/// What the newest checkpoint keeps.
#[derive(Debug, Default)]
struct Kept {
    /// Empty: there is no checkpoint.
    manifest: String,
    contents: BTreeMap<String, i64>,
}

/// What the store knows of the newest checkpoint.
#[derive(Default)]
struct Stored {
    kept: Kept,
    workspace: Tree,
    home: Tree,
}

/// What a look is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Who changed what changed.
    pub(super) origin: FileChangeOrigin,
    /// A checkpoint is to be made of what is found.
    pub(super) checkpoint: bool,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// For the next look, once this one is recorded.
    pub(super) known: Known,
    pub(super) changes: Vec<FileChange>,
    /// Contents that the changes name.
    pub(super) names: Vec<String>,
    pub(super) made: Option<Made>,
    /// For people: what could not be kept.
    pub(super) notes: Vec<String>,
}

/// What a checkpoint is made of.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) manifest: String,
    pub(super) adds: Vec<String>,
    pub(super) drops: Vec<String>,
    pub(super) files: i64,
    pub(super) bytes: i64,
}

impl Eyes {
    pub(super) fn new(shared: &Arc<Shared>, key: &SessionKey, agent: Agent, sandbox: &Arc<dyn Sandbox>) -> Self {
        Self {
            shared: Arc::clone(shared),
            key: key.clone(),
            files: sandbox.files(),
            by: format!("{key}/{}", sandbox.id()),
            sandbox: sandbox.id().clone(),
            provider: sandbox.provider().to_owned(),
            agent,
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.shared.log.store()
    }

    pub(super) fn failure(&self, error: &sandbox::Error) -> Failure {
        launch::failure(&self.provider, &self.sandbox, error)
    }

    /// What an earlier look of this owner knew, else what is stored.
    pub(super) async fn know(&self, known: Option<Known>) -> Result<Known, Failure> {
        if let Some(known) = known {
            return Ok(known);
        }
        let (mut files, mut after) = (Vec::new(), None);
        loop {
            let query = FileQuery { prefix: String::new(), after: after.take(), limit: PAGE };
            let page = self.store().files(&self.key, &query).await.map_err(|error| unavailable(&error))?;
            let Some(page) = page else { break };
            after = page.files.last().map(|file| file.path.clone());
            files.extend(page.files);
            if !page.more {
                break;
            }
        }
        let shown = Arc::new(Tree::from_files(files));
        // What the checkpoint has is more than what is shown; a look that cannot see everything takes the rest from there.
        let Stored { kept, workspace, home } = self.stored().await?;
        let tree = if kept.manifest.is_empty() { Arc::clone(&shown) } else { Arc::new(workspace) };
        Ok(Known { tree, home: Arc::new(home), shown, checkpoint: Arc::new(kept), current: false })
    }

    async fn stored(&self) -> Result<Stored, Failure> {
        let checkpoint = self.store().checkpoint(&self.key).await.map_err(|error| unavailable(&error))?;
        let Some(checkpoint) = checkpoint else { return Ok(Stored::default()) };
        let named = Named { log: self.shared.log.clone(), key: self.key.clone() };
        let bytes = named.all(&checkpoint.manifest).await.map_err(|error| unavailable(&error))?;
        // One that cannot be read drops nothing: what it kept stays as long as the session.
        let manifest = bytes.and_then(|bytes| Manifest::decode(&bytes).ok()).unwrap_or_default();
        let kept = Kept { manifest: checkpoint.manifest, contents: owned(manifest.contents()) };
        let (workspace, home) = (Tree::from_files(manifest.workspace), Tree::from_files(manifest.home));
        Ok(Stored { kept, workspace, home })
    }

    /// Looks, and puts ahead what has to be kept.
    pub(super) async fn look(&self, known: Option<Known>, look: Look) -> Result<Seen, Failure> {
        let known = self.know(known).await?;
        let (mut base, mut moved) = ((Arc::clone(&known.tree), Arc::clone(&known.home)), Vec::new());
        let (mut tree, mut home) = (Tree::default(), Tree::default());
        for _ in 0..ATTEMPTS {
            let scope = |scope: Scope| Scope { time: PATIENCE, ..scope };
            tree = self.scan(Root::Workspace, scope(Scope::kept()), &base.0).await?;
            home = if look.checkpoint { self.scan_home(scope, &base.1).await? } else { (*known.home).clone() };
            if tree.iter().eq(known.tree.iter())
                && home.iter().eq(known.home.iter())
                && (known.current || !look.checkpoint)
            {
                return Ok(known.unchanged(look));
            }
            moved = self.put_ahead(known.wanted(&tree, &home, look)).await?;
            if moved.is_empty() {
                break;
            }
            // Read again, whatever they look like.
            let without = |root: Root, tree: &Tree| {
                let mut tree = tree.clone();
                moved.iter().filter(|moved| moved.root == root).for_each(|moved| drop(tree.remove(&moved.path)));
                Arc::new(tree)
            };
            base = (without(Root::Workspace, &tree), without(Root::Home, &home));
        }
        let lost: BTreeSet<String> = moved.iter().map(|moved| moved.sha256.clone()).collect();
        known.take_back(&mut tree, &known.tree, &lost);
        known.take_back(&mut home, &known.home, &lost);
        let shown = tree.shown();
        let changes = changes(&known.shown, &shown, look.origin);
        let notes = known.notes(&tree, moved.len());
        // Of half a look no checkpoint is made: the last whole one is better.
        let whole = look.checkpoint && !tree.is_incomplete() && !home.is_incomplete();
        let (made, checkpoint) = if whole {
            let manifest = Manifest::of(&tree, &home);
            let contents = owned(manifest.contents());
            let made = known.made(&contents, self.put_manifest(&manifest).await?);
            let kept = Kept { manifest: made.manifest.clone(), contents };
            (Some(made), Arc::new(kept))
        } else {
            (None, Arc::clone(&known.checkpoint))
        };
        let current = whole;
        let known = Known { tree: Arc::new(tree), home: Arc::new(home), shown: Arc::new(shown), checkpoint, current };
        Ok(Seen { names: names(&changes), known, changes, made, notes })
    }

    /// Keeps the list of all that is kept, and returns its hash.
    async fn put_manifest(&self, manifest: &Manifest) -> Result<String, Failure> {
        let bytes = manifest.encode();
        let (sha256, size) = (format!("{:x}", Sha256::digest(&bytes)), bytes.len() as u64);
        let pieces: Vec<BlobPiece> = bytes
            .chunks(Piece::BYTES)
            .enumerate()
            .map(|(index, data)| BlobPiece {
                sha256: sha256.clone(),
                size,
                offset: (index * Piece::BYTES) as u64,
                data: data.to_vec(),
            })
            .collect();
        self.put(&pieces).await?;
        Ok(sha256)
    }

    async fn scan(&self, root: Root, scope: Scope, known: &Arc<Tree>) -> Result<Tree, Failure> {
        self.files.scan(root, scope, Arc::clone(known)).await.map_err(|error| self.failure(&error))
    }

    async fn scan_home(&self, scope: impl Fn(Scope) -> Scope, known: &Arc<Tree>) -> Result<Tree, Failure> {
        match agent::kept_home(self.agent) {
            [] => Ok(Tree::default()),
            folders => self.scan(Root::Home, scope(Scope::only(folders.iter().copied())), known).await,
        }
    }
}

impl Known {
    /// The store has this content, and the session names it.
    fn has(&self, sha256: &str) -> bool {
        self.checkpoint.contents.contains_key(sha256) || self.shown.files().any(|file| file.sha256 == sha256)
    }

    /// Takes back what could not be kept: as it was, where that is kept; else it is not there yet.
    fn take_back(&self, tree: &mut Tree, was: &Tree, lost: &BTreeSet<String>) {
        if lost.is_empty() {
            return;
        }
        let gone: Vec<String> =
            tree.files().filter(|file| lost.contains(&file.sha256)).map(|file| file.path.clone()).collect();
        for path in gone {
            match was.get(&path).filter(|was| self.has(&was.file.sha256)) {
                Some(was) => tree.insert(was.clone()),
                None => drop(tree.remove(&path)),
            }
        }
    }

    fn unchanged(self, look: Look) -> Seen {
        let made = look.checkpoint.then(|| self.made(&self.checkpoint.contents, self.checkpoint.manifest.clone()));
        Seen { known: self, changes: Vec::new(), names: Vec::new(), made, notes: Vec::new() }
    }

    fn made(&self, contents: &BTreeMap<String, i64>, manifest: String) -> Made {
        let before = &self.checkpoint.contents;
        let less = |one: &BTreeMap<String, i64>, other: &BTreeMap<String, i64>| {
            one.keys().filter(|hash| !other.contains_key(*hash)).cloned().collect()
        };
        let files = i64::try_from(contents.len()).unwrap_or(i64::MAX);
        let bytes = contents.values().sum();
        Made { manifest, adds: less(contents, before), drops: less(before, contents), files, bytes }
    }

    /// The contents that have to be kept and are not.
    fn wanted(&self, tree: &Tree, home: &Tree, look: Look) -> Wanted {
        let known: BTreeSet<&str> = self.shown.files().map(|file| file.sha256.as_str()).collect();
        let shown;
        let of_workspace = if look.checkpoint {
            tree
        } else {
            shown = tree.shown();
            &shown
        };
        let all = |root: Root, tree: &Tree| -> Vec<(String, (Root, String, u64))> {
            let files = tree.files().filter(|file| file.file_type == FileType::File);
            let new = files.filter(|file| {
                !known.contains(file.sha256.as_str()) && !self.checkpoint.contents.contains_key(&file.sha256)
            });
            let place = |file: &crate::domain::WorkspaceFile| {
                (file.sha256.clone(), (root, file.path.clone(), u64::try_from(file.size_bytes).unwrap_or(0)))
            };
            new.map(place).collect()
        };
        all(Root::Workspace, of_workspace).into_iter().chain(all(Root::Home, home)).collect()
    }

    /// What is not kept, for people; told once.
    fn notes(&self, tree: &Tree, moved: usize) -> Vec<String> {
        let mut notes = Vec::new();
        if moved > 0 {
            notes.push(format!("{moved} files did not hold still and are kept as they were before"));
        }
        if tree.is_incomplete() {
            notes.push(format!("the workspace could not be looked through within {} s", PATIENCE.as_secs()));
        }
        let left_out = tree.left_out();
        if left_out.count > 0 && left_out != self.tree.left_out() {
            let some = left_out.some.iter().take(5).map(|(path, why)| format!("{path:?} ({why:?})"));
            let some = some.collect::<Vec<_>>().join(", ");
            notes.push(format!("{} entries of the workspace are not kept, among them {some}", left_out.count));
        }
        notes
    }
}

/// The contents that changes name, once each.
fn names(changes: &[FileChange]) -> Vec<String> {
    let named = changes.iter().filter(|change| change.kind != FileChangeKind::Deleted);
    let hashes: BTreeSet<&String> = named.map(|change| &change.file.sha256).filter(|hash| !hash.is_empty()).collect();
    hashes.into_iter().cloned().collect()
}

fn owned(contents: BTreeMap<&str, i64>) -> BTreeMap<String, i64> {
    contents.into_iter().map(|(hash, size)| (hash.to_owned(), size)).collect()
}

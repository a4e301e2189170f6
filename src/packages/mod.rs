//! Packages that profiles bring: installed once a set into a folder that is named after it, and read by all sessions that
//! want the same.
//!
//! It knows npm and pip, and nothing of profiles, sessions or sandboxes. Nothing of what is installed is run by it: npm is
//! told to run no scripts, and pip to build nothing. Whoever asks for packages has looked that they are names of a
//! registry, and no paths or addresses. A set is put together beside its place, written to the disk and moved there, so what is
//! in its place is whole. One that nobody has used for long is taken away.

mod error;
mod run;
mod store;
mod uses;
mod wanted;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

pub use error::Error;
pub use wanted::{Manager, Wanted};

/// Installs packages below one folder. A clone is the same.
#[derive(Clone, Debug)]
pub struct Packages {
    folder: PathBuf,
    turns: Turns,
}

/// Who installs a set has its turn, by the set's place; the others who want it wait for that, and nobody else does.
type Turns = Arc<Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>>;

/// Where a set lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Everything of it; nobody may write there.
    pub folder: PathBuf,
    /// Its programs.
    pub programs: PathBuf,
    /// What the program that runs its modules looks for: a variable, and the folder it should name.
    pub modules: (&'static str, PathBuf),
    /// What Node.js finds for an `import` only as the `node_modules` of a folder above the file that imports.
    pub above: Option<PathBuf>,
}

impl Packages {
    /// Below this folder, which need not be there yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), turns: Turns::default() }
    }

    /// Whether nothing is left to do for this set.
    #[must_use]
    pub fn has(&self, wanted: &Wanted, search: &str) -> bool {
        run::interpreter(wanted.manager, search).is_ok_and(|interpreter| self.place(wanted, &interpreter).is_dir())
    }

    /// Makes sure that the set is there, and stays for as long as `holder` does, a folder of whoever uses it. Of several who want it at once one installs it and the others wait; those who want
    /// another one do not, because a registry may be slow for one set alone. Servers that share the folder do not wait for
    /// each other: the one that is through first puts the set into its place. `search` names
    /// the folders in which those who will use it look for programs.
    ///
    /// # Errors
    /// [`Error`], which says what to do. Nothing is left of it.
    pub async fn install(&self, wanted: &Wanted, search: &str, holder: Option<&Path>) -> Result<Installed, Error> {
        let interpreter = run::interpreter(wanted.manager, search)?;
        let place = self.place(wanted, &interpreter);
        if !uses::hold(&self.folder, &place, holder).await? {
            let turn = self.turn(&place);
            let _turn = turn.lock().await;
            // Somebody else may have been at it.
            if !place.is_dir() {
                let fresh = store::fresh(&self.folder).await?;
                run::install(wanted, &interpreter, &fresh, search).await?;
                store::keep(fresh, &place).await?;
            }
        }
        Ok(installed(wanted.manager, &place))
    }

    /// Takes away the sets that nobody has used for as long, of all that use the folder. Returns their names.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn clean(&self, unused_for: Duration) -> Result<Vec<String>, Error> {
        uses::clean(&self.folder, unused_for).await
    }

    fn turn(&self, place: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        turns.get(place).and_then(Weak::upgrade).unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(place.to_owned(), Arc::downgrade(&turn));
            turn
        })
    }

    fn place(&self, wanted: &Wanted, interpreter: &Path) -> PathBuf {
        self.folder.join(wanted.name(interpreter))
    }
}

fn installed(manager: Manager, folder: &Path) -> Installed {
    let (programs, modules, above) = match manager {
        Manager::Npm => {
            let modules = folder.join("node_modules");
            (modules.join(".bin"), ("NODE_PATH", modules.clone()), Some(modules))
        }
        Manager::Pip => (folder.join("bin"), ("PYTHONPATH", folder.to_owned()), None),
    };
    Installed { folder: folder.to_owned(), programs, modules, above }
}

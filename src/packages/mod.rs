//! Packages that profiles bring: installed once a set into a folder that is named after it, and read by all sessions that
//! want the same.
//!
//! It knows npm and pip, and nothing of profiles, sessions or sandboxes. Nothing of what is installed is run by it: npm is
//! told to run no scripts, and pip to build nothing. Whoever asks for packages has looked that they are names of a
//! registry, and no paths or addresses. A set is put together beside its place, written to the disk and moved there, so what is in its place is whole.

mod error;
mod run;
mod store;
mod wanted;

use std::path::{Path, PathBuf};

pub use error::Error;
pub use wanted::{Manager, Wanted};

/// Installs packages below one folder. A clone is the same.
#[derive(Clone, Debug)]
pub struct Packages {
    folder: PathBuf,
}

/// Where a set lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Everything of it; nobody may write there.
    pub folder: PathBuf,
    /// Its programs.
    pub programs: PathBuf,
    /// What the program that runs its modules looks for: a variable, and the folder it should name.
    pub modules: (&'static str, PathBuf),
}

impl Packages {
    /// Below this folder, which need not be there yet.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Whether nothing is left to do for this set.
    #[must_use]
    pub fn has(&self, wanted: &Wanted, search: &str) -> bool {
        run::interpreter(wanted.manager, search).is_ok_and(|interpreter| self.place(wanted, &interpreter).is_dir())
    }

    /// Makes sure that the set is there. Of several who want it at once one installs it and the others wait. `search` names
    /// the folders in which those who will use it look for programs.
    ///
    /// # Errors
    /// [`Error`], which says what to do. Nothing is left of it.
    pub async fn install(&self, wanted: &Wanted, search: &str) -> Result<Installed, Error> {
        let interpreter = run::interpreter(wanted.manager, search)?;
        let place = self.place(wanted, &interpreter);
        if !place.is_dir() {
            let _lock = store::lock(&self.folder).await?;
            // Somebody else may have been at it.
            if !place.is_dir() {
                let fresh = store::fresh(&self.folder)?;
                run::install(wanted, &interpreter, fresh.path(), search).await?;
                store::keep(fresh, &place).await?;
            }
        }
        Ok(installed(wanted.manager, &place))
    }

    fn place(&self, wanted: &Wanted, interpreter: &Path) -> PathBuf {
        self.folder.join(wanted.name(interpreter))
    }
}

fn installed(manager: Manager, folder: &Path) -> Installed {
    let (programs, modules) = match manager {
        Manager::Npm => (folder.join("node_modules/.bin"), ("NODE_PATH", folder.join("node_modules"))),
        Manager::Pip => (folder.join("bin"), ("PYTHONPATH", folder.to_owned())),
    };
    Installed { folder: folder.to_owned(), programs, modules }
}

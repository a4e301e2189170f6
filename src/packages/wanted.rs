//! A set of packages, and its name.

use std::{fmt, path::Path};

use sha2::{Digest as _, Sha256};

/// Who installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manager {
    /// For Node.js.
    Npm,
    /// For Python.
    Pip,
}

impl Manager {
    /// As people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pip => "pip",
        }
    }
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Packages of one manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose.
    pub manager: Manager,
    packages: Vec<String>,
}

impl Wanted {
    /// A set of requirements, in any order; `None` where there is none.
    #[must_use]
    pub fn new(manager: Manager, packages: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut packages: Vec<String> = packages.into_iter().map(|package| package.trim().to_owned()).collect();
        packages.sort();
        packages.dedup();
        (!packages.is_empty()).then_some(Self { manager, packages })
    }

    /// In order.
    #[must_use]
    pub fn packages(&self) -> &[String] {
        &self.packages
    }

    /// Name of the folder: of the manager, of what runs the packages, of the machine, and of the requirements.
    pub(super) fn name(&self, interpreter: &Path) -> String {
        let mut hash = Sha256::new();
        let interpreter = interpreter.to_string_lossy();
        let said = [std::env::consts::OS, std::env::consts::ARCH, &*interpreter];
        for part in said.into_iter().chain(self.packages.iter().map(String::as_str)) {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        format!("{}-{:x}", self.manager, hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_named_after_what_it_is_of() {
        let wanted = |manager, packages: &[&str]| Wanted::new(manager, packages.iter().map(|one| (*one).to_owned()));
        let name = |wanted: Option<Wanted>, at: &str| wanted.unwrap().name(Path::new(at));
        let first = name(wanted(Manager::Npm, &["a@1", "b"]), "/usr/bin/node");
        assert_eq!(first, name(wanted(Manager::Npm, &["b", "a@1", "b "]), "/usr/bin/node"));
        assert!(first.starts_with("npm-"));
        assert_ne!(first, name(wanted(Manager::Npm, &["b", "a@2"]), "/usr/bin/node"));
        assert_ne!(first, name(wanted(Manager::Npm, &["b", "a@1"]), "/usr/local/bin/node"));
        assert_ne!(first, name(wanted(Manager::Pip, &["b", "a@1"]), "/usr/bin/node"));
        assert_eq!(wanted(Manager::Pip, &[]), None);
    }
}

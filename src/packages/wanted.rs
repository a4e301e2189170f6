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

    /// Characters of a requirement beside letters and digits.
    fn allowed(self) -> &'static str {
        match self {
            Self::Npm => "@/._~^<>=*|- +",
            Self::Pip => "._-[],<>=!~*+ ",
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

/// Whether a requirement names a package of the registry and nothing else: no path, no address, no option.
///
/// # Errors
/// The rule that it breaks.
pub fn check(manager: Manager, package: &str) -> Result<(), String> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || manager.allowed().contains(char);
    let name = match manager {
        Manager::Npm => npm_name(package.trim()),
        Manager::Pip => package.trim().split(['[', '<', '>', '=', '!', '~', ' ']).next().unwrap_or_default(),
    };
    let begins = name.trim_start_matches('@').starts_with(|char: char| char.is_ascii_alphanumeric());
    let slashes = package.matches('/').count();
    let scoped = package.trim().starts_with('@');
    let fits = begins && package.chars().all(allowed) && slashes == usize::from(scoped) && package.len() <= 256;
    let example = match manager {
        Manager::Npm => "typescript@5.6",
        Manager::Pip => "requests>=2.32",
    };
    if fits { Ok(()) } else { Err(format!("must name a package of the {manager} registry, as {example:?} does")) }
}

/// Without the version.
fn npm_name(package: &str) -> &str {
    let scope = usize::from(package.starts_with('@'));
    package[scope..].split_once('@').map_or(package, |(name, _)| &package[..name.len() + scope])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_names_a_package_and_nothing_else() {
        for good in ["is-number", "is-number@7.0.0", "@types/node@^20", "typescript@5.6", "left-pad@>=1.0 <2"] {
            assert_eq!(check(Manager::Npm, good), Ok(()), "{good}");
        }
        for good in ["six", "requests>=2.32", "requests[socks]==2.32.3", "a~=1.0,!=1.1"] {
            assert_eq!(check(Manager::Pip, good), Ok(()), "{good}");
        }
        let bad =
            ["", " ", "--prefix", "/etc", "./a", "../a", "a/b", "file:a", "git+ssh://x", "http://x/y.tgz", "a@file:b"];
        for bad in bad.into_iter().chain(["@a", "@/a", "@../a", "a@npm:b", "~/a", "é", "a\nb"]) {
            for manager in [Manager::Npm, Manager::Pip] {
                assert!(check(manager, bad).is_err(), "{manager} takes {bad:?}");
            }
        }
        for bad in ["-r requirements.txt", "six @ https://x", "./six", "@a/b", "six; python_version > '3'"] {
            assert!(check(Manager::Pip, bad).is_err(), "pip takes {bad:?}");
        }
    }

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

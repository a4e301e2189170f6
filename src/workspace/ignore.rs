//! What is left out of a look at a tree, by name. Two sets: what nobody wants to see, and what can be built again and so
//! need not be kept. The second is a part of the first, so that what is shown is a part of what is kept.
//!
//! Names alone are no proof for `target`, `build` or `dist`, which are often what was asked for. Such a folder is left out
//! where it says itself that it can be built again, by a `CACHEDIR.TAG` (<https://bford.info/cachedir/>): cargo's
//! `target`, the caches of pip, uv, mypy, pytest and ruff, and others say so.

use serde::{Deserialize, Serialize};

/// Folders of these names hold what a tool installs or makes again: neither shown nor kept. Also not kept where a
/// repository has them under version control, for which their names are too unusual.
pub const REBUILT: &[&str] = &[
    "node_modules",
    "bower_components",
    "__pycache__",
    ".venv",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".nox",
    ".next",
    ".nuxt",
    ".svelte-kit",
    ".turbo",
    ".parcel-cache",
];

/// Entries of these names are kept but not shown, as editors do: a repository's own files, and what file managers leave.
pub const HIDDEN: &[&str] = &[".git", ".hg", ".svn", ".jj", ".DS_Store", "Thumbs.db"];

/// How the file that marks a cache is named, and what it begins with.
pub(super) const TAG: &str = "CACHEDIR.TAG";
pub(super) const TAG_CONTENT: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Which entries are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ignore {
    /// None.
    Nothing,
    /// What can be built again: for what is put back later.
    Rebuilt,
    /// That, and what people do not want to see: for events and lists.
    Hidden,
}

impl Ignore {
    /// Whether something of this name is left out.
    pub(super) fn leaves_out(self, name: &str, is_directory: bool) -> bool {
        match self {
            Self::Nothing => false,
            Self::Rebuilt => is_directory && REBUILT.contains(&name),
            Self::Hidden => HIDDEN.contains(&name) || is_directory && REBUILT.contains(&name),
        }
    }

    /// Whether a folder that holds the mark of a cache is left out.
    pub(super) fn leaves_out_tagged(self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Rebuilt | Self::Hidden => true,
        }
    }

    /// Whether the entry at this path is left out, or a folder above it.
    #[must_use]
    pub fn leaves_out_path(self, path: &str, is_directory: bool) -> bool {
        let (above, name) = super::path::split(path);
        self.leaves_out(name, is_directory) || above.split('/').any(|part| self.leaves_out(part, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_kept_and_not_shown() {
        for path in [".git", ".git/HEAD", "lib/.git/objects/aa/bb"] {
            assert!(Ignore::Hidden.leaves_out_path(path, false), "{path}");
            assert!(!Ignore::Rebuilt.leaves_out_path(path, false), "{path}");
        }
    }

    #[test]
    fn what_is_built_again_is_neither() {
        for set in [Ignore::Rebuilt, Ignore::Hidden] {
            assert!(set.leaves_out_path("node_modules/x/index.js", false));
            assert!(set.leaves_out_path("a/__pycache__", true));
            // A link or file of that name costs nothing to keep.
            assert!(!set.leaves_out_path("node_modules", false));
            for path in ["src/main.rs", "dist/app.js", "build/x", "target/x", ".gitignore", ".github/x", "agit/.gitx"] {
                assert!(!set.leaves_out_path(path, false), "{path}");
            }
        }
        assert!(!Ignore::Nothing.leaves_out_path("node_modules/.git/x", false));
    }

    #[test]
    fn what_is_not_kept_is_not_shown() {
        for name in REBUILT.iter().chain(HIDDEN) {
            for is_directory in [true, false] {
                let kept_out = Ignore::Rebuilt.leaves_out(name, is_directory);
                assert!(!kept_out || Ignore::Hidden.leaves_out(name, is_directory), "{name}");
            }
        }
    }
}

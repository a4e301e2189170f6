//! The project of a bundled tool server on its way into the image of a sandbox away from this machine, and where it lies there.
//!
//! It must not know how images are built, nor what lies in the project.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Folder of the image that holds them: outside of the home and the workspace, which are the session's.
const FOLDER: &str = "/opt/agent-runtime";

/// Digits of a hash that name a project.
const DIGITS: usize = 32;

/// A project to be in an image, installed.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageProject {
    name: String,
    install: String,
    archive: Bytes,
    /// Of all but the name: two servers over the same project are one.
    sha256: String,
}

impl ImageProject {
    /// The most bytes of an archive: it travels in one request, of which clients of Modal's send no more than 100 MiB.
    pub const MOST: u64 = 32 << 20;

    /// The project of the tool server `name`: a tar archive of its files that is the same for the same files, and what installs
    /// it, for a shell in its folder; may be empty.
    #[must_use]
    pub fn new(name: &str, install: &str, archive: Bytes) -> Self {
        let sha256 = Sha256::new().chain_update(Sha256::digest(&archive)).chain_update(install).finalize();
        let sha256 = format!("{sha256:x}")[..DIGITS].to_owned();
        Self { name: name.to_owned(), install: install.to_owned(), archive, sha256 }
    }

    /// The tool server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What installs it.
    #[must_use]
    pub fn install(&self) -> &str {
        &self.install
    }

    /// Its files.
    #[must_use]
    pub fn archive(&self) -> &Bytes {
        &self.archive
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{FOLDER}/projects/{}", self.sha256)
    }

    /// Where an image says in which folder the project of a tool server lies: a line.
    #[must_use]
    pub fn note(name: &str) -> String {
        format!("{FOLDER}/servers/{name}")
    }

    /// Whether this is a folder of a project in an image.
    #[must_use]
    pub fn is_folder(path: &str) -> bool {
        let name = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix("/projects/"));
        name.is_some_and(|name| name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }
}

impl fmt::Debug for ImageProject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, install, archive, sha256 } = self;
        let mut shown = f.debug_struct("ImageProject");
        shown.field("name", name).field("install", install).field("bytes", &archive.len()).field("sha256", sha256);
        shown.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_known_by_its_files_and_by_what_installs_it() {
        let folder = |name, install, archive: &'static str| ImageProject::new(name, install, archive.into()).folder();
        let one = folder("a", "npm ci", "files");
        assert_eq!(one, folder("b", "npm ci", "files"), "its name is not part of it");
        assert_ne!(one, folder("a", "npm install", "files"));
        assert_ne!(one, folder("a", "npm ci", "other files"));
        assert!(ImageProject::is_folder(&one));
        for other in [ImageProject::note("a"), format!("{one}/.."), "/root".to_owned(), String::new()] {
            assert!(!ImageProject::is_folder(&other), "{other}");
        }
    }
}

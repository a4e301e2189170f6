//! Who a sandbox is: what its folder says, so that a server and a supervisor can tell whether they mean the same one.

use std::{fs, io};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    folder::{Folder, replace},
    proc,
};

/// What stands between programs and the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Walled {
    /// Nothing but what the supervisor is kept from itself.
    Plain,
    /// Bubblewrap.
    Bubblewrap,
}

/// Which sandbox lies in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// As the server named it.
    pub sandbox_id: String,
    /// Made with the folder: another one of the same name has another.
    pub nonce: String,
    /// Since when its supervisors count: none is older than the machine's start.
    pub boot_id: String,
    /// How its programs are walled off.
    pub walled: Walled,
}

impl Identity {
    /// Of a folder that has none.
    ///
    /// # Errors
    /// When the kernel does not tell its boot id.
    pub fn mint(folder: &Folder, walled: Walled) -> io::Result<Self> {
        let nonce = Uuid::new_v4().simple().to_string();
        Ok(Self { sandbox_id: folder.id().to_owned(), nonce, boot_id: proc::boot_id()?, walled })
    }

    /// What the folder says; `None` when there is none, or nothing that can be read.
    ///
    /// # Errors
    /// Of the file system.
    pub fn load(folder: &Folder) -> io::Result<Option<Self>> {
        match fs::read(folder.identity()) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes it what the folder says.
    ///
    /// # Errors
    /// Of the file system.
    pub fn store(&self, folder: &Folder) -> io::Result<()> {
        replace(&folder.identity(), &serde_json::to_vec(self)?)
    }
}

//! Whether a folder holds a sandbox, and making it one.

use std::io;

use crate::supervisor::{
    folder::Folder,
    identity::{Identity, Walled},
    leftovers, proc,
};

/// Makes what is missing of a sandbox's folder; returns whose it is. Blocks.
pub(super) fn make(folder: &Folder, walled: Walled) -> io::Result<Identity> {
    folder.make()?;
    let identity = match Identity::load(folder)? {
        // No supervisor of before the machine's start can be here.
        Some(found) if found.boot_id == proc::boot_id()? => return Ok(found),
        Some(found) => Identity { boot_id: proc::boot_id()?, ..found },
        None => Identity::mint(folder, walled)?,
    };
    identity.store(folder)?;
    Ok(identity)
}

/// Which sandbox lies in a folder, and whether something runs or ran to no known end there; `None` when it is not whole.
/// Blocks.
pub(super) fn look(folder: &Folder) -> io::Result<Option<(Identity, bool)>> {
    let Some(identity) = Identity::load(folder)? else { return Ok(None) };
    if !folder.workspace().is_dir() {
        return Ok(None);
    }
    let identity = make(folder, identity.walled)?;
    Ok(Some((identity, leftovers::unfinished(folder)?)))
}

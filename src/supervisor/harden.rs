//! What a supervisor gives up before it starts anything; its programs inherit all of it.

use std::path::Path;

use landlock::{
    ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, path_beneath_rules,
};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getpid, set_child_subreaper, setrlimit, setsid},
    thread::set_no_new_privs,
};

use super::{folder::Folder, identity::Walled};

/// What plain programs may write beside their own folder: devices, what tunes their own processes, and the directories
/// for temporary files that are everybody's.
const WRITABLE: [&str; 4] = ["/dev", "/proc", "/tmp", "/var/tmp"];

/// The newest kernel interface whose rights are known here; older kernels take what they know of it.
const KNOWN: ABI = ABI::V6;

/// Leaves the server's session and takes in what programs leave behind. This cannot be done without.
pub(super) fn detach() -> Result<(), Errno> {
    // Refused only to who leads a process group already, as when started by a shell: then the session is its own.
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

/// Gives up as much as the wall around the programs allows; returns what, for people.
///
/// Bubblewrap sees to it by itself, for all that runs inside: it needs to mount, which neither of these allows.
pub(super) fn restrict(folder: &Folder, walled: Walled) -> Vec<String> {
    let mut given_up = vec!["core dumps".to_owned()];
    match walled {
        Walled::Bubblewrap => {}
        Walled::Plain => {
            match set_no_new_privs(true) {
                Ok(()) => given_up.push("new privileges".to_owned()),
                Err(error) => tracing::warn!(%error, "programs may gain privileges"),
            }
            match confine(folder.base()) {
                Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {
                    given_up.push("writing elsewhere (Landlock)".to_owned());
                }
                Ok(RulesetStatus::NotEnforced) => tracing::debug!("this kernel has no Landlock"),
                Err(error) => tracing::warn!(%error, "programs may write outside of their sandbox"),
            }
        }
    }
    given_up
}

/// Whatever this kernel knows of it.
fn confine(own: &Path) -> Result<RulesetStatus, RulesetError> {
    let write = AccessFs::from_write(KNOWN);
    let writable = WRITABLE.iter().map(Path::new).chain([own]);
    let status = Ruleset::default()
        .handle_access(write)?
        .create()?
        .add_rules(path_beneath_rules(writable, write))?
        .restrict_self()?;
    Ok(status.ruleset)
}

//! Trees of files on this machine: what is in one, what changed between two looks, how one is kept and put back, and the
//! operations on a folder that nothing leaves.
//!
//! A leaf beside the domain: it blocks, and knows no runtime, no sandbox, no session and no storage. Whoever calls it
//! from tasks puts it where blocking is allowed.

mod archive;
mod bring;
mod changes;
mod copy;
mod digest;
mod error;
mod folder;
mod git;
mod hints;
mod ignore;
mod manifest;
mod operations;
mod path;
mod restore;
mod scan;
mod scope;
mod staging;
mod stamp;
mod tree;

pub use archive::{ArchiveLimits, unpack};
pub use changes::{batches, changes};
pub use copy::{Copying, allowed, copy_directory};
pub use error::Error;
pub use folder::Folder;
pub use git::{Cloning, GitSource, clone};
pub use hints::{Hints, StopHints};
pub use ignore::{HIDDEN, Ignore, REBUILT};
pub use manifest::Manifest;
pub use operations::Opened;
pub use path::{PATH_MAX, check as check_path};
pub use restore::{ContentOf, Restored, restore};
pub use scan::scan;
pub use scope::Scope;
pub use stamp::Stamp;
pub use tree::{Entry, LeftOut, Tree, Why};

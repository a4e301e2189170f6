//! Trees of files on this machine: what is in one, what changed between two looks, how one is kept and put back, and the
//! operations on a folder that nothing leaves.
//!
//! A leaf beside the domain: it blocks, and knows no runtime, no sandbox, no session and no storage. Whoever calls it
//! from tasks puts it where blocking is allowed.

mod archive;
mod bring;
mod changes;
mod compare;
mod copy;
mod digest;
mod error;
mod folder;
mod git;
mod hints;
mod ignore;
mod listed;
mod manifest;
mod operations;
mod pack;
mod path;
mod restore;
mod same;
mod scan;
mod scope;
mod staging;
mod stamp;
mod tree;

pub use archive::{ArchiveLimits, Gathered, Step, gather, unpack};
pub use bring::{must_be_empty, top};
pub use changes::{batches, changes};
pub use compare::{Comparison, Repair};
pub use copy::{Copying, allowed, copy_directory};
pub use digest::digest;
pub use error::Error;
pub use folder::Folder;
pub use git::{Cloning, GitSource, clone};
pub use hints::{Hints, StopHints};
pub use ignore::{HIDDEN, Ignore, REBUILT};
pub use listed::{Listed, Listing};
pub use manifest::Manifest;
pub use operations::{Opened, word};
pub use pack::{pack, packed};
pub use path::check as check_path;
pub use restore::{ContentOf, Restored, restore};
pub use same::same_archive;
pub use scan::scan;
pub use scope::Scope;
pub use staging::{Staged, aside};
pub use stamp::{Stamp, Told};
pub use tree::{Entry, LeftOut, Tree, Why};

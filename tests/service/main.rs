//! The service over its real process: every built RPC with its good case, and every reason that can be reached.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod files;
mod kept;
mod lists;
mod messages;
mod profile_changes;
mod profile_files;
mod profile_secrets;
mod profiles;
mod raw;
mod reasons;
mod refusals;
mod sandboxes;
mod sessions;
mod start;
mod stops;
mod wire;

//! Calls that change something, and are repeated: each has its effect once.
//!
//! The table is held to the descriptors: an RPC that changes something stands in it, or is not built.

#[path = "commands/again.rs"]
mod again;
#[path = "commands/attach.rs"]
mod attach;
#[path = "service/raw.rs"]
#[allow(dead_code)]
mod raw;
#[path = "commands/restored.rs"]
mod restored;
mod support;
#[path = "commands/table.rs"]
mod table;

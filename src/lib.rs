//! Runs coding agents in sandboxes and streams what they do, durably.
//!
//! The map of the house stands in `ARCHITECTURE.md`; `tests/layers.rs` holds it to that.

pub mod domain;
pub mod store;

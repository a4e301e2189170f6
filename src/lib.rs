//! Runs coding agents in sandboxes and streams what they do, durably.
//!
//! The map of the house stands in `ARCHITECTURE.md`; `tests/layers.rs` holds it to that.

pub mod agent;
pub mod cli;
pub mod client;
pub mod dev;
pub mod domain;
pub mod grpc;
pub mod log;
pub mod modal_wire;
pub mod packages;
pub mod proto;
pub mod sandbox;
pub mod server;
pub mod session;
pub mod store;
pub mod supervisor;
pub mod workspace;

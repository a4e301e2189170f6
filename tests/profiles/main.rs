//! Profiles take effect: what each field does is seen in what the real CLI asks its model, or in files.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/claude.rs"]
mod cli;

mod environment;
mod example;
mod http;
mod packages;
mod pinned;
mod refused;
mod rig;
mod said;
mod servers;
mod skills;
mod subagents;

//! The files of a session over a real server: what an agent changes is told before its turn ends, what was lost with a
//! sandbox comes back, and calls read and change files with or without one.

#![allow(unreachable_pub, reason = "a test binary is nobody's library")]

#[path = "../support/mod.rs"]
mod support;

mod calls;
#[path = "../support/claude.rs"]
mod cli;
mod disk;
mod restored;
mod sources;
mod told;
mod unwatched;

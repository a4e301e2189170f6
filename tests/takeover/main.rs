//! Turns that outlive their server: killed, stopped or upgraded, the next one goes on where it stood. What an agent printed
//! is in the log once and in order, what it was told it was told once, and what cannot be gone on with ends with its cause.

#[path = "../support/claude.rs"]
mod cli;
#[path = "../support/mod.rs"]
mod support;

mod claude;
mod counted;
mod finished;
mod given;
mod house;
mod idle;
mod lost;
mod removed;
mod signals;
mod trimmed;

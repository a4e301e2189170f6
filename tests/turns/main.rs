//! Turns over the real process: how they start, end, fail and add up, whatever the agent prints.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/claude.rs"]
mod cli;

mod claude;
mod ends;
mod garbage;
mod images;
mod refused;
mod starts;
mod subagents;
mod usage;
mod walls;

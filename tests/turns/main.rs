//! Turns over the real process: how they start, end, fail and add up, whatever the agent prints.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/claude.rs"]
mod cli;

mod at_work;
mod claude;
mod claude_breaks;
mod claude_interrupt;
mod ends;
mod garbage;
mod images;
mod interrupt;
mod listed;
mod queue;
mod refused;
mod restarts;
mod starts;
mod subagents;
mod table;
mod unasked;
mod usage;
mod walls;

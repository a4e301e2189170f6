//! Options of a session: changed while it lives, taken over by the agent that runs, and held to: budgets and silence. Real
//! servers, the scripted agent, and the real Claude Code CLI.

#[path = "../support/claude.rs"]
mod cli;
#[path = "../support/mod.rs"]
mod support;

mod background;
mod budget;
mod changes;
mod claude;
mod commands;
mod idle;
mod restart;
mod sync;
mod update;

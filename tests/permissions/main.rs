//! Permissions: what an agent asks, who answers, and what becomes of the turn that waits. Real servers, the scripted agent,
//! and the real Claude Code CLI.

#[path = "../support/claude.rs"]
mod cli;
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod asked;
mod claude;
mod claude_asks;
mod commands;
mod ends;
mod idle;
mod modes;
mod parked;
mod policy;
mod questions;
mod restart;
mod rules;
